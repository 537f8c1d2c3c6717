/** What holds while a lost index is being rebuilt, and after it: nothing is judged by what is not known yet. */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BootClocks } from "../../src/ring/boot-clocks.ts";
import { scanSegment } from "../../src/ring/segment-scan.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import { channel, JOINTS, LIGHT, MS, Rig, type RigOptions, START_NS, topicClass } from "./ring-rig.ts";

const TF_STATIC = channel(2, "/tf_static", "light", { isLatched: true });
const S = 1000n * MS;
const DAY = 86_400n * S;
/** All in segment files, so that all of it is found again. */
const OPTIONS: RigOptions = { classes: [LIGHT], inlineBytesMax: 0 };
const A_MINUTE: RigOptions = { ...OPTIONS, classes: [topicClass("light", { diskMsMax: 60_000 })] };

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(join(folder, "..")));

function open(bootId: string, options: RigOptions = OPTIONS, startNs = START_NS): Rig {
  const rig = new Rig({ ...options, bootId }, folder, startNs);
  if (rig.ring.channels.length === 0) for (const added of [JOINTS, TF_STATIC]) rig.addChannel(added);
  return rig;
}

function keepBoot(rig: Rig, bootId: string, wallNs: bigint): void {
  new BootClocks(rig.journal).keep({ bootId, monotonicNs: 0n, wallNs });
}

function run(rig: Rig, seconds: number): void {
  for (let tick = 0; tick < seconds * 10; tick += 1) {
    rig.send(1, Buffer.from(`${tick}`));
    rig.clock.advanceMs(100);
    rig.flush();
  }
}

function settled(rig: Rig, seconds: number): void {
  run(rig, seconds);
  rig.settle();
}

function loseIndex(): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(folder, `ring.db${suffix}`), { force: true });
}

function idsInSegments(): number[] {
  const names = readdirSync(join(folder, "segments"));
  return names.flatMap((name) => [...scanSegment(join(folder, "segments", name))].map(({ header }) => header.id));
}

test("nothing counts as durable before the index is whole: its files would lack what has not been found yet", () => {
  using rig = open("a");
  settled(rig, 5);
  expect(rig.ring.durabilityOf(START_NS, rig.nowNs)).toBe("durable");
  rig.ring.mend("as a reader says");
  expect(rig.ring.durabilityOf(START_NS, rig.nowNs)).toBe("waiting");
  expect(rig.ring.durabilityOf(START_NS, rig.nowNs, "before")).toBe("waiting");
  rig.settle();
  expect(rig.ring.durabilityOf(START_NS, rig.nowNs)).toBe("durable");
});

test("the present boot's data is no older for boots that only the journal remembers", () => {
  using rig = open("own", A_MINUTE);
  for (const days of [9n, 8n, 7n]) keepBoot(rig, `${days} days ago`, START_NS - days * DAY);
  keepBoot(rig, "own", START_NS);
  settled(rig, 10);
  rig.ring.mend("as a reader says");
  settled(rig, 5);
  settled(rig, 5); // retention waits for the rebuild
  expect(rig.readAll()).toHaveLength(200);
});

test("boots that the journal remembers from before the index's first come before it", () => {
  {
    using rig = open("first");
    settled(rig, 1);
  }
  const db = new Database(join(folder, "ring.db"));
  db.pragma("foreign_keys = OFF");
  db.exec("UPDATE boot SET id = 41; UPDATE chunk SET boot = 41");
  db.close();
  using rig = open("own");
  for (const [index, bootId] of ["x", "y", "first", "own"].entries()) keepBoot(rig, bootId, BigInt(index) * DAY);
  settled(rig, 1);
  rig.ring.mend("as a reader says");
  rig.settle();
  const ring = new Database(join(folder, "ring.db"), { readonly: true });
  const boots = ring.prepare("SELECT id, boot_id FROM boot ORDER BY id").raw().all();
  ring.close();
  expect(boots).toEqual([
    [39, "x"],
    [40, "y"],
    [41, "first"],
    [42, "own"],
  ]);
});

test("the present boot's data is no older for a boot of which only segment files know", () => {
  {
    using before = open("unknown", A_MINUTE, START_NS - DAY);
    settled(before, 5);
    keepBoot(before, "own", START_NS);
  }
  loseIndex();
  using rig = open("own", A_MINUTE);
  settled(rig, 10);
  expect(rig.readAll().filter(({ bootId }) => bootId === "own")).toHaveLength(100);
});

test("after a crash no chunk gets an id under which bytes may lie in a segment file", () => {
  for (const _ of [1, 2, 3]) {
    const rig = open("a");
    const before = Math.max(0, ...idsInSegments());
    expect(rig.ring.channels).toHaveLength(2);
    run(rig, 5); // written, and never committed
    const given = idsInSegments().filter((id) => id > before);
    expect(given.length).toBeGreaterThan(0);
    rig.ring.commit = () => ({ isDurable: false, rows: 0, ms: 0, reason: undefined });
    rig.journal.close(); // killed
  }
  const ids = idsInSegments();
  const rig = open("a");
  settled(rig, 1);
  const db = new Database(join(folder, "ring.db"), { readonly: true });
  const [first] = db.prepare<[], number>("SELECT min(id) FROM chunk").pluck().all();
  db.close();
  expect(first).toBeGreaterThan(Math.max(...ids));
  rig[Symbol.dispose]();
});

test("where counters were lost, no later process of that boot gives a message a number of before", () => {
  for (const lose of [() => {}, loseIndex, () => {}, () => {}]) {
    lose();
    using rig = open("a");
    const last = rig.ring.lastSequences.get(1);
    if (lose === loseIndex) expect(last).toBeGreaterThan(2 ** 31);
    const numbers = new Set(rig.readAll().map(({ sequence }) => sequence));
    run(rig, 2);
    rig.settle();
    const all = rig.readAll().map(({ sequence }) => sequence);
    expect(new Set(all).size).toBe(numbers.size + 20);
    expect(Math.max(...all)).toBeLessThan(2 ** 32);
    if (numbers.size > 20) expect(last).toBeGreaterThanOrEqual(Math.max(...numbers));
  }
});

test("latched messages of boots whose rows were lost are not taken for another boot's", () => {
  {
    using rig = open("a");
    rig.send(2, Buffer.from("frames"));
    settled(rig, 1);
    keepBoot(rig, "b", START_NS);
  }
  const db = new Database(join(folder, "ring.db"));
  db.pragma("foreign_keys = OFF");
  db.exec("DROP TABLE boot");
  db.close();
  using rig = open("b");
  settled(rig, 1);
  const ring = new Database(join(folder, "ring.db"), { readonly: true });
  const latched = ring.prepare("SELECT boot_id FROM latched JOIN boot ON boot.id = boot").pluck().all();
  ring.close();
  expect(latched).toEqual([]);
});
