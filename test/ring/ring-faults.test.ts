/** What the disk does to a ring: full, broken, damaged, gone. */
import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import type { ReadProblem } from "../../src/ring/ring-reader.ts";
import { auditRing } from "../support/audit.ts";
import { BrokenDisk } from "../support/broken-disk.ts";
import { isRoot, lacks } from "../support/needs.ts";
import { SmallDisk } from "../support/small-disk.ts";
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
  STORED_CAMERA,
} from "./ring-rig.ts";

const EVERYTHING = { startNs: 0n, endNs: 2n ** 62n };

/** `seconds` of joints at 100 Hz (`jointBytes` each, noise) and 30 kB images at 20 Hz. */
function run(rig: Rig, seconds: number, jointBytes = 200): void {
  for (let tick = 0; tick < seconds * 100; tick += 1) {
    rig.send(1, noise(jointBytes, rig.sent.length));
    if (tick % 5 === 0) rig.send(2, noise(30_000, rig.sent.length));
    rig.clock.advanceMs(10);
    rig.flush();
    if (tick % 50 === 49) {
      rig.ring.step(20);
      rig.ring.commit();
    }
  }
}

function dropsOf(rig: Rig, reason: string): number {
  return rig.ledger.snapshot().reduce((sum, { dropped }) => sum + (dropped[reason] ?? 0), 0);
}

test("what a full disk refuses waits in memory and is written when there is space again", () => {
  const disk = new BrokenDisk();
  using rig = new Rig({ io: disk.io, classes: [LIGHT, STORED_CAMERA] });
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 1);
  disk.refuses = true;
  run(rig, 3);
  expect(rig.ring.status().isDiskRefusing).toBe(true);
  expect(rig.ring.commit()).toMatchObject({ isDurable: false, reason: expect.stringContaining("ENOSPC") });
  expect(brokenIdentities(rig)).toEqual([]);
  disk.refuses = false;
  run(rig, 1);
  rig.settle();
  expect(rig.ring.status()).toMatchObject({ isDiskRefusing: false, backlogBytes: 0 });
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(brokenIdentities(rig)).toEqual([]);
});

