/**
 * MCAP files of an episode (batches, local or received) as if they were a ring to read from.
 *
 * Their channel ids agree, for they were the ring's. What every file of an episode carries again (its story on
 * `/lode/episode`) comes once.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import { McapIndexedReader, type McapTypes } from "@mcap/core";
import type { Channel, MessageEncoding, SchemaEncoding } from "../model/channel.ts";
import { decompressFrame } from "../ring/lz4-frame.ts";
import { mergeChunks } from "../ring/message-merge.ts";
import type { RingMessage } from "../ring/message-record.ts";
import type { RingQuery, StoredChunk } from "../ring/ring-reader.ts";
import { assert } from "../std/assert.ts";
import { describeError, Fault } from "../std/fault.ts";

/** Op code, length, two times, sizes: what stands before the compression's name in a Chunk record. */
const CHUNK_CRC_OFFSET = 9n + 24n;
const CHUNK_HEAD_BYTES = 9n + 24n + 4n;

export class McapSource {
  readonly #fds: number[] = [];
  readonly #channels = new Map<number, Channel>();
  readonly #bootId: string;
  #chunks: StoredChunk[] = [];

  private constructor(bootId: string) {
    this.#bootId = bootId;
  }

  /** `bootId`: of all of them, if it is known. Throws `Fault("unreadable_mcap")`. */
  static async open(paths: readonly string[], bootId = ""): Promise<McapSource> {
    const source = new McapSource(bootId);
    try {
      for (const path of paths) await source.#add(path);
      source.#chunks.sort((a, b) => Number(a.startNs - b.startNs));
      return source;
    } catch (error) {
      source[Symbol.dispose]();
      throw error;
    }
  }

  channels(): ReadonlyMap<number, Channel> {
    return this.#channels;
  }

  *chunks({ startNs, endNs, channelIds }: RingQuery): Generator<StoredChunk> {
    for (const chunk of this.#chunks) {
      const isWanted = channelIds === undefined || chunk.channels.some(({ channelId }) => channelIds.has(channelId));
      if (isWanted && chunk.startNs <= endNs && chunk.endNs >= startNs) yield chunk;
    }
  }

  /** Throws `Fault("corrupt_chunk")`. */
  decompress(chunk: StoredChunk, stored = chunk.read()): Uint8Array {
    const body = chunk.compression === "lz4" ? decompressFrame(stored, chunk.bodySize) : stored;
    if (chunk.crc32 !== 0 && crc32(body) !== chunk.crc32)
      throw new Fault("corrupt_chunk", "A chunk of the file does not match its checksum.", "Fetch the file again.");
    return body;
  }

  /** They are in the files, with their own times. */
  latched(): RingMessage[] {
    return [];
  }

  /** In order of log_time, none twice. Throws `Fault("corrupt_chunk")`. */
  messages(query: RingQuery): Generator<RingMessage> {
    return mergeChunks(this.chunks(query), query, (chunk) => this.decompress(chunk));
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) closeSync(fd);
  }

  async #add(path: string): Promise<void> {
    try {
      const fd = openSync(path, "r");
      this.#fds.push(fd);
      const reader = await McapIndexedReader.Initialize({
        readable: {
          size: async () => BigInt(fstatSync(fd).size),
          read: async (offset, size) => readAt(fd, offset, size),
        },
      });
      for (const channel of reader.channelsById.values()) this.#addChannel(channel, reader);
      for (const index of reader.chunkIndexes) this.#addChunk(fd, index);
    } catch (error) {
      if (error instanceof Fault) throw error;
      const hint = "Only finished MCAP files of Lode's own making can be exported from.";
      throw new Fault("unreadable_mcap", `${path} cannot be read: ${describeError(error)}`, hint, error);
    }
  }

  #addChannel({ id, topic, messageEncoding, schemaId }: McapTypes.Channel, reader: McapIndexedReader): void {
    const schema = reader.schemasById.get(schemaId);
    const known = this.#channels.get(id);
    if (known !== undefined && known.topic !== topic)
      throw new Fault("mixed_files", "These files are not of one robot's ring.", "Export each episode on its own.");
    const text = schema === undefined ? "" : Buffer.from(schema.data).toString("utf8");
    const name = schema?.name ?? "";
    this.#channels.set(id, {
      ...{ id, topic, schema: { name, encoding: schemaEncoding(schema?.encoding ?? ""), text } },
      ...{ messageEncoding: encodingOf(messageEncoding), className: "", isLocal: false, isLatched: false },
    });
  }

  #addChunk(fd: number, index: McapTypes.ChunkIndex): void {
    const { compression, chunkStartOffset } = index;
    if (compression !== "lz4" && compression !== "")
      throw new Fault(
        "unreadable_mcap",
        `Chunk compression ${compression} is not ours.`,
        "Convert the file with `mcap`.",
      );
    const head = readAt(fd, chunkStartOffset + CHUNK_CRC_OFFSET, 4n);
    const bodyCrc = new DataView(head.buffer, head.byteOffset).getUint32(0, true);
    const recordsOffset = chunkStartOffset + CHUNK_HEAD_BYTES + 4n + BigInt(compression.length) + 8n;
    const chunk: StoredChunk = {
      ...{ id: this.#chunks.length, kind: "full", className: "", isLocal: false, bootId: this.#bootId },
      ...{ startNs: index.messageStartTime, endNs: index.messageEndTime, crc32: bodyCrc, compression },
      channels: [...index.messageIndexOffsets.keys()].map((channelId) => ({
        ...{ channelId, count: 0, bytes: 0, baselineCount: 0 },
      })),
      bodySize: Number(index.uncompressedSize),
      storedSize: Number(index.compressedSize),
      read: () => readAt(fd, recordsOffset, index.compressedSize),
    };
    if (!this.#chunks.some((known) => isSame(known, chunk))) this.#chunks.push(chunk);
  }
}

function isSame(a: StoredChunk, b: StoredChunk): boolean {
  return a.crc32 === b.crc32 && a.bodySize === b.bodySize && a.startNs === b.startNs && a.endNs === b.endNs;
}

function readAt(fd: number, offset: bigint, size: bigint): Uint8Array {
  const bytes = new Uint8Array(Number(size));
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(fd, bytes, filled, bytes.length - filled, Number(offset) + filled);
    if (count === 0) throw new Fault("unreadable_mcap", "The file is shorter than its index says.", "Fetch it again.");
    filled += count;
  }
  return bytes;
}

function encodingOf(text: string): MessageEncoding {
  assert(
    text === "ros1" || text === "cdr" || text === "msgpack" || text === "json",
    `"${text}" is an encoding of ours`,
  );
  return text;
}

function schemaEncoding(text: string): SchemaEncoding {
  assert(text === "ros1msg" || text === "ros2msg" || text === "jsonschema" || text === "", `"${text}" is ours`);
  return text;
}
