/**
 * An MCAP file of stored chunks: whole, indexed and durable, or absent.
 *
 * Layout (MCAP specification): magic, Header, then per chunk the Schemas and Channels it is the first to need, the
 * Chunk as it is stored, one MessageIndex per channel; Attachments and Metadata; DataEnd; the summary (Schemas,
 * Channels, Statistics, ChunkIndexes, AttachmentIndexes, MetadataIndexes), SummaryOffsets, Footer with CRC, magic.
 * Channel ids are the ring's: a chunk's body names them.
 *
 * Order of writes: `.part` file, fdatasync, rename, fsync of the folder. Disposing before `finish` removes the file.
 */
import { createHash } from "node:crypto";
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { McapRecordBuilder, type McapTypes, Opcode } from "@mcap/core";
import type { FileAccounting } from "../model/accounting.ts";
import type { Channel, Schema } from "../model/channel.ts";
import { isHint } from "../model/loss.ts";
import { assert } from "../std/assert.ts";
import { PART_SUFFIX, renameDurably } from "../std/durable-file.ts";
import { failpoint } from "../std/failpoint.ts";
import { joinCrc32 } from "../std/join-crc32.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import { toWire } from "../std/wire.ts";
import type { MessageIndex } from "./message-index.ts";

export type McapChunk = {
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly bodySize: number;
  /** Of the uncompressed body. */
  readonly crc32: number;
  readonly compression: "lz4" | "";
  readonly index: ReadonlyMap<number, MessageIndex>;
  /** The bytes as they go into the file; read when needed, not before. */
  records(): Uint8Array;
};

export type FinishedMcap = { readonly sizeBytes: number /** Lower-case hex. */; readonly sha256: string };

const LIBRARY = "lode";
const BUFFER_BYTES = 256 * 1024;

export class McapFile {
  readonly #path: string;
  readonly #fd: number;
  readonly #builder = new McapRecordBuilder();
  readonly #hash = createHash("sha256");
  /** CRC-32 of the section being written: the data section from the first byte on, then the summary. */
  #sectionCrc = 0;
  #position = 0n;
  /** What is not in the file yet. */
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #filled = 0;
  readonly #schemas = new Map<string, McapTypes.Schema>();
  readonly #channels = new Map<number, McapTypes.Channel>();
  readonly #chunks: McapTypes.ChunkIndex[] = [];
  readonly #attachments: McapTypes.AttachmentIndex[] = [];
  readonly #metadata: McapTypes.MetadataIndex[] = [];
  readonly #counts = new Map<number, bigint>();
  #startNs: bigint | undefined;
  #endNs = 0n;
  #isOpen = true;

