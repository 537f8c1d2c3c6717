/**
 * LZ4 frames built by hand from lz4-napi's block API, so that a stored chunk is an MCAP chunk as it lies.
 *
 * Format (lz4_Frame_format.md 1.6): `04 22 4d 18`, FLG 0x60 (version 1, independent blocks, no checksums), BD, HC,
 * then per block `u32le(length | raw << 31)` and its bytes, then `u32le 0`. HC is the second byte of xxh32(FLG BD)
 * and a constant per block size.
 *
 * lz4-napi puts a 4-byte size before a block and trusts it when it decompresses: a wrong one aborts the process.
 * That prefix lies where a frame has the block's length, so it is swapped in place both ways, and on reading its
 * value comes from the bounded body size, never from the bytes.
 */
import { compressSync, uncompressSync } from "lz4-napi";
import { Fault } from "../std/fault.ts";

const KIB = 1024;
/** Block size → its BD and HC bytes. */
const BLOCK_KINDS: readonly (readonly [sizeBytes: number, descriptor: number, checksum: number])[] = [
  [64 * KIB, 0x40, 0x82],
  [256 * KIB, 0x50, 0xfb],
  [1024 * KIB, 0x60, 0x51],
  [4096 * KIB, 0x70, 0x73],
];
const LARGEST = 3;
const RAW_BIT = 0x8000_0000;
const HEADER_BYTES = 7;
/** A chunk that keeps more of its size than this is stored as it is: the reader saves the decompression. */
const WORTHWHILE_RATIO = 0.97;

/** The frame of a body, or undefined where it would not be worth it. */
export function compressFrame(body: Uint8Array): Buffer | undefined {
  const kind = BLOCK_KINDS.find(([sizeBytes]) => body.length <= sizeBytes) ?? BLOCK_KINDS[LARGEST];
  if (kind === undefined) return undefined;
  const [blockSize, descriptor, checksum] = kind;
  const parts: Uint8Array[] = [Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, descriptor, checksum])];
  let sizeBytes = HEADER_BYTES + 4;
  for (let offset = 0; offset < body.length; offset += blockSize) {
    const block = compressBlock(body.subarray(offset, offset + blockSize));
    parts.push(block);
    sizeBytes += block.length;
  }
  if (sizeBytes >= body.length * WORTHWHILE_RATIO) return undefined;
  parts.push(Buffer.alloc(4));
  return Buffer.concat(parts, sizeBytes);
}

/** `u32le` length and the block's bytes. */
function compressBlock(bytes: Uint8Array): Buffer {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const block = compressSync(source);
  if (block.length - 4 < source.length) {
    block.writeUInt32LE(block.length - 4, 0);
    return block;
  }
  const raw = Buffer.allocUnsafe(source.length + 4);
  raw.writeUInt32LE((source.length | RAW_BIT) >>> 0, 0);
  raw.set(source, 4);
  return raw;
}

/**
 * The body of a frame that `compressFrame` made. `bodySize` is trusted: it comes from a row or a checked header.
 * The frame is changed during the call and restored. Throws `Fault("corrupt_chunk")`.
 */
export function decompressFrame(frame: Uint8Array, bodySize: number): Uint8Array {
  const view = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const blockSize = blockSizeOf(view);
  const blocks: Uint8Array[] = [];
  let offset = HEADER_BYTES;
  let remaining = bodySize;
  while (remaining > 0) {
    const length = readLength(view, offset);
    const block = decompressBlock(view, offset, length, Math.min(blockSize, remaining));
    blocks.push(block);
    remaining -= block.length;
    offset += 4 + (length & ~RAW_BIT);
  }
  if (readLength(view, offset) !== 0 || offset + 4 !== view.length) throw corrupt("It has no end mark in its place.");
  const [only] = blocks;
  return blocks.length === 1 && only !== undefined ? only : Buffer.concat(blocks, bodySize);
}

function blockSizeOf(frame: Buffer): number {
  const isFrame = frame.length >= HEADER_BYTES + 4 && frame.readUInt32LE(0) === 0x184d2204 && frame[4] === 0x60;
  const kind = BLOCK_KINDS.find(([, descriptor, checksum]) => frame[5] === descriptor && frame[6] === checksum);
  if (!isFrame || kind === undefined) throw corrupt("It does not start as an LZ4 frame of ours.");
  return kind[0];
}

function readLength(frame: Buffer, offset: number): number {
  if (offset + 4 > frame.length) throw corrupt("It ends within a block.");
  return frame.readInt32LE(offset);
}

function decompressBlock(frame: Buffer, offset: number, length: number, sizeBytes: number): Uint8Array {
  const end = offset + 4 + (length & ~RAW_BIT);
  if (end > frame.length || length === 0) throw corrupt("A block's length is impossible.");
  if (length < 0) {
    if (end - offset - 4 !== sizeBytes) throw corrupt("A raw block has the wrong size.");
    return frame.subarray(offset + 4, end);
  }
  const block = uncompressWithPrefix(frame.subarray(offset, end), sizeBytes);
  if (block.length !== sizeBytes) throw corrupt("A block has the wrong size.");
  return block;
}

function uncompressWithPrefix(block: Buffer, sizeBytes: number): Uint8Array {
  const length = block.readUInt32LE(0);
  block.writeUInt32LE(sizeBytes, 0);
  try {
    return uncompressSync(block);
  } catch (error) {
    throw corrupt("A block does not decompress.", error);
  } finally {
    block.writeUInt32LE(length, 0);
  }
}

function corrupt(reason: string, cause?: unknown): Fault {
  return new Fault("corrupt_chunk", `The chunk's LZ4 frame is damaged. ${reason}`, "The chunk is set aside.", cause);
}
