/**
 * What the ring has in memory only, as bytes for a reader in another process.
 *
 * | size | field |
 * |---|---|
 * | 1 | 1: a chunk; 2: a chunk that left memory meanwhile; 3: the end |
 * | H | the chunk's header as in a segment file (segment-header.ts); its id counts from 1 |
 * | n | the stored chunk, of the header's stored size; not behind kind 2 |
 * | 8 | behind kind 3: the log_time up to which everything received is here or on disk, u64le ns |
 *
 * Nothing follows the end; a stream without one is torn. A chunk that left may be on disk by now, or gone.
 */
import { Fault } from "../std/fault.ts";
import type { Range } from "./holds.ts";
import type { PackedChunk } from "./packed-chunk.ts";
import { decodeSegmentHeader, encodeSegmentHeader, type SegmentHeader } from "./segment-header.ts";

/** What is there, to be asked for chunk by chunk (`chunkKey`). */
export type MemoryList = { readonly headers: readonly SegmentHeader[]; readonly completeUntilNs: bigint };

const [CHUNK, LEFT, END] = [1, 2, 3];
const END_BYTES = 9;

/** Names a chunk wherever it lies, within its boot. */
export function chunkKey(chunk: Range & Pick<PackedChunk, "kind" | "bodySize" | "crc32">): string {
  return `${chunk.kind} ${chunk.startNs} ${chunk.endNs} ${chunk.bodySize} ${chunk.crc32}`;
}

export function headerOfChunk(chunk: PackedChunk, id: number, bootId: string): SegmentHeader {
  const { payload, ...described } = chunk;
  return { ...described, id, bootId, storedSize: payload.length };
}

/** Without a payload: it left. */
export function encodeMemoryChunk(header: SegmentHeader, payload: Uint8Array | undefined): Uint8Array[] {
  const kind = Buffer.of(payload === undefined ? LEFT : CHUNK);
  return [kind, encodeSegmentHeader(header), ...(payload === undefined ? [] : [payload])];
}

export function encodeMemoryEnd(completeUntilNs: bigint): Uint8Array {
  const end = Buffer.of(END, ...Array(END_BYTES - 1).fill(0));
  end.writeBigUInt64LE(completeUntilNs, 1);
  return end;
}

type Found = { readonly header: SegmentHeader /** undefined: it left. */; readonly offset: number | undefined };

/** The chunks of a stream and where their bytes lie in it; returns `completeUntilNs`. Throws `Fault("memory_unread")`. */
export function* findMemoryChunks(
  read: (offset: number, sizeBytes: number) => Buffer,
  sizeBytes: number,
): Generator<Found, bigint> {
  for (let at = 0; at + END_BYTES <= sizeBytes; ) {
    const kind = read(at, 1).readUInt8(0);
    if (kind === END && at + END_BYTES === sizeBytes) return read(at + 1, END_BYTES - 1).readBigUInt64LE(0);
    const header = decodeSegmentHeader(read(at + 1, read(at + 1, 8).readUInt16LE(6)));
    if (header === undefined || (kind !== CHUNK && kind !== LEFT)) break;
    const offset = at + 1 + header.length;
    yield { header, offset: kind === CHUNK ? offset : undefined };
    at = offset + (kind === CHUNK ? header.storedSize : 0);
  }
  const hint = "Ask again; or leave out the last half minute with --to.";
  throw new Fault("memory_unread", "What the daemon has in memory came torn, or in a form of another version.", hint);
}
