/**
 * What is owed to the disk: chunks in memory that an episode wants there, or that a full or broken disk refused.
 *
 * They stand in the order in which they are written, and the least valuable can be taken out; both orders are those of
 * `value.ts`. The list knows its bytes but not its bound, and counts nothing: whoever takes a chunk out answers for
 * it. Nothing here survives the process.
 */
import { earliestOf } from "../std/nanoseconds.ts";
import { type PackedChunk, touches } from "./packed-chunk.ts";
import { compareUrgency, compareWorth, LIGHT_RANK, type Worth } from "./value.ts";

type Owed = {
  readonly chunk: PackedChunk;
  readonly rank: number;
  readonly isHeld: boolean;
  readonly distanceNs: bigint;
};

export class Backlog {
  #entries: Owed[] = [];
  #bytes = 0;
  #lightBytes = 0;

  get length(): number {
    return this.#entries.length;
  }

  /** Of the payloads. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Where the oldest chunk starts. */
  get oldestNs(): bigint | undefined {
    return earliestOf(this.#entries.map(({ chunk }) => chunk.startNs));
  }

  /** Of the payloads of rank 0. */
  get lightBytes(): number {
    return this.#lightBytes;
  }

  /** Keeps the chunk, whose payload must be its own. The focus is an instant of log time; undefined: nobody holds it. */
  add(chunk: PackedChunk, rank: number, focusNs: bigint | undefined): void {
    const distance = focusNs === undefined ? 0n : distanceNs(chunk, focusNs);
    const entry = { chunk, rank, isHeld: focusNs !== undefined, distanceNs: distance };
    const index = this.#entries.findLastIndex((other) => compareUrgency(other, entry) <= 0);
    this.#entries.splice(index + 1, 0, entry);
    this.#count(entry, 1);
  }

  /** The least valuable, of those above rank 0 if told; `isHeld` knows of later holds. undefined: there is none. */
  least(isHeld: (chunk: PackedChunk) => boolean, isHeavyOnly = false): Owed | undefined {
    let least: (Owed & Worth) | undefined;
    for (const entry of this.#entries) {
      if (isHeavyOnly && entry.rank <= LIGHT_RANK) continue;
      const { kind, startNs } = entry.chunk;
      const candidate = { ...entry, kind, startNs, isHeld: entry.isHeld || isHeld(entry.chunk) };
      if (least === undefined || compareWorth(candidate, least) < 0) least = candidate;
    }
    return least;
  }

  remove(chunk: PackedChunk): void {
    this.#take((entry) => entry.chunk === chunk);
  }

  /** Takes out the chunks that touch the range. */
  takeWithin(startNs: bigint, endNs: bigint): PackedChunk[] {
    return this.#take(({ chunk }) => touches(chunk, startNs, endNs));
  }

  touches(startNs: bigint, endNs: bigint): boolean {
    return this.within(startNs, endNs).length > 0;
  }

  /** The chunks that touch the range. */
  within(startNs: bigint, endNs: bigint): PackedChunk[] {
    return this.#entries.map(({ chunk }) => chunk).filter((chunk) => touches(chunk, startNs, endNs));
  }

  /**
   * Offers the chunks in order until `bytesMax` are taken, at least one if there is any. `take` says whether it took
   * the chunk; the others stay. Meanwhile the chunk is not in the list, so `take` may add, remove and offer others.
   * Returns how many were taken.
   */
  offer(bytesMax: number, take: (chunk: PackedChunk) => boolean): number {
    const left: Owed[] = [];
    let [bytes, count] = [0, 0];
    while (bytes < bytesMax) {
      const entry = this.#entries.shift();
      if (entry === undefined) break;
      this.#count(entry, -1);
      if (take(entry.chunk)) {
        bytes += entry.chunk.payload.length;
        count += 1;
      } else left.push(entry);
    }
    for (const entry of left) this.#count(entry, 1);
    if (left.length > 0) this.#entries = [...left, ...this.#entries].sort(compareUrgency);
    return count;
  }

  #take(isTaken: (entry: Owed) => boolean): PackedChunk[] {
    const taken = this.#entries.filter(isTaken);
    this.#entries = this.#entries.filter((entry) => !isTaken(entry));
    for (const entry of taken) this.#count(entry, -1);
    return taken.map(({ chunk }) => chunk);
  }

  #count({ chunk, rank }: Owed, sign: 1 | -1): void {
    const bytes = sign * chunk.payload.length;
    this.#bytes += bytes;
    if (rank <= LIGHT_RANK) this.#lightBytes += bytes;
  }
}

/** From the focus to the nearest instant of the chunk. */
function distanceNs(chunk: PackedChunk, focusNs: bigint): bigint {
  if (chunk.startNs > focusNs) return chunk.startNs - focusNs;
  return chunk.endNs < focusNs ? focusNs - chunk.endNs : 0n;
}
