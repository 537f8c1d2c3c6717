/**
 * Messages that a publisher numbered and that never came: ROS 1 publishers count `header.seq` up by one.
 *
 * A hint, made to raise no false alarm rather than to find everything. A skip counts once the numbers were consecutive
 * for a while before it and go on upwards after it. A number that goes back is a publisher that began again or another
 * one on the topic: what was found and not yet told is forgotten, and the numbers must prove themselves anew. A relay
 * that passes on every third message is never consecutive, and so never has a gap.
 */

/** Between the last message before it and the first after it; the ends of the first and last, where there are several. */
export type SequenceGap = { readonly count: number; readonly startNs: bigint; readonly endNs: bigint };

const CONSECUTIVE_MIN = 50;
const FOLLOWING_MIN = 10;
/** A wider skip is another publisher. */
const SKIP_MAX = 10_000;

export class SequenceGaps {
  #next = 0;
  #lastNs = 0n;
  #consecutive = 0;
  #gap: SequenceGap | undefined;
  /** Messages since the gap began. */
  #following = 0;
  #excused = 0;

  /** So many messages came but could not be read: their numbers will be missing, and they are counted elsewhere. */
  excuse(count: number): void {
    this.#excused += count;
  }

  /** A message's number (u32; it may wrap) and when it came. Returns a gap once it is sure. */
  note(sequence: number, atNs: bigint): SequenceGap | undefined {
    const skipped = (sequence - this.#next) >>> 0;
    if (skipped > SKIP_MAX) this.#startAnew();
    else if (skipped === 0) this.#consecutive += 1;
    else if (this.#consecutive < CONSECUTIVE_MIN) this.#consecutive = 0;
    else this.#skip(skipped, atNs);
    this.#next = (sequence + 1) >>> 0;
    this.#lastNs = atNs;
    if (this.#gap === undefined || this.#following++ < FOLLOWING_MIN) return undefined;
    const gap = this.#gap;
    this.#gap = undefined;
    return gap;
  }

  #startAnew(): void {
    this.#gap = undefined;
    this.#consecutive = 0;
    this.#excused = 0;
  }

  #skip(skipped: number, atNs: bigint): void {
    const count = skipped - Math.min(skipped, this.#excused);
    this.#excused -= skipped - count;
    if (count === 0) return;
    if (this.#gap === undefined) this.#following = 0;
    const { count: earlier = 0, startNs = this.#lastNs } = this.#gap ?? {};
    this.#gap = { count: earlier + count, startNs, endNs: atNs };
  }
}