test("beyond its budget the least valuable of what waits is dropped, counted as disk_full", () => {
  const disk = new BrokenDisk();
  using rig = new Rig({ io: disk.io, classes: [LIGHT, STORED_CAMERA], backlogBytesMax: 1_000_000 });
  rig.addChannel(JOINTS, IMAGE);
  disk.refuses = true;
  run(rig, 5);
  expect(rig.ring.status().backlogBytes).toBeLessThanOrEqual(1_000_000);
  expect(brokenIdentities(rig)).toEqual([]);
  disk.refuses = false;
  rig.settle();
  const got = rig.readAll();
  expect(got.filter(({ channelId }) => channelId === 1).length).toBe(500);
  const images = got.filter(({ channelId }) => channelId === 2).length;
  expect(images).toBeLessThan(100);
  expect(dropsOf(rig, "disk_full")).toBe(100 - images);
  const lost = rig.ledger.losses(0n, 2n ** 62n, { topics: new Set(["/camera"]) });
  expect(lost.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(100 - images);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("bytes whose sync failed are never referred to, and counted", () => {
  const disk = new BrokenDisk("EIO");
  using rig = new Rig({ io: disk.io, classes: [LIGHT, STORED_CAMERA] });
  rig.addChannel(IMAGE, JOINTS);
  run(rig, 1);
  disk.failsToSync = true;
  run(rig, 1);
  disk.failsToSync = false;
  run(rig, 1);
  rig.settle();
  const got = rig.readAll().length;
  expect(got).toBeLessThan(rig.sent.length);
  expect(dropsOf(rig, "disk_full")).toBe(rig.sent.length - got);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("a disk that fails at each sync for a while leaves no segments behind that nobody may fill", () => {
  const disk = new BrokenDisk("EIO");
  disk.failsToSync = true;
  using rig = new Rig({ io: disk.io, classes: [LIGHT, STORED_CAMERA], inlineBytesMax: 0 });
  rig.addChannel(IMAGE, JOINTS);
  run(rig, 10);
  expect(rig.ring.status().diskBytes).toBeLessThan(4 * 1024 * 1024);
  disk.failsToSync = false;
  const before = rig.sent.length;
  run(rig, 2);
  rig.settle();
  expect(rig.readAll().length).toBeGreaterThanOrEqual(rig.sent.length - before);
  expect(brokenIdentities(rig)).toEqual([]);
});

test("what a range is owed can be given up: dropped and counted, and the rest goes on", () => {
  const disk = new BrokenDisk();
  using rig = new Rig({ io: disk.io, classes: [LIGHT, STORED_CAMERA] });
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 1);
  disk.refuses = true;
  run(rig, 4);
  const range = { startNs: rig.nowNs - 3000n * MS, endNs: rig.nowNs - 1000n * MS };
  expect(rig.ring.durabilityOf(range.startNs, range.endNs)).toBe("refused");
  rig.ring.giveUp(range.startNs, range.endNs);
  expect(rig.ring.durabilityOf(range.startNs, range.endNs)).toBe("durable");
  expect(brokenIdentities(rig)).toEqual([]);
  disk.refuses = false;
  rig.settle();
  expect(rig.ring.durabilityOf(0n, rig.nowNs)).toBe("durable");
  const got = gotOf(rig.readAll());
  expect(got.length + dropsOf(rig, "disk_full")).toBe(rig.sent.length);
  const outside = rig.sent.filter(
    ({ logTimeNs }) => logTimeNs < range.startNs - 1000n * MS || logTimeNs > range.endNs + 1000n * MS,
  );
  expect(got).toEqual(expect.arrayContaining(expectedOf(outside)));
  const lost = rig.ledger.losses(range.startNs, range.endNs).reduce((sum, { count }) => sum + (count ?? 0), 0);
  expect(lost).toBe(dropsOf(rig, "disk_full"));
  expect(lost).toBeGreaterThan(0);
  expect(brokenIdentities(rig)).toEqual([]);
});

test.skipIf(lacks(isRoot))(
  "light data that a full disk refuses waits in memory, is counted there, and all of it comes to the disk later",
  () => {
    using disk = new SmallDisk(12);
    using rig = new Rig({ classes: [LIGHT], inlineBytesMax: 64 * 1024 }, disk.path);
    rig.addChannel(JOINTS);
    /** A second of light chunks alone, whose bytes lie in their rows. */
    const runLight = () => {
      for (let tick = 0; tick < 100; tick += 1) {
        rig.send(1, noise(200, rig.sent.length));
        rig.clock.advanceMs(10);
        rig.flush();
      }
      rig.ring.commit();
    };
    runLight();
    disk.fill();
    const fullNs = rig.nowNs;
    for (let second = 0; second < 120 && rig.ring.durabilityOf(fullNs, rig.nowNs) !== "refused"; second += 1)
      runLight();
    expect(rig.ring.durabilityOf(fullNs, rig.nowNs)).toBe("refused");
    expect(brokenIdentities(rig)).toEqual([]);
    disk.makeRoom();
    rig.settle();
    expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
    expect(brokenIdentities(rig)).toEqual([]);
  },
);

test.skipIf(lacks(isRoot))("bytes whose row a full disk refuses can be given up too", () => {
  using disk = new SmallDisk(12);
  const options = { classes: [LIGHT, STORED_CAMERA], segmentBytes: 8 * 1024 * 1024, inlineBytesMax: 64 * 1024 };
  using rig = new Rig(options, disk.path);
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 1);
  disk.fill();
  const fullNs = rig.nowNs;
  run(rig, 3); // the segment has room, the log of its rows has not
  expect(rig.ring.durabilityOf(fullNs, rig.nowNs)).toBe("refused");
  expect(brokenIdentities(rig)).toEqual([]);
  rig.ring.giveUp(fullNs, rig.nowNs);
  expect(brokenIdentities(rig)).toEqual([]);
  disk.makeRoom();
  run(rig, 1);
  rig.settle();
  expect(rig.ring.durabilityOf(START_NS, rig.nowNs)).toBe("durable");
  expect(brokenIdentities(rig)).toEqual([]);
  const images = (messages: readonly { readonly channelId: number }[]) =>
    messages.filter(({ channelId }) => channelId === IMAGE.id).length;
  const got = rig.readAll();
  expect(images(got)).toBeLessThan(images(rig.sent));
  const evicted = rig.ledger.snapshot().reduce((sum, counts) => sum + counts.evicted, 0);
  expect(got.length + evicted + dropsOf(rig, "disk_full")).toBe(rig.sent.length);
  using again = rig.reopen(options);
  expect(gotOf(again.readAll())).toEqual(gotOf(got));
  const db = new Database(join(disk.path, "ring.db"), { readonly: true });
  type Segment = { chunks: number; rows: number };
  const segments = db
    .prepare<[], Segment>("SELECT chunks, (SELECT count(*) FROM chunk c WHERE c.segment = s.id) AS rows FROM segment s")
    .all();
  db.close();
  expect(segments.length).toBeGreaterThan(0);
  expect(segments.filter(({ chunks, rows }) => chunks !== rows)).toEqual([]);
});

test.skipIf(lacks(isRoot))("on a really full file system capture goes on, and recovers by itself", () => {
  using disk = new SmallDisk(8);
  const options = { classes: [LIGHT, STORED_CAMERA], segmentBytes: 1024 * 1024, inlineBytesMax: 64 * 1024 };
  using rig = new Rig(options, disk.path);
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 2);
  const free = rig.ring.status().freeBytes;
  writeFileSync(join(disk.path, "hog"), new Uint8Array(Math.max(0, free - 256 * 1024)));
  run(rig, 6, 4000);
  expect(rig.ring.status().isDiskRefusing).toBe(true);
  expect(brokenIdentities(rig)).toEqual([]);
  disk.makeRoom();
  run(rig, 1);
  rig.settle();
  expect(rig.ring.status().isDiskRefusing).toBe(false);
  expect(brokenIdentities(rig)).toEqual([]);
  const got = gotOf(rig.readAll());
  const evicted = rig.ledger.snapshot().reduce((sum, counts) => sum + counts.evicted, 0);
  expect(got.length + evicted + dropsOf(rig, "disk_full")).toBe(rig.sent.length);
  const sent = new Set(expectedOf(rig.sent));
  expect(got.filter((message) => !sent.has(message))).toEqual([]);
});

test("a bit flip anywhere in a segment costs its chunk: quarantined with its reason, the rest comes back", () => {
  using rig = new Rig({ classes: [LIGHT, STORED_CAMERA] });
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 2);
  rig.settle();
  using reader = rig.open();
  const chunk = [...reader.chunks({ ...EVERYTHING, channelIds: new Set([2]) })].find(
    ({ storedSize }) => storedSize > 100_000,
  );
  if (chunk === undefined) throw new Error("no chunk in a segment");
  const [count] = chunk.channels.map((part) => part.count);
  const body = Buffer.from(reader.decompress(chunk));
  flipBit(join(rig.folder, "segments"), body.subarray(body.length - 5000, body.length - 4900));
  const problems: ReadProblem[] = [];
  using damaged = rig.open((problem) => problems.push(problem));
  const got = [...damaged.messages(EVERYTHING)];
  expect(got.length).toBe(rig.sent.length - (count ?? 0));
  expect(problems.map(({ chunk: { id }, code }) => ({ id, code }))).toEqual([{ id: chunk.id, code: "corrupt_chunk" }]);
  for (const {
    chunk: { id },
    reason,
  } of problems)
    rig.ring.quarantine(id, reason);
  rig.ring.commit();
  expect(rig.readAll().length).toBe(got.length); // not offered any more, so no problem either
  const rows = rig.ledger.losses(0n, 2n ** 62n);
  expect(rows).toMatchObject([{ topic: "/camera", reason: "corrupt_chunk", count }]);
  expect(brokenIdentities(rig)).toEqual([]);
});

/** Flips a bit in the middle of the bytes, wherever they lie. */
function flipBit(folder: string, needle: Buffer): void {
  for (const name of readdirSync(folder)) {
    const content = readFileSync(join(folder, name));
    const at = content.indexOf(needle);
    if (at < 0) continue;
    content[at + 50] = (content[at + 50] ?? 0) ^ 4;
    writeFileSync(join(folder, name), content);
    return;
  }
  throw new Error("the bytes are in no file");
}

test("a damaged inline payload, and a row that lies about its size, hand out nothing", () => {
  using rig = new Rig();
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 2);
  rig.settle();
  const db = new Database(join(rig.folder, "ring.db"));
  const rows = db.prepare<[], { id: number }>("SELECT id FROM chunk WHERE payload IS NOT NULL ORDER BY id").all();
  db.prepare("UPDATE chunk SET payload = zeroblob(length(payload)) WHERE id = ?").run(rows[0]?.id);
  db.prepare("UPDATE chunk SET body_size = 1 << 40 WHERE id = ?").run(rows[1]?.id);
  db.prepare("UPDATE chunk SET body_size = body_size + 1 WHERE id = ?").run(rows[2]?.id);
  db.close();
  const problems: ReadProblem[] = [];
  using reader = rig.open((problem) => problems.push(problem));
  const sent = new Set(expectedOf(rig.sent));
  const got = gotOf(reader.messages(EVERYTHING));
  expect(got.filter((message) => !sent.has(message))).toEqual([]);
  expect(problems.map(({ chunk, code }) => [chunk.id, code])).toEqual(
    rows.slice(0, 3).map(({ id }) => [id, "corrupt_chunk"]),
  );
});

