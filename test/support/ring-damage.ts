/**
 * Damage to a data folder, one byte class of one file at a time, and what must come of it: the folder opens, every
 * message that is handed out is one that was sent (by topic, boot, time and hash), whatever is missing is told, the
 * counters hold, recording goes on, and the next start finds the same.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  cpSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { batchFolder, makeDataFolder } from "../../src/daemon/journal.ts";
import { openSoundJournal } from "../../src/daemon/journal-mend.ts";
import { Fault } from "../../src/std/fault.ts";
import type { Random } from "../../src/std/random.ts";
import { FolderLock } from "../../src/store/folder-lock.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { brokenIdentities, channel, LIGHT, noise, Rig, START_NS, topicClass } from "../ring/ring-rig.ts";

const CLASSES = [LIGHT, topicClass("camera", { tier: "disk", memoryBytesMax: 0, rank: 2 })];
const CHANNELS = [
  channel(1, "/joint_states", "light"),
  channel(2, "/camera", "camera"),
  channel(3, "/tf_static", "light", { isLatched: true }),
];
/** Of `ring.db` (ring-file.ts). */
const PAGE = 1024;
const BATCHES = ["00000000-0000-7000-8000-000000000000-light.mcap"];
const HOUR_NS = 3_600_000_000_000n;
/** fsync costs nothing there. */
const PARENT = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export type Damage = {
  readonly name: string;
  /** Does it; false: there is no such place. */
  readonly apply: (folder: string, random: Random) => boolean;
};

export type Base = { readonly folder: string; readonly truth: ReadonlySet<string>; remove(): void };

function open(folder: string, round: number): Rig {
  const openJournal = (at: string) => openSoundJournal(at, silentLog, START_NS);
  const options = { classes: CLASSES, segmentBytes: 256 * 1024, bootId: `boot-${round}`, openJournal };
  return new Rig(options, folder, START_NS + BigInt(round) * HOUR_NS);
}

function record(rig: Rig, seconds: number, truth: Set<string>, bootId: string): void {
  for (let tick = 0; tick < seconds * 50; tick += 1) {
    if (tick % 100 === 0) send(rig, 3, 300, truth, bootId);
    send(rig, 1, 200, truth, bootId);
    if (tick % 10 === 0) send(rig, 2, 50_000, truth, bootId);
    rig.clock.advanceMs(20);
    rig.flush();
    if (tick % 25 === 24) rig.ring.commit();
  }
  rig.settle();
}

function send(rig: Rig, id: number, sizeBytes: number, truth: Set<string>, bootId: string): void {
  const bytes = noise(sizeBytes, truth.size + 1);
  rig.send(id, bytes);
  truth.add(keyOf(CHANNELS[id - 1]?.topic ?? "", bootId, rig.nowNs, bytes));
}

function keyOf(topic: string, bootId: string, logTimeNs: bigint, bytes: Uint8Array): string {
  return `${bootId} ${topic} ${logTimeNs} ${createHash("sha1").update(bytes).digest("hex")}`;
}

/** Two boots: one that ended in order, one that was killed with its log behind it. */
export function makeBase(): Base {
  const parent = mkdtempSync(join(PARENT, "lode-damage-"));
  const folder = join(parent, "base");
  const truth = new Set<string>();
  mkdirSync(folder);
  makeDataFolder(folder);
  for (const name of BATCHES) writeFileSync(join(batchFolder(folder), name), "the episode's own bytes");
  for (const round of [1, 2]) {
    const rig = open(folder, round);
    for (const one of CHANNELS) rig.addChannel(one);
    record(rig, 6, truth, `boot-${round}`);
    if (round === 2) {
      const db = new Database(join(folder, "ring.db"));
      db.pragma("wal_checkpoint(TRUNCATE)"); // the rest of this boot is in the log alone
      db.close();
      record(rig, 3, truth, "boot-2");
      cpSync(folder, join(parent, "killed"), { recursive: true });
    }
    rig[Symbol.dispose]();
  }
  return { folder: join(parent, "killed"), truth, remove: () => rmSync(parent, { recursive: true, force: true }) };
}

