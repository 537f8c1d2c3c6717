/**
 * A running daemon's memory tier as it was at one moment, for a reader in another process.
 *
 * Its chunks lie in a file that has no name any more, so that nothing is left of it however the process ends, and
 * memory holds their headers only. What was read here is handed out from here, even if it reached the disk meanwhile;
 * what had left memory before it was read is looked for on disk, and is told as gone where it is not.
 */
import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { Fault } from "../std/fault.ts";
import { chunkKey, findMemoryChunks } from "./memory-stream.ts";
import { touches } from "./packed-chunk.ts";
import type { RingQuery, StoredChunk } from "./ring-reader.ts";
import type { SegmentHeader } from "./segment-header.ts";

type Kept = { readonly chunk: StoredChunk; readonly isHere: boolean };

export class MemorySpool {
  readonly #fd: number;
  readonly #kept = new Map<string, Kept>();
  /** Everything received up to then is here, on disk, or told as gone. */
  completeUntilNs = 0n;
  /** The running boot; "" while memory is empty. */
  bootId = "";

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** `folder`: where there is room for what the memory tier holds. Throws `Fault("memory_unread")`. */
  static async receive(stream: AsyncIterable<Uint8Array>, folder: string): Promise<MemorySpool> {
    const path = join(folder, `.lode-memory-${process.pid}-${process.hrtime.bigint()}`);
    const spool = new MemorySpool(openSync(path, "wx+", 0o600));
    try {
      rmSync(path);
      await spool.#fill(stream);
      return spool;
    } catch (error) {
      spool[Symbol.dispose]();
      throw error;
    }
  }

  /** The disk's chunks of `bootId` and these together, by start time, none twice. */
  *joined(
    stored: Iterable<StoredChunk>,
    query: RingQuery,
    isWanted: (chunk: StoredChunk, query: RingQuery) => boolean,
  ): Generator<StoredChunk> {
    const waiting = [...this.#kept.values()]
      .filter(({ chunk }) => touches(chunk, query.startNs, query.endNs) && isWanted(chunk, query))
      .sort((a, b) => Number(a.chunk.startNs - b.chunk.startNs));
    const onDisk = new Set<string>();
    let next = 0;
    const due = function* (beforeNs?: bigint): Generator<StoredChunk> {
      for (let kept = waiting[next]; kept !== undefined; kept = waiting[next]) {
        if (beforeNs !== undefined && kept.chunk.startNs >= beforeNs) return;
        next += 1;
        if (!onDisk.has(chunkKey(kept.chunk))) yield kept.chunk;
      }
    };
    for (const chunk of stored) {
      yield* due(chunk.startNs);
      const key = chunkKey(chunk);
      const kept = this.#kept.get(key);
      if (kept?.isHere === true) continue; // from here no retention takes it
      if (kept !== undefined) onDisk.add(key);
      yield chunk;
    }
    yield* due();
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  async #fill(stream: AsyncIterable<Uint8Array>): Promise<void> {
    let sizeBytes = 0;
    for await (const part of stream)
      for (let done = 0; done < part.length; ) {
        const count = writeSync(this.#fd, part, done, undefined, sizeBytes);
        done += count;
        sizeBytes += count;
      }
    const found = findMemoryChunks((offset, size) => this.#readAt(offset, size), sizeBytes);
    let next = found.next();
    for (; next.done !== true; next = found.next()) this.#keep(next.value.header, next.value.offset);
    this.completeUntilNs = next.value;
  }

  #keep(header: SegmentHeader, offset: number | undefined): void {
    const { storedCrc32: _, ...described } = header;
    this.bootId = header.bootId;
    const read = () => (offset === undefined ? left(header) : this.#read(header, offset));
    // Ids of rows count upwards from 1; these are no rows.
    this.#kept.set(chunkKey(header), { chunk: { ...described, id: -header.id, read }, isHere: offset !== undefined });
  }

  #read({ storedSize, storedCrc32 }: SegmentHeader, offset: number): Uint8Array {
    const bytes = this.#readAt(offset, storedSize);
    if (bytes.length === storedSize && crc32(bytes) === storedCrc32) return bytes;
    throw new Fault("corrupt_chunk", "A chunk of the memory tier does not match its checksum.", "Ask again.");
  }

  #readAt(offset: number, sizeBytes: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(sizeBytes);
    return bytes.subarray(0, readSync(this.#fd, bytes, 0, sizeBytes, offset));
  }
}

function left({ startNs, endNs }: SegmentHeader): never {
  const hint = "It is the oldest of the memory tier that goes first: ask for less, or sooner.";
  throw new Fault("chunk_gone", `A chunk of ${startNs} to ${endNs} left memory before it was read.`, hint);
}
