import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { ReadProblem } from "../../src/ring/ring-reader.ts";
import {
  brokenIdentities,
  expectedOf,
  gotOf,
  IMAGE,
  JOINTS,
  LIGHT,
  MS,
  noise,
  Rig,
  START_NS,
  topicClass,
} from "./ring-rig.ts";

const MIB = 1024 * 1024;
const CAMERA = topicClass("camera", { tier: "disk", memoryBytesMax: 0 });

function run(rig: Rig, seconds: number): void {
  for (let tick = 0; tick < seconds * 20; tick += 1) {
    rig.send(1, noise(500, rig.sent.length));
    rig.send(2, noise(20_000, rig.sent.length));
    rig.clock.advanceMs(50);
    rig.flush();
    if (tick % 20 === 19) {
      rig.ring.commit();
      while (rig.ring.step(50)) {}
    }
  }
}

function rigOf(options: ConstructorParameters<typeof Rig>[0]): Rig {
  const rig = new Rig({ classes: [LIGHT, CAMERA], segmentBytes: MIB, ...options });
  rig.addChannel(JOINTS, IMAGE);
  return rig;
}

/** Bytes of the ring's files on disk, the write-ahead log left out. */
function filesOf(rig: Rig): number {
  const segments = readdirSync(join(rig.folder, "segments")).map((name) => join(rig.folder, "segments", name));
  return [join(rig.folder, "ring.db"), ...segments].reduce((sum, path) => sum + statSync(path).size, 0);
}

test("the ring stays within its bytes; the least valuable and oldest goes first", () => {
  using rig = rigOf({ bytesMax: 8 * MIB });
  run(rig, 60); // 24 MB of images, 0.6 MB of joints
  rig.settle();
  expect(filesOf(rig)).toBeLessThanOrEqual(8 * MIB);
  const got = rig.readAll();
  expect(got.filter(({ channelId }) => channelId === 1).length).toBe(1200);
  const images = got.filter(({ channelId }) => channelId === 2);
  expect(images.length).toBeGreaterThan(200);
  const sentImages = rig.sent.filter(({ channelId }) => channelId === 2);
  expect(gotOf(images)).toEqual(expectedOf(sentImages.slice(-images.length)));
  expect(brokenIdentities(rig)).toEqual([]);
  const camera = rig.ledger.snapshot().find(({ topic }) => topic === "/camera");
  expect(camera).toMatchObject({ stored: 1200, evicted: 1200 - images.length });
});

test("a held range outlives everything, and goes in its turn once released", () => {
  using rig = rigOf({ bytesMax: 8 * MIB });
  run(rig, 2);
  rig.ring.hold("episode", START_NS + 500n * MS, START_NS + 1500n * MS);
  run(rig, 60);
  rig.settle();
  const held = () =>
    rig.readAll().filter(({ logTimeNs }) => logTimeNs >= START_NS + 500n * MS && logTimeNs <= START_NS + 1500n * MS);
  expect(held().length).toBe(2 * 21);
  expect(brokenIdentities(rig)).toEqual([]);
  expect(rig.ledger.snapshot(rig.ring.heldAmounts()).map((counts) => counts.held > 0)).toEqual([true, true]);
  rig.ring.release("episode");
  run(rig, 30);
  rig.settle();
  expect(held().filter(({ channelId }) => channelId === 2)).toEqual([]);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("a ring full of held data refuses rather than overwrites, and says so", () => {
  using rig = rigOf({ bytesMax: 8 * MIB, backlogBytesMax: MIB });
  rig.ring.hold("episode", START_NS, START_NS + 3_600_000n * MS);
  run(rig, 40);
  expect(rig.ring.status().isDiskRefusing).toBe(true);
  expect(filesOf(rig)).toBeLessThanOrEqual(8 * MIB);
  expect(brokenIdentities(rig)).toEqual([]);
  rig.ring.release("episode");
  run(rig, 10);
  expect(rig.ring.status().isDiskRefusing).toBe(false);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("a class keeps to its own age and bytes", () => {
  const aged = topicClass("light", { diskMsMax: 10_000 });
  const bounded = topicClass("camera", { tier: "disk", diskBytesMax: 3 * MIB });
  using rig = rigOf({ classes: [aged, bounded] });
  run(rig, 30);
  rig.settle();
  const got = rig.readAll();
  const joints = got.filter(({ channelId }) => channelId === 1);
  expect(joints[0]?.logTimeNs).toBeGreaterThanOrEqual(rig.nowNs - 11_000n * MS);
  expect(joints.length).toBeGreaterThanOrEqual(200);
  const { classes } = rig.ring.status();
  expect(classes.find(({ className }) => className === "camera")?.diskBytes).toBeLessThanOrEqual(3 * MIB);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("space above the file system's reserve is given back", () => {
  using rig = rigOf({});
  run(rig, 10);
  rig.settle();
  expect(filesOf(rig)).toBeGreaterThan(4 * MIB);
  using pressed = rig.reopen({ classes: [LIGHT, CAMERA], reserveBytes: 2 ** 52 });
  while (pressed.ring.step(50)) {}
  expect(filesOf(pressed)).toBeLessThan(MIB);
  expect(pressed.readAll()).toEqual([]);
  expect(brokenIdentities(pressed)).toEqual([]);
});

test("a reader that retention overtakes skips what is gone and never mistakes new bytes for old", () => {
  using rig = rigOf({ bytesMax: 8 * MIB });
  run(rig, 10);
  const problems: ReadProblem[] = [];
  using reader = rig.open((problem) => problems.push(problem));
  const query = { startNs: 0n, endNs: 2n ** 62n, channelIds: new Set([2]) };
  const got = [];
  let isOvertaken = false;
  for (const message of reader.messages(query)) {
    got.push(message);
    if (!isOvertaken) run(rig, 60);
    isOvertaken = true;
  }
  const sent = new Set(expectedOf(rig.sent));
  expect(gotOf(got).filter((message) => !sent.has(message))).toEqual([]);
  expect(problems.length).toBeGreaterThan(0);
  expect(problems.every(({ code }) => code === "chunk_gone")).toBe(true);
});

test("a bound that was lowered is reached step by step, and nobody waits for it", () => {
  using rig = rigOf({ bytesMax: 48 * MIB });
  run(rig, 90);
  rig.settle();
  const before = filesOf(rig);
  expect(before).toBeGreaterThan(30 * MIB);
  using lower = rig.reopen({ classes: [LIGHT, CAMERA], segmentBytes: MIB, bytesMax: 8 * MIB });
  lower.send(2, noise(20_000, 1));
  lower.builder.flushAll();
  lower.ring.commit();
  expect(filesOf(lower)).toBeGreaterThan(30 * MIB); // the append did not work it all off
  expect(lower.ring.status().isDiskRefusing).toBe(false);
  while (lower.ring.step(50)) {}
  lower.settle();
  expect(filesOf(lower)).toBeLessThanOrEqual(8 * MIB);
  expect(lower.readAll().filter(({ channelId }) => channelId === 1).length).toBe(1800);
  expect(brokenIdentities(lower)).toEqual([]);
});
