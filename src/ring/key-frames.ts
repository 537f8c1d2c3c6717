/**
 * When the key frames of inter-coded video came: a window over such a channel begins at the one at or before its
 * start, as far as the last minutes have one.
 *
 * Bounded: of each channel two minutes at five a second, which is further back than the memory tier reaches.
 */

/** How far before a window its first key frame is looked for; x264's longest distance is 250 frames. */
export const KEY_REACH_NS = 30_000_000_000n;
const KEPT_NS = 120_000_000_000n;
const APART_NS_MIN = 200_000_000n;

export class KeyFrames {
  readonly #timesNs = new Map<number, bigint[]>();

  /** In order of time. Of frames that follow each other closely only the first is kept. */
  note(channelId: number, atNs: bigint): void {
    const times = this.#timesNs.get(channelId) ?? [];
    this.#timesNs.set(channelId, times);
    const last = times.at(-1);
    if (last !== undefined && atNs - last < APART_NS_MIN) return;
    times.push(atNs);
    while ((times[0] ?? atNs) < atNs - KEPT_NS) times.shift();
  }

  has(channelId: number): boolean {
    return this.#timesNs.has(channelId);
  }

  /** Where a window must begin so that every channel has the key frame it starts from; `startNs` if none has. */
  windowStart(startNs: bigint): bigint {
    let earliestNs = startNs;
    for (const times of this.#timesNs.values()) {
      const key = times.findLast((timeNs) => timeNs <= startNs);
      if (key !== undefined && key >= startNs - KEY_REACH_NS && key < earliestNs) earliestNs = key;
    }
    return earliestNs;
  }
}
