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

export type MemoryEntry =
  | { readonly kind: "chunk"; readonly header: SegmentHeader; readonly payload: Uint8Array }
  | { readonly kind: "left"; readonly header: SegmentHeader }
  | { readonly kind: "end"; readonly completeUntilNs: bigint };

/** A list of what is there, to be asked for chunk by chunk (`chunkKey`). */
export type MemoryList = { readonly headers: readonly SegmentHeader[]; readonly completeUntilNs: bigint };

const KINDS = { chunk: 1, left: 2, end: 3 };
/** No header and no chunk is larger: a stream that says so is not ours. */
const ENTRY_BYTES_MAX = 1024 * 1024 * 1024;

/** Names a chunk wherever it lies, within its boot. */
export function chunkKey(chunk: Range & Pick<PackedChunk, "kind" | "bodySize" | "crc32">): string {
  return `${chunk.kind} ${chunk.startNs} ${chunk.endNs} ${chunk.bodySize} ${chunk.crc32}`;
}

export function headerOfChunk(chunk: PackedChunk, id: number, bootId: string): SegmentHeader {
  const { payload, ...described } = chunk;
  return { ...described, id, bootId, storedSize: payload.length };
}

export function encodeMemoryEntry(entry: MemoryEntry): Uint8Array[] {
  const kind = Buffer.of(KINDS[entry.kind]);
  if (entry.kind === "chunk") return [kind, encodeSegmentHeader(entry.header), entry.payload];
  if (entry.kind === "left") return [kind, encodeSegmentHeader(entry.header)];
  const until = Buffer.alloc(8);
  until.writeBigUInt64LE(entry.completeUntilNs);
  return [kind, until];
}

/** Throws `Fault("memory_unread")` on a stream that is torn or not ours. Holds one chunk at a time. */
export async function* decodeMemoryStream(parts: AsyncIterable<Uint8Array>): AsyncGenerator<MemoryEntry> {
  let held: Buffer = Buffer.alloc(0);
  const source = parts[Symbol.asyncIterator]();
  const fill = async (sizeBytes: number): Promise<Buffer> => {
    if (sizeBytes > ENTRY_BYTES_MAX) throw unread("it is not in our format");
    const gathered = [held];
    let length = held.length;
    while (length < sizeBytes) {
      const { done, value } = await source.next();
      if (done === true) throw unread("it ended too early");
      gathered.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
      length += value.byteLength;
    }
    if (gathered.length > 1) held = Buffer.concat(gathered);
    return held;
  };
  const take = async (sizeBytes: number): Promise<Buffer> => {
    const bytes = (await fill(sizeBytes)).subarray(0, sizeBytes);
    held = held.subarray(sizeBytes);
    return bytes;
  };
  for (;;) {
    const kind = (await take(1)).readUInt8(0);
    if (kind === KINDS.end) return yield { kind: "end", completeUntilNs: (await take(8)).readBigUInt64LE(0) };
    const header = decodeSegmentHeader(await take((await fill(8)).readUInt16LE(6)));
    if (header === undefined || (kind !== KINDS.chunk && kind !== KINDS.left)) throw unread("it is not in our format");
    if (kind === KINDS.left) yield { kind: "left", header };
    else yield { kind: "chunk", header, payload: await take(header.storedSize) };
  }
}

function unread(reason: string): Fault {
  const hint = "Ask again; or leave out the last half minute with --to.";
  return new Fault("memory_unread", `What the daemon has in memory could not be read: ${reason}.`, hint);
}
