/**
 * Segment files: preallocated, of one size, one sequence per topic class (and locality), so that value order and
 * not physical order decides what goes.
 *
 * Order of writes: bytes → fdatasync → the transaction whose rows refer to them. A page that holds committed bytes
 * is never written again (chunks start at multiples of 4 KiB), and a segment is filled anew only after the
 * transaction that deleted its last chunk. A crash leaves bytes beyond `used`, which the next append overwrites, or
 * a file without a row, which opening removes.
 */
import { closeSync, fdatasyncSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { syncFolder } from "../std/durable-file.ts";
import { failpoint } from "../std/failpoint.ts";
import type { Db } from "../store/database.ts";
import type { PackedChunk } from "./packed-chunk.ts";
import { encodeSegmentHeader } from "./segment-header.ts";
import { ALIGNMENT, type SegmentIo } from "./segment-io.ts";
import { segmentFileName } from "./tables.ts";

export type Location = {
  readonly segment: number;
  readonly offset: number;
  /** Header, bytes and alignment. */
  readonly size: number;
};

type Segment = {
  readonly id: number;
  readonly size: number;
  /** "" while free; begins with "?" until it is scanned (rebuild.ts). */
  sequence: string;
  used: number;
  /** Chunks with a committed row, and those whose row comes with the next commit. */
  chunks: number;
  pending: number;
  fd: number | undefined;
  isDirty: boolean;
  /** Somebody took the file away; its chunks' readers will say so. */
  isMissing: boolean;
};

export type SegmentFilesOptions = {
  readonly folder: string;
  readonly segmentBytes: number;
  readonly io: SegmentIo;
  /** Asked before a file is added or a free one used; throws where nothing may go for the chunk. */
  readonly makeRoom: (bytes: number, chunk: PackedChunk, isNewFile: boolean) => void;
};

export class SegmentFiles {
  readonly #options: SegmentFilesOptions;
  readonly #db: Db;
  readonly #segments = new Map<number, Segment>();
  readonly #currentBySequence = new Map<string, Segment>();

  private constructor(db: Db, options: SegmentFilesOptions) {
    this.#db = db;
    this.#options = options;
  }

  static open(db: Db, options: SegmentFilesOptions): SegmentFiles {
    const files = new SegmentFiles(db, options);
    type Row = { id: number; sequence: string; size: number; used: number; chunks: number };
    for (const row of db.prepare<[], Row>("SELECT id, sequence, size, used, chunks FROM segment ORDER BY id").all())
      files.#segments.set(row.id, { ...row, pending: 0, fd: undefined, isDirty: false, isMissing: false });
    files.#reconcile();
    for (const segment of files.#segments.values()) files.#continueWith(segment);
    return files;
  }

  /** Bytes of all files, free ones included. */
  get allocatedBytes(): number {
    return sum(this.#segments.values(), (segment) => segment.size);
  }

  get freeBytes(): number {
    return sum(this.#segments.values(), (segment) => (segment.sequence === "" ? segment.size : 0));
  }

  /** Writes behind the sequence's last chunk. Throws what the disk says; then nothing refers to the bytes. */
  append(sequence: string, chunk: PackedChunk, chunkId: number, bootId: string): Location {
    const header = encodeSegmentHeader({ ...chunk, id: chunkId, bootId, storedSize: chunk.payload.length });
    const size = Math.ceil((header.length + chunk.payload.length) / ALIGNMENT) * ALIGNMENT;
    const segment = this.#segmentFor(sequence, size, chunk);
    const offset = segment.used;
    this.#options.io.write(this.#descriptor(segment), [header, chunk.payload], offset);
    failpoint("segment.written");
    segment.isDirty = true;
    segment.used += size;
    segment.pending += 1;
    return { segment: segment.id, offset, size };
  }

  /** Makes all appended bytes durable. Throws what the disk says; `abandon` then names what must not be trusted. */
  sync(): void {
    for (const segment of this.#segments.values()) {
      if (!segment.isDirty) continue;
      this.#options.io.sync(this.#descriptor(segment));
      segment.isDirty = false;
      failpoint("segment.synced");
      if (this.#currentBySequence.get(segment.sequence) !== segment) this.#close(segment);
    }
  }

  /**
   * After a failed sync the kernel may have dropped the pages (and says so only once): the unsynced chunks of these
   * segments are gone, and nothing more is written behind what they hold; those without a row are free again. Returns
   * the segments.
   */
  abandon(): ReadonlySet<number> {
    const abandoned = [...this.#segments.values()].filter((segment) => segment.isDirty);
    for (const segment of abandoned) {
      this.#currentBySequence.delete(segment.sequence);
      segment.isDirty = false;
      segment.pending = 0;
      this.#close(segment);
      if (segment.chunks > 0) continue;
      segment.sequence = "";
      segment.used = 0;
    }
    return new Set(abandoned.map((segment) => segment.id));
  }

  /** Inside the transaction that adds the pending chunks' rows. */
  saveRows(): void {
    const upsert = this.#db.prepare(
      `INSERT INTO segment (id, sequence, size, used, chunks) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id)
       DO UPDATE SET sequence = excluded.sequence, used = excluded.used, chunks = excluded.chunks`,
    );
    for (const { id, sequence, size, used, chunks, pending } of this.#segments.values())
      if (pending > 0) upsert.run(id, sequence, size, used, chunks + pending);
  }

  /** After that transaction. */
  committed(): void {
    for (const segment of this.#segments.values()) {
      segment.chunks += segment.pending;
      segment.pending = 0;
    }
  }

  /** A pending chunk that will get no row after all. */
  forget(location: Location): void {
    const segment = this.#segments.get(location.segment);
    if (segment === undefined) return;
    segment.pending -= 1;
    if (segment.chunks === 0 && segment.pending === 0) this.#free(segment);
  }

  /** Inside the transaction that deletes rows: `counts` chunks of each segment go. Call `removed` after it. */
  saveRemoval(counts: ReadonlyMap<number, number>): void {
    const update = this.#db.prepare("UPDATE segment SET chunks = ?, sequence = ?, used = ? WHERE id = ?");
    for (const [id, count] of counts) {
      const segment = this.#segments.get(id);
      if (segment === undefined) continue;
      const isFree = this.#isFreedBy(segment, count);
      update.run(segment.chunks - count, isFree ? "" : segment.sequence, isFree ? 0 : segment.used, id);
    }
  }

  removed(counts: ReadonlyMap<number, number>): void {
    for (const [id, count] of counts) {
      const segment = this.#segments.get(id);
      if (segment === undefined) continue;
      if (this.#isFreedBy(segment, count)) this.#free(segment);
      segment.chunks -= count;
    }
  }

  /** Inside the transaction that adds the rows of the chunks found in a segment; call `scanned` after it. */
  saveScan({ id, sequence, used, chunks }: Pick<Segment, "id" | "sequence" | "used" | "chunks">): void {
    this.#db
      .prepare("UPDATE segment SET sequence = ?, used = ?, chunks = ? WHERE id = ?")
      .run(sequence, sequence === "" ? 0 : used, chunks, id);
  }

  scanned(id: number): void {
    type Row = { sequence: string; used: number; chunks: number };
    const row = this.#db.prepare<[number], Row>("SELECT sequence, used, chunks FROM segment WHERE id = ?").get(id);
    const segment = this.#segments.get(id);
    if (segment === undefined || row === undefined) return;
    Object.assign(segment, row);
    if (segment.sequence === "") this.#free(segment);
    else if (!this.#currentBySequence.has(segment.sequence)) this.#continueWith(segment);
  }

  /** Gives a free file back to the file system. False: there is none. */
  shrink(): boolean {
    for (const segment of this.#segments.values()) {
      if (segment.sequence !== "") continue;
      this.#remove(segment);
      return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    for (const segment of this.#segments.values()) this.#close(segment);
  }

  #isFreedBy(segment: Segment, count: number): boolean {
    return segment.chunks === count && segment.pending === 0;
  }

  #free(segment: Segment): void {
    if (this.#currentBySequence.get(segment.sequence) === segment) this.#currentBySequence.delete(segment.sequence);
    segment.sequence = "";
    segment.used = 0;
    segment.isDirty = false;
    if (segment.size !== this.#options.segmentBytes || segment.isMissing) this.#remove(segment);
  }

  /** The file goes first: a row without a file is mended at opening, as is a file without a row. */
  #remove(segment: Segment): void {
    this.#close(segment);
    rmSync(this.#path(segment.id), { force: true });
    failpoint("segment.unlinked");
    this.#segments.delete(segment.id);
    this.#db.prepare("DELETE FROM segment WHERE id = ?").run(segment.id);
  }

  #segmentFor(sequence: string, size: number, chunk: PackedChunk): Segment {
    const current = this.#currentBySequence.get(sequence);
    if (current !== undefined && current.used + size <= current.size) return current;
    const bytes = Math.max(size, this.#options.segmentBytes);
    this.#options.makeRoom(bytes, chunk, this.#takeFree(size) === undefined);
    const next = this.#takeFree(size) ?? this.#create(bytes); // making room may have freed one
    next.sequence = sequence;
    // A chunk larger than a segment has a file of its own, and the sequence goes on in its present one.
    if (next.size === this.#options.segmentBytes || current === undefined) this.#currentBySequence.set(sequence, next);
    if (current !== undefined && !current.isDirty && current !== this.#currentBySequence.get(sequence))
      this.#close(current);
    return next;
  }

  #takeFree(size: number): Segment | undefined {
    for (const segment of this.#segments.values()) if (segment.sequence === "" && segment.size >= size) return segment;
    return undefined;
  }

  #create(size: number): Segment {
    const id = 1 + Math.max(0, ...this.#segments.keys());
    const path = this.#path(id);
    const fd = openSync(path, "w+", 0o640);
    failpoint("segment.created");
    try {
      this.#options.io.preallocate(fd, size);
      failpoint("segment.preallocated");
      fdatasyncSync(fd);
      syncFolder(this.#options.folder);
      failpoint("segment.ready");
    } catch (error) {
      rmSync(path);
      throw error;
    } finally {
      closeSync(fd);
    }
    const segment: Segment = {
      ...{ id, size, sequence: "", used: 0, chunks: 0, pending: 0 },
      ...{ fd: undefined, isDirty: false, isMissing: false },
    };
    this.#segments.set(id, segment);
    return segment;
  }

  /** Of a sequence's segments the roomiest is the one it was filling. */
  #continueWith(segment: Segment): void {
    const current = this.#currentBySequence.get(segment.sequence);
    const isRoomier = current === undefined || segment.size - segment.used > current.size - current.used;
    if (segment.sequence !== "" && !segment.sequence.startsWith("?") && isRoomier)
      this.#currentBySequence.set(segment.sequence, segment);
  }

  #descriptor(segment: Segment): number {
    segment.fd ??= this.#options.io.open(this.#path(segment.id));
    return segment.fd;
  }

  #close(segment: Segment): void {
    if (segment.fd === undefined) return;
    closeSync(segment.fd);
    segment.fd = undefined;
  }

  /** Files without a row go; a row without a file keeps its chunks' rows (their readers will say so) but no more. */
  #reconcile(): void {
    const names = new Set(readdirSync(this.#options.folder).filter((name) => name.endsWith(".seg")));
    for (const segment of [...this.#segments.values()]) {
      if (names.delete(segmentFileName(segment.id))) continue;
      if (segment.chunks > 0) {
        segment.used = segment.size;
        segment.isMissing = true;
      } else {
        this.#segments.delete(segment.id);
        this.#db.prepare("DELETE FROM segment WHERE id = ?").run(segment.id);
      }
    }
    for (const name of names) rmSync(join(this.#options.folder, name));
  }

  #path(id: number): string {
    return join(this.#options.folder, segmentFileName(id));
  }
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}
