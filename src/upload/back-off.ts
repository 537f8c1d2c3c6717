/**
 * When to try again: full jitter per receiver, and per batch so that one that keeps failing lets the others pass.
 *
 * The first failure of a batch waits only with its receiver, so that an outage does not shuffle the order of value.
 * All instants are monotonic milliseconds. There is no limit of tries.
 */
import { fullJitterMs, type Random } from "../std/random.ts";

export type BackOffOptions = { readonly baseMs: number; readonly maxMs: number };

type Waiting = { readonly tries: number; readonly untilMs: number };

const BATCHES_MAX = 1000; // only a memory of failures: forgetting the oldest costs one early attempt

export class BackOff {
  readonly #options: BackOffOptions;
  readonly #random: Random;
  readonly #batches = new Map<string, Waiting>();
  #receiver: Waiting = { tries: 0, untilMs: Number.NEGATIVE_INFINITY };

  constructor(options: BackOffOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** `batchId` undefined: the receiver was not reached, no batch is to blame. `leastMs`: what Retry-After asked for. */
  fail(batchId: string | undefined, leastMs: number, nowMs: number): void {
    const wait = Math.max(leastMs, this.#jitterMs(this.#receiver.tries));
    this.#receiver = { tries: this.#receiver.tries + 1, untilMs: nowMs + wait };
    if (batchId === undefined) return;
    const tries = (this.#batches.get(batchId)?.tries ?? 0) + 1;
    const batchWait = tries === 1 ? wait : Math.max(wait, this.#jitterMs(tries));
    this.#batches.delete(batchId); // to the end: the map's order is the order of failing
    this.#batches.set(batchId, { tries, untilMs: nowMs + batchWait });
    const oldest = this.#batches.keys().next().value;
    if (this.#batches.size > BATCHES_MAX && oldest !== undefined) this.#batches.delete(oldest);
  }

  /** The receiver works, and this batch is no longer a failing one. */
  succeed(batchId: string): void {
    this.#receiver = { tries: 0, untilMs: Number.NEGATIVE_INFINITY };
    this.#batches.delete(batchId);
  }

  forget(): void {
    this.#receiver = { tries: 0, untilMs: Number.NEGATIVE_INFINITY };
    this.#batches.clear();
  }

  receiverWaitMs(nowMs: number): number {
    return Math.max(0, this.#receiver.untilMs - nowMs);
  }

  waitingBatches(nowMs: number): ReadonlySet<string> {
    const waiting = [...this.#batches].filter(([, { untilMs }]) => untilMs > nowMs);
    return new Set(waiting.map(([id]) => id));
  }

  /** Until the next waiting batch may be tried; Infinity if none waits. */
  nextBatchMs(nowMs: number): number {
    return Math.min(...[...this.#batches.values()].map(({ untilMs }) => untilMs - nowMs).filter((ms) => ms > 0));
  }

  #jitterMs(tries: number): number {
    return fullJitterMs(tries, this.#options.baseMs, this.#options.maxMs, this.#random);
  }
}
