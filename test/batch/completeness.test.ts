import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { type CompletenessQuestion, computeCompleteness } from "../../src/batch/completeness.ts";
import { StampSteps } from "../../src/batch/stamp-steps.ts";
import type { Channel } from "../../src/model/channel.ts";
import type { Loss } from "../../src/model/loss.ts";
import { topicRole } from "../../src/model/operation.ts";
import { chunkOfMessages } from "../../src/ring/window.ts";
import { channel } from "../ring/ring-rig.ts";
import { at, EPISODE, FRONT, IMU, JOINTS, recordedRig, TF_STATIC, write } from "./episode-rig.ts";

const COMMAND = channel(9, "/cmd_vel", "light");
const SCAN = channel(10, "/scan", "cloud");

type Stream = {
  readonly channel: Channel;
  readonly fromS?: number;
  readonly toS?: number;
  readonly everyMs?: number;
  readonly firstSequence?: number;
  readonly stampOf?: (atNs: bigint) => bigint;
};

/** One chunk of a topic; sampled every 100 ms over the whole window unless told. */
function chunkOf({ channel: { id, className }, ...stream }: Stream) {
  const { fromS = 5, toS = 15, everyMs = 100, firstSequence = 500, stampOf = (atNs: bigint) => atNs } = stream;
  const count = Math.floor(((toS - fromS) * 1000) / everyMs) + 1;
  const messages = Array.from({ length: count }, (_, index) => {
    const logTimeNs = at(fromS + (index * everyMs) / 1000);
    const times = { logTimeNs, publishTimeNs: stampOf(logTimeNs) };
    return { channelId: id, sequence: firstSequence + index, ...times, bytes: new Uint8Array(8) };
  });
  return chunkOfMessages("full", className, messages);
}

function judge(streams: readonly Stream[], changes: Partial<CompletenessQuestion> = {}) {
  const chunks = streams.map(chunkOf);
  const stampSteps = new StampSteps();
  for (const chunk of chunks) stampSteps.note(chunk);
  const found = computeCompleteness({
    ...{ episode: EPISODE, chunks, channels: new Map(streams.map((stream) => [stream.channel.id, stream.channel])) },
    ...{ losses: [], notRecorded: [], onDemand: [], heavyClasses: new Set(["camera", "cloud"]) },
    ...{ roleOf: topicRole, stampSteps, ...changes },
  });
  const of = (topic: string) => found.completeness.find((one) => one.topic === topic);
  return { ...found, of, reasons: found.shortfalls.map(({ reason, topics }) => [reason, ...topics]) };
}

const loss = (topic: string, reason: Loss["reason"], count?: number): Loss => ({
  ...{ topic, reason, startNs: at(7), endNs: at(8), count, bytes: undefined },
});

test("an episode that has everything says that it is complete, and what was asked", async () => {
  using rig = recordedRig();
  const { episode } = await write(rig);
  expect(episode).toMatchObject({ isComplete: true, shortfalls: [] });
  const of = (topic: string) => episode.completeness.find((one) => one.topic === topic);
  expect(of(IMU.topic)).toMatchObject({
    askedPreRollMs: 5000,
    askedPostRollMs: 5000,
    longestGapMs: 20,
    clockSteps: [],
  });
  expect(of(FRONT.topic)).toMatchObject({ preRollMs: 4950, role: "observation", isOnDemand: false });
  expect(of(TF_STATIC.topic)).toMatchObject({ role: "context", longestGapMs: undefined });
});

test("where a heavy topic is there at the reduced rate only, the episode is incomplete and says for how long", async () => {
  using rig = recordedRig(2000);
  const { episode } = await write(rig);
  expect(episode.isComplete).toBe(false);
  const front = episode.shortfalls.find(({ topics }) => topics.includes(FRONT.topic));
  expect(front).toMatchObject({ reason: "baseline", words: expect.stringMatching(/reduced rate only for [23]\.\d s/) });
});

test("a topic that falls silent by itself, or speaks for the first time, leaves the episode complete", () => {
  const { isComplete, of } = judge([
    { channel: JOINTS },
    { channel: IMU, toS: 9 },
    { channel: COMMAND, fromS: 8, firstSequence: 1 },
    { channel: SCAN, fromS: 9, firstSequence: 1 },
  ]);
  expect(isComplete).toBe(true);
  expect(of(IMU.topic)).toMatchObject({ preRollMs: 5000, postRollMs: 0 });
  expect(of(COMMAND.topic)).toMatchObject({ role: "action", preRollMs: 2000, askedPreRollMs: 5000 });
});

test("a heavy topic that reaches less far back than asked is a shortfall, a light one that was silent is none", () => {
  const { reasons, shortfalls } = judge([{ channel: JOINTS }, { channel: IMU, fromS: 8 }, { channel: SCAN, fromS: 8 }]);
  expect(reasons).toEqual([["pre_roll", SCAN.topic]]);
  expect(shortfalls[0]?.words).toBe("/scan reaches back 2.0 s of 5.0 s.");
});

