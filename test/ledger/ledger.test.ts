import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { createLossTable, Ledger, readLosses } from "../../src/ledger/ledger.ts";
import type { Loss } from "../../src/model/loss.ts";
import type { Db } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const S = 1_000_000_000n;

function open(): { ledger: Ledger; ring: Db; journal: Db } {
  const ring = new Database(":memory:");
  const journal = new Database(":memory:");
  createLossTable(journal);
  const ledger = new Ledger(journal, { log: silentLog });
  ledger.createTables(ring);
  ledger.toFormat2(ring, []);
  ledger.attach(ring, "boot-1");
  return { ledger, ring, journal };
}

function loss(changes: Partial<Loss> = {}): Loss {
  const known = { topic: "/a", reason: "queue_full", bootId: "boot-1" } as const;
  return { ...known, startNs: 10n * S, endNs: 10n * S, count: 1, bytes: 100, ...changes };
}

function save(ledger: Ledger, ring: Db): void {
  ring.transaction(() => ledger.save())();
  ledger.saved();
}

test("a drop is received and dropped at once, and has a row", () => {
  const { ledger, ring } = open();
  ledger.drop(loss({ count: 3, bytes: 300 }));
  ledger.saveLosses();
  save(ledger, ring);
  expect(ledger.snapshot()).toMatchObject([
    { topic: "/a", received: 3, receivedBytes: 300, dropped: { queue_full: 3 }, droppedBytes: { queue_full: 300 } },
  ]);
  expect(ledger.losses(0n, 100n * S)).toEqual([loss({ count: 3, bytes: 300 })]);
});

test("what was never received is a row, and no counter moves", () => {
  const { ledger, ring } = open();
  const hinted = loss({ reason: "connection_gap", count: 4 });
  const unknown = loss({ topic: "", reason: "malformed_frame" });
  const numbered = loss({ reason: "sequence_gap", count: 2, bytes: undefined });
  const slowed = loss({ reason: "rate_drop", count: undefined, bytes: undefined });
  for (const entry of [hinted, unknown, numbered, slowed]) ledger.drop(entry);
  ledger.saveLosses();
  save(ledger, ring);
  expect(ledger.snapshot()).toEqual([]);
  expect(ledger.losses(0n, 100n * S)).toEqual([hinted, unknown, numbered, slowed]);
});

test("counters are whole whether they were committed or not, and a failed commit loses none", () => {
  const { ledger, ring } = open();
  ledger.add("/a", { received: 1, inMemory: 1 }, { count: 5, bytes: 50 });
  save(ledger, ring);
  ledger.add("/a", { inMemory: -1, stored: 1 }, { count: 2, bytes: 13 });
  expect(() =>
    ring.transaction(() => {
      ledger.save();
      throw new Error("the disk is full");
    })(),
  ).toThrow("full");
  expect(ledger.isDirty).toBe(true);
  const whole = { received: 5, receivedBytes: 50, inMemory: 3, inMemoryBytes: 37, stored: 2, storedBytes: 13 };
  const split = { held: 1, heldBytes: 6, evictable: 1, evictableBytes: 7 };
  const held = new Map([["/a", { count: 1, bytes: 6 }]]);
  expect(ledger.snapshot(held)).toMatchObject([{ ...whole, ...split }]);
  save(ledger, ring);
  expect(ledger.snapshot(held)).toMatchObject([{ ...whole, ...split }]);
});

test("a run of drops is one row that grows, a later run another; topics and reasons stay apart", () => {
  const { ledger } = open();
  for (let second = 10n; second < 20n; second += 1n) {
    ledger.drop(loss({ startNs: second * S, endNs: second * S + S / 2n }));
    if (second % 3n === 0n) ledger.saveLosses();
  }
  ledger.drop(loss({ topic: "/b" }));
  ledger.drop(loss({ reason: "malformed_frame" }));
  ledger.drop(loss({ startNs: 60n * S, endNs: 60n * S }));
  ledger.saveLosses();
  const rows = ledger.losses(0n, 100n * S).filter(({ topic, reason }) => topic === "/a" && reason === "queue_full");
  expect(rows).toEqual([
    loss({ endNs: 19n * S + S / 2n, count: 10, bytes: 1000 }),
    loss({ startNs: 60n * S, endNs: 60n * S }),
  ]);
  expect(ledger.losses(0n, 100n * S).length).toBe(4);
});