test("a lost segment file costs its chunks, and the ring goes on", () => {
  using rig = new Rig({ classes: [LIGHT, STORED_CAMERA] });
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 2);
  rig.settle();
  const [name] = readdirSync(join(rig.folder, "segments"));
  rmSync(join(rig.folder, "segments", name ?? ""));
  using again = rig.reopen({ classes: [LIGHT, STORED_CAMERA] });
  run(again, 2);
  again.settle();
  const problems: ReadProblem[] = [];
  using reader = again.open((problem) => problems.push(problem));
  const got = new Set(gotOf(reader.messages(EVERYTHING)));
  expect(problems.length).toBeGreaterThan(0);
  expect(expectedOf(again.sent).filter((message) => !got.has(message))).toEqual([]);
});

test("files that no row knows are removed at opening", () => {
  using rig = new Rig();
  rig.addChannel(JOINTS);
  writeFileSync(join(rig.folder, "segments", "00000099.seg"), "half-made");
  using again = rig.reopen();
  expect(readdirSync(join(again.folder, "segments"))).toEqual([]);
});

test("a ring.db that is none any more is set aside, and rebuilt from the segment files", () => {
  const options = { classes: [LIGHT, STORED_CAMERA], inlineBytesMax: 64 * 1024 };
  using rig = new Rig(options);
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 3);
  rig.settle();
  const inSegments = countWhere(rig, "segment IS NOT NULL");
  expect(inSegments).toBeGreaterThan(40);
  const damage = () => writeFileSync(join(rig.folder, "ring.db"), noise(100_000, 1));
  using again = rig.reopen(options, damage);
  expect(readdirSync(rig.folder)).toContain("ring.db.damaged");
  const got = gotOf(again.readAll());
  expect(got.length).toBe(inSegments);
  const sent = new Set(expectedOf(rig.sent));
  expect(got.filter((message) => !sent.has(message))).toEqual([]);
  expect(again.ring.channels.map(({ topic }) => topic)).toEqual(["/joint_states", "/camera"]);
  expect(again.ledger.losses(0n, 2n ** 62n)).toMatchObject([{ topic: "", reason: "damaged_ring", count: undefined }]);
  expect(again.ledger.snapshot(new Map(), "boot-1")).toMatchObject([{ topic: "/camera", stored: inSegments }]);
  expect(brokenIdentities(again)).toEqual([]);
  run(again, 1);
  again.settle();
  expect(gotOf(again.readAll()).length).toBe(inSegments + 120);
  again[Symbol.dispose]();
  expect(auditRing(rig.folder)).toEqual([]);
});