test("a window that begins before the recording says so, once", () => {
  const { reasons, shortfalls } = judge([
    { channel: JOINTS, fromS: 7 },
    { channel: SCAN, fromS: 7.1 },
  ]);
  expect(reasons).toEqual([["recording_began"]]);
  expect(shortfalls[0]?.words).toContain("2.0 s");
  const gap = { ...loss("", "connection_gap"), startNs: at(0), endNs: at(7) };
  expect(judge([{ channel: JOINTS, fromS: 7 }], { losses: [gap] }).reasons).toEqual([["connection_gap"]]);
});

test("losses are told by cause, with their messages where they are known, and guesses as guesses", () => {
  const losses = [
    loss(JOINTS.topic, "queue_full", 3),
    loss(IMU.topic, "queue_full", 4),
    loss(JOINTS.topic, "rate_drop"),
    { ...loss(IMU.topic, "disk_full", 9), startNs: at(16), endNs: at(17) },
  ];
  const { isComplete, shortfalls, of } = judge([{ channel: JOINTS }, { channel: IMU }], { losses });
  expect(isComplete).toBe(false);
  expect(shortfalls).toEqual([
    {
      ...{ reason: "queue_full", topics: [IMU.topic, JOINTS.topic].sort(), count: 7, isHint: false },
      words: "7 messages of /imu, /joint_states: a queue was full.",
    },
    expect.objectContaining({ reason: "rate_drop", count: undefined, isHint: true }),
  ]);
  expect(of(JOINTS.topic)?.dropped).toEqual({ queue_full: 3 });
});

test("an interrupted episode is incomplete", () => {
  const episode = { ...EPISODE, isInterrupted: true };
  expect(judge([{ channel: JOINTS }], { episode }).reasons).toEqual([["interrupted"]]);
});

test("a topic on demand is asked from the firing on; how long it took is told, and that one gave nothing", () => {
  const { of, reasons } = judge([{ channel: JOINTS }, { channel: SCAN, fromS: 10.08 }], {
    onDemand: ["/scan", "/raw"],
  });
  expect(of("/scan")).toMatchObject({ isOnDemand: true, onDemandStartMs: 80, askedPreRollMs: 0, coverage: "full" });
  expect(of("/raw")).toMatchObject({ isOnDemand: true, onDemandStartMs: undefined, coverage: "none", messages: 0 });
  expect(reasons).toEqual([["on_demand", "/raw"]]);
});

test("a publisher's clock that was set is told with the topic, and costs no completeness", () => {
  const stampOf = (atNs: bigint) => (atNs < at(11) ? atNs - 5_000_000n : atNs + 3_000_000_000n);
  const { of, isComplete } = judge([{ channel: JOINTS }, { channel: IMU, stampOf }]);
  expect(of(IMU.topic)?.clockSteps).toEqual([{ atNs: at(11), stepMs: 3005 }]);
  expect(of(JOINTS.topic)?.clockSteps).toEqual([]);
  expect(isComplete).toBe(true);
});

test("chunks of a topic that overlap are read in the order of time", () => {
  const every = { channel: IMU, everyMs: 200 };
  const { of } = judge([{ channel: JOINTS }, every, { ...every, fromS: 5.1, toS: 14.9 }]);
  expect(of(IMU.topic)).toMatchObject({
    messages: 101,
    longestGapMs: 100,
    preRollMs: 5000,
    postRollMs: 5000,
    gaps: [],
  });
});

test("a slow topic is silent when it is slower than nine of ten of its intervals explain, and a fast one after a second", () => {
  const silences = (everyMs: number, pauseS: number) => {
    const { of } = judge([
      { channel: IMU, everyMs, toS: 5 + 20 * (everyMs / 1000) },
      { channel: IMU, everyMs, fromS: 5 + 20 * (everyMs / 1000) + pauseS, toS: 5 + 25 * (everyMs / 1000) + pauseS },
    ]);
    return of(IMU.topic)?.gaps.map(({ startNs, endNs }) => Number(endNs - startNs) / 1e9);
  };
  expect([silences(100, 0.9), silences(100, 1.1)]).toEqual([[], [1.1]]);
  expect([silences(300, 1.1), silences(300, 1.3)]).toEqual([[], [1.3]]);
});

test("a window's messages are counted without being kept", () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const heapBytes = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  let inUse = 0;
  class Watching extends StampSteps {
    override of(channelIds: readonly number[]) {
      inUse = heapBytes();
      return super.of(channelIds);
    }
  }
  const chunks = Array.from({ length: 10 }, (_, k) =>
    chunkOf({ channel: IMU, fromS: 5 + k, toS: 5.99998 + k, everyMs: 0.04 }),
  );
  const before = heapBytes();
  const { completeness } = computeCompleteness({
    ...{ episode: EPISODE, chunks, channels: new Map([[IMU.id, IMU]]), losses: [], notRecorded: [], onDemand: [] },
    ...{ heavyClasses: new Set<string>(), roleOf: topicRole, stampSteps: new Watching() },
  });
  expect(completeness[0]?.messages).toBe(250_000);
  expect((inUse - before) / 250_000).toBeLessThan(8);
});
