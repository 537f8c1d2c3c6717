/**
 * What is owed to the disk: chunks in memory that an episode wants there, or that a full or broken disk refused.
 *
 * They stand in the order in which they are written: lowest rank first, then nearest to their focus, then as they
 * came; what is too much goes from the other end. The list knows its bytes but not its bound, and counts nothing:
 * whoever takes a chunk out answers for it. Nothing here survives the process.
 */
import { type PackedChunk, touches } from "./packed-chunk.ts";

type Owed = { readonly chunk: PackedChunk; readonly rank: number; readonly distanceNs: bigint };

export class Backlog {
  #entries: Owed[] = [];
  #bytes = 0;

  get length(): number {
    return this.#entries.length;
  }

  /** Of the payloads. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps the chunk, whose payload must be its own. The focus is an instant of log time. */
  add(chunk: PackedChunk, rank: number, focusNs: bigint): void {
    const entry = { chunk, rank, distanceNs: distanceNs(chunk, focusNs) };
    const index = this.#entries.findLastIndex((other) => !isWorthMore(entry, other));
    this.#entries.splice(index + 1, 0, entry);
    this.#bytes += chunk.payload.length;
  }

  /** Takes out the least valuable chunk; undefined: there is none. */
  takeLeast(): PackedChunk | undefined {
    const chunk = this.#entries.pop()?.chunk;
    this.#bytes -= chunk?.payload.length ?? 0;
    return chunk;
  }

  /** Takes out the chunks that touch the range. */
  takeWithin(startNs: bigint, endNs: bigint): PackedChunk[] {
    const taken = this.#entries.map(({ chunk }) => chunk).filter((chunk) => touches(chunk, startNs, endNs));
    this.#entries = this.#entries.filter(({ chunk }) => !touches(chunk, startNs, endNs));
    for (const { payload } of taken) this.#bytes -= payload.length;
    return taken;
  }

  touches(startNs: bigint, endNs: bigint): boolean {
    return this.#entries.some(({ chunk }) => touches(chunk, startNs, endNs));
  }

  /**
   * Offers the chunks in order until `bytesMax` are taken, at least one if there is any. `take` says whether it took
   * the chunk; the others stay. Returns how many were taken.
   */
  offer(bytesMax: number, take: (chunk: PackedChunk) => boolean): number {
    const left: Owed[] = [];
    let bytes = 0;
    for (const entry of this.#entries) {
      if (bytes < bytesMax && take(entry.chunk)) bytes += entry.chunk.payload.length;
      else left.push(entry);
    }
    const count = this.#entries.length - left.length;
    this.#entries = left;
    this.#bytes -= bytes;
    return count;
  }
}

function isWorthMore(a: Owed, b: Owed): boolean {
  return a.rank === b.rank ? a.distanceNs < b.distanceNs : a.rank < b.rank;
}

/** From the focus to the nearest instant of the chunk. */
function distanceNs(chunk: PackedChunk, focusNs: bigint): bigint {
  if (chunk.startNs > focusNs) return chunk.startNs - focusNs;
  return chunk.endNs < focusNs ? focusNs - chunk.endNs : 0n;
}
