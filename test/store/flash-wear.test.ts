/** Bytes written to flash, from a /sys and /proc of the test's own, and from a real loop device. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ManualClock } from "../../src/std/clock.ts";
import { blockDeviceOf, processWrittenBytes } from "../../src/store/block-device.ts";
import { createWearTables, FlashWear, type FlashWearDeps } from "../../src/store/flash-wear.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import { LoopDisk } from "../support/loop-disk.ts";
import { isRoot, lacks } from "../support/needs.ts";

const MB = 1e6;
const GB = 1e9;
const HOUR_MS = 3_600_000;
/** Midnight of the robot's own day. */
const MIDNIGHT_MS = new Date(2026, 5, 15).getTime();

let root: string;
beforeEach(() => {
  root = makeFolder();
});
afterEach(() => removeFolder(join(root, "..")));

/** 8:1, as stat(2) packs it. */
const SDA1 = (8 << 8) | 1;
const devOf = () => SDA1;

function put(path: string, text: string): void {
  mkdirSync(join(root, path, ".."), { recursive: true });
  writeFileSync(join(root, path), text);
}

function link(path: string, target: string): void {
  mkdirSync(join(root, path, ".."), { recursive: true });
  symlinkSync(join(root, target), join(root, path));
}

function setWritten(device: string, bytes: number): void {
  put(`sys/devices/${device}/stat`, `  7 0 9 1 44 0 ${bytes / 512} 12 0 8 13 0 0 0 0 0 0\n`);
}

function setOwn(bytes: number): void {
  put("proc/self/io", `rchar: 1\nwchar: 9\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: ${bytes}\n`);
}

/** The data folder lies on the first partition of sda. */
function partitionOfSda(): void {
  setWritten("sda", 0);
  setWritten("sda/sda1", 0);
  put("sys/devices/sda/sda1/partition", "1\n");
  link("sys/dev/block/8:1", "sys/devices/sda/sda1");
  setOwn(0);
}

test("a partition stands for its whole disk", () => {
  partitionOfSda();
  setWritten("sda", 5 * MB);
  const device = blockDeviceOf("/data", root, devOf);
  expect([device?.name, device?.writtenBytes()]).toEqual(["sda", 5 * MB]);
});

test("LVM over two disks stands for both, and a loop device for the disk of its file", () => {
  for (const name of ["sda", "sdb"]) setWritten(name, 3 * MB);
  setWritten("dm-0", 100 * MB);
  link("sys/devices/dm-0/slaves/sda", "sys/devices/sda");
  link("sys/devices/dm-0/slaves/sdb", "sys/devices/sdb");
  link("sys/dev/block/254:0", "sys/devices/dm-0");
  put("image", "");
  setWritten("loop0", 100 * MB);
  put("sys/devices/loop0/loop/backing_file", `${join(root, "image")}\n`);
  link("sys/dev/block/7:0", "sys/devices/loop0");
  const deviceOf = (path: string) => (path === "/data" ? 7 << 8 : 254 << 8);
  const device = blockDeviceOf("/data", root, deviceOf);
  expect([device?.name, device?.writtenBytes()]).toEqual(["sda+sdb", 6 * MB]);
});

test("btrfs, whose files have a device number of their own, is found by its mount; a tmpfs has no disk", () => {
  partitionOfSda();
  link("sys/class/block/sda1", "sys/devices/sda/sda1");
  put(
    "proc/self/mountinfo",
    "36 25 0:31 /@ /data rw,noatime shared:1 - btrfs /dev/sda1 rw\n37 25 0:40 / /tmp rw - tmpfs tmpfs rw\n",
  );
  expect(blockDeviceOf("/data", root, () => 31)?.name).toBe("sda");
  expect(blockDeviceOf("/tmp", root, () => 40)).toBeUndefined();
  expect(processWrittenBytes(join(root, "nowhere"))).toBeUndefined();
});

class Wear {
  readonly clock = new ManualClock(BigInt(MIDNIGHT_MS) * 1_000_000n);
  readonly db = new Database(":memory:");
  readonly said: string[] = [];
  wear: FlashWear;
  #written = 0;

  constructor(budgetBytes = 50 * GB) {
    createWearTables(this.db);
    this.wear = this.open("boot-1", budgetBytes);
  }

  open(bootId: string, budgetBytes = 50 * GB): FlashWear {
    const say = (sentence: string) => this.said.push(sentence);
    const deps: FlashWearDeps = { db: this.db, clock: this.clock, bootId, root, devOf, log: { info: say, warn: say } };
    this.wear = FlashWear.open("/data", budgetBytes, deps);
    return this.wear;
  }

  setWritten(bytes: number): void {
    this.#written = bytes;
    setWritten("sda", bytes);
  }

