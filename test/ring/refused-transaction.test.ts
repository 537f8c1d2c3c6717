/** The disk takes the bytes but not the transaction: there looked to be room, and then there was none. */
import { expect, test, vi } from "vitest";
import { isRoot, lacks } from "../support/needs.ts";
import { SmallDisk } from "../support/small-disk.ts";
import {
  brokenIdentities,
  countsOf,
  expectedOf,
  gotOf,
  IMAGE,
  JOINTS,
  LIGHT,
  miscounts,
  noise,
  Rig,
  type RigOptions,
  STORED_CAMERA,
} from "./ring-rig.ts";

function rigOf(options: RigOptions = {}, folder?: string): Rig {
  const rig = new Rig({ classes: [LIGHT, STORED_CAMERA], inlineBytesMax: 64 * 1024, ...options }, folder);
  rig.addChannel(JOINTS, IMAGE);
  return rig;
}

/** A second: joints, whose bytes go into rows, and images, whose bytes go to a segment. No commit. */
function send(rig: Rig, jointBytes = 400): void {
  for (let tick = 0; tick < 20; tick += 1) {
    rig.send(JOINTS.id, noise(jointBytes, rig.sent.length));
    if (tick % 5 === 0) rig.send(IMAGE.id, noise(80_000, rig.sent.length));
    rig.clock.advanceMs(50);
  }
  rig.builder.flushAll();
}

/** In the middle of the transaction, as SQLite says it. */
function refuseTransactions(rig: Rig, code = "SQLITE_FULL"): Disposable {
  return vi.spyOn(rig.ledger, "save").mockImplementation(() => {
    throw Object.assign(new Error("database or disk is full"), { code });
  });
}

test("what a transaction refused is in memory again, counted there, and comes with the next one", () => {
  using rig = rigOf();
  send(rig);
  rig.ring.commit();
  const firstNs = rig.nowNs;
  {
    using _ = refuseTransactions(rig);
    for (let second = 0; second < 5; second += 1) {
      send(rig);
      expect(rig.ring.commit()).toMatchObject({ isDurable: false, rows: 0 });
      expect(brokenIdentities(rig)).toEqual([]);
      expect(miscounts(rig)).toEqual([]);
    }
    // Bytes that are nowhere but in memory are owed; those in a segment wait where they are.
    expect(countsOf(rig, JOINTS.topic)).toMatchObject({ inMemory: 100, stored: 20 });
    expect(countsOf(rig, IMAGE.topic)).toMatchObject({ inMemory: 0, stored: 24 });
    expect(rig.ring.status()).toMatchObject({ isDiskRefusing: true });
    expect(rig.ring.status().backlogBytes).toBeGreaterThan(100 * 400);
    expect(rig.ring.durabilityOf(firstNs, rig.nowNs)).toBe("refused");
    expect(rig.readAll().length).toBe(24);
  }
  rig.settle();
  expect(rig.ring.status()).toMatchObject({ isDiskRefusing: false, backlogBytes: 0 });
  expect(countsOf(rig, JOINTS.topic)).toMatchObject({ inMemory: 0, stored: 120, dropped: {} });
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  using again = rig.reopen({ classes: [LIGHT, STORED_CAMERA] });
  expect(gotOf(again.readAll())).toEqual(expectedOf(rig.sent));
});

test("what waits too long for a transaction is dropped by value, and each message is counted once", () => {
  using rig = rigOf({ backlogBytesMax: 40_000 });
  using refusing = refuseTransactions(rig, "SQLITE_IOERR_WRITE");
  for (let second = 0; second < 10; second += 1) {
    send(rig);
    rig.ring.commit();
    expect(brokenIdentities(rig)).toEqual([]);
  }
  refusing[Symbol.dispose]();
  rig.settle();
  const { dropped } = countsOf(rig, JOINTS.topic);
  expect(dropped.disk_full).toBeGreaterThan(50);
  const got = rig.readAll();
  const { disk_full: images = 0 } = countsOf(rig, IMAGE.topic).dropped;
  expect(got.length + (dropped.disk_full ?? 0) + images).toBe(rig.sent.length);
  // The oldest went.
  const joints = got.filter(({ channelId }) => channelId === JOINTS.id).map(({ logTimeNs }) => logTimeNs);
  const sent = rig.sent.filter(({ channelId }) => channelId === JOINTS.id).map(({ logTimeNs }) => logTimeNs);
  expect(joints).toEqual(sent.slice(-joints.length));
  const lost = rig.ledger.losses(0n, 2n ** 62n).filter(({ topic }) => topic === JOINTS.topic);
  expect(lost.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(dropped.disk_full);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("a range of it can be given up, whichever half of its way it has gone", () => {
  using rig = rigOf();
  {
    using _ = refuseTransactions(rig);
    send(rig);
    rig.ring.commit();
    rig.ring.giveUp(0n, rig.nowNs);
    expect(rig.ring.durabilityOf(0n, rig.nowNs)).toBe("durable");
    expect(brokenIdentities(rig)).toEqual([]);
  }
  const before = rig.sent.length;
  send(rig);
  rig.settle();
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent.slice(before)));
  for (const { topic } of [JOINTS, IMAGE]) expect(countsOf(rig, topic).dropped.disk_full).toBeGreaterThan(0);
  expect(brokenIdentities(rig)).toEqual([]);
});

test.skipIf(lacks(isRoot))("a real disk that fills up between a chunk's placing and its commit", () => {
  using disk = new SmallDisk(12);
  using rig = rigOf({ inlineBytesMax: 1_000_000, segmentBytes: 1024 * 1024 }, disk.path);
  rig.ring.commit();
  send(rig, 20_000);
  const { stored } = countsOf(rig, JOINTS.topic);
  expect(stored).toBe(20); // it looked as if there were room
  disk.fill();
  expect(rig.ring.commit()).toMatchObject({ isDurable: false, reason: expect.stringMatching(/full/) });
  expect(countsOf(rig, JOINTS.topic)).toMatchObject({ inMemory: 20, stored: 0 });
  expect(brokenIdentities(rig)).toEqual([]);
  disk.makeRoom();
  rig.settle();
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(brokenIdentities(rig)).toEqual([]);
});
