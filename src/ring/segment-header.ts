/**
 * What stands before every chunk in a segment file, so that the index can be rebuilt and no reader takes other
 * bytes for the chunk it wants. Its CRC-32, the chunk's **seal**, is in the chunk's row too, wherever the bytes lie:
 * a row whose seal is broken is not believed.
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
import { decodeChannels, encodeChannels, type PackedChunk } from "./packed-chunk.ts";

/** All that is said of a stored chunk, but for its place. */
export type SegmentHeader = Omit<PackedChunk, "payload"> & {
  readonly id: number;
  readonly bootId: string;
  readonly storedSize: number;
};

const MAGIC = 0x45444f4c;
const FORMAT = 1;
const FIXED_BYTES = 48;
/** Its length is 16 bits. */
export const HEADER_BYTES_MAX = 65_536;

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const { kind, isLocal, compression } = header;
  const fixed = Buffer.alloc(FIXED_BYTES);
  const tail = Buffer.concat([text(header.className), text(header.bootId), encodeChannels(header.channels)]);
  fixed.writeUInt32LE(MAGIC, 0);
  fixed.writeUInt8(FORMAT, 4);
  fixed.writeUInt8((kind === "baseline" ? 1 : 0) | (isLocal ? 2 : 0) | (compression === "lz4" ? 4 : 0), 5);
  fixed.writeUInt16LE(FIXED_BYTES + tail.length + 4, 6);
  fixed.writeBigUInt64LE(BigInt(header.id), 8);
  fixed.writeBigInt64LE(header.startNs, 16);
  fixed.writeBigInt64LE(header.endNs, 24);
  fixed.writeUInt32LE(header.bodySize, 32);
  fixed.writeUInt32LE(header.crc32, 36);
  fixed.writeUInt32LE(header.storedSize, 40);
  fixed.writeUInt32LE(header.storedCrc32, 44);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(tail, crc32(fixed)), 0);
  return Buffer.concat([fixed, tail, checksum]);
}

/** Throws where a damaged row says what no header can hold. */
export function sealOf(header: SegmentHeader): number {
  const bytes = encodeSegmentHeader(header);
  return bytes.readUInt32LE(bytes.length - 4);
}

export function isSealedBy(header: SegmentHeader, seal: number): boolean {
  try {
    return sealOf(header) === seal;
  } catch {
    return false;
  }
}

/** By its first bytes. */
export function isSegmentHeader(bytes: Buffer, offset: number): boolean {
  return bytes.length >= offset + FIXED_BYTES + 6 && bytes.readUInt32LE(offset) === MAGIC;
}

/** The header that the bytes begin with, and its length; undefined: there is none, or it is damaged. */
export function decodeSegmentHeader(bytes: Buffer): (SegmentHeader & { readonly length: number }) | undefined {
  if (!isSegmentHeader(bytes, 0) || bytes.readUInt8(4) !== FORMAT) return undefined;
  const length = bytes.readUInt16LE(6);
  if (length < FIXED_BYTES + 6 || length > bytes.length) return undefined;
  if (crc32(bytes.subarray(0, length - 4)) !== bytes.readUInt32LE(length - 4)) return undefined;
  const flags = bytes.readUInt8(5);
  const bootAt = FIXED_BYTES + 1 + bytes.readUInt8(FIXED_BYTES);
  if (bootAt >= length - 4) return undefined; // a right checksum over lengths that lie
  const channelsAt = bootAt + 1 + bytes.readUInt8(bootAt);
  if (channelsAt > length - 4) return undefined;
  return {
    length,
    id: Number(bytes.readBigUInt64LE(8)),
    bootId: bytes.toString("utf8", bootAt + 1, channelsAt),
    className: bytes.toString("utf8", FIXED_BYTES + 1, bootAt),
    isLocal: (flags & 2) !== 0,
    kind: (flags & 1) !== 0 ? "baseline" : "full",
    startNs: bytes.readBigInt64LE(16),
    endNs: bytes.readBigInt64LE(24),
    channels: decodeChannels(bytes.subarray(channelsAt, length - 4)),
    bodySize: bytes.readUInt32LE(32),
    crc32: bytes.readUInt32LE(36),
    compression: (flags & 4) !== 0 ? "lz4" : "",
    storedSize: bytes.readUInt32LE(40),
    storedCrc32: bytes.readUInt32LE(44),
  };
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value).subarray(0, 255);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
