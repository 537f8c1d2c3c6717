/**
 * A ring with the rows of 64 GB, made in half a minute: what the nominal robot leaves in a ring with Lode's own
 * configuration, at its own chunk sizes. 30 seconds of it go through the real pipeline; their rows, segment headers
 * and totals are repeated, shifted in time, until the files are full.
 *
 * Payload is real only in the blocks that are read (`blocks`). Elsewhere segment files have holes behind the headers,
 * and an inline payload is cut to a kilobyte, which leaves the table's tree as deep as it would be.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { configSchema, resolveClasses } from "../../src/config/schema.ts";
import { topicClasses } from "../../src/config/topic-plan.ts";
import { openJournal } from "../../src/daemon/journal.ts";
import { ChunkTable, type PendingChunk } from "../../src/ring/chunk-table.ts";
import { accountedAmount, type PackedChunk } from "../../src/ring/packed-chunk.ts";
import type { StoredChunk } from "../../src/ring/ring-reader.ts";
import { encodeSegmentHeader } from "../../src/ring/segment-header.ts";
import { ALIGNMENT } from "../../src/ring/segment-io.ts";
import { SEGMENTS_FOLDER, segmentFileName } from "../../src/ring/tables.ts";
import { openDatabase } from "../../src/store/database.ts";
import { channel, Rig, START_NS } from "../ring/ring-rig.ts";
import { nominalStreams, stretchOf } from "./robot-streams.ts";

export const BLOCK_S = 30;
export const RING_BYTES = 64e9;
const BLOCK_NS = BigInt(BLOCK_S) * 1_000_000_000n;
const SEGMENT_BYTES = 64 * 1024 * 1024;
/** The ring's own. */
const INLINE_BYTES_MAX = 8 * 1024;
const REAL_BLOCKS = 7;
const CUT_BYTES = 1000;
const BOOT_ID = "boot-1";

export function bigRingClasses() {
  const { topics } = configSchema.parse({});
  return [...topicClasses({ ...topics, classes: resolveClasses({}, {}) }).values()];
}

export function openBigRing(folder: string, bytesMax = RING_BYTES): Rig {
  const options = { classes: bigRingClasses(), bytesMax, segmentBytes: SEGMENT_BYTES, bootId: BOOT_ID };
  return new Rig({ ...options, openJournal }, folder, START_NS + 400_000n * 1_000_000_000n);
}

export type BigRing = {
  readonly rows: number;
  readonly rowsPerS: number;
  readonly bytes: number;
  readonly hours: number;
  readonly segments: number;
  /** The starts of the blocks whose payload is real. */
  readonly blocks: readonly bigint[];
  readonly topics: readonly string[];
};

export async function buildBigRing(folder: string): Promise<BigRing> {
  mkdirSync(folder, { recursive: true });
  const template = await blockAt(START_NS);
  const blockBytes = template.reduce((sum, chunk) => sum + sizeOf(chunk), 0);
  const count = Math.floor((RING_BYTES * 0.98) / blockBytes);
  const real = Array.from({ length: REAL_BLOCKS }, (_, index) => Math.floor(((index + 0.5) * count) / REAL_BLOCKS));
  {
    using rig = openBigRing(folder); // makes the files, with channels and boot
    await addChannels(rig);
    rig.ring.commit();
  }
  const writer = new BlockWriter(folder);
  for (let index = 0; index < count; index += 1) {
    const startNs = START_NS + BigInt(index) * BLOCK_NS;
    if (real.includes(index)) writer.write(await blockAt(startNs), 0n, true);
    else writer.write(template, startNs - START_NS, false);
  }
  const { rows, bytes, segments } = writer.close();
  return {
    ...{ rows, bytes, segments, rowsPerS: template.length / BLOCK_S, hours: (count * BLOCK_S) / 3600 },
    blocks: real.map((index) => START_NS + BigInt(index) * BLOCK_NS),
    topics: (await nominalStreams()).map(({ topic }) => topic),
  };
}

async function addChannels(rig: Rig): Promise<void> {
  for (const [index, { topic, className }] of (await nominalStreams()).entries())
    rig.addChannel(channel(index + 1, topic, className));
}

type Block = readonly PackedChunk[];

/** What a block of the robot's traffic leaves on disk, by the real pipeline. */
async function blockAt(startNs: bigint): Promise<Block> {
  using rig = new Rig({ classes: bigRingClasses(), bootId: BOOT_ID, segmentBytes: SEGMENT_BYTES }, undefined, startNs);
  await addChannels(rig);
  const streams = await nominalStreams();
  const ids = new Map(streams.map(({ topic }, index) => [topic, index + 1]));
  const stepS = 0.05;
  let flushedS = 0;
  for (const { atS, stream, payload } of stretchOf(streams, BLOCK_S, 0)) {
    for (; flushedS + stepS <= atS; flushedS += stepS) {
      rig.clock.advanceMs(stepS * 1000);
      rig.flush();
    }
    rig.builder.append(ids.get(stream.topic) ?? 0, rig.nowNs, rig.nowNs, payload);
  }
  rig.settle();
  using reader = rig.open();
  return [...reader.chunks({ startNs: 0n, endNs: 2n ** 62n })].map(packedOf);
}

