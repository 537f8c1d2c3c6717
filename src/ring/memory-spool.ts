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
import { chunkKey, decodeMemoryStream } from "./memory-stream.ts";
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
    const touches = ({ chunk }: Kept) => chunk.startNs <= query.endNs && chunk.endNs >= query.startNs;
    const waiting = [...this.#kept.values()]
      .filter((kept) => touches(kept) && isWanted(kept.chunk, query))
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
      if (this.#kept.get(key)?.isHere === true) continue; // from here no retention takes it
      onDisk.add(key);
      yield chunk;
    }
    yield* due();
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  async #fill(stream: AsyncIterable<Uint8Array>): Promise<void> {
    let end = 0;
    for await (const entry of decodeMemoryStream(stream)) {
      if (entry.kind === "end") {
        this.completeUntilNs = entry.completeUntilNs;
        return;
      }
      const { header } = entry;
      if (entry.kind === "left") {
        this.#keep(header, undefined);
        continue;
      }
      for (let done = 0; done < entry.payload.length; )
        done += writeSync(this.#fd, entry.payload, done, undefined, end + done);
      this.#keep(header, end);
      end += entry.payload.length;
    }
  }

  #keep(header: SegmentHeader, offset: number | undefined): void {
    const { storedCrc32: _, ...described } = header;
    this.bootId = header.bootId;
    const read = () => (offset === undefined ? left(header) : this.#read(header, offset));
    // Ids of rows count upwards from 1; these are no rows.
    this.#kept.set(chunkKey(header), { chunk: { ...described, id: -header.id, read }, isHere: offset !== undefined });
  }

  #read({ storedSize, storedCrc32 }: SegmentHeader, offset: number): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(storedSize);
    let filled = 0;
    while (filled < storedSize) {
      const count = readSync(this.#fd, bytes, filled, storedSize - filled, offset + filled);
      if (count === 0) break;
      filled += count;
    }
    if (crc32(bytes) === storedCrc32) return bytes;
    throw new Fault("corrupt_chunk", "A chunk of the memory tier does not match its checksum.", "Ask again.");
  }
}

function left({ startNs, endNs }: SegmentHeader): never {
  const hint = "It is the oldest of the memory tier that goes first: ask for less, or sooner.";
  throw new Fault("chunk_gone", `A chunk of ${startNs} to ${endNs} left memory before it was read.`, hint);
}
