import { expect, test } from "vitest";
import type { RawChunk } from "../../src/model/chunk.ts";
import { BufferPool } from "../../src/ring/buffer-pool.ts";
import { ChunkBuilder } from "../../src/ring/chunk-builder.ts";
import { type RingMessage, readRecord, recordOffsets, viewOf } from "../../src/ring/message-record.ts";
import { CAMERA, channel, LIGHT, MS, START_NS, topicClass } from "./ring-rig.ts";

type Drop = { channelId: number; reason: string; count: number; bytes: number };

function build(poolBytes = 64 * 1024 * 1024) {
  const chunks: RawChunk[] = [];
  const drops: Drop[] = [];
  const pool = new BufferPool(poolBytes);
  const builder = new ChunkBuilder({
    pool,
    onChunk: (chunk) => chunks.push(chunk),
    onDrop: (channelId, reason, count, bytes) => drops.push({ channelId, reason, count, bytes }),
  });
  return { chunks, drops, pool, builder };
}

function messagesOf(chunk: RawChunk): RingMessage[] {
  const body = viewOf(new Uint8Array(chunk.buffer, 0, chunk.sizeBytes));
  return [...recordOffsets(body)].map((offset) => readRecord(body, offset, ""));
}

const atMs = (ms: number) => START_NS + BigInt(ms) * MS;

test("a message is laid down as MCAP's message record, byte for byte", () => {
  const { builder, chunks } = build();
  builder.addChannel(channel(0x1234, "/a", "light"), LIGHT);
  builder.append(0x1234, 0x1122334455667788n, 0x0102030405060708n, Buffer.from("abc"));
  builder.flushAll();
  const body = Buffer.from(chunks[0]?.buffer ?? new ArrayBuffer(0), 0, chunks[0]?.sizeBytes);
  expect(body.toString("hex")).toBe("05190000000000000034120100000088776655443322110807060504030201616263");
});

test("quiet channels of a class share a chunk, and a busy one gets its own", () => {
  const { builder, chunks } = build();
  for (let id = 1; id <= 20; id += 1) builder.addChannel(channel(id, `/topic_${id}`, "light"), LIGHT);
  for (let ms = 0; ms < 5000; ms += 10) {
    builder.append(1, atMs(ms), atMs(ms), new Uint8Array(2000)); // 200 kB/s
    if (ms % 100 === 0) for (let id = 2; id <= 20; id += 1) builder.append(id, atMs(ms), atMs(ms), new Uint8Array(100));
    if (ms % 500 === 0) builder.flushAll();
  }
  builder.flushAll();
  const last = chunks.filter(({ startNs }) => startNs >= atMs(2000));
  const own = last.filter(({ channels }) => channels.length === 1);
  const shared = last.filter(({ channels }) => channels.length > 1);
  expect(own.every(({ channels }) => channels[0]?.channelId === 1)).toBe(true);
  expect(shared.every(({ channels }) => channels.length === 19)).toBe(true);
  expect(last.length / 3).toBeLessThanOrEqual(5); // rows a second
});

test("classes, and what must not leave the robot, never share a chunk", () => {
  const { builder, chunks } = build();
  builder.addChannel(channel(1, "/a", "light"), LIGHT);
  builder.addChannel(channel(2, "/b", "light", { isLocal: true }), LIGHT);
  builder.addChannel(channel(3, "/c", "slow"), topicClass("slow", { tier: "disk", rank: 1 }));
  for (const id of [1, 2, 3]) builder.append(id, atMs(0), atMs(0), new Uint8Array(10));
  builder.flushAll();
  expect(chunks.map(({ className, isLocal }) => `${className} ${isLocal}`).sort()).toEqual([
    "light false",
    "light true",
    "slow false",
  ]);
});

