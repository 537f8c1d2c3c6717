/**
 * Puts the messages of a file's chunks in log-time order.
 *
 * Promises: messages of one instant come in the order of the file; only the chunks that overlap are held, and one that
 * is being read and unpacked, in other threads, while the one before is worked on. Messages become objects a few
 * hundred at a time: a chunk's thousands at once would all live long enough to be copied by the garbage collector.
 */
import { promisify } from "node:util";
import { zstdDecompress } from "node:zlib";
import { loadDecompressHandlers } from "@mcap/support";
import { decompressFrame } from "lz4-napi";
import type { RecordedMessage } from "./recording.ts";

/** A chunk's messages, in log-time order. */
export interface ChunkMessages {
  readonly count: number;
  logTimeNs(index: number): bigint;
  message(index: number): RecordedMessage;
}

export type ChunkPlace = {
  /** Of its first message. */
  readonly startNs: bigint;
  read(): Promise<ChunkMessages>;
};

type Cursor = { readonly messages: ChunkMessages; next: number };

const BATCH_MESSAGES = 256;

export async function* chunksInOrder(places: readonly ChunkPlace[]): AsyncGenerator<readonly RecordedMessage[]> {
  const sorted = places.toSorted((a, b) => compareNs(a.startNs, b.startNs));
  let cursors: Cursor[] = [];
  let next = startReading(sorted[0]);
  for (let index = 1; next !== undefined; index += 1) {
    cursors.push({ messages: await next, next: 0 });
    next = startReading(sorted[index]);
    yield* batchesBefore(cursors, sorted[index]?.startNs ?? NEVER_NS);
    cursors = cursors.filter((cursor) => cursor.next < cursor.messages.count);
  }
}

/** Beyond every log_time, u64. */
const NEVER_NS = 2n ** 64n;

function startReading(place: ChunkPlace | undefined): Promise<ChunkMessages> | undefined {
  const reading = place?.read();
  reading?.catch(() => {}); // whoever awaits it hears of it; nobody does once the reader has stopped
  return reading;
}

function* batchesBefore(cursors: readonly Cursor[], limitNs: bigint): Generator<readonly RecordedMessage[]> {
  for (;;) {
    const batch: RecordedMessage[] = [];
    while (batch.length < BATCH_MESSAGES) {
      const cursor = firstOf(cursors, limitNs);
      if (cursor === undefined) break;
      batch.push(cursor.messages.message(cursor.next));
      cursor.next += 1;
    }
    if (batch.length === 0) return;
    yield batch;
  }
}

/** Whose next message is the earliest; of equals the one that was opened first. */
function firstOf(cursors: readonly Cursor[], limitNs: bigint): Cursor | undefined {
  let [first, firstNs]: [Cursor | undefined, bigint] = [undefined, limitNs];
  for (const cursor of cursors) {
    if (cursor.next >= cursor.messages.count) continue;
    const atNs = cursor.messages.logTimeNs(cursor.next);
    if (atNs < firstNs) [first, firstNs] = [cursor, atNs];
  }
  return first;
}

/**
 * Offsets of a chunk's messages in log-time order, from those in the order of the file: in place, and without a big
 * integer where they are in order already, as nearly all are. A time is two words, the high one first.
 */
export function sortOffsets(
  offsets: number[],
  highOf: (offset: number) => number,
  lowOf: (offset: number) => number,
): number[] {
  const compare = (a: number, b: number) => highOf(a) - highOf(b) || lowOf(a) - lowOf(b);
  return offsets.every((offset, index) => index === 0 || compare(offsets[index - 1] ?? 0, offset) <= 0)
    ? offsets
    : offsets.sort(compare);
}

export function byLogTime(a: RecordedMessage, b: RecordedMessage): number {
  return compareNs(a.logTimeNs, b.logTimeNs);
}

function compareNs(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Node's zlib gives its output in pieces of 16 kB unless told, and takes none smaller. */
const ZSTD_CHUNK_MIN = 64;
const unpackZstd = promisify(zstdDecompress);

/** A chunk's records. `compression` in the words of MCAP or of bags; throws where bytes and `sizeBytes` do not fit. */
export async function unpackChunk(compression: string, bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array> {
  const unpacked = await unpack(compression, bytes, sizeBytes);
  if (unpacked.byteLength === sizeBytes) return unpacked;
  throw new Error(`a chunk has ${unpacked.byteLength} bytes where its index says ${sizeBytes}`);
}

async function unpack(compression: string, bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array> {
  if (compression === "" || compression === "none") return bytes;
  if (compression === "zstd") {
    const options = { maxOutputLength: Math.max(sizeBytes, 1), chunkSize: Math.max(sizeBytes, ZSTD_CHUNK_MIN) };
    return await unpackZstd(bytes, options);
  }
  if (compression === "lz4") return await decompressFrame(bytes);
  const handler = (await loadDecompressHandlers())[compression];
  if (handler === undefined) throw new Error(`chunks are compressed with ${compression}, which is not known`);
  return handler(bytes, BigInt(sizeBytes));
}
