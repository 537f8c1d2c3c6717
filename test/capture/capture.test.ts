import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Capture, type CaptureDeps } from "../../src/capture/capture.ts";
import { createCaptureTables, EpisodeTable } from "../../src/capture/episode-table.ts";
import type { Episode } from "../../src/model/episode.ts";
import type { CapturePolicy, RuleEvent } from "../../src/model/rule-event.ts";
import { type Db, openDatabase } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const at = (seconds: number): bigint => 1_800_000_000_000_000_000n + BigInt(Math.round(seconds * 1e9));

const POLICY: CapturePolicy = {
  ...{ rule: "drop", version: "1", isDryRun: false, topics: ["**"] },
  kind: "failure",
  preRollMs: 10_000,
  postRollMs: 5000,
  maxMs: 120_000,
  onOverlap: "extend",
  recoversWhen: "explicit",
  recoveredAfterClearMs: 0,
  recoveryTimeoutMs: 30_000,
  priority: 90,
  labels: { task: "pick" },
  onDemand: ["/camera/raw"],
};

let folder: string;
let db: Db;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-capture-"));
  db = openDatabase(join(folder, "journal.db"), [createCaptureTables]);
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true });
});

const SILENT_RING: CaptureDeps["ring"] = {
  ...{ hold: () => {}, release: () => {}, promote: () => {}, setFullRate: () => {}, giveUp: () => {} },
  durabilityOf: () => "durable",
};

type Opened = {
  readonly capture: Capture;
  readonly calls: string[];
  readonly sealed: Episode[];
  readonly onDemand: (readonly string[])[];
};

function open(changes: Partial<CaptureDeps> = {}, policies = [POLICY]): Opened {
  const calls: string[] = [];
  const sealed: Episode[] = [];
  const onDemand: (readonly string[])[] = [];
  const span = (startNs: bigint, endNs: bigint): string =>
    `${(startNs - at(0)) / 10n ** 9n}-${(endNs - at(0)) / 10n ** 9n}`;
  let count = 0;
  const capture = Capture.open(db, policies, {
    ring: {
      // Nothing is said to the ring before the rows say it: what a crash leaves is then held again.
      hold: (id, startNs, endNs) => {
        expect(db.prepare("SELECT count(*) AS n FROM hold WHERE episode_id = ?").get(id)).toEqual({ n: 1 });
        calls.push(`hold ${id} ${span(startNs, endNs)}`);
      },
      release: (id) => calls.push(`release ${id}`),
      promote: (startNs, endNs, focusNs) =>
        calls.push(`promote ${span(startNs, endNs)} @${(focusNs - at(0)) / 10n ** 9n}`),
      setFullRate: (isOn) => calls.push(`full rate ${isOn}`),
      durabilityOf: () => "durable",
      giveUp: (startNs, endNs) => calls.push(`give up ${span(startNs, endNs)}`),
    },
    log: silentLog,
    bootId: "boot",
    newId: () => `episode-${++count}`,
    lastStoredNs: () => undefined,
    onDemand: (globs) => onDemand.push(globs),
    onSealed: (episode) => sealed.push(episode),
    ...changes,
  });
  return { capture, calls, sealed, onDemand };
}

const firing = (seconds: number, rule = "drop"): RuleEvent => ({
  kind: "firing",
  ...{ rule, detector: undefined, topic: "/joint_states", atNs: at(seconds), values: { gap: 0.004 } },
});
const recovered = (seconds: number): RuleEvent => ({ kind: "recovered", rule: "drop", atNs: at(seconds) });

test("a firing's episode and hold are rows before the ring hears of it", () => {
  const { capture, calls, onDemand } = open();
  capture.onEvent(firing(100));
  expect(calls).toEqual(["full rate true", "hold episode-1 90-210", "promote 90-210 @100"]);
  expect(onDemand).toEqual([["/camera/raw"]]);
  expect(new EpisodeTable(db).find("episode-1")).toMatchObject({
    state: "open",
    episode: { startNs: at(90), outcome: "unknown" },
  });
});

test("an episode is handed on once, when its window's chunks have had time to arrive", () => {
  const { capture, calls, sealed } = open();
  capture.onEvent(firing(100));
  capture.onEvent(recovered(103));
  capture.tick(at(108.2));
  expect(capture.openEpisode()?.id).toBe("episode-1");
  capture.tick(at(109.6));
  capture.tick(at(110));
  expect(sealed.map(({ id, outcome, endNs }) => [id, outcome, endNs])).toEqual([["episode-1", "recovered", at(108)]]);
  expect(calls.slice(3)).toEqual(["hold episode-1 90-108", "full rate false"]);
  expect(new EpisodeTable(db).find("episode-1").state).toBe("sealed");
});