/** Messages of the chunks whose row is so. */
function countWhere(rig: Rig, condition: string): number {
  const db = new Database(join(rig.folder, "ring.db"), { readonly: true });
  const ids = db.prepare<[], number>(`SELECT id FROM chunk WHERE ${condition}`).pluck().all();
  db.close();
  using reader = rig.open();
  const chunks = [...reader.chunks(EVERYTHING)].filter(({ id }) => ids.includes(id));
  return chunks.reduce((sum, { channels }) => sum + channels.reduce((count, part) => count + part.count, 0), 0);
}

test("a ring.db that is gone is rebuilt from the segment files, and no new chunk gets a used id", () => {
  const options = { classes: [LIGHT, STORED_CAMERA], inlineBytesMax: 0 };
  using rig = new Rig(options);
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 3);
  rig.settle();
  using again = rig.reopen(options, () => rmSync(join(rig.folder, "ring.db")));
  expect(gotOf(again.readAll())).toEqual(expectedOf(rig.sent));
  run(again, 1);
  again.settle();
  expect(gotOf(again.readAll())).toEqual(expectedOf([...rig.sent, ...again.sent]));
  expect(brokenIdentities(again)).toEqual([]);
  again[Symbol.dispose]();
  expect(auditRing(rig.folder)).toEqual([]);
});

