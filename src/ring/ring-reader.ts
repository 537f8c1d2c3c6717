/**
 * Reads the ring from another thread, or from a copied folder: a read-only connection and the segment files.
 *
 * Only what was committed is seen. What the range has is listed at the beginning, rows are read in pages by short
 * queries, so that a long read never stops the checkpoint and holds nothing that retention wants; it may delete and
 * overwrite a chunk meanwhile. Before its bytes are handed out a segment's header is compared with the row and the
 * bytes with their CRC-32, so other or torn bytes never pass: a chunk that vanished or is damaged is skipped by
 * `messages` and told to `onProblem`.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Statement } from "better-sqlite3";
import type { Channel } from "../model/channel.ts";
import { Fault } from "../std/fault.ts";
import { type Db, openDatabaseForReading } from "../store/database.ts";
import { ChunkList, type ListedChunk } from "./chunk-list.ts";
import { headerOf, isSound, SEALED_COLUMNS, type StoredRow } from "./chunk-table.ts";
import { latchedSeal } from "./latched.ts";
import { decompressFrame } from "./lz4-frame.ts";
import type { MemorySpool } from "./memory-spool.ts";
import { mergeChunks } from "./message-merge.ts";
import type { RingMessage } from "./message-record.ts";
import { decodeChannels } from "./packed-chunk.ts";
import { asReadFault, isDamage } from "./ring-file.ts";
import { decodeSegmentHeader, HEADER_BYTES_MAX, type SegmentHeader } from "./segment-header.ts";
import { ALIGNMENT } from "./segment-io.ts";
import { RING_FILE, RING_FORMAT, readBoots, readChannels, SEGMENTS_FOLDER, segmentFileName } from "./tables.ts";

export type RingQuery = {
  /** Both ends belong to the range, in log_time. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** Of this boot only. Unless told: of every boot whose log_time has the range, which may overlap. */
  readonly bootId?: string | undefined;
  readonly channelIds?: ReadonlySet<number>;
  readonly kinds?: ReadonlySet<"full" | "baseline">;
};

export type StoredChunk = Omit<SegmentHeader, "storedCrc32"> & {
  /**
   * The stored bytes, checked against their CRC: an LZ4 frame, or the body where compression is "".
   * Throws `Fault("chunk_gone")` if retention was faster, `Fault("corrupt_chunk")` if they are damaged.
   */
  read(): Uint8Array;
};

export type ReadProblem = {
  readonly chunk: StoredChunk;
  readonly code: "chunk_gone" | "corrupt_chunk";
  readonly reason: string;
};
export type RingReaderOptions = {
  readonly onProblem?: (problem: ReadProblem) => void;
  /** What the daemon of this ring has in memory only, read before this reader was opened, which disposes of it. */
  readonly memory?: MemorySpool | undefined;
};

const ROWS_PER_PAGE = 256;
/** Of a cold disk each row is a read or two, and the first message wants few of them. */
const FIRST_ROWS = 16;
/** A body the builder cannot have made: a damaged row must not make the reader allocate it. */
const BODY_BYTES_MAX = 1024 * 1024 * 1024;
/** An open file keeps the room of a segment that retention gave back: up to 64 MiB each. */
const OPEN_SEGMENTS_MAX = 4;
/** Header and alignment never take more than this beside the bytes. */
const OVERHEAD_BYTES_MAX = HEADER_BYTES_MAX + ALIGNMENT;

type Place = {
  readonly segment: number | null;
  readonly offset: number;
  readonly size: number;
  readonly storedCrc32: number;
  /** undefined: a row of format 1. */
  readonly seal: number | undefined;
  /** The row is what was written. */
  readonly isSound: boolean;
};

type Row = StoredRow & { readonly offset: bigint | null };

export class RingReader {
  readonly #folder: string;
  readonly #db: Db;
  readonly #onProblem: (problem: ReadProblem) => void;
  readonly #memory: MemorySpool | undefined;
  readonly #descriptors = new Map<number, number>();
  #inline: Statement<[number], { payload: Buffer | null }> | undefined;