test("a gap of the connection or a crash is a row of its own, and of unknown count if nobody knows it", () => {
  const { ledger } = open();
  ledger.addLoss(loss({ topic: "", reason: "crash", count: undefined, bytes: undefined }));
  ledger.addLoss(loss({ topic: "", reason: "crash", count: undefined, bytes: undefined, endNs: 11n * S }));
  ledger.saveLosses();
  expect(ledger.losses(0n, 100n * S).map(({ count }) => count)).toEqual([undefined, undefined]);
});

test("losses wait in memory while the journal refuses, merged beyond a bound, and none is forgotten", () => {
  const { ledger, journal } = open();
  journal.exec("CREATE TRIGGER full BEFORE INSERT ON loss BEGIN SELECT RAISE(FAIL, 'disk is full'); END");
  for (let index = 0n; index < 5000n; index += 1n)
    ledger.drop(loss({ startNs: index * 10n * S, endNs: index * 10n * S }));
  ledger.saveLosses();
  expect(ledger.losses(0n, 100_000n * S)).toEqual([]);
  journal.exec("DROP TRIGGER full");
  ledger.saveLosses();
  const rows = ledger.losses(0n, 100_000n * S);
  expect(rows.length).toBeLessThanOrEqual(1000);
  expect(rows.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(5000);
});

test("memory that ended with its process is reduced, or dropped as a crash if an episode wanted it", () => {
  const { ledger, ring } = open();
  ledger.add("/a", { received: 1, inMemory: 1 }, { count: 10, bytes: 100 });
  save(ledger, ring);
  ledger.forgetMemory("boot-1", false);
  ledger.add("/a", { received: 1, inMemory: 1 }, { count: 4, bytes: 44 });
  save(ledger, ring);
  ledger.forgetMemory("boot-1", true);
  const counts = { received: 14, inMemory: 0, reduced: 10, dropped: { crash: 4 } };
  const bytes = { receivedBytes: 144, inMemoryBytes: 0, reducedBytes: 100, droppedBytes: { crash: 44 } };
  expect(ledger.snapshot()).toMatchObject([{ ...counts, ...bytes }]);
});

test("what is evicted is counted for the boot it came from, within the caller's transaction", () => {
  const { ledger, ring } = open();
  ledger.add("/a", { received: 1, stored: 1 }, { count: 2, bytes: 20 });
  save(ledger, ring);
  ledger.attach(ring, "boot-2");
  ledger.write("boot-1", "/a", { evicted: 1 }, { count: 1, bytes: 9 });
  expect(ledger.snapshot()).toEqual([]);
  expect(ledger.snapshot(new Map(), "boot-1")).toMatchObject([
    { stored: 2, evicted: 1, evictable: 1, evictedBytes: 9, evictableBytes: 11 },
  ]);
});

test("losses of two boots with the same log_time are two rows, each found for its boot", () => {
  const { ledger, ring, journal } = open();
  ledger.addLoss(loss());
  ledger.addLoss(loss({ bootId: "boot-0", reason: "corrupt_chunk" }));
  ledger.saveLosses();
  ledger.attach(ring, "boot-2");
  ledger.addLoss(loss({ bootId: "boot-2" }));
  ledger.saveLosses();
  const boots = (bootId?: string) =>
    readLosses(journal, 0n, 30n * S, bootId === undefined ? {} : { bootId }).map((row) => `${row.bootId} ${row.count}`);
  expect(boots()).toEqual(["boot-1 1", "boot-0 1", "boot-2 1"]);
  expect(boots("boot-2")).toEqual(["boot-2 1"]);
});

test("losses are found by what touches the range; those of no topic concern every topic", () => {
  const { ledger, journal } = open();
  ledger.addLoss(loss({ startNs: 5n * S, endNs: 20n * S }));
  ledger.addLoss(loss({ topic: "", reason: "connection_gap", count: undefined, bytes: undefined }));
  ledger.addLoss(loss({ topic: "/b" }));
  ledger.saveLosses();
  expect(readLosses(journal, 15n * S, 30n * S).map(({ topic }) => topic)).toEqual(["/a"]);
  expect(readLosses(journal, 0n, 30n * S, { topics: new Set(["/a"]) }).map(({ topic }) => topic)).toEqual(["/a", ""]);
});

test("beyond its bound the loss ledger sums up its older half, by topic and reason, and forgets no message", () => {
  const { ledger, journal } = open();
  const total = 25_000;
  for (let index = 0; index < total; index += 1) {
    const atNs = BigInt(index) * 60n * S;
    const known = index % 5 === 0 ? {} : { count: 2, bytes: 7 };
    ledger.drop(
      loss({ topic: `/t${index % 3}`, startNs: atNs, endNs: atNs, count: undefined, bytes: undefined, ...known }),
    );
    if (index % 500 === 0) ledger.saveLosses();
  }
  ledger.saveLosses();
  const rows = ledger.losses(0n, 2n ** 62n);
  expect(journal.prepare("SELECT count(*) FROM loss").pluck().get()).toBeLessThanOrEqual(10_000);
  expect(rows.reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(2 * total * (4 / 5));
  expect(rows.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0)).toBe(7 * total * (4 / 5));
  const summed = rows.filter(({ startNs, endNs }) => endNs - startNs > 5n * S);
  expect(summed.filter(({ topic }) => topic === "/t0").map(({ count }) => count === undefined)).toEqual(
    expect.arrayContaining([true, false]),
  );
  expect(summed[0]?.startNs).toBe(0n);
  expect(rows.at(-1)?.startNs).toBe(BigInt(total - 1) * 60n * S);
});

test("topics that are ever new are summed up together", () => {
  const { ledger, journal } = open();
  for (let index = 0; index < 30_000; index += 1) {
    ledger.drop(loss({ topic: `/new/${index}`, startNs: BigInt(index), endNs: BigInt(index) }));
    if (index % 500 === 0) ledger.saveLosses();
  }
  ledger.saveLosses();
  expect(journal.prepare("SELECT count(*) FROM loss").pluck().get()).toBeLessThanOrEqual(10_000);
  expect(ledger.losses(0n, 2n ** 62n).reduce((sum, { count }) => sum + (count ?? 0), 0)).toBe(30_000);
});

test("counters of boots that left nothing in the ring are one sum a topic, in which nothing is stored any more", () => {
  const { ledger, ring } = open();
  for (let boot = 1; boot <= 50; boot += 1) {
    ledger.attach(ring, `boot-${boot}`);
    ledger.add("/a", { received: 1, stored: 1 }, { count: 10, bytes: 100 });
    ledger.add("/a", { received: 1, dropped: "queue_full" }, { count: 2, bytes: 20 });
    save(ledger, ring);
    // One chunk of two messages was damaged when it went, and could not say what it held.
    ledger.write(`boot-${boot}`, "/a", { evicted: 1 }, { count: 8, bytes: 80 });
  }
  for (let boot = 1; boot < 50; boot += 1) ledger.foldBoot(`boot-${boot}`);
  expect(ledger.bootIds()).toEqual(["earlier", "boot-50"]);
  expect(ledger.snapshot(new Map(), "earlier")).toMatchObject([
    {
      ...{ received: 49 * 12, stored: 49 * 8, evicted: 49 * 8, evictable: 0, receivedBytes: 49 * 120 },
      ...{
        dropped: { queue_full: 49 * 2, corrupt_chunk: 49 * 2 },
        droppedBytes: { queue_full: 49 * 20, corrupt_chunk: 49 * 20 },
      },
    },
  ]);
  expect(ring.prepare("SELECT count(*) FROM count").pluck().get()).toBe(2);
});
