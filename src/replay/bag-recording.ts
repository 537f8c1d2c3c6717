/** ROS 1 bags, format 2.0, with chunks stored plain, bz2 or lz4, through @foxglove/rosbag. */
import { type FileHandle, open } from "node:fs/promises";
import { Bag } from "@foxglove/rosbag";
import { Fault } from "../std/fault.ts";
import { type ChunkMessages, type ChunkPlace, chunksInOrder, sortOffsets, unpackChunk } from "./chunk-order.ts";
import { isLatchedQos } from "./latched-qos.ts";
import { nothingToServe, type Recording, readings } from "./recording.ts";

const NS_PER_S = 1_000_000_000n;

type ChunkInfo = Bag["chunkInfos"][number];
type BagTime = { readonly sec: number; readonly nsec: number };

export async function openBag(path: string): Promise<Recording> {
  const file = await open(path, "r");
  try {
    return await readIndex(path, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readIndex(path: string, file: FileHandle): Promise<Recording> {
  const bag = await openFile(path, file);
  const connections = [...bag.connections.values()];
  if (connections.length === 0) throw nothingToServe(path, []);
  const indexByConnection = new Map(connections.map((connection, index) => [connection.conn, index]));
  const channels = connections.map((connection) => ({
    topic: connection.topic,
    schemaName: connection.type ?? "",
    schemaText: connection.messageDefinition,
    encoding: "ros1" as const,
    isLatched: connection.latching === true || isLatchedQos(connection.topic, ""),
  }));
  return {
    path,
    ros: 1,
    channels,
    startNs: bag.chunkInfos.map((chunk) => toNs(chunk.startTime)).reduce(least, toNs(bag.startTime)),
    endNs: bag.chunkInfos.map((chunk) => toNs(chunk.endTime)).reduce(most, toNs(bag.endTime)),
    messageCount: bag.chunkInfos.flatMap((chunk) => chunk.connections).reduce((sum, { count }) => sum + count, 0),
    problem: undefined,
    ...readings(path, () => chunksInOrder(bag.chunkInfos.map((chunk) => placeOf(file, chunk, indexByConnection)))),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

async function openFile(path: string, file: FileHandle): Promise<Bag> {
  const { size } = await file.stat();
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    // The reader asks for 4 kB of header, whatever the size of the file.
    const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
    await file.read(bytes, 0, bytes.length, offset);
    return bytes;
  };
  const bag = new Bag({ read, size: () => size }, { parse: false });
  if ((await bag.reader.readHeader()).indexPosition === 0)
    throw new Fault(
      "broken_recording",
      `${path} has no index: its recorder did not finish.`,
      "Run `rosbag reindex` on it.",
    );
  await bag.open();
  return bag;
}

/**
 * Read by its own walk over the records, which format 2.0 writes as `u32 length, header, u32 length, bytes`, a header
 * being fields of `u32 length, name=value` (wiki.ros.org/Bags/Format/2.0); the library makes objects of each of them.
 */
function placeOf(file: FileHandle, chunk: ChunkInfo, indexByConnection: ReadonlyMap<number, number>): ChunkPlace {
  return {
    startNs: toNs(chunk.startTime),
    read: async () => {
      const endAt = chunk.nextChunk?.chunkPosition ?? (await file.stat()).size;
      const stored = new Uint8Array(endAt - chunk.chunkPosition);
      await file.read(stored, 0, stored.length, chunk.chunkPosition);
      const view = viewOf(stored);
      const { headerEnd, bytesEnd } = recordAt(view, 0);
      const compression = textAt(view, valueAt(view, headerEnd, FIELD.compression), FIELD.compression);
      const sizeBytes = view.getUint32(valueAt(view, headerEnd, FIELD.size), true);
      const body = await unpackChunk(compression, stored.subarray(headerEnd + 4, bytesEnd), sizeBytes);
      return readMessages(body, indexByConnection);
    },
  };
}

const FIELD = {
  op: Buffer.from("op="),
  connection: Buffer.from("conn="),
  time: Buffer.from("time="),
  size: Buffer.from("size="),
  compression: Buffer.from("compression="),
};
const MESSAGE = 0x02;

function readMessages(body: Uint8Array, indexByConnection: ReadonlyMap<number, number>): ChunkMessages {
  const view = viewOf(body);
  const fieldAt = (offset: number, name: Uint8Array): number =>
    valueAt(view, recordAt(view, offset).headerEnd, name, offset);
  const channelOf = (offset: number) => indexByConnection.get(view.getUint32(fieldAt(offset, FIELD.connection), true));
  const offsets: number[] = [];
  for (let offset = 0; offset < body.length; offset = recordAt(view, offset).bytesEnd)
    if (view.getUint8(fieldAt(offset, FIELD.op)) === MESSAGE && channelOf(offset) !== undefined) offsets.push(offset);
  const secondsOf = (offset: number): number => view.getUint32(fieldAt(offset, FIELD.time), true);
  const nanosecondsOf = (offset: number): number => view.getUint32(fieldAt(offset, FIELD.time) + 4, true);
  sortOffsets(offsets, secondsOf, nanosecondsOf);
  const at = (index: number): number => offsets[index] ?? 0;
  const logTimeNs = (index: number): bigint =>
    BigInt(secondsOf(at(index))) * NS_PER_S + BigInt(nanosecondsOf(at(index)));
  return {
    count: offsets.length,
    logTimeNs,
    message: (index) => {
      const { headerEnd, bytesEnd } = recordAt(view, at(index));
      const timeNs = logTimeNs(index);
      const channelIndex = channelOf(at(index)) ?? 0;
      return { channelIndex, logTimeNs: timeNs, publishTimeNs: timeNs, bytes: body.subarray(headerEnd + 4, bytesEnd) };
    },
  };
}

/** Where the record at `offset` has its ends. Throws where it is not whole. */
function recordAt(view: DataView, offset: number): { readonly headerEnd: number; readonly bytesEnd: number } {
  const headerEnd = offset + 4 + view.getUint32(offset, true);
  const bytesEnd = headerEnd + 4 + view.getUint32(headerEnd, true);
  if (bytesEnd > view.byteLength) throw new Error(`a record at ${offset} ends beyond its chunk`);
  return { headerEnd, bytesEnd };
}

/** Where a field's value begins, in the header of the record at `offset`. Throws if there is none. */
function valueAt(view: DataView, headerEnd: number, name: Uint8Array, offset = 0): number {
  for (let at = offset + 4; at + 4 + name.length <= headerEnd; at += 4 + view.getUint32(at, true))
    if (name.every((byte, index) => view.getUint8(at + 4 + index) === byte)) return at + 4 + name.length;
  throw new Error(`a record at ${offset} has no ${Buffer.from(name).toString()}`);
}

/** The text of a field whose value begins at `at`. */
function textAt(view: DataView, at: number, name: Uint8Array): string {
  const sizeBytes = view.getUint32(at - name.length - 4, true) - name.length;
  return Buffer.from(view.buffer, view.byteOffset + at, sizeBytes).toString("latin1");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function toNs(time: BagTime | undefined): bigint {
  return time === undefined ? 0n : BigInt(time.sec) * NS_PER_S + BigInt(time.nsec);
}

const least = (a: bigint, b: bigint): bigint => (b < a ? b : a);
const most = (a: bigint, b: bigint): bigint => (b > a ? b : a);
