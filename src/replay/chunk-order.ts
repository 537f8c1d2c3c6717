/**
 * Puts the messages of a file's chunks in log-time order.
 *
 * Promises: messages of one instant come in the order of the file; only the chunks that overlap are held, and one that
 * is being read and unpacked, in other threads, while the one before is worked on.
 */
import { promisify } from "node:util";
import { zstdDecompress } from "node:zlib";
import { loadDecompressHandlers } from "@mcap/support";
import { decompressFrame } from "lz4-napi";
import type { RecordedMessage } from "./recording.ts";

export type ChunkPlace = {
  /** Of its first message. */
  readonly startNs: bigint;
  read(): Promise<RecordedMessage[]>;
};

export async function* chunksInOrder(places: readonly ChunkPlace[]): AsyncGenerator<readonly RecordedMessage[]> {
  const sorted = places.toSorted((a, b) => compareNs(a.startNs, b.startNs));
  let held: RecordedMessage[] = [];
  let next = startReading(sorted[0]);
  for (let index = 1; next !== undefined; index += 1) {
    const messages = await next;
    next = startReading(sorted[index]);
    held = sortByTime(held.length === 0 ? messages : [...held, ...messages]);
    const limitNs = sorted[index]?.startNs;
    const ready = limitNs === undefined ? held.length : countBefore(held, limitNs);
    if (ready > 0) yield ready === held.length ? held : held.slice(0, ready);
    held = ready === held.length ? [] : held.slice(ready);
  }
}

function startReading(place: ChunkPlace | undefined): Promise<RecordedMessage[]> | undefined {
  const reading = place?.read();
  reading?.catch(() => {}); // whoever awaits it hears of it; nobody does once the reader has stopped
  return reading;
}

/** In place, and cheap where they are in order already, as nearly all are. */
function sortByTime(messages: RecordedMessage[]): RecordedMessage[] {
  let beforeNs = 0n;
  for (const { logTimeNs } of messages) {
    if (logTimeNs < beforeNs) return messages.sort(byLogTime);
    beforeNs = logTimeNs;
  }
  return messages;
}

function countBefore(sorted: readonly RecordedMessage[], limitNs: bigint): number {
  const first = sorted.findIndex(({ logTimeNs }) => logTimeNs >= limitNs);
  return first === -1 ? sorted.length : first;
}

export function byLogTime(a: RecordedMessage, b: RecordedMessage): number {
  return compareNs(a.logTimeNs, b.logTimeNs);
}

function compareNs(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const unpackZstd = promisify(zstdDecompress);

/** A chunk's records. `compression` in the words of MCAP or of bags; throws where bytes and `sizeBytes` do not fit. */
export async function unpackChunk(compression: string, bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array> {
  const unpacked = await unpack(compression, bytes, sizeBytes);
  if (unpacked.byteLength === sizeBytes) return unpacked;
  throw new Error(`a chunk has ${unpacked.byteLength} bytes where its index says ${sizeBytes}`);
}

async function unpack(compression: string, bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array> {
  if (compression === "" || compression === "none") return bytes;
  if (compression === "zstd") return await unpackZstd(bytes, { maxOutputLength: Math.max(sizeBytes, 1) });
  if (compression === "lz4") return await decompressFrame(bytes);
  const handler = (await loadDecompressHandlers())[compression];
  if (handler === undefined) throw new Error(`chunks are compressed with ${compression}, which is not known`);
  return handler(bytes, BigInt(sizeBytes));
}
