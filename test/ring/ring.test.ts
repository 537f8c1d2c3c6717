import { expect, test } from "vitest";
import {
  brokenIdentities,
  channel,
  expectedOf,
  gotOf,
  IMAGE,
  JOINTS,
  LIGHT,
  MS,
  miscounts,
  noise,
  Rig,
  START_NS,
  topicClass,
} from "./ring-rig.ts";

/** A second of 100 Hz joints and 20 Hz images of 30 kB. */
function runSecond(rig: Rig): void {
  for (let tick = 0; tick < 100; tick += 1) {
    rig.send(1, Buffer.from(`joints ${rig.sent.length} `.repeat(20)));
    if (tick % 5 === 0) rig.send(2, noise(30_000, rig.sent.length));
    rig.clock.advanceMs(10);
    rig.flush();
  }
  rig.ring.commit();
}

test("every light message comes back byte for byte, in order of log time", () => {
  using rig = new Rig();
  rig.addChannel(JOINTS);
  rig.addChannel(channel(3, "/imu", "light"));
  for (let index = 0; index < 3000; index += 1) {
    rig.send(index % 7 === 0 ? 3 : 1, Buffer.from(`message ${index} `.repeat(1 + (index % 90))));
    rig.clock.advanceMs(1);
  }
  rig.settle();
  const messages = rig.readAll();
  expect(gotOf(messages)).toEqual(expectedOf(rig.sent));
  expect(messages.map(({ logTimeNs }) => logTimeNs)).toEqual(rig.sent.map(({ logTimeNs }) => logTimeNs));
  expect(brokenIdentities(rig)).toEqual([]);
});

test("a heavy topic is on disk at its baseline rate, and at full rate once promoted, no message twice", () => {
  using rig = new Rig();
  rig.addChannel(JOINTS, IMAGE);
  for (let second = 0; second < 5; second += 1) runSecond(rig);
  rig.settle();
  const images = () => rig.readAll().filter(({ channelId }) => channelId === 2);
  expect(images().length).toBe(5);
  expect(miscounts(rig)).toEqual([]);
  expect(brokenIdentities(rig)).toEqual([]);
  rig.ring.hold("episode", START_NS, rig.nowNs);
  rig.ring.promote(START_NS, rig.nowNs, START_NS + 2000n * MS);
  expect(brokenIdentities(rig)).toEqual([]);
  rig.settle();
  expect(images().length).toBe(100);
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(brokenIdentities(rig)).toEqual([]);
  expect(rig.ring.status()).toMatchObject({ backlogBytes: 0, holds: 1 });
  expect(rig.ring.status().heavyLagMs).toBeDefined();
});

test("while full rate is on, heavy topics go straight to disk", () => {
  using rig = new Rig();
  rig.addChannel(IMAGE, JOINTS);
  rig.ring.setFullRate(true);
  runSecond(rig);
  rig.settle();
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(rig.ring.status().memoryBytes).toBe(0);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("what the memory tier lets go is counted as reduced, unless a hold wants it", () => {
  using rig = new Rig({ classes: [LIGHT, topicClass("camera", { memoryMs: 1000 })] });
  rig.addChannel(JOINTS, IMAGE);
  rig.ring.hold("episode", START_NS + 1000n * MS, START_NS + 1999n * MS);
  for (let second = 0; second < 4; second += 1) runSecond(rig);
  rig.settle();
  const camera = rig.ledger.snapshot().find(({ topic }) => topic === "/camera");
  expect(camera?.reduced).toBeGreaterThan(0);
  expect(brokenIdentities(rig)).toEqual([]);
  const held = rig
    .readAll()
    .filter(
      ({ channelId, logTimeNs }) =>
        channelId === 2 && logTimeNs >= START_NS + 1000n * MS && logTimeNs < START_NS + 2000n * MS,
    );
  expect(held.length).toBe(20);
});

test("a hold without a promotion keeps its chunks from expiring in memory", () => {
  using rig = new Rig({ classes: [LIGHT, topicClass("camera", { memoryMs: 2000 })] });
  rig.addChannel(JOINTS, IMAGE);
  runSecond(rig);
  rig.ring.hold("episode", START_NS, rig.nowNs - 1n);
  for (let second = 0; second < 4; second += 1) runSecond(rig);
  rig.settle();
  const held = rig.readAll().filter(({ channelId, logTimeNs }) => channelId === 2 && logTimeNs < START_NS + 1000n * MS);
  expect(held.length).toBe(20);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("what is nearest the failure is on disk first", () => {
  using rig = new Rig();
  rig.addChannel(IMAGE, JOINTS);
  for (let second = 0; second < 6; second += 1) runSecond(rig);
  rig.settle();
  const focusNs = START_NS + 3000n * MS;
  const countNear = () =>
    rig
      .readAll()
      .filter(
        ({ channelId, logTimeNs }) =>
          channelId === 2 && logTimeNs > focusNs - 900n * MS && logTimeNs < focusNs + 900n * MS,
      ).length;
  rig.ring.promote(START_NS, rig.nowNs, focusNs);
  for (let step = 0; step < 6; step += 1) rig.ring.step(0);
  rig.ring.commit();
  expect(rig.ring.status().backlogBytes).toBeGreaterThan(0);
  expect(countNear()).toBeGreaterThanOrEqual(35);
});

test("a restart finds everything committed, and goes on behind it", () => {
  using first = new Rig();
  first.addChannel(JOINTS, IMAGE);
  first.ring.setFullRate(true);
  runSecond(first);
  first.settle();
  const before = expectedOf(first.sent);
  using second = first.reopen();
  expect(gotOf(second.readAll())).toEqual(before);
  expect(second.ring.channels.map(({ topic }) => topic)).toEqual(["/joint_states", "/camera"]);
  second.ring.setFullRate(true);
  runSecond(second);
  second.settle();
  expect(gotOf(second.readAll())).toEqual([...before, ...expectedOf(second.sent)].sort());
  const sequences = second.readAll().map(({ channelId, sequence }) => `${channelId} ${sequence}`);
  expect(new Set(sequences).size).toBe(sequences.length);
  expect(second.ledger.losses(0n, 2n ** 62n)).toEqual([]);
  expect(brokenIdentities(second)).toEqual([]);
});