/** What is wrong with the outcome, in words; none is the promise. `undefined`: there is nothing to damage. */
export function tryDamage(base: Base, damage: Damage, random: Random): string[] | undefined {
  const folder = mkdtempSync(join(PARENT, "lode-damaged-"));
  try {
    cpSync(base.folder, folder, { recursive: true });
    if (!damage.apply(folder, random)) return undefined;
    FolderLock.open(folder)[Symbol.dispose]();
    const problems: string[] = [];
    const first = visit(folder, 3, base.truth, problems);
    const second = visit(folder, 4, new Set([...base.truth, ...first.recorded]), problems);
    for (const key of first.got) if (!second.got.has(key)) problems.push(`the second start misses ${key}`);
    for (const name of BATCHES)
      if (!existsSync(join(batchFolder(folder), name))) problems.push(`batch file ${name} was deleted`);
    return problems;
  } catch (error) {
    const first = error instanceof SuppressedError ? error.suppressed : error;
    return [`it does not open: ${first instanceof Error ? first.stack : String(first)}`];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Visit = { readonly got: ReadonlySet<string>; readonly recorded: ReadonlySet<string> };

function visit(folder: string, round: number, truth: ReadonlySet<string>, problems: string[]): Visit {
  using rig = open(folder, round);
  for (const one of CHANNELS) rig.addChannel(one);
  const recorded = new Set<string>();
  record(rig, 1, recorded, `boot-${round}`);
  const damagedIds = new Map<number, string>();
  const got = readMending(rig, (id, reason) => damagedIds.set(id, reason));
  for (const [id, reason] of damagedIds) rig.ring.quarantine(id, reason);
  rig.settle(); // that may have come upon damage too: then the index is rebuilt
  for (const key of got) if (!truth.has(key) && !recorded.has(key)) problems.push(`handed out and never sent: ${key}`);
  for (const key of recorded) if (!got.has(key)) problems.push(`recorded after the damage and missing: ${key}`);
  const missing = [...truth].filter((key) => !got.has(key));
  const reasons = new Set(rig.ledger.losses(0n, 2n ** 62n).map(({ reason }) => reason));
  const isTold = ["corrupt_chunk", "damaged_ring", "crash"].some((reason) => reasons.has(reason as "crash"));
  if (missing.length > 0 && !isTold) problems.push(`${missing.length} messages are missing and nothing says so`);
  problems.push(...brokenIdentities(rig).map((line) => `identity: ${line}`));
  const again: number[] = [];
  const same = readKeys(rig, (id) => again.push(id));
  if (again.length > 0) problems.push(`quarantined and still offered: ${again}`);
  const only = (these: ReadonlySet<string>, others: ReadonlySet<string>) =>
    [...these].filter((key) => !others.has(key));
  const [fewer, more] = [only(got, same), only(same, got)];
  if (fewer.length + more.length > 0)
    problems.push(`a second reading misses ${fewer.length} (${fewer[0]}) and has ${more.length} more (${more[0]})`);
  return { got, recorded };
}

/** As the daemon does for whoever reads: the ring is mended where a reader finds its file damaged. */
function readMending(rig: Rig, onProblem: (id: number, reason: string) => void): Set<string> {
  try {
    return readKeys(rig, onProblem);
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "corrupt_ring") throw error;
    rig.ring.mend(error.message);
    rig.settle();
    return readKeys(rig, onProblem);
  }
}

function readKeys(rig: Rig, onProblem: (id: number, reason: string) => void): Set<string> {
  using reader = rig.open(({ chunk, reason }) => onProblem(chunk.id, reason));
  const topics = reader.channels();
  const keys = new Set<string>();
  const all = [...reader.messages({ startNs: 0n, endNs: 2n ** 62n }), ...reader.latched(2n ** 62n)];
  for (const { channelId, bootId, logTimeNs, bytes } of all)
    keys.add(keyOf(topics.get(channelId)?.topic ?? `channel ${channelId}`, bootId, logTimeNs, bytes));
  return keys;
}

// Places

/** Flips a bit of one byte of the range. */
function flip(path: string, start: number, length: number, random: Random): boolean {
  if (!existsSync(path)) return false;
  const fd = openSync(path, "r+");
  try {
    const end = Math.min(start + length, fstatSync(fd).size);
    if (end <= start) return false;
    const at = start + Math.floor(random() * (end - start));
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ (1 << Math.floor(random() * 8));
    writeSync(fd, byte, 0, 1, at);
    return true;
  } finally {
    closeSync(fd);
  }
}

function truncate(path: string, share: number): boolean {
  if (!existsSync(path)) return false;
  const fd = openSync(path, "r+");
  ftruncateSync(fd, Math.floor(fstatSync(fd).size * share));
  closeSync(fd);
  return true;
}

function garble(path: string): boolean {
  if (!existsSync(path)) return false;
  writeFileSync(path, noise(statSync(path).size, 7));
  return true;
}

type Page = { readonly start: number; readonly size: number };

/** A page of a table or index of `ring.db`'s main file, of a type as dbstat names it. */
function pageOf(folder: string, name: string, type: string, random: Random): Page | undefined {
  const copy = join(folder, "classify.db");
  cpSync(join(folder, "ring.db"), copy);
  const db = new Database(copy);
  try {
    const sql = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ?";
    const pages = db.prepare<[string, string], number>(sql).pluck().all(name, type);
    const number = pages[Math.floor(random() * pages.length)];
    const size = Number(db.pragma("page_size", { simple: true }));
    return number === undefined ? undefined : { start: (number - 1) * size, size };
  } finally {
    db.close();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(copy + suffix, { force: true });
  }
}

function inPage(name: string, type: string, isWhole = false): Damage {
  return {
    name: `ring.db, ${name} ${type} page${isWhole ? " overwritten" : ""}`,
    apply: (folder, random) => {
      const page = pageOf(folder, name, type, random);
      if (page === undefined) return false;
      const path = join(folder, "ring.db");
      if (!isWhole) return flip(path, page.start, page.size, random);
      const fd = openSync(path, "r+");
      writeSync(fd, noise(page.size, 3), 0, page.size, page.start);
      closeSync(fd);
      return true;
    },
  };
}

/** The first letter of a name in a list of tables, wherever the file has it. */
function rename(file: string, name: string): Damage {
  return {
    name: `${file}, the name ${name}`,
    apply: (folder) => {
      const path = join(folder, file);
      const bytes = readFileSync(path);
      for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) bytes[at] = (bytes[at] ?? 0) ^ 2;
      writeFileSync(path, bytes);
      return true;
    },
  };
}