  private constructor(folder: string, db: Db, options: RingReaderOptions) {
    this.#folder = folder;
    this.#db = db;
    this.#onProblem = options.onProblem ?? (() => {});
    this.#memory = options.memory;
  }

  /** The ring must have been made by `Ring.open` before. */
  static open(folder: string, options: RingReaderOptions = {}): RingReader {
    return new RingReader(folder, openDatabaseForReading(join(folder, RING_FILE), RING_FORMAT), options);
  }

  /** Oldest first. */
  bootIds(): string[] {
    return readBoots(this.#db).map(({ bootId }) => bootId);
  }

  channels(): ReadonlyMap<number, Channel> {
    return new Map(readChannels(this.#db).map((channel) => [channel.id, channel]));
  }

  /** What touches the range, boot by boot and by start time; quarantined chunks are left out. */
  *chunks(query: RingQuery): Generator<StoredChunk> {
    try {
      yield* this.#chunks(query);
    } catch (error) {
      throw asReadFault(error);
    }
  }

  *#chunks(query: RingQuery): Generator<StoredChunk> {
    const boots = readBoots(this.#db).filter(({ bootId }) => query.bootId === undefined || query.bootId === bootId);
    const lists = boots.map(({ id }) => ChunkList.open(this.#db, id, query));
    for (const [index, list] of lists.entries()) yield* this.#joined(list, boots[index]?.bootId ?? "", query);
  }

  /** Of the running boot the memory tier as well. */
  #joined(list: ChunkList, bootId: string, query: RingQuery): Generator<StoredChunk> {
    const stored = this.#chunksOf(list, bootId, query);
    return this.#memory?.bootId === bootId ? this.#memory.joined(stored, query, isWanted) : stored;
  }

  *#chunksOf(list: ChunkList, bootId: string, query: RingQuery): Generator<StoredChunk> {
    const classNames = this.#classesOf(query);
    const known = this.channels();
    let size = FIRST_ROWS;
    for (let page = list.take(size); page.length > 0; page = list.take(size)) {
      size = ROWS_PER_PAGE;
      const rows = this.#rows(page.map(({ id }) => id));
      for (const listed of page) {
        const row = rows.get(listed.id);
        const isUnbroken = row !== undefined && isSound(row, bootId) && isNamed(row, known);
        if (row === undefined || (isUnbroken && row.start_ns !== listed.startNs)) {
          if (classNames.has(listed.className)) yield evicted(listed, bootId);
          continue;
        }
        if (row.quarantine !== null || row.end_ns < query.startNs) continue;
        // Of a broken row nobody knows what is in it, but that it cannot be read.
        const chunk = this.#toChunk(row, bootId, isUnbroken);
        if (!isUnbroken || isWanted(chunk, query)) yield chunk;
      }
    }
  }

  /** Those that the wanted channels are kept under. */
  #classesOf({ channelIds }: RingQuery): ReadonlySet<string> {
    const wanted = readChannels(this.#db).filter(({ id }) => channelIds === undefined || channelIds.has(id));
    return new Set(wanted.map(({ className }) => className));
  }

  /** The chunk's body: a run of message records; `stored`: what `read` gave. Throws as `read` does. */
  decompress(chunk: StoredChunk, stored = chunk.read()): Uint8Array {
    if (chunk.compression === "") return stored;
    const body = decompressFrame(stored, chunk.bodySize);
    if (crc32(body) !== chunk.crc32) throw corrupt(chunk.id, "Its body does not match its checksum.");
    return body;
  }

  /** Boot by boot, in order of log_time, no message twice: what is in a full chunk and in a baseline one comes once. */
  *messages(query: RingQuery): Generator<RingMessage> {
    yield* mergeChunks(this.chunks(query), query, (chunk) => this.#bodyOrProblem(chunk));
  }

  /**
   * The last message of each latched or rarely sent channel at or before an instant of a boot (the last one, unless
   * told): of that boot, or else of an earlier one, unless that one's clock was ahead of the instant.
   */
  latched(beforeNs: bigint, bootId?: string): RingMessage[] {
    try {
      return this.#latched(beforeNs, bootId);
    } catch (error) {
      throw asReadFault(error);
    }
  }

  #latched(beforeNs: bigint, bootId?: string): RingMessage[] {
    type Latched = Record<"channel_id" | "log_time_ns" | "boot" | "sequence" | "publish_time_ns", bigint> & {
      bytes: Buffer;
      seal: bigint | null;
    };
    const isIntact = ({ channel_id, log_time_ns, boot, sequence, publish_time_ns, bytes, seal }: Latched) =>
      seal === null || Number(seal) === latchedSeal([channel_id, log_time_ns, boot, sequence, publish_time_ns], bytes);
    const boots = readBoots(this.#db);
    const bootIds = new Map(boots.map((boot) => [boot.id, boot.bootId]));
    const boot = boots.find((known) => known.bootId === bootId) ?? boots.at(-1);
    const rows = this.#db
      .prepare<[number, bigint], Latched>(
        `SELECT * FROM latched WHERE boot <= ? AND log_time_ns <= ?
           ORDER BY channel_id, boot, log_time_ns, sequence`,
      )
      .safeIntegers()
      .all(boot?.id ?? 0, beforeNs);
    const last = new Map(rows.filter(isIntact).map((row) => [row.channel_id, row]));
    return [...last.values()].map((row) => ({
      channelId: Number(row.channel_id),
      sequence: Number(row.sequence),
      logTimeNs: row.log_time_ns,
      publishTimeNs: row.publish_time_ns,
      bytes: row.bytes,
      bootId: bootIds.get(Number(row.boot)) ?? "",
    }));
  }

  /** Up to when nothing is missing that the daemon received; undefined: no memory tier was read. */
  get completeUntilNs(): bigint | undefined {
    return this.#memory?.completeUntilNs;
  }

  [Symbol.dispose](): void {
    this.#memory?.[Symbol.dispose]();
    for (const fd of this.#descriptors.values()) closeSync(fd);
    this.#descriptors.clear();
    this.#db.close();
  }

  /** By id: a row that retention deleted since it was listed is not among them. */
  #rows(ids: readonly number[]): Map<number, Row> {
    const rows = this.#db
      .prepare<[string], Row>(
        `SELECT ${SEALED_COLUMNS}, size, segment, offset, quarantine FROM chunk
         WHERE id IN (SELECT value FROM json_each(?))`,
      )
      .safeIntegers()
      .all(JSON.stringify(ids));
    return new Map(rows.map((row) => [Number(row.id), row]));
  }

  #toChunk(row: Row, bootId: string, isUnbroken: boolean): StoredChunk {
    const { storedCrc32, ...header } = headerOf(row, bootId);
    const place: Place = {
      segment: row.segment === null ? null : Number(row.segment),
      offset: Number(row.offset ?? 0n),
      size: Number(row.size),
      ...{ storedCrc32, seal: row.seal === null ? undefined : Number(row.seal), isSound: isUnbroken },
    };
    const chunk: StoredChunk = { ...header, read: () => this.#read(chunk, place) };
    return chunk;
  }

  #read(chunk: StoredChunk, place: Place): Uint8Array {
    if (!place.isSound)
      throw corrupt(chunk.id, "Its row in the index is not what was written, or nobody knows its channels.");
    const bytes = place.segment === null ? this.#readInline(chunk) : this.#readSegment(chunk, place.segment, place);
    if (bytes.length !== chunk.storedSize || chunk.bodySize > BODY_BYTES_MAX)
      throw corrupt(chunk.id, "Its size is not what its row says.");
    if (crc32(bytes) !== place.storedCrc32) {
      this.#assertPresent(chunk);
      throw corrupt(chunk.id, "Its bytes do not match their checksum.");
    }
    return bytes;
  }

  #readInline(chunk: StoredChunk): Uint8Array {
    try {
      this.#inline ??= this.#db.prepare("SELECT payload FROM chunk WHERE id = ?");
      const row = this.#inline.get(chunk.id);
      if (row === undefined) throw gone(chunk.id);
      return row.payload ?? new Uint8Array(0);
    } catch (error) {
      throw isDamage(error) ? corrupt(chunk.id, "A page of ring.db that holds it is damaged.") : error;
    }
  }

  #readSegment(chunk: StoredChunk, segment: number, { offset, size, seal }: Place): Uint8Array {
    if (size > chunk.storedSize + OVERHEAD_BYTES_MAX) throw corrupt(chunk.id, "Its size is not what its row says.");
    for (const isFresh of [false, true]) {
      const bytes = this.#readAt(segment, offset, size, isFresh);
      const header = bytes === undefined ? undefined : decodeSegmentHeader(bytes);
      if (bytes === undefined || header === undefined) continue;
      const isSame = header.id === chunk.id && header.storedSize === chunk.storedSize;
      const isOwn = isSame && (seal === undefined || bytes.readUInt32LE(header.length - 4) === seal);
      if (isOwn) return bytes.subarray(header.length, header.length + chunk.storedSize);
    }
    this.#assertPresent(chunk);
    throw corrupt(chunk.id, "Its header in the segment file is not its own, or the file is gone.");
  }

  /** A descriptor that was kept may be of a file that was given back and made anew: `isFresh` opens it again. */
  #readAt(segment: number, offset: number, size: number, isFresh: boolean): Buffer | undefined {
    const fd = this.#descriptor(segment, isFresh);
    if (fd === undefined) return undefined;
    const bytes = Buffer.allocUnsafeSlow(size);
    let filled = 0;
    while (filled < size) {
      const count = readSync(fd, bytes, filled, size - filled, offset + filled);
      if (count === 0) break;
      filled += count;
    }
    return bytes.subarray(0, filled);
  }