  private constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path + PART_SUFFIX, "w");
  }

  /** `profile`: "ros1", "ros2" or "". */
  static create(path: string, profile: string): McapFile {
    const file = new McapFile(path);
    file.#builder.writeMagic();
    file.#builder.writeHeader({ profile, library: LIBRARY });
    file.#flush();
    return file;
  }

  /** Bytes written so far. */
  get sizeBytes(): number {
    return Number(this.#position);
  }

  /** Messages per channel so far. */
  get counts(): ReadonlyMap<number, bigint> {
    return this.#counts;
  }

  addChunk(chunk: McapChunk, channels: ReadonlyMap<number, Channel>): void {
    for (const channelId of chunk.index.keys()) this.#declare(channels.get(channelId), channelId);
    this.#flush();
    const chunkStartOffset = this.#position;
    const records = chunk.records();
    const { startNs, endNs, bodySize, compression } = chunk;
    const times = { messageStartTime: startNs, messageEndTime: endNs };
    const sizes = { compression, uncompressedSize: BigInt(bodySize) };
    // As it lies, a body's checksum is that of the bytes.
    const knownCrc = compression === "" && chunk.crc32 !== 0 ? chunk.crc32 : undefined;
    const chunkLength = this.#write(chunkHead(chunk, records.byteLength)) + this.#write(records, knownCrc);
    const messageIndexOffsets = this.#writeMessageIndex(chunk.index);
    const messageIndexLength = this.#position - chunkStartOffset - chunkLength;
    this.#chunks.push({
      ...{ ...times, ...sizes, chunkStartOffset, chunkLength, messageIndexOffsets, messageIndexLength },
      compressedSize: BigInt(records.byteLength),
    });
    this.#startNs = this.#startNs === undefined ? startNs : earliest(this.#startNs, startNs);
    this.#endNs = latest(this.#endNs, endNs);
  }

  addAttachment(name: string, mediaType: string, content: Uint8Array, timeNs: bigint): void {
    const times = { logTime: timeNs, createTime: timeNs };
    const offset = this.#position;
    this.#builder.writeAttachment({ ...times, name, mediaType, data: content });
    const dataSize = BigInt(content.byteLength);
    this.#attachments.push({ ...times, name, mediaType, offset, length: this.#flush(), dataSize });
  }

  addMetadata(name: string, metadata: ReadonlyMap<string, string>): void {
    const offset = this.#position;
    this.#builder.writeMetadata({ name, metadata: new Map(metadata) });
    this.#metadata.push({ name, offset, length: this.#flush() });
  }

  /** What is not in it. Each value is JSON, in the words of the wire; `unreadable`: chunks that were gone or damaged. */
  addAccounting({ losses, counters }: FileAccounting, unreadable: readonly string[]): void {
    const told = losses.map((loss) => ({ ...loss, isHint: isHint(loss) }));
    const parts = Object.entries({ losses: toWire(told), counters: toWire(counters), unreadable_chunks: unreadable });
    this.addMetadata("lode:accounting", new Map(parts.map(([key, value]) => [key, JSON.stringify(value)])));
  }

  /** The file is durable under its name when this returns. */
  finish(): FinishedMcap {
    this.#drain();
    this.#builder.writeDataEnd({ dataSectionCrc: this.#sectionCrc });
    this.#flush();
    this.#drain();
    this.#sectionCrc = 0;
    this.#writeSummary();
    this.#builder.writeMagic();
    this.#flush();
    this.#drain();
    failpoint("mcap.written");
    fdatasyncSync(this.#fd);
    this.#close();
    renameDurably(this.#path + PART_SUFFIX, this.#path);
    return { sizeBytes: this.sizeBytes, sha256: this.#hash.digest("hex") };
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#close();
    rmSync(this.#path + PART_SUFFIX, { force: true });
  }

  #writeSummary(): void {
    const summaryStart = this.#position;
    const builder = this.#builder;
    const groups: [number, () => void][] = [
      [Opcode.SCHEMA, () => this.#schemas.forEach((schema) => void builder.writeSchema(schema))],
      [Opcode.CHANNEL, () => this.#channels.forEach((channel) => void builder.writeChannel(channel))],
      [Opcode.STATISTICS, () => void builder.writeStatistics(this.#statistics())],
      [Opcode.CHUNK_INDEX, () => this.#chunks.forEach((index) => void builder.writeChunkIndex(index))],
      [Opcode.ATTACHMENT_INDEX, () => this.#attachments.forEach((index) => void builder.writeAttachmentIndex(index))],
      [Opcode.METADATA_INDEX, () => this.#metadata.forEach((index) => void builder.writeMetadataIndex(index))],
    ];
    const offsets: McapTypes.SummaryOffset[] = [];
    for (const [groupOpcode, write] of groups) {
      const groupStart = this.#position;
      write();
      const groupLength = this.#flush();
      if (groupLength > 0n) offsets.push({ groupOpcode, groupStart, groupLength });
    }
    const summaryOffsetStart = this.#position;
    for (const offset of offsets) builder.writeSummaryOffset(offset);
    this.#flush();
    this.#drain();
    builder.writeFooter({
      summaryStart,
      summaryOffsetStart,
      summaryCrc: this.#footerCrc(summaryStart, summaryOffsetStart),
    });
  }

  /** The summary's CRC goes on over the footer itself, up to the field that holds it. */
  #footerCrc(summaryStart: bigint, summaryOffsetStart: bigint): number {
    const head = Buffer.alloc(25);
    head.writeUInt8(Opcode.FOOTER);
    head.writeBigUInt64LE(20n, 1);
    head.writeBigUInt64LE(summaryStart, 9);
    head.writeBigUInt64LE(summaryOffsetStart, 17);
    return crc32(head, this.#sectionCrc);
  }

  #statistics(): McapTypes.Statistics {
    return {
      messageCount: [...this.#counts.values()].reduce((sum, count) => sum + count, 0n),
      schemaCount: this.#schemas.size,
      channelCount: this.#channels.size,
      attachmentCount: this.#attachments.length,
      metadataCount: this.#metadata.length,
      chunkCount: this.#chunks.length,
      messageStartTime: this.#startNs ?? 0n,
      messageEndTime: this.#endNs,
      channelMessageCounts: this.#counts,
    };
  }

  #writeMessageIndex(index: McapChunk["index"]): Map<number, bigint> {
    const offsets = new Map<number, bigint>();
    for (const [channelId, { count, bytes }] of index) {
      offsets.set(channelId, this.#position);
      this.#write(messageIndexHead(channelId, bytes.byteLength));
      this.#write(bytes);
      this.#counts.set(channelId, (this.#counts.get(channelId) ?? 0n) + BigInt(count));
    }
    return offsets;
  }

  #declare(channel: Channel | undefined, id: number): void {
    assert(channel !== undefined, `channel ${id} of a chunk is declared`);
    if (this.#channels.has(id)) return;
    const { topic, messageEncoding } = channel;
    const declared = { id, schemaId: this.#schemaId(channel.schema), topic, messageEncoding, metadata: new Map() };
    this.#channels.set(id, declared);
    this.#builder.writeChannel(declared);
  }

  /** 0 means "no schema" in MCAP; a type whose definition is unknown keeps its name with an empty encoding. */
  #schemaId({ name, encoding, text }: Schema): number {
    if (name === "" && text === "") return 0;
    const key = JSON.stringify([name, encoding, text]);
    const known = this.#schemas.get(key);
    if (known !== undefined) return known.id;
    const schema = { id: this.#schemas.size + 1, name, encoding, data: Buffer.from(text, "utf8") };
    this.#schemas.set(key, schema);
    this.#builder.writeSchema(schema);
    return schema.id;
  }

  /** Writes what the builder holds; returns its length. */
  #flush(): bigint {
    const length = this.#write(this.#builder.buffer);
    this.#builder.reset();
    return length;
  }

  /** Small pieces wait for each other. `knownCrc`: of the bytes, where somebody has it. */
  #write(bytes: Uint8Array, knownCrc?: number): bigint {
    const isLarge = bytes.byteLength > BUFFER_BYTES / 4;
    if (isLarge || this.#filled + bytes.byteLength > BUFFER_BYTES) this.#drain();
    if (isLarge) this.#put(bytes, knownCrc);
    else {
      this.#buffer.set(bytes, this.#filled);
      this.#filled += bytes.byteLength;
    }
    this.#position += BigInt(bytes.byteLength);
    return BigInt(bytes.byteLength);
  }

  #drain(): void {
    this.#put(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #put(bytes: Uint8Array, knownCrc?: number): void {
    for (let written = 0; written < bytes.byteLength; ) written += writeSync(this.#fd, bytes, written);
    this.#hash.update(bytes);
    this.#sectionCrc =
      knownCrc === undefined ? crc32(bytes, this.#sectionCrc) : joinCrc32(this.#sectionCrc, knownCrc, bytes.byteLength);
  }

  #close(): void {
    this.#isOpen = false;
    closeSync(this.#fd);
  }
}

/** A Chunk record up to its bytes, which are not copied through the builder: they are nearly all of the file. */
function chunkHead({ startNs, endNs, bodySize, crc32, compression }: McapChunk, recordsBytes: number): Buffer {
  const head = Buffer.alloc(49 + compression.length);
  head.writeUInt8(Opcode.CHUNK, 0);
  head.writeBigUInt64LE(BigInt(head.length - 9 + recordsBytes), 1);
  head.writeBigUInt64LE(startNs, 9);
  head.writeBigUInt64LE(endNs, 17);
  head.writeBigUInt64LE(BigInt(bodySize), 25);
  head.writeUInt32LE(crc32, 33);
  head.writeUInt32LE(compression.length, 37);
  head.write(compression, 41);
  head.writeBigUInt64LE(BigInt(recordsBytes), 41 + compression.length);
  return head;
}

function messageIndexHead(channelId: number, recordsBytes: number): Buffer {
  const head = Buffer.allocUnsafe(15);
  head.writeUInt8(Opcode.MESSAGE_INDEX, 0);
  head.writeBigUInt64LE(BigInt(head.length - 9 + recordsBytes), 1);
  head.writeUInt16LE(channelId, 9);
  head.writeUInt32LE(recordsBytes, 11);
  return head;
}

/** MCAP's well-known profiles, by what the messages are. */
export function profileOf(channels: ReadonlyMap<number, Channel>): "ros1" | "ros2" | "" {
  const encodings = new Set([...channels.values()].map((channel) => channel.messageEncoding));
  if (encodings.has("cdr")) return "ros2";
  return encodings.has("ros1") ? "ros1" : "";
}
