import { expect, test } from "vitest";
import { Ingest, type IngestDeps } from "../../src/daemon/ingest.ts";
import type { IngestToStore } from "../../src/daemon/ports.ts";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { ChannelRegistry } from "../../src/decode/channel-registry.ts";
import { Definitions } from "../../src/decode/definitions.ts";
import type { TopicClass } from "../../src/model/topic-class.ts";
import { BufferPool } from "../../src/ring/buffer-pool.ts";
import { ChunkBuilder } from "../../src/ring/chunk-builder.ts";
import { systemClock } from "../../src/std/clock.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { Trigger } from "../../src/trigger/trigger.ts";
import { accessUnits, cdrMessage, KEY_DISTANCE, VIDEO_TYPES } from "../support/video.ts";

const LIGHT: TopicClass = {
  ...{ name: "light", rank: 0, baselineHz: 0, memoryMs: 0, memoryBytesMax: 0 },
  ...{ diskMsMax: 0, diskBytesMax: 0, diskShareMax: 1, queueLength: 10 },
  tier: "disk",
};

function open(changes: Partial<IngestDeps> = {}): { ingest: Ingest; sent: IngestToStore[]; nowNs: () => bigint } {
  const sent: IngestToStore[] = [];
  const reader = new ChannelReader();
  const anchor = { bootId: "boot", monotonicNs: systemClock.monotonicNs(), wallNs: systemClock.wallNs() };
  const ingest = new Ingest({
    ...{ anchor, reader, log: silentLog, recordedUntilNs: undefined, deliverEvents: () => {} },
    registry: ChannelRegistry.open([]),
    definitions: Definitions.open({ folders: [] }),
    builder: new ChunkBuilder({
      pool: new BufferPool(1e7),
      onChunk: (chunk) => sent.push({ kind: "chunk", chunk }),
      onDrop: () => {},
    }),
    trigger: Trigger.open([], { fields: reader.fieldAccess, log: silentLog, onEvent: () => {} }),
    planTopic: () => ({ topicClass: LIGHT, isOnDemand: false, isLocal: false }),
    send: (note) => sent.push(note),
    ...changes,
  });
  return { ingest, sent, nowNs: () => anchor.wallNs + systemClock.monotonicNs() - anchor.monotonicNs };
}

const announce = (topic: string, schemaName: string) =>
  ({ topic, schemaName, schemaText: undefined, ros: 2, isLatched: false }) as const;
const connection = (kind: "connected" | "disconnected") =>
  ({ kind, url: "ws://robot", reason: "", atNs: systemClock.monotonicNs() }) as const;
const lossesOf = (sent: readonly IngestToStore[]) => sent.flatMap((note) => (note.kind === "loss" ? [note.loss] : []));

test("what was missed since an earlier process recorded this robot is a row, up to the first message", () => {
  const recordedUntilNs = systemClock.wallNs() - 60_000_000_000n;
  const { ingest, sent, nowNs } = open({ recordedUntilNs });
  ingest.onConnection(connection("connected"));
  const handle = ingest.openTopic(announce("/a", "std_msgs/msg/String"));
  ingest.tellDrops();
  expect(sent).toEqual([]);
  const beforeNs = nowNs();
  for (let count = 0; count < 2; count += 1)
    ingest.onBytes(handle, Buffer.from([0, 1, 0, 0, 1, 0, 0, 0, 0]), systemClock.monotonicNs());
  const losses = lossesOf(sent);
  expect(losses).toMatchObject([{ topic: "", reason: "connection_gap", startNs: recordedUntilNs, count: undefined }]);
  expect(losses[0]?.endNs).toBeGreaterThanOrEqual(beforeNs);
});

test("a gap after which nothing is sent ends when all topics must be subscribed", () => {
  const { ingest, sent } = open({ recordedUntilNs: systemClock.wallNs() - 60_000_000_000n });
  const atNs = systemClock.monotonicNs() - 6_000_000_000n;
  ingest.onConnection({ ...connection("connected"), atNs });
  ingest.tellDrops();
  ingest.tellDrops();
  expect(lossesOf(sent)).toHaveLength(1);
});

test("the first connection of a robot that was never recorded is no gap; the next one is", () => {
  const { ingest, sent } = open();
  ingest.onConnection(connection("connected"));
  const handle = ingest.openTopic(announce("/a", "std_msgs/msg/String"));
  const publish = () => ingest.onBytes(handle, Buffer.from([0, 1, 0, 0, 1, 0, 0, 0, 0]), systemClock.monotonicNs());
  publish();
  expect(lossesOf(sent)).toEqual([]);
  ingest.onConnection(connection("disconnected"));
  ingest.onConnection(connection("connected"));
  publish();
  expect(lossesOf(sent)).toHaveLength(1);
});

test("a gap that is open at the end is told", () => {
  const { ingest, sent, nowNs } = open();
  ingest.openTopic(announce("/a", "std_msgs/msg/String"));
  ingest.onConnection(connection("disconnected"));
  const beforeNs = nowNs();
  ingest.close();
  const [loss] = lossesOf(sent);
  expect(loss?.reason).toBe("connection_gap");
  expect(loss?.endNs).toBeGreaterThanOrEqual(beforeNs);
});

