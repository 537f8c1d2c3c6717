/** What an episode says of the operation it is part of, and what it counts for. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Capture, type CaptureDeps, type Surroundings } from "../../src/capture/capture.ts";
import { createCaptureTables, EpisodeTable } from "../../src/capture/episode-table.ts";
import type { Episode } from "../../src/model/episode.ts";
import { judgePhysics } from "../../src/model/operation.ts";
import type { CapturePolicy, RuleEvent } from "../../src/model/rule-event.ts";
import { type Db, openDatabase } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const at = (seconds: number): bigint => 1_800_000_000_000_000_000n + BigInt(seconds) * 1_000_000_000n;

const POLICY: CapturePolicy = {
  ...{ rule: "drop", version: "1", isDryRun: false, topics: ["**"], kind: "failure", preRollMs: 10_000 },
  ...{ postRollMs: 5000, maxMs: 120_000, onOverlap: "extend", recoversWhen: "explicit", recoveredAfterClearMs: 0 },
  ...{ recoveryTimeoutMs: 30_000, priority: 90, labels: { shelf: "rule" }, onDemand: [] },
};
const around = (taskType: string, labels: Surroundings["labels"] = {}): Surroundings => ({
  operation: {
    ...{ taskType, robot: "arm-7", site: "lab", embodiment: "arm", software: [{ name: "lode", version: "1" }] },
    physics: judgePhysics("auto", []),
  },
  labels,
});
const firing = (seconds: number): RuleEvent => ({
  ...{ kind: "firing", rule: "drop", detector: undefined, topic: "/j", atNs: at(seconds), values: {} },
});

let folder: string;
let db: Db;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-operation-"));
  db = openDatabase(join(folder, "journal.db"), [createCaptureTables]);
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true });
});

type Counted = { readonly outcome: string; readonly kind: string | undefined; readonly sign: number };

function open(changes: Partial<CaptureDeps> = {}): { capture: Capture; sealed: Episode[]; counted: Counted[] } {
  const [sealed, counted]: [Episode[], Counted[]] = [[], []];
  let ids = 0;
  const silent = { hold: () => {}, release: () => {}, promote: () => {}, setFullRate: () => {}, giveUp: () => {} };
  const capture = Capture.open(db, [POLICY], {
    ...{ ring: { ...silent, durabilityOf: () => "durable" }, log: silentLog, bootId: "boot", onDemand: () => {} },
    newId: () => `episode-${++ids}`,
    lastStoredNs: () => undefined,
    onSealed: (episode) => sealed.push(episode),
    count: ({ outcome, rule }, kindOf, sign) => counted.push({ outcome, kind: kindOf(rule), sign }),
    ...changes,
  });
  return { capture, sealed, counted };
}

test("an episode is part of what was going on when it opened, whatever comes later", () => {
  let surroundings = around("pick", { object: "cup", shelf: "topic" });
  const { capture, sealed } = open({ surroundings: () => surroundings });
  capture.onEvent(firing(100));
  surroundings = around("place");
  expect(capture.openEpisode()?.operation?.taskType).toBe("pick");
  capture.onEvent({ kind: "recovered", rule: "drop", atNs: at(102) });
  capture.tick(at(120));
  expect(sealed).toMatchObject([
    { operation: { taskType: "pick", robot: "arm-7", site: "lab" }, labels: { object: "cup", shelf: "rule" } },
  ]);
  capture.onEvent(firing(200));
  expect(capture.openEpisode()?.operation?.taskType).toBe("place");
});

test("a label names the task type: a topic's, a rule's, and last a person's, who stands by it with name and time", () => {
  const { capture, sealed } = open({ surroundings: () => around("pick", { task_type: "sort" }) });
  capture.onEvent(firing(100));
  expect(capture.openEpisode()?.operation?.taskType).toBe("sort");
  capture.annotate("episode-1", { labels: { task_type: "stack" }, note: "the red one" }, "anna", at(101));
  capture.onEvent({ kind: "recovered", rule: "drop", atNs: at(102) });
  capture.tick(at(120));
  const remark = { atNs: at(101), author: "anna", labels: { task_type: "stack" }, note: "the red one" };
  expect(sealed).toMatchObject([{ operation: { taskType: "stack" }, note: "the red one", remarks: [remark] }]);
  // Its row is written anew with its batches: a person's word is still there once.
  const [episode] = sealed;
  if (episode !== undefined) capture.markBatched(episode, () => {});
  expect(new EpisodeTable(db).find("episode-1").episode.remarks).toMatchObject([remark]);
});

test("an episode that a crash interrupted keeps what it was part of, and counts once", () => {
  const before = open({ surroundings: () => around("pick") });
  before.capture.onEvent(firing(100));
  expect(before.counted).toEqual([]);
  const after = open({ surroundings: () => around("place") });
  after.capture.tick(at(300));
  expect(after.sealed).toMatchObject([{ operation: { taskType: "pick" }, isInterrupted: true }]);
  expect(after.counted).toEqual([{ outcome: "unknown", kind: "failure", sign: 1 }]);
  expect(open().counted).toEqual([]);
});

test("an episode counts once when it is sealed, and as a person decides it later", () => {
  const { capture, counted } = open();
  capture.onEvent(firing(100));
  capture.annotate("episode-1", { note: "hm" }, "anna", at(101));
  capture.onEvent({ kind: "gave_up", rule: "drop", atNs: at(103) });
  capture.tick(at(130));
  expect(counted).toEqual([{ outcome: "failed", kind: "failure", sign: 1 }]);
  capture.annotate("episode-1", { outcome: "recovered" }, "anna", at(140));
  expect(counted.slice(1)).toEqual([
    { outcome: "failed", kind: "failure", sign: -1 },
    { outcome: "recovered", kind: "failure", sign: 1 },
  ]);
});
