/**
 * A chunk as it is stored: the body's description, and its bytes as an LZ4 frame or, where lz4 does nothing, as
 * they are (MCAP chunk compressions "lz4" and ""). Two CRC-32s: of the body, as MCAP wants it and a decoder checks
 * it, and of the stored bytes, so that a copy needs no decompression to be sure of what it copies.
 */
import { crc32 } from "node:zlib";
import type { Chunk, ChunkChannel, RawChunk } from "../model/chunk.ts";
import type { Amount } from "../model/count-change.ts";
import { copyBytes } from "../std/copy-bytes.ts";
import { compressFrame } from "./lz4-frame.ts";

export type Compression = "lz4" | "";

export type PackedChunk = Chunk & {
  readonly bodySize: number;
  /** Of the body. */
  readonly crc32: number;
  readonly compression: Compression;
  readonly storedCrc32: number;
  /** May be a view of the raw chunk's buffer: `ownPayload` before keeping it. */
  readonly payload: Uint8Array;
};

/** After a chunk of JPEG or H.264 that did not shrink, this many of its kind are not tried. */
const SKIPPED_AFTER_FAILURE = 64;

/** Compresses and checksums; remembers which channels are not worth compressing. */
export class ChunkPacker {
  readonly #skipsByKey = new Map<string, number>();

  pack(chunk: RawChunk): PackedChunk {
    const body = new Uint8Array(chunk.buffer, 0, chunk.sizeBytes);
    const frame = this.#compress(chunk, body);
    const packed = asItIs({ ...chunk, bodySize: chunk.sizeBytes }, body);
    if (frame === undefined) return packed;
    return { ...packed, compression: "lz4", storedCrc32: crc32(frame), payload: frame };
  }

  #compress(chunk: RawChunk, body: Uint8Array): Uint8Array | undefined {
    const [first] = chunk.channels;
    const owner = chunk.channels.length === 1 && first !== undefined ? `${first.channelId}` : chunk.className;
    const key = `${owner} ${chunk.kind}`;
    const skips = this.#skipsByKey.get(key) ?? 0;
    if (skips > 0) {
      this.#skipsByKey.set(key, skips - 1);
      return undefined;
    }
    const frame = compressFrame(body);
    if (frame === undefined) this.#skipsByKey.set(key, SKIPPED_AFTER_FAILURE);
    return frame;
  }
}

type Described = Chunk & Pick<PackedChunk, "bodySize">;

/**
 * A chunk whose bytes are its body. Its checksum is taken when somebody asks for it: most of what passes through the
 * memory tier is never stored.
 */
export function asItIs(described: Described, payload: Uint8Array): PackedChunk {
  const { className, isLocal, kind, startNs, endNs, channels, bodySize } = described;
  let known: number | undefined;
  const checksum = () => (known ??= crc32(payload));
  return {
    ...{ className, isLocal, kind, startNs, endNs, channels, bodySize, compression: "", payload },
    get crc32() {
      return checksum();
    },
    get storedCrc32() {
      return checksum();
    },
  };
}

/** The chunk with bytes of its own, so that the raw chunk's buffer may be used again. */
export function ownPayload(chunk: PackedChunk): PackedChunk {
  if (chunk.compression === "lz4") return chunk;
  const payload = Buffer.allocUnsafeSlow(chunk.payload.length);
  copyBytes(chunk.payload, payload, 0);
  return asItIs(chunk, payload);
}

/** Both ends belong to both ranges. */
export function touches(range: Pick<PackedChunk, "startNs" | "endNs">, startNs: bigint, endNs: bigint): boolean {
  return range.startNs <= endNs && range.endNs >= startNs;
}

/**
 * The messages of a channel that a chunk answers for, so that each is counted once: all of them, but for those of a
 * format-1 chunk that are counted elsewhere; their share of its bytes is known to within the spread of the sizes.
 */
export function accountedAmount({ bytes, count, baselineCount }: ChunkChannel): Amount {
  if (baselineCount === 0) return { count, bytes };
  return { count: count - baselineCount, bytes: Math.round((bytes * (count - baselineCount)) / count) };
}

const CHANNEL_BYTES = 18;

/** Per channel: `u16 id | u32 count | u32 baselineCount | u64 bytes`, little-endian; in rows and in segment headers. */
export function encodeChannels(channels: readonly ChunkChannel[]): Buffer {
  const packed = Buffer.alloc(channels.length * CHANNEL_BYTES);
  channels.forEach(({ channelId, count, baselineCount, bytes }, index) => {
    const offset = index * CHANNEL_BYTES;
    packed.writeUInt16LE(channelId, offset);
    packed.writeUInt32LE(count, offset + 2);
    packed.writeUInt32LE(baselineCount, offset + 6);
    packed.writeBigUInt64LE(BigInt(bytes), offset + 10);
  });
  return packed;
}

export function decodeChannels(packed: Buffer): ChunkChannel[] {
  const channels: ChunkChannel[] = [];
  for (let offset = 0; offset + CHANNEL_BYTES <= packed.length; offset += CHANNEL_BYTES)
    channels.push({
      channelId: packed.readUInt16LE(offset),
      count: packed.readUInt32LE(offset + 2),
      baselineCount: packed.readUInt32LE(offset + 6),
      bytes: Number(packed.readBigUInt64LE(offset + 10)),
    });
  return channels;
}
