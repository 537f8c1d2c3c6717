/**
 * When the messages of a topic came, told without keeping them: a demonstration of half an hour has millions. Held at a
 * time: one message of each chunk that overlaps others of the topic, and the pauses longer than a quarter of a second.
 *
 * The messages of a channel stand in a chunk in the order of log_time; chunks of a topic may overlap, as those of the
 * reduced rate do, and are merged as they are read.
 */
import type { MessageIndex } from "../ring/message-index.ts";
import { latest } from "../std/nanoseconds.ts";

/** A topic's messages of one channel in one chunk. */
export type ArrivalPiece = {
  readonly channelId: number;
  /** Nothing of it came earlier. */
  readonly startNs: bigint;
  readonly records: MessageIndex;
  /** In the order of `records`. */
  readonly sequences: readonly number[];
};
export type Arrival = { readonly channelId: number; readonly timeNs: bigint; readonly sequence: number };
type Pause = { readonly startNs: bigint; readonly lengthNs: bigint };

/**
 * A silence is a gap when it is this many times the topic's usual interval, and at least a second. Usual is what nine
 * of ten intervals stay under: `/rosout` comes in bursts, and the pauses between them are no gaps.
 */
const GAP_INTERVALS = 4n;
export const GAP_NS_MIN = 1_000_000_000n;
/** Fewer messages have no interval to speak of. */
export const GAP_MESSAGES_MIN = 12;
/** A usual interval up to here makes the shortest gap: shorter ones need not be told apart. */
const PAUSE_NS_MIN = GAP_NS_MIN / GAP_INTERVALS;

export class Arrivals {
  count = 0;
  first: Arrival | undefined;
  lastNs: bigint | undefined;
  longestGapNs: bigint | undefined;
  /** Intervals longer than `PAUSE_NS_MIN`. */
  readonly #pauses: Pause[] = [];

  /** In the order of time. */
  note({ channelId, timeNs, sequence }: Arrival): void {
    this.first ??= { channelId, timeNs, sequence };
    if (this.lastNs !== undefined) this.#noteInterval(this.lastNs, timeNs - this.lastNs);
    this.lastNs = timeNs;
    this.count += 1;
  }

  /** What a silence must exceed to be a gap, in ns. */
  get silenceBoundNs(): bigint {
    const intervalCount = Math.max(this.count - 1, 0);
    const shortCount = intervalCount - this.#pauses.length;
    const lengths = this.#pauses.map(({ lengthNs }) => lengthNs).toSorted((a, b) => Number(a - b));
    const usualNs = lengths[Math.floor(intervalCount * 0.9) - shortCount] ?? 0n;
    return latest(usualNs * GAP_INTERVALS, GAP_NS_MIN);
  }

  /** Silences longer than the topic's rhythm explains. */
  silences(): { readonly startNs: bigint; readonly endNs: bigint }[] {
    if (this.count < GAP_MESSAGES_MIN) return [];
    const boundNs = this.silenceBoundNs;
    const silences = this.#pauses.filter(({ lengthNs }) => lengthNs > boundNs);
    return silences.map(({ startNs, lengthNs }) => ({ startNs, endNs: startNs + lengthNs }));
  }

  #noteInterval(startNs: bigint, lengthNs: bigint): void {
    this.longestGapNs = latest(this.longestGapNs ?? lengthNs, lengthNs);
    if (lengthNs > PAUSE_NS_MIN) this.#pauses.push({ startNs, lengthNs });
  }
}

/** All messages of the pieces in the order of time. What it yields holds until the next is asked for. */
export function* inOrder(pieces: readonly ArrivalPiece[]): Generator<Arrival> {
  const waiting = pieces.toSorted((a, b) => Number(b.startNs - a.startNs));
  const open: Cursor[] = [];
  for (;;) {
    let next = firstOf(open);
    for (let piece = waiting.at(-1); piece !== undefined; piece = waiting.at(-1)) {
      if (next !== undefined && piece.startNs > next.timeNs) break;
      waiting.pop();
      const cursor = new Cursor(piece);
      if (cursor.advance()) open.push(cursor);
      next = firstOf(open);
    }
    if (next === undefined) return;
    yield next;
    if (!next.advance()) open.splice(open.indexOf(next), 1);
  }
}

function firstOf(cursors: readonly Cursor[]): Cursor | undefined {
  let first = cursors[0];
  for (const cursor of cursors) if (first !== undefined && cursor.timeNs < first.timeNs) first = cursor;
  return first;
}

/** Stands at one message of a piece after the other. */
class Cursor implements Arrival {
  readonly channelId: number;
  timeNs = 0n;
  sequence = 0;
  readonly #times: Iterator<readonly [logTimeNs: bigint, offset: number]>;
  readonly #sequences: readonly number[];
  #index = 0;

  constructor({ channelId, records, sequences }: ArrivalPiece) {
    this.channelId = channelId;
    this.#times = records[Symbol.iterator]();
    this.#sequences = sequences;
  }

  /** False: there are no more. */
  advance(): boolean {
    const step = this.#times.next();
    if (step.done === true) return false;
    this.timeNs = step.value[0];
    this.sequence = this.#sequences[this.#index] ?? 0;
    this.#index += 1;
    return true;
  }
}
