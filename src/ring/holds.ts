/**
 * Time ranges that retention must leave alone, from a firing until its episode's batch files are durable. Each is of
 * one boot: another boot's log_time may have the same range.
 */
import { earliest } from "../std/nanoseconds.ts";
import { touches } from "./packed-chunk.ts";

export type Range = { readonly startNs: bigint; readonly endNs: bigint };
type Hold = Range & { readonly bootId: string };

export class Holds {
  readonly #bootId: string;
  readonly #ranges = new Map<string, Hold>();

  /** `bootId`: the present boot, which is meant wherever none is named. */
  constructor(bootId: string) {
    this.#bootId = bootId;
  }

  /** The same id again replaces its range, but for an earlier start: the key frame it reaches back to may be forgotten. */
  set(id: string, startNs: bigint, endNs: bigint, bootId = this.#bootId): void {
    const known = this.#ranges.get(id);
    this.#ranges.set(id, { bootId, startNs: earliest(startNs, known?.startNs ?? startNs), endNs });
  }

  delete(id: string): void {
    this.#ranges.delete(id);
  }

  get size(): number {
    return this.#ranges.size;
  }

  /** The latest end of the holds that touch the range; undefined: it is not held. */
  heldUntil(startNs: bigint, endNs: bigint, bootId = this.#bootId): bigint | undefined {
    let until: bigint | undefined;
    for (const range of this.#ranges.values()) {
      const isTouched = range.bootId === bootId && touches(range, startNs, endNs);
      if (isTouched && (until === undefined || range.endNs > until)) until = range.endNs;
    }
    return until;
  }

  /** The range of the present boot. */
  holds({ startNs, endNs }: Range): boolean {
    return this.heldUntil(startNs, endNs) !== undefined;
  }

  /** The held ranges of a boot without overlap, in order. */
  merged(bootId = this.#bootId): Range[] {
    const own = [...this.#ranges.values()].filter((range) => range.bootId === bootId);
    const sorted = own.sort((a, b) => Number(a.startNs > b.startNs) - Number(a.startNs < b.startNs));
    const merged: Range[] = [];
    for (const { startNs, endNs } of sorted) {
      const last = merged.at(-1);
      if (last === undefined || startNs > last.endNs) merged.push({ startNs, endNs });
      else if (endNs > last.endNs) merged[merged.length - 1] = { startNs: last.startNs, endNs };
    }
    return merged;
  }
}