const SEGMENT_FIELDS: Readonly<Record<string, readonly [number, number]>> = {
  ...{ magic: [0, 4], format: [4, 1], flags: [5, 1], length: [6, 2], id: [8, 8], start: [16, 8], end: [24, 8] },
  ...{ "body size": [32, 4], "body crc": [36, 4], "stored size": [40, 4], "stored crc": [44, 4] },
  ...{ "class name": [48, 7], "boot id": [55, 7], channels: [62, 18], "header crc": [80, 4], payload: [84, 60_000] },
};

function segmentPath(folder: string, random: Random): string {
  const names = readdirSync(join(folder, "segments"));
  return join(folder, "segments", names[Math.floor(random() * names.length)] ?? "");
}

function alsoWithout(damage: Damage): Damage {
  return {
    name: `${damage.name}, and ring.db gone`,
    apply: (folder, random) => {
      for (const suffix of ["", "-wal", "-shm"]) rmSync(join(folder, `ring.db${suffix}`), { force: true });
      return damage.apply(folder, random);
    },
  };
}

function fileDamages(file: string, shares: readonly number[]): Damage[] {
  return [
    { name: `${file}, any byte`, apply: (folder, random) => flip(join(folder, file), 0, Infinity, random) },
    { name: `${file}, garbage`, apply: (folder) => garble(join(folder, file)) },
    ...shares.map((share) => ({
      name: `${file}, cut to ${share}`,
      apply: (folder: string) => truncate(join(folder, file), share),
    })),
  ];
}

