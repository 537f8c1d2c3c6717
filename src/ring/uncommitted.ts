/**
 * Chunks whose place on disk is found and whose rows come with the next commit. Up to `inlineBytesMax` the bytes wait
 * here to go into the row; larger ones are written to a segment file already, but not synced.
 *
 * They are counted as stored; whoever takes one out again answers for it. A `kill -9` loses them all: segment bytes
 * that no row refers to are free.
 */
import { earliestOf } from "../std/nanoseconds.ts";
import type { ChunkTable, PendingChunk } from "./chunk-table.ts";
import type { DiskSpace } from "./disk-space.ts";
import { ownPayload, type PackedChunk, touches } from "./packed-chunk.ts";
import type { Retention } from "./retention.ts";
import type { SegmentFiles } from "./segment-files.ts";

/** Uncommitted inline bytes after which `append` commits by itself. */
const INLINE_BYTES_MAX = 8 * 1024 * 1024;

export type UncommittedDeps = {
  readonly bootId: string;
  readonly inlineBytesMax: number;
  readonly chunks: ChunkTable;
  readonly segments: SegmentFiles;
  readonly space: DiskSpace;
  readonly retention: Retention;
};

export class Uncommitted {
  readonly #deps: UncommittedDeps;
  #entries: PendingChunk[] = [];
  #inlineBytes = 0;

  constructor(deps: UncommittedDeps) {
    this.#deps = deps;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** A commit is due: too much waits in memory. */
  get isFull(): boolean {
    return this.#inlineBytes > INLINE_BYTES_MAX;
  }

  /** Of the first that still waits. */
  get oldestNs(): bigint | undefined {
    return earliestOf(this.#entries.map(({ chunk }) => chunk.startNs));
  }

  isInline(chunk: PackedChunk): boolean {
    return chunk.payload.length <= this.#deps.inlineBytesMax;
  }

  /** Puts the bytes where they belong; the chunk's buffer may be used again on return. Throws what the disk says. */
  place(chunk: PackedChunk): void {
    this.#entries.push(this.isInline(chunk) ? this.#placeInline(chunk) : this.#placeInSegment(chunk));
  }

  touches(startNs: bigint, endNs: bigint): boolean {
    return this.#entries.some(({ chunk }) => touches(chunk, startNs, endNs));
  }

  /** Takes out the chunks that touch the range, and frees their place. */
  takeWithin(startNs: bigint, endNs: bigint): PackedChunk[] {
    const taken = this.#take(({ chunk }) => touches(chunk, startNs, endNs));
    for (const { location } of taken) if (location !== undefined) this.#deps.segments.forget(location);
    return taken.map(({ chunk }) => chunk);
  }

  /** Takes out what lies in segments that are abandoned; its bytes are nowhere else. */
  takeFrom(segments: ReadonlySet<number>): PackedChunk[] {
    const taken = this.#take(({ location }) => location !== undefined && segments.has(location.segment));
    return taken.map(({ chunk }) => chunk);
  }

  /** Takes out what is in memory only, with its bytes. */
  takeInline(): PackedChunk[] {
    return this.#take(({ location }) => location === undefined).map(({ chunk }) => chunk);
  }

  /** Takes out what lies in segment files. */
  takeWritten(): PackedChunk[] {
    return this.#take(({ location }) => location !== undefined).map(({ chunk }) => chunk);
  }

  get entries(): readonly PendingChunk[] {
    return this.#entries;
  }

  /** Inside the ring's transaction; `saved` after it. */
  save(): void {
    this.#deps.chunks.save(this.#entries);
    this.#deps.segments.saveRows();
  }

  saved(): void {
    this.#deps.segments.committed();
    this.#deps.chunks.added(this.#entries);
    this.#entries = [];
    this.#inlineBytes = 0;
  }

  #placeInline(chunk: PackedChunk): PendingChunk {
    const { chunks, space, retention } = this.#deps;
    const size = chunk.payload.length;
    const isGrowing = space.freePageBytes < this.#inlineBytes + size;
    retention.requireRoomFor(size, chunk, isGrowing);
    this.#inlineBytes += size;
    return { id: chunks.takeId(), chunk: ownPayload(chunk), storedSize: size, location: undefined };
  }

  #placeInSegment(chunk: PackedChunk): PendingChunk {
    const { chunks, segments, bootId } = this.#deps;
    const id = chunks.takeId();
    const sequence = chunk.isLocal ? `${chunk.className}:local` : chunk.className;
    const location = segments.append(sequence, chunk, id, bootId);
    return { id, chunk: { ...chunk, payload: NO_BYTES }, storedSize: chunk.payload.length, location };
  }

  #take(isTaken: (entry: PendingChunk) => boolean): PendingChunk[] {
    const taken = this.#entries.filter(isTaken);
    this.#entries = this.#entries.filter((entry) => !isTaken(entry));
    for (const { location, storedSize } of taken) if (location === undefined) this.#inlineBytes -= storedSize;
    return taken;
  }
}

const NO_BYTES = new Uint8Array(0);