test("a flood of bad frames is one note a topic and reason, with every frame counted", () => {
  const { ingest, sent } = open();
  ingest.openTopic(announce("/a", "std_msgs/msg/String"));
  for (let index = 0; index < 5000; index += 1) ingest.onDrop(`/made/up/${index}`, "malformed_frame", 1, 10);
  ingest.onDrop("/a", "oversized_frame", 2, 99);
  ingest.tellDrops();
  ingest.tellDrops();
  const losses = lossesOf(sent);
  expect(losses.length).toBeLessThanOrEqual(1002);
  expect(losses.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(5002);
  expect(losses.find(({ topic }) => topic === "/a")).toMatchObject({ count: 2, bytes: 99 });
});

test("a topic whose type changes again and again keeps its place", () => {
  const { ingest } = open();
  const handles = Array.from({ length: 100 }, (_, index) =>
    ingest.openTopic(announce("/a", index % 2 === 0 ? "std_msgs/msg/String" : "std_msgs/msg/Bool")),
  );
  expect(new Set(handles).size).toBe(1);
  expect(ingest.traffic()).toHaveLength(1);
});

test("a message that came as JSON is stored as its ROS encoding where the type is known, as msgpack where it is not", () => {
  const { ingest, sent } = open();
  const known = ingest.openTopic(announce("/known", "std_msgs/msg/Float64"));
  const unknown = ingest.openTopic(announce("/unknown", "nobody_msgs/msg/Knows"));
  ingest.onJson(known, { data: null }, 20, systemClock.monotonicNs());
  ingest.onJson(unknown, { a: 1 }, 20, systemClock.monotonicNs());
  const channels = sent.flatMap((note) => (note.kind === "channel" ? [note.channel] : []));
  expect(channels.map(({ topic, messageEncoding }) => [topic, messageEncoding])).toEqual([
    ["/known", "cdr"],
    ["/unknown", "msgpack"],
  ]);
  expect(ingest.nullCount).toBe(1);
});

test("what a ROS 1 publisher numbered and the bridge left out is a row, what came broken is not one more", () => {
  const { ingest, sent } = open();
  const schemaText = `Header header\n${"=".repeat(80)}\nMSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n`;
  const handle = ingest.openTopic({ topic: "/a", schemaName: "a/B", schemaText, ros: 1, isLatched: false });
  const publish = (from: number, count: number) => {
    for (let sequence = from; sequence < from + count; sequence += 1) {
      const message = Buffer.alloc(16);
      message.writeUInt32LE(sequence, 0);
      ingest.onBytes(handle, message, systemClock.monotonicNs());
    }
  };
  publish(1, 100);
  ingest.onDrop("/a", "oversized_frame", 1, 99);
  publish(102, 100);
  ingest.tellDrops();
  expect(lossesOf(sent)).toMatchObject([{ topic: "/a", reason: "oversized_frame", count: 1 }]);
  publish(206, 100);
  expect(lossesOf(sent).slice(1)).toMatchObject([{ topic: "/a", reason: "sequence_gap", count: 4, bytes: undefined }]);
});

test("of an H.264 topic key frames are told before their chunk, and they alone are in the baseline", () => {
  const sent: IngestToStore[] = [];
  const builder = new ChunkBuilder({
    pool: new BufferPool(1e7),
    onChunk: (chunk) => sent.push({ kind: "chunk", chunk }),
    onDrop: () => {},
  });
  const camera: TopicClass = { ...LIGHT, name: "camera", tier: "memory", baselineHz: 1000, memoryMs: 1e4 };
  const planTopic = () => ({ topicClass: camera, isOnDemand: false, isLocal: false });
  const { ingest } = open({ builder, planTopic, send: (note) => sent.push(note) });
  const type = "foxglove_msgs/msg/CompressedVideo";
  const handle = ingest.openTopic({ ...announce("/video", type), schemaText: VIDEO_TYPES[type] });
  const units = accessUnits("h264");
  const startNs = systemClock.monotonicNs();
  for (const [index, unit] of units.entries())
    ingest.onBytes(handle, cdrMessage(type, "h264", unit), startNs + BigInt(index) * 10_000_000n);
  builder.flushAll();
  const keys = units.length / KEY_DISTANCE;
  expect(sent.filter(({ kind }) => kind === "key_frame")).toHaveLength(keys);
  expect(sent.findLastIndex(({ kind }) => kind === "key_frame")).toBeLessThan(
    sent.findIndex((note) => note.kind === "chunk" && note.chunk.kind === "baseline"),
  );
  const countOf = (kind: string) =>
    sent.reduce(
      (sum, note) =>
        sum + (note.kind === "chunk" && note.chunk.kind === kind ? (note.chunk.channels[0]?.count ?? 0) : 0),
      0,
    );
  expect([countOf("baseline"), countOf("full")]).toEqual([keys, units.length - keys]);
});

test("topics that come and go take each other's places, with counts of their own", () => {
  const { ingest, nowNs } = open();
  for (let index = 0; index < 1000; index += 1) {
    const handle = ingest.openTopic(announce(`/anonymous/${index}`, "std_msgs/msg/String"));
    ingest.onBytes(handle, Buffer.from([0, 1, 0, 0, 1, 0, 0, 0, 0]), nowNs());
    ingest.closeTopic(`/anonymous/${index}`);
  }
  expect(ingest.traffic()).toMatchObject([{ topic: "/anonymous/999", messages: 1 }]);
});