  /** The robot writes at this rate, and the counters are read once a minute. */
  run(hours: number, bytesPerHour: number): void {
    for (let minute = 0; minute < hours * 60; minute += 1) {
      this.setWritten(this.#written + Math.round(bytesPerHour / 60 / 512) * 512);
      this.clock.advanceMs(60_000);
      this.wear.sample();
    }
  }
}

test("what the disk took is counted per day, with Lode's own part, over restarts and boots", () => {
  partitionOfSda();
  const robot = new Wear();
  robot.run(10, 2 * GB);
  setOwn(4 * GB);
  robot.wear.sample();
  expect(robot.wear.status()).toMatchObject({ source: "block", device: "sda", ownBytesToday: 4 * GB });
  expect(robot.wear.status().bytesToday / GB).toBeCloseTo(20, 3);
  robot.wear.save();
  // Away for an hour in which somebody wrote 3 GB; then a boot, whose counter begins at 0, with 1 GB before the start.
  robot.clock.advanceMs(HOUR_MS);
  robot.setWritten(23 * GB);
  robot.open("boot-1");
  expect(robot.wear.status().bytesToday / GB).toBeCloseTo(23, 3);
  robot.wear.save();
  robot.clock.advanceMs(HOUR_MS);
  robot.setWritten(1 * GB);
  robot.open("boot-2");
  expect(robot.wear.status().bytesToday / GB).toBeCloseTo(24, 3);
  // Into the next day.
  robot.run(13, GB);
  const { bytesToday, days } = robot.wear.status();
  expect(bytesToday / GB).toBeCloseTo(1, 1);
  expect(days.map(({ bytes }) => Math.round(bytes / GB))).toEqual([1, 36]);
});

test("of what was written while Lode was away for days, today gets its part", () => {
  partitionOfSda();
  const robot = new Wear();
  robot.wear.save();
  robot.clock.advanceMs(48 * HOUR_MS + 12 * HOUR_MS);
  robot.setWritten(60 * GB);
  robot.open("boot-1");
  expect(robot.wear.status().bytesToday / GB).toBeCloseTo(12, 1);
});

test("the first start knows nothing of what was written before it", () => {
  partitionOfSda();
  setWritten("sda", 900 * GB);
  const robot = new Wear();
  expect(robot.wear.status()).toMatchObject({ bytesToday: 0, bytesPerDay: undefined, isOverBudget: false });
});

test("a rate that will break the budget is warned of in time, once, and again only after it was calm", () => {
  partitionOfSda();
  const robot = new Wear(24 * GB);
  robot.run(2, 0.9 * GB);
  expect(robot.said).toEqual([]);
  robot.run(2, 1.5 * GB);
  const status = robot.wear.status();
  expect(status.isOverBudget).toBe(true);
  expect((status.bytesPerDay ?? 0) / GB).toBeCloseTo(36, 0);
  expect(status.bytesToday).toBeLessThan(status.budgetBytes); // in time
  // Around the budget it stays as it is.
  for (let turn = 0; turn < 4; turn += 1) robot.run(1, turn % 2 === 0 ? 0.9 * GB : 1.1 * GB);
  expect(robot.said).toEqual([expect.stringContaining("more is written to flash today than its budget allows")]);
  robot.run(4, 0.1 * GB);
  expect(robot.said).toHaveLength(2);
  expect(robot.wear.status().isOverBudget).toBe(false);
});

test("a disk that is pulled out, or a counter that goes back, costs nothing", () => {
  partitionOfSda();
  const robot = new Wear();
  robot.run(1, GB);
  robot.setWritten(0);
  robot.wear.sample();
  rmSync(join(root, "sys/devices"), { recursive: true });
  robot.wear.sample();
  expect(robot.wear.status().bytesToday / GB).toBeCloseTo(1, 3);
});

test("no budget, no warning; where there is no block device Lode's own bytes are all that is known", () => {
  setOwn(7 * GB);
  const robot = new Wear(0);
  robot.clock.advanceMs(HOUR_MS);
  setOwn(900 * GB);
  robot.wear.sample();
  expect(robot.said).toEqual([]);
  expect(robot.wear.status()).toMatchObject({ source: "process", device: "", bytesToday: 893 * GB });
});

test("days are bounded, and a database that refuses costs nothing", () => {
  partitionOfSda();
  const robot = new Wear(0);
  for (let day = 0; day < 420; day += 1) {
    robot.run(1 / 60, 60 * GB);
    robot.wear.save();
    robot.clock.advanceMs(24 * HOUR_MS - 60_000);
  }
  expect(robot.db.prepare("SELECT count(*) FROM wear_day").pluck().get()).toBe(400);
  expect(robot.wear.status().days).toHaveLength(7);
  robot.db.pragma("query_only = ON");
  robot.run(1 / 60, 60 * GB);
  robot.wear.save();
  robot.wear.save();
  expect(robot.said).toEqual([expect.stringContaining("could not be saved")]);
  robot.db.pragma("query_only = OFF");
  robot.wear.save();
  const sum = robot.db.prepare<[], number>("SELECT bytes FROM wear_day ORDER BY rowid DESC LIMIT 1").pluck().get();
  expect((sum ?? 0) / GB).toBeCloseTo(1, 3);
});

test.skipIf(lacks(isRoot))("a real loop device is followed to the disk of its file, whose counter moves", () => {
  using disk = LoopDisk.open({ bytes: 64 * 1024 * 1024 });
  const device = blockDeviceOf(disk.folder);
  expect(device?.name).toBe(blockDeviceOf(join(disk.folder, ".."))?.name ?? expect.stringMatching(/^loop/));
  const before = device?.writtenBytes() ?? 0;
  writeFileSync(join(disk.folder, "file"), new Uint8Array(20 * MB).fill(7), { flush: true });
  disk.sync();
  expect((device?.writtenBytes() ?? 0) - before).toBeGreaterThanOrEqual(20 * MB);
});
