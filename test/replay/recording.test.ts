import { createWriteStream, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { McapWriter } from "@mcap/core";
import Database from "better-sqlite3";
import { compressFrameSync } from "lz4-napi";
import { describe, expect, test } from "vitest";
import { openRecording } from "../../src/replay/open-recording.ts";
import type { RecordedMessage } from "../../src/replay/recording.ts";
import { deps, Multiset, RECORDINGS, readManifest, temporaryFolder } from "./harness.ts";

async function readAll(path: string): Promise<RecordedMessage[]> {
  await using recording = await openRecording(path, deps);
  return await Array.fromAsync(recording.messages());
}

describe("every recording of the manifest", () => {
  const manifest = readManifest();

  test("is a recording of each kind", () => {
    expect(manifest.length).toBe(13);
  });

  test.each(manifest)("$file has the topics, types and counts that the manifest says", async (entry) => {
    await using recording = await openRecording(join(RECORDINGS, entry.file), deps);
    const counts = new Map<string, { type: string; count: number }>();
    let previousNs = recording.startNs;
    let lastNs = 0n;
    for await (const { channelIndex, logTimeNs } of recording.messages()) {
      const channel = recording.channels[channelIndex];
      if (channel === undefined) throw new Error("a message without a channel");
      const seen = counts.get(channel.topic)?.count ?? 0;
      counts.set(channel.topic, { type: channel.schemaName, count: seen + 1 });
      expect(logTimeNs >= previousNs).toBe(true);
      previousNs = logTimeNs;
      lastNs = logTimeNs;
    }
    expect(recording.messageCount).toBe(entry.messages);
    expect(new Map([...counts].sort())).toEqual(new Map([...entry.topics].sort()));
    expect(recording.endNs).toBe(lastNs);
    expect(recording.problem).toBeUndefined();
  });
});

test("a topic whose publisher keeps its last message is known as latched, in each format", async () => {
  const latched = async (file: string): Promise<string[]> => {
    await using recording = await openRecording(join(RECORDINGS, file), deps);
    return recording.channels.filter((channel) => channel.isLatched).map((channel) => channel.topic);
  };
  expect(await latched("turtlesim_lz4.bag")).toEqual(["/tf_static"]);
  expect(await latched("auv_cougars_short.mcap")).toContain("/tf_static");
  expect(await latched("ackermann_gps_nav.db3")).toEqual(["/rosout"]);
});

test("types without a recorded definition are looked up", async () => {
  await using recording = await openRecording(join(RECORDINGS, "ackermann_gps_nav.db3"), deps);
  const texts = new Map(recording.channels.map((channel) => [channel.schemaName, channel.schemaText]));
  expect(texts.get("nav_msgs/msg/Odometry")).toContain("MSG: geometry_msgs/Pose");
  expect(texts.get("ackermann_msgs/msg/AckermannDriveStamped")).toBeUndefined();
});

test("a recording can be read twice at a time", async () => {
  await using recording = await openRecording(join(RECORDINGS, "turtlesim_lz4.bag"), deps);
  const [one, other] = await Promise.all([Multiset.of(recording), Multiset.of(recording)]);
  expect(one.size).toBe(8647);
  expect(one.counts).toEqual(other.counts);
});

test("a truncated MCAP gives what is readable, in order, and says where it breaks off", async () => {
  const whole = join(RECORDINGS, "sim_cup_success.mcap");
  const path = join(temporaryFolder(), "cut.mcap");
  const bytes = readFileSync(whole);
  writeFileSync(path, bytes.subarray(0, Math.floor(bytes.length * 0.6)));
  await using recording = await openRecording(path, deps);
  const all = (await readAll(whole)).map((message) => message.logTimeNs);
  const times = (await Array.fromAsync(recording.messages())).map((message) => message.logTimeNs);
  expect(recording.messageCount).toBeGreaterThan(1500);
  expect(times).toEqual(all.slice(0, recording.messageCount));
  expect(recording.problem).toMatch(/no usable index.*breaks off after .* readable until 2026-01-02T/);
});

test("damage inside an MCAP chunk is a fault, not wrong bytes", async () => {
  const path = join(temporaryFolder(), "bad.mcap");
  const bytes = readFileSync(join(RECORDINGS, "g1_pick_bottle_ep16.mcap"));
  const middle = bytes.length >> 1;
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 0x10, middle);
  writeFileSync(path, bytes);
  await expect(readAll(path)).rejects.toMatchObject({
    code: "broken_recording",
    hint: expect.stringMatching(/mcap recover/),
  });
});

type WriterSettings = { readonly useChunks: boolean; readonly compression?: string };

async function writeMcap(path: string, settings: WriterSettings, logTimesMs: readonly number[], encoding = "cdr") {
  const out = createWriteStream(path);
  let position = 0n;
  const writable = {
    position: () => position,
    write: async (bytes: Uint8Array) => {
      out.write(Buffer.from(bytes));
      position += BigInt(bytes.byteLength);
    },
  };
  const lz4 = { compression: "lz4", compressedData: new Uint8Array() };
  const writer = new McapWriter({
    writable,
    useChunks: settings.useChunks,
    chunkSize: 64,
    ...(settings.compression === "lz4"
      ? { compressChunk: (bytes) => ({ ...lz4, compressedData: compressFrameSync(Buffer.from(bytes)) }) }
      : {}),
  });
  await writer.start({ profile: "ros2", library: "test" });
  const text = new TextEncoder().encode("string data\n");
  const schemaId = await writer.registerSchema({ name: "std_msgs/msg/String", encoding: "ros2msg", data: text });
  const topic = "/words";
  const channelId = await writer.registerChannel({ topic, schemaId, messageEncoding: encoding, metadata: new Map() });
  for (const [sequence, ms] of logTimesMs.entries()) {
    const logTime = BigInt(ms) * 1_000_000n;
    await writer.addMessage({ channelId, sequence, logTime, publishTime: logTime + 1n, data: Buffer.from(`m${ms}`) });
  }
  await writer.end();
  await new Promise<void>((done) => out.end(() => done()));
}

