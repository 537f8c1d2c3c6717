import { join } from "node:path";
import { Topic } from "roslib";
import { expect, onTestFinished, test } from "vitest";
import { openRecording } from "../../src/replay/open-recording.ts";
import { advertiseAll, type PlayOptions, play, waitForSubscriptions } from "../../src/replay/player.ts";
import type { RecordedMessage, Recording } from "../../src/replay/recording.ts";
import { runReplay } from "../../src/replay/replay-command.ts";
import { RosbridgeServer } from "../../src/replay/rosbridge-server.ts";
import { systemClock } from "../../src/std/clock.ts";
import { channelOf, deps, Multiset, openRoslib, PlainClient, RECORDINGS, until } from "./harness.ts";

const neverAborted = new AbortController().signal;
const WORDS = channelOf("/words", "std_msgs/msg/String");

async function openServer(ros: 1 | 2 = 2): Promise<RosbridgeServer> {
  const server = await RosbridgeServer.open({ ros, port: 0 }, deps);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

/** A recording in memory: one message every `intervalMs`. */
function recordingOf(count: number, intervalMs: number, sizeBytes: number): Recording {
  const timeNs = (index: number): bigint => 1_700_000_000_000_000_000n + BigInt(index * intervalMs) * 1_000_000n;
  async function* messages(): AsyncGenerator<RecordedMessage, void, void> {
    for (let index = 0; index < count; index += 1) {
      const bytes = new Uint8Array(sizeBytes);
      new DataView(bytes.buffer).setUint32(0, index);
      yield { channelIndex: 0, logTimeNs: timeNs(index), publishTimeNs: timeNs(index), bytes };
    }
  }
  return {
    ...{ path: "memory", ros: 2, channels: [WORDS], messageCount: count, problem: undefined },
    ...{ startNs: timeNs(0), endNs: timeNs(count - 1), messages },
    [Symbol.asyncDispose]: async () => {},
  };
}

async function playAll(recording: Recording, server: RosbridgeServer, options: PlayOptions, signal = neverAborted) {
  return await play(recording, advertiseAll(server, recording), server, options, systemClock, signal);
}

async function subscribeRaw(server: RosbridgeServer, topic: string, queueLength: number): Promise<PlainClient> {
  const client = await PlainClient.open(server.url);
  client.send({ op: "subscribe", topic, type: WORDS.schemaName, compression: "cbor-raw", queue_length: queueLength });
  await client.settle();
  return client;
}

test.each([
  { file: "sim_cup_slip_recover.mcap", rate: 50 },
  { file: "auv_cougars_short.mcap", rate: 50 },
  { file: "kobuki_left_wheel_fault.mcap", rate: 200 },
  { file: "turtlesim_lz4.bag", rate: Number.POSITIVE_INFINITY },
  { file: "husky_gps_imu_odom.bag", rate: Number.POSITIVE_INFINITY },
  { file: "raspicam_compressed_1frame.bag", rate: 10 },
  { file: "laserscan_2010.bag", rate: 200 },
  { file: "ackermann_gps_nav.db3", rate: Number.POSITIVE_INFINITY },
])("what a stock roslib client receives of $file at ×$rate is what the file holds", async ({ file, rate }) => {
  await using recording = await openRecording(join(RECORDINGS, file), deps);
  const server = await openServer(recording.ros);
  const publishers = advertiseAll(server, recording);
  const ros = await openRoslib(server.url);
  const received = new Multiset();
  const topics = new Map(recording.channels.map((channel) => [channel.topic, channel.schemaName]));
  for (const [name, messageType] of topics) {
    const topic = new Topic<{ bytes: Uint8Array }>({
      ros,
      name,
      messageType,
      compression: "cbor-raw",
      queue_length: 1,
    });
    topic.subscribe(({ bytes }) => received.add(name, bytes));
  }
  await until(() => server.subscribeCount === topics.size, "all subscriptions");
  const result = await play(recording, publishers, server, { rate }, systemClock, neverAborted);
  expect(result).toMatchObject({ messages: recording.messageCount, isCut: false });
  await until(() => received.size === recording.messageCount, "all messages");
  expect(received.counts).toEqual((await Multiset.of(recording)).counts);
});

test("messages keep their distances: none leaves before its time, and a thousand waits add up to no drift", async () => {
  const server = await openServer();
  const client = await subscribeRaw(server, "/words", 0);
  const arrivalsMs: number[] = [];
  client.socket.on("message", () => arrivalsMs.push(performance.now()));
  const startMs = performance.now();
  const result = await playAll(recordingOf(1001, 2, 10), server, { rate: 4 }); // 2 s of recording
  await until(() => arrivalsMs.length === 1001, "all messages");
  expect(arrivalsMs.filter((atMs, index) => atMs - startMs < index * 0.5 - 4)).toEqual([]);
  expect(result.durationMs).toBeGreaterThan(495);
  expect(result.durationMs).toBeLessThan(1000);
});

test("a client that stalls is waited for, and the time is told; nothing is dropped", async () => {
  const server = await openServer();
  const client = await subscribeRaw(server, "/words", 1);
  client.socket.pause();
  const playing = playAll(recordingOf(50, 1, 500_000), server, { rate: Number.POSITIVE_INFINITY });
  await until(() => server.isBehind, "a full socket");
  const publishedBefore = server.sentCounts().get("/words")?.published ?? 0;
  expect(publishedBefore).toBeLessThan(50);
  client.socket.resume();
  const result = await playing;
  await until(() => client.binary.length === 50, "all messages");
  expect(result.stalledMs).toBeGreaterThan(0);
  expect(server.sentCounts().get("/words")).toMatchObject({ published: 50, sent: 50, dropped: 0 });
});

test("told to go on, it drops what a stalled client's queue cannot hold, and counts it", async () => {
  const server = await openServer();
  const client = await subscribeRaw(server, "/words", 2);
  client.socket.pause();
  const playing = playAll(recordingOf(50, 1, 500_000), server, { rate: Number.POSITIVE_INFINITY, mayDrop: true });
  await until(() => server.sentCounts().get("/words")?.published === 50, "all published");
  client.socket.resume();
  await playing;
  const { sent, dropped } = server.sentCounts().get("/words") ?? { sent: 0, dropped: 0 };
  expect(dropped).toBeGreaterThan(0);
  expect(sent + dropped).toBe(50);
  await until(() => client.binary.length === sent, "what was sent");
});

test("a client that goes while it is waited for does not hold up the rest", async () => {
  const server = await openServer();
  const client = await subscribeRaw(server, "/words", 1);
  client.socket.pause();
  const playing = playAll(recordingOf(50, 1, 500_000), server, { rate: Number.POSITIVE_INFINITY });
  await until(() => server.isBehind, "a full socket");
  server.disconnectAll();
  expect((await playing).messages).toBe(50);
});

test("playing starts when the subscriptions have settled, not before", async () => {
  const server = await openServer();
  server.advertise(WORDS);
  let isSettled = false;
  const settling = waitForSubscriptions(server, 200, systemClock, neverAborted).then((value) => {
    isSettled = value;
  });
  const client = await PlainClient.open(server.url);
  for (let index = 0; index < 6; index += 1) {
    const dueMs = performance.now() + 80;
    await until(() => performance.now() > dueMs, "80 ms");
    expect(isSettled).toBe(false);
    client.send({ op: "subscribe", topic: "/words", id: String(index) });
  }
  await settling;
  expect(isSettled).toBe(true);
});

test("the signal ends the wait for a client, and the playing", async () => {
  const server = await openServer();
  const control = new AbortController();
  const waiting = waitForSubscriptions(server, 50, systemClock, control.signal);
  const playing = playAll(recordingOf(1000, 1000, 10), server, { rate: 1 }, control.signal);
  control.abort();
  expect(await waiting).toBe(false);
  expect(await playing).toMatchObject({ isCut: true });
});

async function replay(files: readonly string[], isLooping: boolean, signal: AbortSignal) {
  const lines: string[] = [];
  const paths = files.map((file) => join(RECORDINGS, file));
  const options = { files: paths, port: 0, rate: Number.POSITIVE_INFINITY, isLooping, settleMs: 100 };
  const done = runReplay(options, { talk: (line) => lines.push(line) }, signal, deps);
  await until(() => lines.some((line) => line.startsWith("Waiting")), "the server");
  const url = /ws:\S+/.exec(lines.find((line) => line.startsWith("Waiting")) ?? "")?.[0] ?? "";
  return { lines, done, client: await PlainClient.open(url) };
}

test("several files play one after the other, and the summary says what was sent per topic", async () => {
  const { done, lines, client } = await replay(["sim_cup_success.mcap", "kobuki_nominal.mcap"], false, neverAborted);
  const { values } = await client.call("/rosapi/topics");
  expect(values).toMatchObject({ topics: expect.arrayContaining(["/wrist/wrench", "/odom", "/joint_states"]) });
  for (const topic of ["/joint_states", "/wrist/wrench"])
    client.send({ op: "subscribe", topic, compression: "cbor-raw" });
  const summary = await done;
  expect(summary.played.map((result) => result.messages)).toEqual([3836, 13378]);
  const countsOf = (topic: string) => summary.topics.find((counts) => counts.topic === topic);
  expect(countsOf("/joint_states")).toMatchObject({ published: 984 + 3693, sent: 984 + 3693, dropped: 0 });
  expect(countsOf("/odom")).toMatchObject({ published: 751, sent: 0 });
  await until(() => client.binary.length === 984 + 3693 + 492, "everything that was sent");
  expect(lines.join("\n")).toContain("/joint_states: 4677 published, 4677 sent");
});

test("a loop plays until the signal", async () => {
  const control = new AbortController();
  const { done, client } = await replay(["raspicam_compressed_1frame.bag"], true, control.signal);
  client.send({ op: "subscribe", topic: "/raspicam_node/camera_info", compression: "cbor-raw" });
  await until(() => client.binary.length > 40, "a third lap");
  control.abort();
  expect((await done).played.length).toBeGreaterThan(2);
});

test("what cannot be played together, or at such a rate, is a fault before anything is served", async () => {
  const io = { talk: () => {} };
  const files = ["turtlesim_lz4.bag", "kobuki_nominal.mcap"].map((file) => join(RECORDINGS, file));
  const run = (more: object) =>
    runReplay({ files, port: 0, rate: 1, isLooping: false, ...more }, io, neverAborted, deps);
  await expect(run({})).rejects.toMatchObject({ code: "mixed_ros" });
  await expect(run({ files: [] })).rejects.toMatchObject({ code: "no_recording" });
  await expect(run({ rate: Number.NaN })).rejects.toMatchObject({ code: "bad_rate" });
});
