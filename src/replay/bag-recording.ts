/** ROS 1 bags, format 2.0, with chunks stored plain, bz2 or lz4, through @foxglove/rosbag. */
import { type FileHandle, open } from "node:fs/promises";
import { Bag } from "@foxglove/rosbag";
import { loadDecompressHandlers } from "@mcap/support";
import { Fault } from "../std/fault.ts";
import { isLatchedQos } from "./latched-qos.ts";
import { brokenRecording, nothingToServe, type RecordedMessage, type Recording } from "./recording.ts";

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
    messages: () => readMessages(path, file, indexByConnection),
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
  const handlers = await loadDecompressHandlers();
  const decompress = Object.fromEntries(
    Object.entries(handlers).map(([name, unpack]) => [
      name,
      (bytes: Uint8Array, sizeBytes: number) => unpack(bytes, BigInt(sizeBytes)),
    ]),
  );
  const bag = new Bag({ read, size: () => size }, { parse: false, decompress });
  if ((await bag.reader.readHeader()).indexPosition === 0)
    throw new Fault(
      "broken_recording",
      `${path} has no index: its recorder did not finish.`,
      "Run `rosbag reindex` on it.",
    );
  await bag.open();
  return bag;
}

/** A reader of its own for each pass: the library's keeps chunks between calls. */
async function* readMessages(
  path: string,
  file: FileHandle,
  indexByConnection: ReadonlyMap<number, number>,
): AsyncGenerator<RecordedMessage, void, void> {
  try {
    const bag = await openFile(path, file);
    // From zero, not from the first chunk's start: chunks need not be in order.
    for await (const event of bag.messageIterator({ start: { sec: 0, nsec: 0 } })) {
      const channelIndex = indexByConnection.get(event.connectionId);
      const logTimeNs = toNs(event.timestamp);
      if (channelIndex !== undefined) yield { channelIndex, logTimeNs, publishTimeNs: logTimeNs, bytes: event.data };
    }
  } catch (error) {
    throw brokenRecording(path, error);
  }
}

function toNs(time: BagTime | undefined): bigint {
  return time === undefined ? 0n : BigInt(time.sec) * 1_000_000_000n + BigInt(time.nsec);
}

const least = (a: bigint, b: bigint): bigint => (b < a ? b : a);
const most = (a: bigint, b: bigint): bigint => (b > a ? b : a);
