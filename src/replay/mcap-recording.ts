/**
 * MCAP files through @mcap/core, with chunks stored plain, lz4 or zstd.
 *
 * An indexed file is read by its index, in log-time order. One without (its recorder died, its copy broke off, or it
 * was written so) is read from front to back as far as it goes; its messages are put in order within a window.
 */
import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { type DecompressHandlers, McapIndexedReader, McapStreamReader, type TypedMcapRecords } from "@mcap/core";
import { loadDecompressHandlers } from "@mcap/support";
import { describeError } from "../std/fault.ts";
import { formatTime } from "../std/time-text.ts";
import {
  byLogTime,
  type ChunkMessages,
  type ChunkPlace,
  chunksInOrder,
  sortOffsets,
  unpackChunk,
} from "./chunk-order.ts";
import { isLatchedQos } from "./latched-qos.ts";
import {
  nothingToServe,
  type RecordedChannel,
  type RecordedMessage,
  type Recording,
  type RecordingDeps,
  readings,
} from "./recording.ts";

type Message = TypedMcapRecords["Message"];
type ChunkIndex = TypedMcapRecords["ChunkIndex"];
/** Into the recording's channels, by the file's channel id. */
type IndexById = ReadonlyMap<number, number>;
type Channel = TypedMcapRecords["Channel"];
type Schema = TypedMcapRecords["Schema"];

/** What one pass over a file, or its summary, says of it. */
type Contents = {
  readonly channels: ReadonlyMap<number, Channel>;
  readonly schemas: ReadonlyMap<number, Schema>;
  readonly countByChannel: ReadonlyMap<number, number>;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly problem: string | undefined;
};

const READ_BYTES = 1 << 20;
/** Without an index: how far apart in the file two messages may lie and still be put in order. */
const REORDER_BYTES_MAX = 32 << 20;
const REORDER_NS = 2_000_000_000n;