function packedOf(chunk: StoredChunk): PackedChunk {
  const payload = new Uint8Array(chunk.read());
  return { ...chunk, storedCrc32: crc32(payload), payload };
}

const sizeOf = ({ payload }: PackedChunk) => (isInline(payload) ? payload.length : alignedSize(payload.length));
const isInline = (payload: Uint8Array) => payload.length <= INLINE_BYTES_MAX;
/** With a header of less than a page, as all of these are. */
const alignedSize = (bytes: number) => Math.ceil((bytes + 128) / ALIGNMENT) * ALIGNMENT;

type File = { readonly id: number; readonly sequence: string; readonly fd: number; used: number; chunks: number };

/** Rows by the ring's own statement, without its transactions: nothing of this need survive a crash. */
class BlockWriter {
  readonly #folder: string;
  readonly #db;
  readonly #table: ChunkTable;
  readonly #files = new Map<string, File>();
  #segments = 0;
  #bytes = 0;
  #rows = 0;
  readonly #counts = new Map<number, { count: number; bytes: number }>();

  constructor(folder: string) {
    this.#folder = folder;
    this.#db = openDatabase(join(folder, "ring.db"), [() => {}, () => {}]);
    this.#db.pragma("journal_mode = OFF");
    this.#db.pragma("synchronous = OFF");
    this.#table = ChunkTable.open(this.#db, 1);
  }

  write(block: Block, shiftNs: bigint, isReal: boolean): void {
    const pending = block.map((chunk) => this.#place(chunk, shiftNs, isReal));
    this.#db.transaction(() => this.#table.restore(pending, { id: 1, bootId: BOOT_ID }))();
    this.#rows += pending.length;
  }

  close(): { rows: number; bytes: number; segments: number } {
    for (const file of this.#files.values()) this.#end(file);
    const insert = this.#db.prepare(
      `INSERT INTO count (boot_id, topic, received, received_bytes, in_memory, stored, stored_bytes, reduced, evicted)
         SELECT ?, topic, ?, ?, 0, ?, ?, 0, 0 FROM channel WHERE id = ?`,
    );
    for (const [id, { count, bytes }] of this.#counts) insert.run(BOOT_ID, count, bytes, count, bytes, id);
    this.#db.exec("UPDATE boot SET is_closed = 1");
    this.#db.pragma("journal_mode = WAL");
    this.#db.close();
    return { rows: this.#rows, bytes: this.#bytes, segments: this.#segments };
  }

  #place(chunk: PackedChunk, shiftNs: bigint, isReal: boolean): PendingChunk {
    const { payload, className } = chunk;
    const id = this.#table.takeId();
    const moved = { ...chunk, startNs: chunk.startNs + shiftNs, endNs: chunk.endNs + shiftNs };
    this.#bytes += sizeOf(chunk);
    for (const part of chunk.channels) {
      const { count, bytes } = this.#counts.get(part.channelId) ?? { count: 0, bytes: 0 };
      const amount = accountedAmount(part);
      this.#counts.set(part.channelId, { count: count + amount.count, bytes: bytes + amount.bytes });
    }
    const kept = isReal ? payload : payload.subarray(0, CUT_BYTES);
    const common = { id, storedSize: payload.length };
    if (isInline(payload)) return { ...common, chunk: { ...moved, payload: kept }, location: undefined };
    const size = alignedSize(payload.length);
    const file = this.#fileFor(className, size);
    const header = encodeSegmentHeader({ ...moved, id, bootId: BOOT_ID, storedSize: payload.length });
    writeSync(file.fd, header, 0, header.length, file.used);
    if (isReal) writeSync(file.fd, payload, 0, payload.length, file.used + header.length);
    const location = { segment: file.id, offset: file.used, size };
    file.used += size;
    file.chunks += 1;
    return { ...common, chunk: moved, location };
  }

  #fileFor(sequence: string, size: number): File {
    const current = this.#files.get(sequence);
    if (current !== undefined && current.used + size <= SEGMENT_BYTES) return current;
    if (current !== undefined) this.#end(current);
    this.#segments += 1;
    const fd = openSync(join(this.#folder, SEGMENTS_FOLDER, segmentFileName(this.#segments)), "w");
    ftruncateSync(fd, SEGMENT_BYTES);
    const file = { id: this.#segments, sequence, fd, used: 0, chunks: 0 };
    this.#files.set(sequence, file);
    return file;
  }

  #end({ id, sequence, fd, used, chunks }: File): void {
    closeSync(fd);
    this.#db
      .prepare("INSERT INTO segment (id, sequence, size, used, chunks) VALUES (?, ?, ?, ?, ?)")
      .run(id, sequence, SEGMENT_BYTES, used, chunks);
  }
}
