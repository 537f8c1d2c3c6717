/** A database turns out to be damaged in the middle of other work. */
import { cpSync, existsSync, mkdtempSync, readdirSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { Retention } from "../../src/ring/retention.ts";
import type { Db } from "../../src/store/database.ts";
import {
  brokenIdentities,
  CAMERA,
  expectedOf,
  gotOf,
  IMAGE,
  JOINTS,
  LIGHT,
  MS,
  miscounts,
  noise,
  openLossJournal,
  Rig,
} from "./ring-rig.ts";

function malformed(): Error {
  return Object.assign(new Error("database disk image is malformed"), { code: "SQLITE_CORRUPT" });
}

/** The next time room is made for a chunk. */
function damageOnce(): Disposable {
  return vi.spyOn(Retention.prototype, "requireRoomFor").mockImplementationOnce(() => {
    throw malformed();
  });
}

test("damage found while a promotion is written: every message is stored once", () => {
  using rig = new Rig({ classes: [LIGHT, CAMERA] });
  rig.addChannel(JOINTS, IMAGE);
  for (let tick = 0; tick < 100; tick += 1) {
    rig.send(JOINTS.id, noise(300, rig.sent.length));
    rig.send(IMAGE.id, noise(30_000, rig.sent.length));
    rig.clock.advanceMs(50);
    rig.flush();
  }
  rig.builder.flushAll();
  rig.ring.hold("episode", 0n, rig.nowNs);
  rig.ring.promote(0n, rig.nowNs, rig.nowNs);
  using _ = damageOnce();
  rig.ring.step(50);
  expect(existsSync(join(rig.folder, "ring.db.examined"))).toBe(true);
  expect(brokenIdentities(rig)).toEqual([]);
  rig.settle();
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(rig.ring.status()).toMatchObject({ backlogBytes: 0, isDiskRefusing: false });
  expect(rig.ledger.snapshot().map(({ inMemory }) => inMemory)).toEqual([0, 0]);
  expect(brokenIdentities(rig)).toEqual([]);
  expect(miscounts(rig)).toEqual([]);
});

test("a damaged journal.db costs no sound ring.db: the fault says which file it is", () => {
  using rig = new Rig({ classes: [LIGHT, CAMERA] });
  rig.addChannel(JOINTS);
  rig.send(JOINTS.id, noise(300, 1));
  rig.settle();
  const prepare = rig.journal.prepare.bind(rig.journal);
  using _ = vi.spyOn(rig.journal, "prepare").mockImplementation((sql: string) => {
    if (/ring_channel|FROM boot/.test(sql)) throw malformed();
    return prepare(sql);
  });
  const corrupt = expect.objectContaining({ code: "corrupt_journal" });
  expect(() => rig.ring.status()).toThrow(corrupt);
  rig.addChannel(IMAGE);
  expect(() => rig.ring.commit()).toThrow(corrupt);
  expect(readdirSync(rig.folder).filter((name) => /damaged|examined/.test(name))).toEqual([]);
  vi.restoreAllMocks();
  rig.send(JOINTS.id, noise(300, 2));
  rig.settle();
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(brokenIdentities(rig)).toEqual([]);
});

/** The journal's disk takes no rows of the ledger. */
function refuseLosses(journal: Db): Db {
  return journal.exec("CREATE TEMP TRIGGER refused BEFORE INSERT ON loss BEGIN SELECT RAISE(FAIL, 'full'); END");
}

const reasons = (rig: Rig) => rig.ledger.losses(0n, 2n ** 62n).map(({ reason }) => reason);

test("the end of a rebuild waits for its rows in the ledger", () => {
  using rig = new Rig({ classes: [LIGHT, CAMERA], inlineBytesMax: 0 });
  rig.addChannel(JOINTS);
  rig.send(JOINTS.id, noise(300, 1));
  rig.settle();
  for (const name of readdirSync(join(rig.folder, "segments"))) truncateSync(join(rig.folder, "segments", name), 0);
  refuseLosses(rig.journal);
  rig.ring.mend("as a reader says");
  for (let step = 0; step < 10; step += 1) rig.ring.step(50);
  expect(rig.ledger.snapshot()).toMatchObject([{ stored: 0, dropped: { unindexed: 1 } }]);
  rig.journal.exec("DROP TRIGGER refused");
  rig.settle();
  expect(reasons(rig)).toEqual(["damaged_ring"]);
  expect(rig.ledger.snapshot()).toMatchObject([{ stored: 0, dropped: { damaged_ring: 1 } }]);
  expect(brokenIdentities(rig)).toEqual([]);
});

/** What lies in the files now, elsewhere. */
function copyOf({ folder }: Rig): string {
  const copy = mkdtempSync(join(tmpdir(), "lode-crash-"));
  cpSync(folder, copy, { recursive: true, filter: (path) => !path.endsWith("-shm") });
  return copy;
}

test.for([
  { second: "boot-1", third: "boot-1" },
  { second: "boot-2", third: "boot-3" },
])(
  "a crash that the ledger took no row of is told at the next opening, in $third after $second",
  ({ second, third }) => {
    const first = new Rig({ classes: [LIGHT, CAMERA] });
    first.addChannel(JOINTS);
    first.send(JOINTS.id, noise(300, 1));
    first.settle();
    const crashNs = first.nowNs;
    const refused = new Rig(
      { classes: [LIGHT, CAMERA], bootId: second, openJournal: (folder) => refuseLosses(openLossJournal(folder)) },
      copyOf(first),
      crashNs + 60_000n * MS,
    );
    const again = new Rig({ classes: [LIGHT, CAMERA], bootId: third }, copyOf(refused), crashNs + 120_000n * MS);
    const [told] = again.ledger.losses(0n, 2n ** 62n);
    for (const rig of [first, refused, again]) rig.remove();
    expect(told).toMatchObject({ reason: "crash", bootId: "boot-1" });
    expect(told?.startNs).toBeLessThanOrEqual(crashNs);
  },
);