/** Overwrites pages of `ring.db`: leaves of a table, from the `first` on. */
function damageLeaves(folder: string, table: string, first: number, count = 1): void {
  const db = new Database(join(folder, "ring.db"));
  db.pragma("wal_checkpoint(PASSIVE)"); // what is still in the log would hide the damage
  const sql = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path LIMIT ? OFFSET ?";
  const pages = db.prepare<[string, number, number], number>(sql).pluck().all(table, count, first);
  const size = Number(db.pragma("page_size", { simple: true }));
  const fd = openSync(join(folder, "ring.db"), "r+");
  for (const page of pages) writeSync(fd, Buffer.alloc(size, 0xa5), 0, size, (page - 1) * size);
  closeSync(fd);
  db.exec("CREATE TABLE nobodys (id INTEGER); DROP TABLE nobodys"); // what others write empties a connection's cache
  db.close();
}

test("of a database with damaged pages the other rows come back, light ones too, and the loss is exact", () => {
  const options = { classes: [LIGHT, STORED_CAMERA], inlineBytesMax: 64 * 1024 };
  using rig = new Rig(options);
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 20);
  rig.settle();
  using again = rig.reopen(options, () => {
    damageLeaves(rig.folder, "chunk", 3);
    damageLeaves(rig.folder, "segment", 0); // every opening reads it: so the damage comes to light
  });
  const got = new Set(gotOf(again.readAll()));
  const sent = expectedOf(rig.sent);
  const missing = sent.filter((message) => !got.has(message));
  expect(got.size + missing.length).toBe(sent.length);
  expect(missing.length).toBeGreaterThan(0);
  expect(missing.length).toBeLessThan(sent.length / 4);
  const lost = again.ledger.losses(0n, 2n ** 62n).filter(({ reason }) => reason === "damaged_ring");
  expect(lost).toMatchObject([{ topic: "/joint_states", count: missing.length }]);
  expect(brokenIdentities(again)).toEqual([]);
  again[Symbol.dispose]();
  expect(auditRing(rig.folder)).toEqual([]);
});

test("a page that turns out to be damaged while recording stops nothing: the file is replaced and rebuilt", () => {
  const options = { classes: [LIGHT, STORED_CAMERA], bytesMax: 24e6, inlineBytesMax: 100_000 };
  using rig = new Rig(options);
  rig.addChannel(JOINTS, IMAGE);
  run(rig, 20, 1500);
  rig.settle();
  const before = rig.sent.length;
  damageLeaves(rig.folder, "chunk", 1, 3);
  run(rig, 40, 1500);
  rig.settle();
  expect(readdirSync(rig.folder)).toContain("ring.db.examined");
  const got = new Set(gotOf(rig.readAll()));
  const since = expectedOf(rig.sent.slice(before).filter(({ channelId }) => channelId === 1));
  expect(since.filter((message) => !got.has(message))).toEqual([]);
  const sent = new Set(expectedOf(rig.sent));
  expect([...got].filter((message) => !sent.has(message))).toEqual([]);
  expect(dropsOf(rig, "unindexed")).toBe(0);
  expect(brokenIdentities(rig)).toEqual([]);
  const { evicted, dropped } = rig.ledger.snapshot().reduce(
    (sum, counts) => ({
      evicted: sum.evicted + counts.evicted,
      dropped: sum.dropped + (counts.dropped.damaged_ring ?? 0),
    }),
    { evicted: 0, dropped: 0 },
  );
  expect(dropped).toBeGreaterThan(0);
  expect(got.size + evicted + dropped).toBe(rig.sent.length);
  const told = rig.ledger.losses(0n, 2n ** 62n).filter(({ reason }) => reason === "damaged_ring");
  expect(told.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(dropped);
  rig[Symbol.dispose]();
});

test("a newer format is refused in words", () => {
  using rig = new Rig();
  const db = new Database(join(rig.folder, "ring.db"));
  db.pragma("user_version = 99");
  db.close();
  expect(() => rig.reopen()).toThrow(/format 99/);
});
