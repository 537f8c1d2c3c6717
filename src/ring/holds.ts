/** Time ranges that retention must leave alone, from a firing until its episode's batch files are durable. */

export type Range = { readonly startNs: bigint; readonly endNs: bigint };

export class Holds {
  readonly #ranges = new Map<string, Range>();

  /** The same id again replaces its range. */
  set(id: string, startNs: bigint, endNs: bigint): void {
    this.#ranges.set(id, { startNs, endNs });
  }

  delete(id: string): void {
    this.#ranges.delete(id);
  }

  get size(): number {
    return this.#ranges.size;
  }

  /** The latest end of the holds that touch the range; undefined: it is not held. */
  heldUntil(startNs: bigint, endNs: bigint): bigint | undefined {
    let until: bigint | undefined;
    for (const range of this.#ranges.values())
      if (range.startNs <= endNs && range.endNs >= startNs && (until === undefined || range.endNs > until))
        until = range.endNs;
    return until;
  }

  holds({ startNs, endNs }: Range): boolean {
    return this.heldUntil(startNs, endNs) !== undefined;
  }

  /** The held ranges without overlap, in order. */
  merged(): Range[] {
    const sorted = [...this.#ranges.values()].sort(
      (a, b) => Number(a.startNs > b.startNs) - Number(a.startNs < b.startNs),
    );
    const merged: Range[] = [];
    for (const range of sorted) {
      const last = merged.at(-1);
      if (last === undefined || range.startNs > last.endNs) merged.push(range);
      else if (range.endNs > last.endNs) merged[merged.length - 1] = { startNs: last.startNs, endNs: range.endNs };
    }
    return merged;
  }
}