test("heavy messages due at the baseline rate are in baseline chunks, the others in full ones, none in both", () => {
  const { builder, chunks } = build();
  builder.addChannel(channel(1, "/camera", "camera"), CAMERA);
  for (let ms = 0; ms < 4000; ms += 50) {
    builder.append(1, atMs(ms), atMs(ms), new Uint8Array(1000));
    if (ms % 500 === 0) builder.flushAll();
  }
  builder.flushAll();
  const of = (kind: string) => chunks.filter((chunk) => chunk.kind === kind);
  const full = of("full").flatMap(messagesOf);
  const baseline = of("baseline").flatMap(messagesOf);
  const due = [1, 21, 41, 61];
  expect(baseline.map(({ sequence }) => sequence)).toEqual(due);
  const others = Array.from({ length: 80 }, (_, index) => index + 1).filter((sequence) => !due.includes(sequence));
  expect(full.map(({ sequence }) => sequence)).toEqual(others);
});

test("no chunk spans more than a second, though nothing flushes", () => {
  const { builder, chunks } = build();
  builder.addChannel(channel(1, "/a", "light"), LIGHT);
  for (let ms = 1000; ms < 9000; ms += 100) builder.append(1, atMs(ms), atMs(ms), new Uint8Array(10));
  expect(chunks.every(({ startNs, endNs }) => endNs - startNs <= 1000n * MS)).toBe(true);
  expect(chunks.length).toBe(7); // the last one still fills
});

test("a message larger than any buffer gets its own", () => {
  const { builder, chunks } = build();
  builder.addChannel(channel(1, "/cloud", "camera"), CAMERA);
  const large = new Uint8Array(5 * 1024 * 1024).fill(7);
  builder.append(1, atMs(0), atMs(0), large);
  builder.append(1, atMs(1), atMs(1), new Uint8Array(10));
  builder.flushAll();
  const messages = chunks.flatMap(messagesOf).toSorted((a, b) => a.sequence - b.sequence);
  expect(messages.map(({ bytes }) => bytes.length)).toEqual([large.length, 10]);
  expect(Buffer.from(messages[0]?.bytes ?? []).equals(large)).toBe(true);
});

test("a full pool drops the lesser classes first, and every drop is told with its channel", () => {
  const { builder, drops, pool, chunks } = build(8 * 1024 * 1024);
  builder.addChannel(channel(1, "/joints", "light"), LIGHT);
  builder.addChannel(channel(2, "/camera", "camera"), topicClass("camera", { baselineHz: 0 }));
  let refused = 0;
  for (let ms = 0; ms < 1000; ms += 10)
    if (builder.append(2, atMs(ms), atMs(ms), new Uint8Array(200_000)) === "dropped") refused += 1;
  expect(refused).toBeGreaterThan(0);
  for (let ms = 0; ms < 1000; ms += 10)
    expect(builder.append(1, atMs(ms), atMs(ms), new Uint8Array(1000))).toBe("stored");
  builder.flushAll();
  expect(drops).toEqual([{ channelId: 2, reason: "queue_full", count: refused, bytes: refused * 200_000 }]);
  for (const { buffer } of chunks) pool.give(buffer);
  const all = pool.take(8 * 1024 * 1024, 0);
  expect(all).toBeDefined();
  if (all !== undefined) pool.give(all);
  expect(builder.append(2, atMs(1000), atMs(1000), new Uint8Array(200_000))).toBe("stored");
});

test("of inter-coded video the baseline holds key frames at its rate, and every parameter set beside them", () => {
  const { builder, chunks } = build();
  builder.addChannel(channel(1, "/video", "camera"), CAMERA);
  // 10 Hz for 9 s: a key frame every 0.5 s, its parameter sets just before it, as a message of their own.
  for (let index = 0; index < 90; index += 1) {
    const isKey = index % 5 === 0;
    if (isKey) builder.append(1, atMs(index * 100), atMs(0), Buffer.from("P"), "always");
    builder.append(1, atMs(index * 100 + 1), atMs(0), Buffer.from(isKey ? "K" : "d"), isKey ? "when_due" : "never");
    if (isKey) builder.flushAll();
  }
  builder.flushAll();
  const text = (kind: string) =>
    chunks
      .filter((chunk) => chunk.kind === kind)
      .flatMap(messagesOf)
      .map(({ bytes }) => Buffer.from(bytes).toString())
      .join("");
  expect(text("full")).toBe("ddddKdddd".repeat(9));
  expect(text("baseline")).toBe("PKP".repeat(9));
});
