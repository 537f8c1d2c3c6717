/** How an episode ended, by whose word, after how long, and what it belongs with. */
import { expect, test } from "vitest";
import type { MachineInput } from "../../src/capture/episode-machine.ts";
import type { Episode, Outcome } from "../../src/model/episode.ts";
import { at, event, firing, line, manual, POLICIES, policy, run } from "./machine-rig.ts";

/** `recovery_seen drop 103` … */
const evidenceOf = ({ evidence }: Episode): string[] =>
  evidence.map(({ kind, rule, atNs }) => `${kind} ${rule} ${Number(atNs) / 1e9}`);

type Case = {
  readonly name: string;
  readonly inputs: readonly MachineInput[];
  readonly outcome: Outcome;
  readonly evidence: readonly string[];
  readonly timeToRecoverMs?: number;
};

const CASES: readonly Case[] = [
  {
    name: "a recovery that a rule sees counts from the first failure",
    inputs: [firing("drop", 100), event("attempt", "drop", 103), firing("drop", 105), event("recovered", "drop", 112)],
    outcome: "recovered",
    evidence: ["recovery_seen drop 112"],
    timeToRecoverMs: 12_000,
  },
  {
    name: "a condition that stays away was recovered from when it ended, not when that was sure",
    inputs: [firing("stall", 100), event("cleared", "stall", 102)],
    outcome: "recovered",
    evidence: ["stayed_clear stall 102"],
    timeToRecoverMs: 2000,
  },
  {
    name: "the last rule to know decides",
    inputs: [
      ...[firing("slip", 100), firing("drop", 101), event("recovered", "slip", 108)],
      event("recovered", "drop", 110),
    ],
    outcome: "recovered",
    evidence: ["recovery_seen drop 110"],
    timeToRecoverMs: 10_000,
  },
  {
    name: "waiting in vain is a failure at the end of the wait",
    inputs: [firing("drop", 100), event("attempt", "drop", 110)],
    outcome: "failed",
    evidence: ["recovery_timeout drop 140"],
  },
  {
    name: "what only keeps a window while a failure waits prolongs no wait",
    inputs: [firing("drop", 100), firing("sample", 120), manual(125)],
    outcome: "failed",
    evidence: ["recovery_timeout drop 130"],
  },
  {
    name: "a robot that gives up has failed",
    inputs: [firing("drop", 100), event("gave_up", "drop", 107)],
    outcome: "failed",
    evidence: ["gave_up drop 107"],
  },
  {
    name: "of a rule that is gone nobody knows",
    inputs: [firing("drop", 100), event("gone", "drop", 105)],
    outcome: "unknown",
    evidence: ["cannot_tell drop 105"],
  },
  {
    name: "a rule that is gone leaves the word to the others",
    inputs: [
      ...[firing("slip", 100), firing("drop", 101), event("gone", "slip", 103)],
      event("recovered", "drop", 110),
    ],
    outcome: "recovered",
    evidence: ["recovery_seen drop 110"],
    timeToRecoverMs: 10_000,
  },
  {
    name: "what failed in a task keeps its outcome when the task's rule is gone",
    inputs: [
      ...[firing("task", 100), firing("drop", 101), event("recovered", "drop", 105)],
      event("gone", "task", 110),
    ],
    outcome: "recovered",
    evidence: ["recovery_seen drop 105", "cannot_tell task 110"],
    timeToRecoverMs: 4000,
  },
  {
    name: "a person who takes over",
    inputs: [firing("drop", 100), event("took_over", "takeover", 104)],
    outcome: "operator_took_over",
    evidence: ["took_over takeover 104"],
  },
  {
    name: "a person's word, and nothing after it",
    inputs: [
      ...[firing("drop", 100), { kind: "outcome", atNs: at(103), outcome: "failed" } as const],
      event("recovered", "drop", 104),
    ],
    outcome: "failed",
    evidence: ["operator  103"],
  },
  {
    name: "where no rule can tell recovery, that is said",
    inputs: [firing("current", 100), event("cleared", "current", 102)],
    outcome: "unknown",
    evidence: ["cannot_tell current 107"],
  },
  {
    name: "a window that is full before anything is decided",
    inputs: [0, 25, 50, 75, 100].map((offset) => firing("drop", 100 + offset)),
    outcome: "unknown",
    evidence: ["max_ms drop 210"],
  },
  {
    name: "what only keeps a window has no outcome to tell",
    inputs: [manual(100)],
    outcome: "unknown",
    evidence: [],
  },
  {
    name: "a failure again after a recovery that was only inferred: both decisions stand, the last one decides",
    inputs: [
      ...[firing("stall", 100), event("cleared", "stall", 102), firing("stall", 106)],
      event("cleared", "stall", 107),
    ],
    outcome: "recovered",
    evidence: ["stayed_clear stall 102", "stayed_clear stall 107"],
    timeToRecoverMs: 1000,
  },
  {
    name: "a task's success",
    inputs: [firing("task", 100), event("recovered", "task", 160)],
    outcome: "succeeded",
    evidence: ["end_seen task 160"],
  },
  {
    name: "a task's failure",
    inputs: [firing("task", 100), firing("drop", 110), event("gave_up", "task", 130)],
    outcome: "failed",
    evidence: ["end_seen task 130"],
  },
  {
    name: "a task that only ended",
    inputs: [firing("task", 100), event("cleared", "task", 160)],
    outcome: "unknown",
    evidence: ["end_seen task 160"],
  },
  {
    name: "a failure within a task is decided, and the task goes on to its own end",
    inputs: [
      ...[firing("task", 100), firing("drop", 110), event("attempt", "drop", 112), event("recovered", "drop", 115)],
      event("recovered", "task", 160),
    ],
    outcome: "succeeded",
    evidence: ["recovery_seen drop 115", "end_seen task 160"],
    timeToRecoverMs: 5000,
  },
  {
    name: "a task that only ended has the outcome of what failed in it",
    inputs: [firing("task", 100), firing("drop", 110), event("gave_up", "drop", 115), event("cleared", "task", 130)],
    outcome: "failed",
    evidence: ["gave_up drop 115", "end_seen task 130"],
  },
  {
    name: "a task that succeeded has overcome what failed in it",
    inputs: [firing("task", 100), firing("drop", 110), event("recovered", "task", 130)],
    outcome: "succeeded",
    evidence: ["end_seen task 130"],
  },
  {
    name: "a task that a person finished",
    inputs: [firing("task", 100), event("took_over", "task", 120), event("recovered", "task", 130)],
    outcome: "operator_took_over",
    evidence: ["took_over task 120", "end_seen task 130"],
  },
  {
    name: "a task's success that is seen just after its end",
    inputs: [firing("task", 100), event("cleared", "task", 130), event("recovered", "task", 130.5)],
    outcome: "succeeded",
    evidence: ["end_seen task 130", "end_seen task 130.5"],
  },
];

