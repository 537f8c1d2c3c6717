import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemorySpool } from "../../src/ring/memory-spool.ts";
import { chunkKey, encodeMemoryChunk, encodeMemoryEnd, type MemoryList } from "../../src/ring/memory-stream.ts";
import { type ReadProblem, RingReader } from "../../src/ring/ring-reader.ts";
import { BrokenDisk } from "../support/broken-disk.ts";
import { CAMERA, channel, expectedOf, gotOf, LIGHT, MS, noise, Rig, START_NS, topicClass } from "./ring-rig.ts";

const EVER = { startNs: 0n, endNs: 2n ** 62n };
let spoolFolder: string;

beforeEach(() => {
  spoolFolder = mkdtempSync(join(tmpdir(), "lode-spool-"));
});
afterEach(() => {
  rmSync(spoolFolder, { recursive: true, force: true });
});

function list(rig: Rig): MemoryList {
  return rig.ring.listMemory(0n, 2n ** 62n, () => true, rig.nowNs);
}

/** The stream as the daemon makes it, in pieces of a size that fits no boundary. */
async function* stream(rig: Rig, { headers, completeUntilNs }: MemoryList, pieceBytes = 1000) {
  const payloads = rig.ring.readMemory(headers.map(chunkKey), 0n, 2n ** 62n, Number.POSITIVE_INFINITY);
  const chunks = headers.flatMap((header, index) => encodeMemoryChunk(header, payloads[index]));
  const bytes = Buffer.concat([...chunks, encodeMemoryEnd(completeUntilNs)]);
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

function open(rig: Rig, memory: MemorySpool, problems: ReadProblem[] = []): RingReader {
  return RingReader.open(rig.folder, { memory, onProblem: (problem) => problems.push(problem) });
}

/** Ten seconds of a light topic and of two cameras that are on disk at 1 Hz only. */
function fill(rig: Rig, seconds = 10): void {
  for (let index = 0; index < seconds * 20; index += 1) {
    rig.send(1, noise(50, index));
    rig.send(2, noise(20_000, index));
    rig.send(3, noise(200, index));
    rig.clock.advanceMs(50);
    rig.flush();
  }
  rig.builder.flushAll();
}

function cameraRig(camera = CAMERA): Rig {
  const rig = new Rig({ classes: [LIGHT, camera] });
  rig.addChannel(channel(1, "/joints", "light"));
  rig.addChannel(channel(2, "/front", "camera"));
  rig.addChannel(channel(3, "/rear", "camera"));
  return rig;
}

test("every message of both tiers is read once, and no trace of the spool is left", async () => {
  using rig = cameraRig();
  fill(rig);
  const memory = await MemorySpool.receive(stream(rig, list(rig)), spoolFolder);
  expect(readdirSync(spoolFolder)).toEqual([]);
  using reader = open(rig, memory);
  expect(reader.completeUntilNs).toBe(rig.nowNs);
  const messages = [...reader.messages(EVER)];
  expect(gotOf(messages)).toEqual(expectedOf(rig.sent));
  const times = messages.map(({ logTimeNs }) => logTimeNs);
  expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
  expect(gotOf(rig.readAll()).length).toBeLessThan(rig.sent.length * 0.4); // the disk tier alone
});

test("a range and topics choose from both tiers alike", async () => {
  using rig = cameraRig();
  fill(rig);
  const memory = await MemorySpool.receive(stream(rig, list(rig)), spoolFolder);
  using reader = open(rig, memory);
  const range = { startNs: START_NS + 2000n * MS, endNs: START_NS + 4000n * MS, channelIds: new Set([3]) };
  const isWithin = (timeNs: bigint) => timeNs >= range.startNs && timeNs <= range.endNs;
  const expected = rig.sent.filter(({ channelId, logTimeNs }) => channelId === 3 && isWithin(logTimeNs));
  expect(gotOf(reader.messages(range))).toEqual(expectedOf(expected));
});

test("no message comes twice when its chunk moves to the disk, before, while or after memory is read", async () => {
  for (const moment of ["listed", "received", "reading"]) {
    using rig = cameraRig();
    fill(rig);
    const promote = () => {
      rig.ring.promote(START_NS, START_NS + 8000n * MS, START_NS);
      rig.settle();
    };
    const listed = list(rig);
    if (moment === "listed") promote();
    const problems: ReadProblem[] = [];
    using reader = open(rig, await MemorySpool.receive(stream(rig, listed), spoolFolder), problems);
    if (moment === "received") promote();
    const messages = reader.messages(EVER);
    const first = [...Array(100)].flatMap(() => messages.next().value ?? []);
    if (moment === "reading") promote();
    expect(gotOf([...first, ...messages]), moment).toEqual(expectedOf(rig.sent));
    expect(problems, moment).toEqual([]);
    const keys = [...reader.chunks(EVER)].map(chunkKey); // what copies chunks does not look into them
    expect(new Set(keys).size, moment).toBe(keys.length);
  }
});

test("what left memory before it was read, and is not on disk, is told as gone", async () => {
  using rig = cameraRig(topicClass("camera", { memoryMs: 5000 }));
  fill(rig, 5);
  const before = rig.sent.length;
  const listed = list(rig);
  fill(rig, 3); // the oldest three seconds expire
  const problems: ReadProblem[] = [];
  using reader = open(rig, await MemorySpool.receive(stream(rig, listed), spoolFolder), problems);
  const untilNs = rig.sent[before - 1]?.logTimeNs ?? 0n;
  const got = gotOf(reader.messages({ startNs: 0n, endNs: untilNs }));
  const told = problems.flatMap(({ chunk }) => chunk.channels).reduce((sum, { count }) => sum + count, 0);
  expect(problems.length).toBeGreaterThan(3);
  expect(new Set(problems.map(({ code }) => code))).toEqual(new Set(["chunk_gone"]));
  expect(got.length + told).toBe(before);
});

test("what a refusing disk owes is read from memory", async () => {
  const disk = new BrokenDisk();
  using rig = new Rig({ classes: [LIGHT, CAMERA], inlineBytesMax: 0, io: disk.io });
  rig.addChannel(channel(1, "/joints", "light"));
  rig.addChannel(channel(2, "/front", "camera"));
  rig.addChannel(channel(3, "/rear", "camera"));
  fill(rig, 2);
  disk.refuses = true;
  fill(rig, 3);
  using reader = open(rig, await MemorySpool.receive(stream(rig, list(rig)), spoolFolder));
  expect(gotOf(reader.messages(EVER))).toEqual(expectedOf(rig.sent));
  disk.refuses = false;
});

test("a stream that is torn or not ours is refused, and leaves nothing", async () => {
  using rig = cameraRig();
  fill(rig, 2);
  const parts: Buffer[] = [];
  for await (const part of stream(rig, list(rig), 4096)) parts.push(part);
  const whole = Buffer.concat(parts);
  const broken = Buffer.from(whole);
  broken.writeUInt8(9, 0);
  const flipped = Buffer.from(whole);
  flipped.writeUInt8(flipped.readUInt8(20) ^ 1, 20);
  for (const bytes of [Buffer.alloc(0), whole.subarray(0, 30), whole.subarray(0, -1), broken, flipped]) {
    const receiving = MemorySpool.receive(
      (async function* () {
        yield bytes;
      })(),
      spoolFolder,
    );
    await expect(receiving).rejects.toMatchObject({ code: "memory_unread" });
  }
  expect(readdirSync(spoolFolder)).toEqual([]);
});
