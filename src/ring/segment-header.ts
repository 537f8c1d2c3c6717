/**
 * What stands before every chunk in a segment file, so that the index can be rebuilt and no reader takes other
 * bytes for the chunk it wants.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | "LODE" |
 * | 4 | 1 | format, 1 |
 * | 5 | 1 | flags: 1 = baseline, 2 = local, 4 = lz4 |
 * | 6 | 2 | length of this header H, u16le |
 * | 8 | 8 | chunk id, u64le |
 * | 16 | 16 | start and end log_time, u64le ns |
 * | 32 | 4 + 4 | body size, its CRC-32 |
 * | 40 | 4 + 4 | stored size, its CRC-32 |
 * | 48 | 1 + c | class name's length and UTF-8 |
 * | 49 + c | 1 + b | boot id's length and UTF-8 |
 * | 50 + c + b | 18 n | channels (packed-chunk.ts) |
 * | H − 4 | 4 | CRC-32 of the header so far |
 */
import { crc32 } from "node:zlib";
import type { PackedChunk } from "./packed-chunk.ts";
import { encodeChannels } from "./packed-chunk.ts";

const MAGIC = 0x45444f4c;
const FORMAT = 1;
const FIXED_BYTES = 48;

export function encodeSegmentHeader(chunk: PackedChunk, chunkId: number, bootId: string): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES);
  const tail = Buffer.concat([text(chunk.className), text(bootId), encodeChannels(chunk.channels)]);
  fixed.writeUInt32LE(MAGIC, 0);
  fixed.writeUInt8(FORMAT, 4);
  const flags = (chunk.kind === "baseline" ? 1 : 0) | (chunk.isLocal ? 2 : 0) | (chunk.compression === "lz4" ? 4 : 0);
  fixed.writeUInt8(flags, 5);
  fixed.writeUInt16LE(FIXED_BYTES + tail.length + 4, 6);
  fixed.writeBigUInt64LE(BigInt(chunkId), 8);
  fixed.writeBigUInt64LE(chunk.startNs, 16);
  fixed.writeBigUInt64LE(chunk.endNs, 24);
  fixed.writeUInt32LE(chunk.bodySize, 32);
  fixed.writeUInt32LE(chunk.crc32, 36);
  fixed.writeUInt32LE(chunk.payload.length, 40);
  fixed.writeUInt32LE(chunk.storedCrc32, 44);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(tail, crc32(fixed)), 0);
  return Buffer.concat([fixed, tail, checksum]);
}

/** The length of the header of exactly this chunk, or undefined: other bytes lie there now. */
export function matchSegmentHeader(bytes: Buffer, chunkId: number, storedSize: number): number | undefined {
  if (bytes.length < FIXED_BYTES || bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt8(4) !== FORMAT) return undefined;
  const length = bytes.readUInt16LE(6);
  const isThis = bytes.readBigUInt64LE(8) === BigInt(chunkId) && bytes.readUInt32LE(40) === storedSize;
  if (!isThis || length > bytes.length) return undefined;
  return crc32(bytes.subarray(0, length - 4)) === bytes.readUInt32LE(length - 4) ? length : undefined;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value).subarray(0, 255);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