const SEGMENT_DAMAGES: readonly Damage[] = [
  ...Object.entries(SEGMENT_FIELDS).map(([field, [start, length]]) => ({
    name: `segment, ${field}`,
    apply: (folder: string, random: Random) => flip(segmentPath(folder, random), start, length, random),
  })),
  { name: "segment, any byte", apply: (folder, random) => flip(segmentPath(folder, random), 0, Infinity, random) },
  { name: "segment, cut to 0", apply: (folder, random) => truncate(segmentPath(folder, random), 0) },
  { name: "segment, cut to 0.5", apply: (folder, random) => truncate(segmentPath(folder, random), 0.5) },
  {
    name: "segment, lost",
    apply: (folder, random) => {
      rmSync(segmentPath(folder, random));
      return true;
    },
  },
];

const TABLES = ["boot", "schema", "channel", "segment", "class_total", "count", "latched", "chunk"] as const;

export const DAMAGES: readonly Damage[] = [
  { name: "none", apply: () => true },
  {
    name: "ring.db, header but for its version",
    apply: (folder, random) => flip(join(folder, "ring.db"), 0, 60, random),
  },
  ...["is_local", "monotonic_ns", "sequence", "chunk_by_time"].map((name) => rename("ring.db", name)),
  {
    name: "ring.db, list of tables",
    apply: (folder, random) => flip(join(folder, "ring.db"), 100, PAGE - 100, random),
  },
  { name: "ring.db, page map", apply: (folder, random) => flip(join(folder, "ring.db"), PAGE, PAGE, random) },
  ...TABLES.flatMap((table) => [inPage(table, "leaf"), inPage(table, "leaf", true)]),
  ...[inPage("chunk", "internal"), inPage("chunk", "internal", true), inPage("chunk", "overflow")],
  ...["chunk_by_time", "chunk_by_class"].flatMap((index) => [inPage(index, "leaf"), inPage(index, "leaf", true)]),
  ...fileDamages("ring.db", [0, 0.3, 0.9]).slice(1),
  { name: "ring.db-wal, header", apply: (folder, random) => flip(join(folder, "ring.db-wal"), 0, 32, random) },
  { name: "ring.db-wal, frame header", apply: (folder, random) => flip(join(folder, "ring.db-wal"), 32, 24, random) },
  ...fileDamages("ring.db-wal", [0, 0.5, 0.99]),
  ...fileDamages("ring.db-shm", [0, 0.5]),
  ...SEGMENT_DAMAGES,
  ...SEGMENT_DAMAGES.map(alsoWithout),
  { name: "journal.db, header", apply: (folder, random) => flip(join(folder, "journal.db"), 0, 60, random) },
  rename("journal.db", "body"),
  ...["ring.db", "journal.db"].map((file) => ({
    name: `${file}, its version of writing`,
    apply: (folder: string, random: Random) => flip(join(folder, file), 18, 1, random),
  })),
  { name: "journal.db, a page", apply: (folder, random) => flip(join(folder, "journal.db"), 100, Infinity, random) },
  ...fileDamages("journal.db", [0, 0.5]).slice(1),
  ...fileDamages("journal.db-wal", [0, 0.5]),
  {
    name: "lock.db, garbage",
    apply: (folder) => {
      writeFileSync(join(folder, "lock.db"), noise(5000, 1));
      return true;
    },
  },
];