test("a starved ingest thread has its events and chunks waited for, however far it is behind", () => {
  const { capture, sealed } = open({}, [{ ...POLICY, recoversWhen: "never" }]);
  capture.onEvent(firing(100));
  capture.tick(at(120), at(104));
  capture.onEvent(firing(104.5));
  expect(capture.openEpisode()?.firings).toHaveLength(2);
  capture.tick(at(121), at(109.4));
  expect(sealed).toEqual([]);
  capture.tick(at(121), at(109.5));
  expect(sealed.map(({ endNs }) => endNs)).toEqual([at(109.5)]);
});

test("an event that comes later than the clock still joins its episode", () => {
  const { capture } = open({}, [{ ...POLICY, recoversWhen: "never" }]);
  capture.onEvent(firing(100));
  capture.tick(at(106.4));
  capture.onEvent(firing(104.95));
  expect(capture.openEpisode()?.firings).toHaveLength(2);
});

test("a split goes on at full rate", () => {
  const { capture, calls } = open({}, [POLICY, { ...POLICY, rule: "next", onOverlap: "split" }]);
  capture.onEvent(firing(100));
  capture.onEvent(firing(104, "next"));
  expect(calls.filter((call) => call.startsWith("full rate")).at(-1)).toBe("full rate true");
  expect(new EpisodeTable(db).list(10).map(({ episode, state }) => [episode.rule, state])).toEqual([
    ["next", "open"],
    ["drop", "sealed"],
  ]);
});

test("the hold lasts until the batch files are durable, and then it is gone from table and ring", () => {
  const { capture, calls, sealed } = open();
  capture.onEvent(firing(100));
  capture.onEvent(recovered(103));
  capture.tick(at(120));
  const [episode] = sealed;
  expect(db.prepare("SELECT count(*) AS n FROM hold").get()).toEqual({ n: 1 });
  if (episode === undefined) throw new Error("nothing was sealed");
  capture.markBatched(episode, () => {});
  expect(db.prepare("SELECT count(*) AS n FROM hold").get()).toEqual({ n: 0 });
  expect(calls.at(-1)).toBe("release episode-1");
  expect(new EpisodeTable(db).find("episode-1").state).toBe("batched");
});

test("an episode that was open when the process died is sealed as interrupted, as far as the ring reaches", () => {
  open().capture.onEvent(firing(100));
  const { capture, calls, sealed } = open({ lastStoredNs: () => at(102) });
  expect(calls).toEqual(["hold episode-1 90-102"]);
  expect(new EpisodeTable(db).find("episode-1").episode).toMatchObject({
    isInterrupted: true,
    endNs: at(102),
    attempts: 1,
    evidence: [{ kind: "interrupted", outcome: "unknown", rule: "drop", atNs: at(102) }],
  });
  expect(new EpisodeTable(db).find("episode-1").episode.segments.map(({ kind, endNs }) => [kind, endNs])).toEqual([
    ["before", at(100)],
    ["failure", at(102)],
  ]);
  capture.tick(at(300));
  expect(sealed.map(({ id }) => id)).toEqual(["episode-1"]);
});

test("a fault that fires again after a restart is linked to the episode that was interrupted", () => {
  open().capture.onEvent(firing(100));
  const { capture } = open({ lastStoredNs: () => at(102), newId: () => "episode-2" });
  capture.onEvent(firing(130));
  expect(capture.openEpisode()?.linkedTo).toEqual({ id: "episode-1", kind: "same_failure", afterMs: 28_000 });
});

test("a failure of an earlier boot is another one: nobody knows how long ago it was", () => {
  open({ bootId: "before" }).capture.onEvent(firing(100));
  const { capture } = open({ newId: () => "episode-2" });
  capture.onEvent(firing(130));
  expect(capture.openEpisode()?.linkedTo).toBeUndefined();
});

test("a sealed episode without batch files is handed on again after a restart, a batched one is not", () => {
  const first = open();
  first.capture.onEvent(firing(100));
  first.capture.onEvent(recovered(103));
  first.capture.tick(at(120));
  const second = open();
  second.capture.tick(at(200));
  expect(second.sealed.map((episode) => [episode.isInterrupted, episode.outcome])).toEqual([[false, "recovered"]]);
  for (const episode of second.sealed) second.capture.markBatched(episode, () => {});
  const third = open();
  third.capture.tick(at(300));
  expect([third.sealed, third.calls]).toEqual([[], []]);
});

