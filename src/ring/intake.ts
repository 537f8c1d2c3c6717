/**
 * Heavy chunks that have come and wait for the store thread: on a slow disk they fill the buffers in flight, and a
 * light one behind them in one queue would miss its second. The lowest rank goes first, of one rank as they came.
 *
 * Bounded by those buffers. Nothing here is counted yet: a crash loses it as it loses what ingest gathers.
 */
import type { RawChunk } from "../model/chunk.ts";
import { earliestOf } from "../std/nanoseconds.ts";
import { touches } from "./packed-chunk.ts";

export class Intake {
  readonly #queues = new Map<number, RawChunk[]>();

  add(chunk: RawChunk, rank: number): void {
    const queue = this.#queues.get(rank);
    if (queue === undefined) this.#queues.set(rank, [chunk]);
    else queue.push(chunk);
  }

  take(): RawChunk | undefined {
    const ranks = [...this.#queues].filter(([, queue]) => queue.length > 0).map(([rank]) => rank);
    return ranks.length === 0 ? undefined : this.#queues.get(Math.min(...ranks))?.shift();
  }

  touches(startNs: bigint, endNs: bigint): boolean {
    return this.#all().some((chunk) => touches(chunk, startNs, endNs));
  }

  /** Where the oldest that waits begins. */
  get oldestNs(): bigint | undefined {
    return earliestOf(this.#all().map(({ startNs }) => startNs));
  }

  #all(): RawChunk[] {
    return [...this.#queues.values()].flat();
  }
}