export async function openMcap(path: string, deps: RecordingDeps): Promise<Recording> {
  const file = await open(path, "r");
  try {
    const handlers = await loadDecompressHandlers();
    const indexed = await tryIndex(file, handlers);
    if (!("problem" in indexed))
      return toRecording(path, file, fromIndex(indexed), deps, (served) =>
        chunksInOrder(indexed.chunkIndexes.map((index) => placeOf(file, index, served))),
      );
    const contents = await scan(file, handlers, indexed.problem);
    return toRecording(path, file, contents, deps, (served) => inOrder(streamMessages(file, handlers, served)));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The reader over the file's summary, or why there is none. */
async function tryIndex(
  file: FileHandle,
  decompressHandlers: DecompressHandlers,
): Promise<McapIndexedReader | { readonly problem: string }> {
  const { size } = await file.stat();
  const readable = {
    size: async () => BigInt(size),
    read: (offset: bigint, length: bigint) => readExactly(file, Number(offset), Number(length), size),
  };
  try {
    const reader = await McapIndexedReader.Initialize({ readable, decompressHandlers });
    const isUnchunked = reader.chunkIndexes.length === 0 && reader.statistics?.messageCount !== 0n;
    return isUnchunked || reader.statistics === undefined ? { problem: "" } : reader;
  } catch (error) {
    return { problem: describeError(error) };
  }
}

async function readExactly(file: FileHandle, offset: number, length: number, size: number): Promise<Uint8Array> {
  if (offset < 0 || offset + length > size) throw new Error(`${length} bytes at ${offset} lie beyond the file's end`);
  const bytes = new Uint8Array(length);
  await file.read(bytes, 0, length, offset);
  return bytes;
}

/** Op code, length, two times and the unpacked size: what stands before a chunk's CRC-32. */
const CHUNK_CRC_OFFSET = 9 + 24;
const MESSAGE = 0x05;
const RECORD_HEAD_BYTES = 9;
const MESSAGE_HEAD_BYTES = RECORD_HEAD_BYTES + 22;

/** Read by its own walk over the records: @mcap/core makes four objects of each message and asks for it by promise. */
function placeOf(file: FileHandle, index: ChunkIndex, served: IndexById): ChunkPlace {
  return {
    startNs: index.messageStartTime,
    read: async () => {
      const { size } = await file.stat();
      const record = await readExactly(file, Number(index.chunkStartOffset), Number(index.chunkLength), size);
      const packed = record.subarray(record.length - Number(index.compressedSize));
      const body = await unpackChunk(index.compression, packed, Number(index.uncompressedSize));
      const sum = new DataView(record.buffer).getUint32(CHUNK_CRC_OFFSET, true);
      if (sum !== 0 && sum !== crc32(body)) throw new Error("a chunk does not match its checksum");
      return readRecords(body, served);
    },
  };
}

function readRecords(body: Uint8Array, served: IndexById): ChunkMessages {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const offsets: number[] = [];
  for (let offset = 0; offset < body.length; ) {
    const end = offset + RECORD_HEAD_BYTES > body.length ? Number.POSITIVE_INFINITY : recordEnd(view, offset);
    if (end > body.length) throw new Error(`a chunk has no whole record at ${offset}`);
    const isMessage = view.getUint8(offset) === MESSAGE && end >= offset + MESSAGE_HEAD_BYTES;
    if (isMessage && served.has(view.getUint16(offset + 9, true))) offsets.push(offset);
    offset = end;
  }
  sortOffsets(
    offsets,
    (offset) => view.getUint32(offset + 19, true),
    (offset) => view.getUint32(offset + 15, true),
  );
  const at = (index: number): number => offsets[index] ?? 0;
  return {
    count: offsets.length,
    logTimeNs: (index) => view.getBigUint64(at(index) + 15, true),
    message: (index) => {
      const offset = at(index);
      return {
        channelIndex: served.get(view.getUint16(offset + 9, true)) ?? 0,
        logTimeNs: view.getBigUint64(offset + 15, true),
        publishTimeNs: view.getBigUint64(offset + 23, true),
        bytes: body.subarray(offset + MESSAGE_HEAD_BYTES, recordEnd(view, offset)),
      };
    },
  };
}

function recordEnd(view: DataView, offset: number): number {
  return offset + RECORD_HEAD_BYTES + view.getUint32(offset + 1, true) + view.getUint32(offset + 5, true) * 2 ** 32;
}

function fromIndex(reader: McapIndexedReader): Contents {
  const counts = reader.statistics?.channelMessageCounts ?? new Map<number, bigint>();
  return {
    channels: reader.channelsById,
    schemas: reader.schemasById,
    countByChannel: new Map([...counts].map(([id, count]) => [id, Number(count)])),
    startNs: reader.statistics?.messageStartTime ?? 0n,
    endNs: reader.statistics?.messageEndTime ?? 0n,
    problem: undefined,
  };
}

/** Reads everything once, to know what is there. An empty `whyNoIndex` means: whole, only written without chunks. */
async function scan(file: FileHandle, handlers: DecompressHandlers, whyNoIndex: string): Promise<Contents> {
  const channels = new Map<number, Channel>();
  const schemas = new Map<number, Schema>();
  const countByChannel = new Map<number, number>();
  let startNs = -1n;
  let endNs = 0n;
  const end = { damage: undefined as string | undefined };
  for await (const record of streamRecords(file, handlers, end)) {
    if (record.type === "Schema") schemas.set(record.id, record);
    if (record.type === "Channel") channels.set(record.id, record);
    if (record.type !== "Message") continue;
    countByChannel.set(record.channelId, (countByChannel.get(record.channelId) ?? 0) + 1);
    if (startNs < 0n || record.logTime < startNs) startNs = record.logTime;
    if (record.logTime > endNs) endNs = record.logTime;
  }
  if (channels.size === 0 && end.damage !== undefined) throw new Error(end.damage);
  const until = startNs < 0n ? "nothing is readable" : `readable until ${formatTime(endNs)}`;
  const why = end.damage ?? whyNoIndex;
  const problem = why === "" ? undefined : `The file has no usable index (${why}); ${until}.`;
  return { channels, schemas, countByChannel, startNs: startNs < 0n ? 0n : startNs, endNs, problem };
}

/** Every record up to the end or the first damage, which `end` is told. */
async function* streamRecords(
  file: FileHandle,
  decompressHandlers: DecompressHandlers,
  end: { damage: string | undefined },
): AsyncGenerator<Message | Channel | Schema, void, void> {
  const reader = new McapStreamReader({ decompressHandlers });
  const piece = new Uint8Array(READ_BYTES);
  for (let offset = 0; !reader.done(); ) {
    const { bytesRead } = await file.read(piece, 0, READ_BYTES, offset);
    if (bytesRead === 0) {
      end.damage = `it breaks off after ${offset} bytes`;
      return;
    }
    offset += bytesRead;
    const records: (Message | Channel | Schema)[] = [];
    try {
      reader.append(piece.subarray(0, bytesRead));
      for (let record = reader.nextRecord(); record !== undefined; record = reader.nextRecord()) {
        if (record.type === "Message" || record.type === "Channel" || record.type === "Schema") records.push(record);
      }
    } catch (error) {
      end.damage = `${describeError(error)} within the first ${offset} bytes`;
    }
    yield* records;
    if (end.damage !== undefined) return;
  }
}

async function* streamMessages(
  file: FileHandle,
  handlers: DecompressHandlers,
  served: IndexById,
): AsyncGenerator<RecordedMessage, void, void> {
  for await (const record of streamRecords(file, handlers, { damage: undefined })) {
    const channelIndex = record.type === "Message" ? served.get(record.channelId) : undefined;
    if (record.type !== "Message" || channelIndex === undefined) continue;
    yield { channelIndex, logTimeNs: record.logTime, publishTimeNs: record.publishTime, bytes: record.data };
  }
}

/** Holds messages back until the newest is `REORDER_NS` younger, or they weigh too much, and lets them go sorted. */
async function* inOrder(messages: AsyncIterable<RecordedMessage>): AsyncGenerator<readonly RecordedMessage[]> {
  let held: RecordedMessage[] = [];
  let heldBytes = 0;
  let newestNs = 0n;
  let releasedNs = 0n;
  for await (const message of messages) {
    held.push(message);
    heldBytes += message.bytes.byteLength;
    if (message.logTimeNs > newestNs) newestNs = message.logTimeNs;
    if (heldBytes < REORDER_BYTES_MAX && newestNs - releasedNs < 2n * REORDER_NS) continue;
    releasedNs = newestNs - REORDER_NS;
    held.sort(byLogTime);
    const keepFrom =
      heldBytes < REORDER_BYTES_MAX ? held.findIndex((one) => one.logTimeNs > releasedNs) : held.length >> 1;
    const ready = held.slice(0, keepFrom);
    held = held.slice(keepFrom);
    heldBytes = held.reduce((sum, one) => sum + one.bytes.byteLength, 0);
    yield ready;
  }
  yield held.sort(byLogTime);
}

function toRecording(
  path: string,
  file: FileHandle,
  contents: Contents,
  deps: RecordingDeps,
  read: (served: IndexById) => AsyncIterable<readonly RecordedMessage[]>,
): Recording {
  const all = [...contents.channels.values()];
  const encodings = all.map((channel) => channel.messageEncoding);
  const encoding = encodings.find((one) => one === "cdr" || one === "ros1");
  if (encoding !== "cdr" && encoding !== "ros1") throw nothingToServe(path, encodings);
  const served = all.filter((channel) => channel.messageEncoding === encoding);
  const indexById = new Map(served.map((channel, index) => [channel.id, index]));
  const left = all.filter((channel) => channel.messageEncoding !== encoding);
  return {
    path,
    ros: encoding === "ros1" ? 1 : 2,
    channels: served.map((channel) => toChannel(channel, encoding, contents.schemas.get(channel.schemaId), deps)),
    startNs: contents.startNs,
    endNs: contents.endNs,
    messageCount: served.reduce((sum, channel) => sum + (contents.countByChannel.get(channel.id) ?? 0), 0),
    problem: [contents.problem, leftOut(left)].filter((text) => text !== undefined).join(" ") || undefined,
    ...readings(path, () => read(indexById)),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

function leftOut(channels: readonly Channel[]): string | undefined {
  if (channels.length === 0) return undefined;
  const names = channels.map((channel) => `${channel.topic} (${channel.messageEncoding || "no encoding"})`);
  return `Left out, because a rosbridge cannot carry them: ${names.join(", ")}.`;
}

function toChannel(
  channel: Channel,
  encoding: "ros1" | "cdr",
  schema: Schema | undefined,
  deps: RecordingDeps,
): RecordedChannel {
  const isText = schema?.encoding === "ros1msg" || schema?.encoding === "ros2msg";
  const name = schema?.name ?? "";
  const text = isText && schema.data.length > 0 ? new TextDecoder().decode(schema.data) : undefined;
  const profiles = channel.metadata.get("offered_qos_profiles") ?? "";
  return {
    topic: channel.topic,
    schemaName: name,
    schemaText: text ?? deps.findDefinition(name, encoding === "ros1" ? 1 : 2),
    encoding,
    isLatched: channel.metadata.get("latching") === "1" || isLatchedQos(channel.topic, profiles),
  };
}