test.each(CASES)("$name", ({ inputs, outcome, evidence, timeToRecoverMs }) => {
  const { closed } = run(inputs);
  expect(closed.map(evidenceOf)).toEqual([evidence]);
  expect(closed[0]?.outcome).toBe(outcome);
  expect(closed[0]?.timeToRecoverMs).toBe(timeToRecoverMs);
});

test("evidence carries what the rule read, and how long a clearing lasted", () => {
  const { closed } = run([
    ...[firing("drop", 100), { kind: "recovered" as const, rule: "drop", atNs: at(104), values: { gap_m: 0.03 } }],
    ...[firing("stall", 300), event("cleared", "stall", 301)],
  ]);
  expect(closed.map(({ evidence }) => evidence.map(({ values }) => values))).toEqual([
    [{ gap_m: 0.03 }],
    [{ clear_ms: 2000 }],
  ]);
});

test("failures within a task are loops of their own in one episode", () => {
  const { closed } = run([
    ...[firing("task", 100), firing("drop", 110), event("attempt", "drop", 112), event("recovered", "drop", 115)],
    ...[firing("drop", 140), event("attempt", "drop", 142), event("recovered", "drop", 146)],
    event("recovered", "task", 160),
  ]);
  expect(closed.map(({ segments }) => segments.map(line))).toEqual([
    [
      ...["before 99-110", "failure 110-112", "recovery 1 112-115", "after 115-140", "failure 140-142"],
      ...["recovery 2 142-146", "after 146-165"],
    ],
  ]);
  expect(closed[0]).toMatchObject({ kind: "failure", rule: "task", outcome: "succeeded", timeToRecoverMs: 6000 });
});

test("the next task opens the next episode, however soon it begins", () => {
  const { closed } = run([
    ...[firing("task", 100), event("recovered", "task", 110)],
    ...[firing("task", 110.5), event("cleared", "task", 120)],
  ]);
  expect(closed.map(({ startNs, endNs, outcome }) => [startNs, endNs, outcome])).toEqual([
    [at(99), at(110.5), "succeeded"],
    [at(109.5), at(121), "unknown"],
  ]);
});

test("a firing that its rule ignores keeps the clearing before it from lasting", () => {
  const once = policy("once", { onOverlap: "ignore", recoversWhen: "cleared" });
  const inputs = [
    firing("once", 100),
    event("cleared", "once", 101),
    firing("once", 102),
    event("cleared", "once", 104),
  ];
  const { closed } = run(inputs, [once]);
  expect(closed.map((episode) => [episode.firings.length, ...evidenceOf(episode)])).toEqual([
    [1, "stayed_clear once 104"],
  ]);
});

test("the same failure again within a while is linked to the episode before, another one or a later one is not", () => {
  const { closed } = run(
    [firing("current", 100), firing("drop", 200), event("recovered", "drop", 201), firing("current", 300)].concat(
      firing("current", 1000),
    ),
    POLICIES,
    2000,
  );
  expect(closed.map(({ id, linkedTo }) => [id, linkedTo])).toEqual([
    ["episode-1", undefined],
    ["episode-2", undefined],
    ["episode-3", { id: "episode-1", kind: "same_failure", afterMs: 195_000 }],
    ["episode-4", undefined],
  ]);
});

test("what cuts an episode off says which one it continues", () => {
  const { closed } = run([firing("drop", 100), firing("split", 104)]);
  expect(closed[1]?.linkedTo).toEqual({ id: "episode-1", kind: "continues", afterMs: 0 });
  expect(closed.map(evidenceOf)).toEqual([["split drop 104"], ["cannot_tell split 109"]]);
});

test("firings carry the version of their rule, and an episode keeps what any of its rules wants kept", () => {
  const rules = [policy("a", { version: "aa", topics: ["/a"] }), policy("b", { version: "bb", topics: ["/b", "/a"] })];
  const { closed } = run([firing("a", 100), firing("b", 101)], rules);
  expect(closed.map(({ firings, topics }) => [firings.map(({ ruleVersion }) => ruleVersion), topics])).toEqual([
    [
      ["aa", "bb"],
      ["/a", "/b"],
    ],
  ]);
  expect(run([firing("a", 100), manual(101)], rules).closed[0]?.topics).toEqual(["**"]);
});