test.each([
  { name: "lz4 chunks", settings: { useChunks: true, compression: "lz4" } },
  { name: "plain chunks", settings: { useChunks: true } },
  { name: "no chunks at all", settings: { useChunks: false } },
])("an MCAP with $name gives its messages in log-time order", async ({ settings }) => {
  const path = join(temporaryFolder(), "some.mcap");
  await writeMcap(path, settings, [30, 10, 20, 60, 50, 40, 8000, 70, 9000]);
  const messages = await readAll(path);
  expect(messages.map((message) => Buffer.from(message.bytes).toString())).toEqual(
    ["10", "20", "30", "40", "50", "60", "70", "8000", "9000"].map((ms) => `m${ms}`),
  );
  expect(messages[0]).toMatchObject({ logTimeNs: 10_000_000n, publishTimeNs: 10_000_001n });
});

test("an MCAP that a rosbridge cannot carry is refused, and the reason names its encoding", async () => {
  const path = join(temporaryFolder(), "json.mcap");
  await writeMcap(path, { useChunks: true }, [1, 2], "json");
  await expect(openRecording(path, deps)).rejects.toMatchObject({
    code: "unknown_recording",
    message: expect.stringMatching(/only json/),
  });
});

test("a .db3 brings its own definitions where it has them", async () => {
  const path = join(temporaryFolder(), "own.db3");
  const db = new Database(path);
  db.exec(`CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT,
      offered_qos_profiles TEXT);
    CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB);
    CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT, encoding TEXT,
      encoded_message_definition TEXT, type_description_hash TEXT);
    INSERT INTO topics VALUES (1, '/a', 'own_msgs/msg/A', 'cdr', '- history: 3\n  durability: transient_local');
    INSERT INTO message_definitions VALUES (1, 'own_msgs/msg/A', 'ros2msg', 'int32 a\n', '');
    INSERT INTO messages VALUES (1, 1, 1700000000000000002, x'02'), (2, 1, 1700000000000000001, x'01');`);
  db.close();
  await using recording = await openRecording(path, deps);
  const messages = await Array.fromAsync(recording.messages());
  expect(recording.channels[0]).toMatchObject({ schemaText: "int32 a\n", isLatched: true, topic: "/a" });
  expect(messages.map((message) => [message.logTimeNs, message.bytes[0]])).toEqual([
    [1_700_000_000_000_000_001n, 1],
    [1_700_000_000_000_000_002n, 2],
  ]);
});

describe("a file that cannot be played is a fault with a hint", () => {
  const withBytes = (bytes: Uint8Array): string => {
    const path = join(temporaryFolder(), "some.bag");
    writeFileSync(path, bytes);
    return path;
  };
  const turtlesim = (): Buffer => readFileSync(join(RECORDINGS, "turtlesim_lz4.bag"));

  test("one that is not there", async () => {
    const opened = openRecording("/nowhere/a.bag", deps);
    await expect(opened).rejects.toMatchObject({
      code: "unreadable_recording",
      message: expect.stringMatching(/ENOENT/),
    });
  });

  test("one that is no recording, whatever its name says", async () => {
    const opened = openRecording(withBytes(Buffer.from("hello")), deps);
    await expect(opened).rejects.toMatchObject({ code: "unknown_recording" });
  });

  test("a bag that breaks off", async () => {
    const opened = openRecording(withBytes(turtlesim().subarray(0, 100_000)), deps);
    await expect(opened).rejects.toMatchObject({
      code: "broken_recording",
      hint: expect.stringMatching(/rosbag reindex/),
    });
  });

  test("a bag whose recorder did not finish", async () => {
    const bytes = turtlesim();
    const at = bytes.indexOf("index_pos=") + "index_pos=".length;
    bytes.fill(0, at, at + 8);
    const opened = openRecording(withBytes(bytes), deps);
    await expect(opened).rejects.toMatchObject({
      code: "broken_recording",
      message: expect.stringMatching(/no index/),
    });
  });

  test("an MCAP that ends in its header", async () => {
    const bytes = readFileSync(join(RECORDINGS, "kobuki_nominal.mcap")).subarray(0, 20);
    await expect(openRecording(withBytes(bytes), deps)).rejects.toMatchObject({ code: "broken_recording" });
  });

  test("a database that is no bag", async () => {
    const path = join(temporaryFolder(), "other.db3");
    const db = new Database(path);
    db.exec("CREATE TABLE t(x)");
    db.close();
    await expect(openRecording(path, deps)).rejects.toMatchObject({
      code: "unknown_recording",
      message: expect.stringMatching(/no ROS 2 bag/),
    });
  });

  test("a database that breaks off", async () => {
    const bytes = readFileSync(join(RECORDINGS, "ackermann_gps_nav.db3"));
    const path = withBytes(bytes.subarray(0, 500_000));
    await expect(readAll(path)).rejects.toMatchObject({ code: "broken_recording" });
  });
});