  #descriptor(segment: number, isFresh: boolean): number | undefined {
    const kept = this.#descriptors.get(segment);
    if (kept !== undefined && !isFresh) return kept;
    if (kept !== undefined) closeSync(kept);
    this.#descriptors.delete(segment);
    const [oldest] = this.#descriptors;
    if (oldest !== undefined && this.#descriptors.size >= OPEN_SEGMENTS_MAX) {
      closeSync(oldest[1]);
      this.#descriptors.delete(oldest[0]);
    }
    try {
      const fd = openSync(join(this.#folder, SEGMENTS_FOLDER, segmentFileName(segment)), "r");
      this.#descriptors.set(segment, fd);
      return fd;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Tells a chunk that retention deleted from one that is damaged. */
  #assertPresent(chunk: StoredChunk): void {
    if (this.#db.prepare("SELECT 1 FROM chunk WHERE id = ?").get(chunk.id) === undefined) throw gone(chunk.id);
  }

  #bodyOrProblem(chunk: StoredChunk): Uint8Array | undefined {
    try {
      return this.decompress(chunk);
    } catch (error) {
      if (!(error instanceof Fault) || (error.code !== "chunk_gone" && error.code !== "corrupt_chunk")) throw error;
      this.#onProblem({ chunk, code: error.code, reason: error.message });
      return undefined;
    }
  }
}

function isNamed(row: Row, channels: ReadonlyMap<number, Channel>): boolean {
  return decodeChannels(row.channels).every(({ channelId }) => channels.has(channelId));
}

function isWanted(chunk: StoredChunk, { channelIds, kinds }: RingQuery): boolean {
  if (kinds !== undefined && !kinds.has(chunk.kind)) return false;
  return channelIds === undefined || chunk.channels.some(({ channelId }) => channelIds.has(channelId));
}

/** A chunk of which nobody knows any more what it held, but that something of its class is missing from the range. */
function evicted({ id, startNs, className }: ListedChunk, bootId: string): StoredChunk {
  const empty = { channels: [], bodySize: 0, crc32: 0, compression: "", storedSize: 0 } as const;
  const read = () => {
    throw gone(id);
  };
  return { id, bootId, className, kind: "full", isLocal: false, startNs, endNs: startNs, ...empty, read };
}

function gone(id: number): Fault {
  return new Fault("chunk_gone", `Chunk ${id} was evicted while it was being read.`, "Nothing is broken: it was old.");
}

function corrupt(id: number, reason: string): Fault {
  return new Fault("corrupt_chunk", `Chunk ${id} is damaged. ${reason}`, "It is set aside; check the disk's health.");
}
