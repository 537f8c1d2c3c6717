import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createHoursTable, OperatingHours, readHours } from "../../src/ledger/operating-hours.ts";
import { type Episode, type EpisodeFiring, UNSAID } from "../../src/model/episode.ts";
import { sumHours } from "../../src/model/operating-hours.ts";
import type { EpisodeKind } from "../../src/model/rule-event.ts";
import { type Db, openDatabase } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";

let folder: string;
let db: Db;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-hours-"));
  db = openDatabase(join(folder, "journal.db"), [createHoursTable]);
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true });
});

const open = (bootId = "boot-1", site = "lab") =>
  new OperatingHours(db, { robot: "arm-7", site }, { bootId, log: silentLog });

const firing = (rule: string): EpisodeFiring => ({
  ...{ rule, ruleVersion: undefined, detector: undefined, topic: "", atNs: 5n, values: {} },
});
const episode = (changes: Partial<Episode> = {}): Episode => ({
  ...{ id: "e", bootId: "boot-1", kind: "failure", rule: "drop", priority: 50, startNs: 0n, endNs: 9n },
  ...{ outcome: "recovered", attempts: 3, firings: [firing("drop")], segments: [], labels: {}, note: "" },
  ...{ isInterrupted: false, completeness: [], ...UNSAID, ...changes },
});
const KINDS: Readonly<Record<string, EpisodeKind>> = {
  drop: "failure",
  fall: "failure",
  task: "span",
  nightly: "sample",
};
const kindOf = (rule: string): EpisodeKind | undefined => KINDS[rule];

test("times add up over daemons and boots", () => {
  for (const bootId of ["boot-1", "boot-1", "boot-2"]) {
    const hours = open(bootId);
    for (let step = 0; step < 10; step += 1) hours.addTime("on_ms", 100);
    hours.addTime("moving_ms", 300);
    hours.save();
  }
  expect(sumHours(readHours(db))).toMatchObject([{ robot: "arm-7", site: "lab", onMs: 3000, movingMs: 900 }]);
});

test("what is not saved yet is in what is told, and comes once", () => {
  const hours = open();
  hours.addTime("on_ms", 700);
  hours.save();
  hours.addTime("on_ms", 50);
  expect(sumHours(hours.rows())[0]?.onMs).toBe(750);
  hours.save();
  hours.save();
  expect(sumHours(hours.rows())[0]?.onMs).toBe(750);
});

test("failures count under the failure rule that fired first, with attempts and how they ended", () => {
  const hours = open();
  hours.countEpisode(episode(), kindOf, 1);
  hours.countEpisode(
    episode({ rule: "task", firings: ["task", "fall", "drop"].map(firing), outcome: "failed" }),
    kindOf,
    1,
  );
  hours.countEpisode(episode({ outcome: "operator_took_over", attempts: 1 }), kindOf, 1);
  hours.countEpisode(
    episode({ kind: "span", rule: "task", firings: [firing("task")], outcome: "succeeded" }),
    kindOf,
    1,
  );
  hours.countEpisode(episode({ kind: "sample", rule: "nightly", firings: [firing("nightly")] }), kindOf, 1);
  expect(sumHours(readHours(db))).toMatchObject([
    {
      ...{ tasks: 2, failures: 3, attempts: 7, recoveries: 1, unrecovered: 1, interventions: 1 },
      failuresByRule: [
        { rule: "drop", count: 2 },
        { rule: "fall", count: 1 },
      ],
    },
  ]);
});

test("an outcome that a person changes is counted as it is now", () => {
  const hours = open();
  hours.countEpisode(episode(), kindOf, 1);
  hours.countEpisode(episode(), kindOf, -1);
  hours.countEpisode(episode({ outcome: "failed" }), kindOf, 1);
  expect(sumHours(readHours(db))).toMatchObject([{ failures: 1, attempts: 3, recoveries: 0, unrecovered: 1 }]);
});

test("a robot that goes to another site has its hours there from then on", () => {
  const hours = open();
  hours.addTime("on_ms", 10);
  hours.moveTo("yard");
  hours.addTime("on_ms", 20);
  hours.save();
  expect(sumHours(readHours(db)).map(({ site, onMs }) => [site, onMs])).toEqual([
    ["lab", 10],
    ["yard", 20],
  ]);
});

test("a disk that refuses costs nothing: the times are saved later", () => {
  const hours = open();
  hours.addTime("on_ms", 10);
  db.exec("ALTER TABLE operating_hours RENAME TO away");
  hours.save();
  db.exec("ALTER TABLE away RENAME TO operating_hours");
  hours.save();
  expect(sumHours(readHours(db))).toMatchObject([{ onMs: 10 }]);
});