test("a person's labels, note and outcome are kept beside what the machine saw, with their author", () => {
  const { capture, sealed } = open();
  capture.onEvent(firing(100));
  capture.annotate("episode-1", { labels: { cup: "paper" }, note: "wet floor" }, "ada", at(101));
  capture.annotate("episode-1", { outcome: "failed" }, "bob", at(102));
  capture.onEvent(recovered(103));
  capture.tick(at(150));
  expect(sealed[0]).toMatchObject({ labels: { task: "pick", cup: "paper" }, note: "wet floor", outcome: "failed" });
  expect(sealed[0]?.evidence).toEqual([
    { kind: "operator", outcome: "failed", rule: "", atNs: at(102), values: { author: "bob" } },
  ]);
  expect(db.prepare("SELECT author, at_ns FROM episode_edit ORDER BY id").safeIntegers().all()).toEqual([
    { author: "ada", at_ns: at(101) },
    { author: "bob", at_ns: at(102) },
  ]);
});

test("a person's capture says which episode it is in", () => {
  const { capture } = open();
  const request = { preRollMs: 30_000, postRollMs: 10_000, labels: {}, note: "odd noise" };
  const id = capture.capture({ ...request, atNs: at(50) });
  expect(capture.capture({ ...request, atNs: at(52) })).toBe(id);
  expect(new EpisodeTable(db).find(id).episode).toMatchObject({
    kind: "manual",
    note: "odd noise\nodd noise",
    endNs: at(62),
  });
});

test("an episode id may be shortened as long as it is the only one", () => {
  const { capture } = open({}, [{ ...POLICY, onOverlap: "split" }]);
  capture.onEvent(firing(100));
  expect(new EpisodeTable(db).find("epi").episode.id).toBe("episode-1");
  capture.onEvent(firing(101));
  expect(() => new EpisodeTable(db).find("epi")).toThrow("More than one");
  expect(() => new EpisodeTable(db).find("x")).toThrow("No episode");
});

test("on a full disk the episode goes on, and its rows are written when there is room again", () => {
  const { capture, sealed } = open({
    ring: SILENT_RING,
  });
  db.pragma("query_only = ON"); // every write fails, as with ENOSPC
  capture.onEvent(firing(100));
  capture.onEvent(recovered(103));
  expect(capture.openEpisode()?.outcome).toBe("recovered");
  capture.tick(at(120));
  expect(sealed).toHaveLength(0);
  db.pragma("query_only = OFF");
  capture.tick(at(120.1));
  expect(sealed).toHaveLength(1);
  expect(new EpisodeTable(db).find("episode-1")).toMatchObject({ state: "sealed", episode: { outcome: "recovered" } });
});

test("a full disk is said once, not at every tick", () => {
  const errors: string[] = [];
  const { capture } = open({
    ring: SILENT_RING,
    log: { ...silentLog, error: (sentence) => errors.push(sentence) },
  });
  db.pragma("query_only = ON");
  capture.onEvent(firing(100));
  for (let step = 0; step < 20; step += 1) capture.tick(at(100 + step / 20));
  expect(errors).toHaveLength(1);
  db.pragma("query_only = OFF");
  capture.tick(at(102));
  db.pragma("query_only = ON");
  capture.onEvent(recovered(103));
  expect(errors).toHaveLength(2);
});

test("a window that is still on its way to the disk is waited for, however slow the disk", () => {
  let durability: "durable" | "waiting" = "waiting";
  const { capture, calls, sealed } = open({ ring: { ...SILENT_RING, durabilityOf: () => durability } });
  capture.onEvent(firing(100));
  capture.onEvent(recovered(103));
  for (let second = 110; second < 400; second += 10) capture.tick(at(second));
  expect([sealed, calls]).toEqual([[], []]);
  durability = "durable";
  capture.tick(at(400));
  expect(sealed.map(({ id }) => id)).toEqual(["episode-1"]);
});

test("a disk that refuses what the window owes gets a minute, then it is given up and the episode goes on", () => {
  const givenUp: string[] = [];
  const ring: CaptureDeps["ring"] = {
    ...SILENT_RING,
    durabilityOf: () => (givenUp.length > 0 ? "durable" : "refused"),
    giveUp: (startNs, endNs) => givenUp.push(`${(startNs - at(0)) / 10n ** 9n}-${(endNs - at(0)) / 10n ** 9n}`),
  };
  const { capture, sealed } = open({ ring });
  capture.onEvent(firing(100));
  capture.onEvent(recovered(103));
  for (let second = 110; second < 170; second += 1) capture.tick(at(second));
  expect([sealed, givenUp]).toEqual([[], []]);
  capture.tick(at(170));
  expect(givenUp).toEqual(["90-108"]);
  expect(sealed.map(({ id }) => id)).toEqual(["episode-1"]);
});
