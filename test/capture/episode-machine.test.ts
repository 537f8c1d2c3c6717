import fc from "fast-check";
import { expect, test } from "vitest";
import { idleMachine, type MachineInput, stepMachine } from "../../src/capture/episode-machine.ts";
import type { Episode, Outcome } from "../../src/model/episode.ts";
import type { CapturePolicy } from "../../src/model/rule-event.ts";
import { at, contextOf, event, firing, line, manual, POLICIES, policy, run } from "./machine-rig.ts";

const SECOND = 1_000_000_000n;

type Case = {
  readonly name: string;
  readonly inputs: readonly MachineInput[];
  readonly outcome: Outcome;
  readonly segments: readonly string[];
};

const CASES: readonly Case[] = [
  {
    name: "a drop, one attempt, recovered",
    inputs: [firing("drop", 100), event("attempt", "drop", 103), event("recovered", "drop", 110)],
    outcome: "recovered",
    segments: ["before 90-100", "failure 100-103", "recovery 1 103-110", "after 110-115"],
  },
  {
    name: "a second failure during the recovery",
    inputs: [
      ...[firing("drop", 100), event("attempt", "drop", 103), firing("drop", 105)],
      ...[event("attempt", "drop", 108), event("recovered", "drop", 112)],
    ],
    outcome: "recovered",
    segments: [
      ...["before 90-100", "failure 100-103", "recovery 1 103-105", "failure 105-108", "recovery 2 108-112"],
      "after 112-117",
    ],
  },
  {
    name: "two rules report the same attempt, and it counts once",
    inputs: [
      ...[firing("slip", 100), firing("drop", 101), event("attempt", "slip", 103), event("attempt", "drop", 103.1)],
      ...[event("recovered", "slip", 108), event("recovered", "drop", 110)],
    ],
    outcome: "recovered",
    segments: ["before 90-100", "failure 100-103", "recovery 1 103-110", "after 110-115"],
  },
  {
    name: "a rule that joins later counts on from the attempts already made",
    inputs: [
      ...[firing("slip", 100), event("attempt", "slip", 103), firing("drop", 104), event("attempt", "drop", 106)],
      ...[event("attempt", "slip", 106.1), event("recovered", "slip", 108), event("recovered", "drop", 108)],
    ],
    outcome: "recovered",
    segments: [
      ...["before 90-100", "failure 100-103", "recovery 1 103-104", "failure 104-106", "recovery 2 106-108"],
      "after 108-113",
    ],
  },
  {
    name: "no recovery in time is failed, counted from the last attempt",
    inputs: [firing("drop", 100), event("attempt", "drop", 110)],
    outcome: "failed",
    segments: ["before 90-100", "failure 100-110", "recovery 1 110-140", "after 140-145"],
  },
  {
    name: "a clearing that lasts is recovered, and what follows the clearing was the attempt",
    inputs: [firing("stall", 100), event("cleared", "stall", 102)],
    outcome: "recovered",
    segments: ["before 90-100", "failure 100-102", "recovery 1 102-104", "after 104-109"],
  },
  {
    name: "a clearing that does not last is a recovery attempt that failed",
    inputs: [
      firing("stall", 100),
      event("cleared", "stall", 102),
      firing("stall", 103),
      event("cleared", "stall", 105),
    ],
    outcome: "recovered",
    segments: [
      ...["before 90-100", "failure 100-102", "recovery 1 102-103", "failure 103-105", "recovery 2 105-107"],
      "after 107-112",
    ],
  },
  {
    name: "an explicit recovery settles what could only be inferred",
    inputs: [firing("stall", 100), firing("drop", 101), event("attempt", "drop", 105), event("recovered", "drop", 110)],
    outcome: "recovered",
    segments: ["before 90-100", "failure 100-105", "recovery 1 105-110", "after 110-115"],
  },
  {
    name: "where attempts are reported, a flicker of another rule is none",
    inputs: [
      ...[firing("drop", 100), event("cleared", "drop", 101), firing("stall", 101.5), event("cleared", "stall", 102)],
      ...[firing("stall", 103), event("attempt", "drop", 105), event("recovered", "drop", 110)],
    ],
    outcome: "recovered",
    segments: ["before 90-100", "failure 100-105", "recovery 1 105-110", "after 110-115"],
  },
  {
    name: "one explicit rule that is still waiting keeps the episode open until it gives up",
    inputs: [firing("drop", 100), firing("slip", 101), event("recovered", "slip", 110)],
    outcome: "failed",
    segments: ["before 90-100", "failure 100-131", "after 131-136"],
  },
  {
    name: "a rule that cannot tell ends one post-roll after its last firing",
    inputs: [firing("current", 100), firing("current", 103)],
    outcome: "unknown",
    segments: ["before 90-100", "failure 100-108"],
  },
  {
    name: "a rule that cannot tell ends one post-roll after its clearing",
    inputs: [firing("current", 100), event("cleared", "current", 102)],
    outcome: "unknown",
    segments: ["before 90-100", "failure 100-102", "after 102-107"],
  },
  {
    name: "a person takes over",
    inputs: [firing("drop", 100), event("took_over", "drop", 104), event("recovered", "drop", 106)],
    outcome: "operator_took_over",
    segments: ["before 90-100", "failure 100-104", "after 104-109"],
  },
  {
    name: "a person's word about the outcome stays",
    inputs: [firing("drop", 100), { kind: "outcome", atNs: at(103), outcome: "succeeded" }, firing("drop", 104)],
    outcome: "succeeded",
    segments: ["before 90-100", "failure 100-103", "after 103-104", "failure 104-134", "after 134-139"],
  },
  {
    name: "a person's firing",
    inputs: [manual(100)],
    outcome: "unknown",
    segments: ["before 70-100", "after 100-110"],
  },
  {
    name: "a task from its start to its end condition",
    inputs: [firing("task", 100), event("recovered", "task", 160)],
    outcome: "succeeded",
    segments: ["before 99-160", "after 160-161"],
  },
  {
    name: "an unsolved failure ends at its limit",
    inputs: Array.from({ length: 5 }, (_, index) => firing("drop", 100 + index * 25)),
    outcome: "unknown",
    segments: ["before 90-100", "failure 100-210"],
  },
  {
    name: "a longer pre-roll that joins moves the start",
    inputs: [firing("drop", 100), firing("long", 101), event("recovered", "drop", 103)],
    outcome: "recovered",
    segments: ["before 41-100", "failure 100-103", "after 103-108"],
  },
];

test.each(CASES)("$name", ({ inputs, outcome, segments }) => {
  const { closed } = run(inputs);
  expect(closed).toHaveLength(1);
  expect(closed[0]?.segments.map(line)).toEqual(segments);
  expect(closed[0]?.outcome).toBe(outcome);
});

test("a split closes the open episode at the firing and opens the next with its own pre-roll", () => {
  const { closed } = run([firing("drop", 100), firing("split", 104)]);
  expect(closed.map((episode) => [episode.rule, episode.startNs, episode.endNs, episode.outcome])).toEqual([
    ["drop", at(90), at(104), "unknown"],
    ["split", at(94), at(109), "unknown"],
  ]);
});

test("a failure soon after a recovery that its rule saw is a loop of its own, with its own attempts", () => {
  const { closed } = run([
    ...[firing("drop", 100), event("attempt", "drop", 102), event("recovered", "drop", 104), firing("drop", 107)],
    ...[event("attempt", "drop", 109), event("took_over", "drop", 111)],
  ]);
  expect(closed.map(({ startNs, endNs, outcome, attempts }) => [startNs, endNs, outcome, attempts])).toEqual([
    [at(90), at(107), "recovered", 2],
    [at(97), at(116), "operator_took_over", 2],
  ]);
});

test("a rule that ignores overlaps is only counted while an episode is open", () => {
  const { closed, commands } = run([firing("drop", 100), firing("ignored", 101), firing("ignored", 300)]);
  expect(closed.map((episode) => episode.firings.map(({ rule }) => rule))).toEqual([["drop"], ["ignored"]]);
  expect(commands).toContainEqual({ kind: "ignored", rule: "ignored", atNs: at(101) });
});

test("a rule on trial opens no episode and joins none", () => {
  const context = contextOf([policy("dry", { isDryRun: true }), policy("drop")]);
  expect(stepMachine(idleMachine, firing("dry", 100), context)).toEqual({ state: idleMachine, commands: [] });
  const { state } = stepMachine(idleMachine, firing("drop", 101), context);
  expect(stepMachine(state, firing("dry", 102), context)).toEqual({ state, commands: [] });
});

test("a firing's words become the episode's note", () => {
  const { closed } = run([{ ...firing("current", 100), note: "smells of smoke" }]);
  expect(closed.map(({ note }) => note)).toEqual(["smells of smoke"]);
});

test("a firing whose post-roll no longer fits opens the next episode, so that it has one", () => {
  const { closed } = run([0, 4, 8, 12].map((offset) => firing("short", 100 + offset)));
  expect(closed.map((episode) => [episode.startNs, episode.endNs])).toEqual([
    [at(90), at(108)],
    [at(98), at(117)],
  ]);
});

test("a person's firing never breaks an open episode apart, however long it asks for", () => {
  const { closed } = run([firing("drop", 100), manual(105, 1000, 300_000), event("recovered", "drop", 110)]);
  expect(closed.map((episode) => [episode.kind, episode.endNs, episode.note, episode.labels])).toEqual([
    ["failure", at(405), "it squeaks", { task: "pick", who: "ada" }],
  ]);
});

test("the hold covers the window at its longest, before the ring hears of anything else", () => {
  const { commands } = run([firing("drop", 100), firing("long", 101)]);
  expect(commands.filter(({ kind }) => kind === "hold")).toEqual([
    { kind: "hold", id: "episode-1", startNs: at(90), endNs: at(210) },
    { kind: "hold", id: "episode-1", startNs: at(41), endNs: at(161) },
  ]);
  expect(commands.slice(0, 2).map(({ kind }) => kind)).toEqual(["opened", "hold"]);
});

test("on-demand topics are asked for while the episode is open and let go at its close", () => {
  const { commands } = run([firing("drop", 100), firing("stall", 101), firing("stall", 102)]);
  expect(commands.filter(({ kind }) => kind === "on_demand")).toEqual([
    { kind: "on_demand", globs: ["/camera/raw"] },
    { kind: "on_demand", globs: [] },
  ]);
});

const anyInput = (maxSeconds: number): fc.Arbitrary<MachineInput> => {
  const seconds = fc.integer({ min: 0, max: maxSeconds * 10 }).map((tenths) => tenths / 10);
  const rule = fc.constantFrom(...POLICIES.map((known) => known.rule));
  const kind = fc.constantFrom("cleared", "attempt", "recovered", "took_over");
  return fc.oneof(
    { weight: 4, arbitrary: fc.tuple(rule, seconds).map(([name, time]) => firing(name, time)) },
    { weight: 6, arbitrary: fc.tuple(kind, rule, seconds).map(([what, name, time]) => event(what, name, time)) },
    { weight: 1, arbitrary: seconds.map((time) => manual(time, 5000, 5000)) },
    { weight: 1, arbitrary: seconds.map((time) => ({ kind: "tick", atNs: at(time) }) as const) },
    { weight: 1, arbitrary: seconds.map((time) => ({ kind: "outcome", atNs: at(time), outcome: "failed" }) as const) },
  );
};

const ordered = fc
  .array(anyInput(200), { maxLength: 40 })
  .map((inputs) => inputs.toSorted((a, b) => Number(a.atNs - b.atNs)));

function expectTiled(episode: Episode): void {
  const { segments } = episode;
  expect(segments[0]?.startNs).toBe(episode.startNs);
  expect(segments.at(-1)?.endNs).toBe(episode.endNs);
  for (const [index, segment] of segments.entries()) {
    expect(segment.endNs).toBeGreaterThan(segment.startNs);
    if (index > 0) expect(segment.startNs).toBe(segments[index - 1]?.endNs);
  }
  const recoveries = segments.filter(({ kind }) => kind === "recovery").map((segment) => segment.attempt);
  expect(recoveries).toEqual(recoveries.map((_, index) => index + 1));
  expect(episode.attempts).toBe(1 + recoveries.length);
}

function policyByRule(rule: string): CapturePolicy {
  return POLICIES.find((known) => known.rule === rule) ?? policy("manual", { preRollMs: 5000, postRollMs: 5000 });
}

function expectBounded(episode: Episode): void {
  const policies = episode.firings.map(({ rule }) => policyByRule(rule));
  const longest = (of: (one: CapturePolicy) => number): bigint => BigInt(Math.max(...policies.map(of))) * 1_000_000n;
  const windowNs = episode.endNs - episode.startNs;
  expect(windowNs).toBeLessThanOrEqual(
    longest((one) => one.maxMs) + longest((one) => one.preRollMs) + longest((one) => one.postRollMs),
  );
  for (const fired of episode.firings) {
    expect(fired.atNs - BigInt(policyByRule(fired.rule).preRollMs) * 1_000_000n).toBeGreaterThanOrEqual(
      episode.startNs,
    );
    expect(fired.atNs).toBeLessThanOrEqual(episode.endNs);
  }
}

test("whatever happens, segments tile the window, attempts agree with them, and windows are bounded", () => {
  fc.assert(
    fc.property(ordered, (inputs) => {
      for (const episode of run(inputs).closed) {
        expectTiled(episode);
        expectBounded(episode);
      }
    }),
    { numRuns: 600 },
  );
});

test("whatever happens, every firing is in exactly one episode or counted as ignored", () => {
  fc.assert(
    fc.property(ordered, (inputs) => {
      const { closed, commands } = run(inputs);
      const kept = closed.flatMap((episode) => episode.firings).length;
      const ignored = commands.filter(({ kind }) => kind === "ignored").length;
      const fired = inputs.filter(({ kind }) => kind === "firing" || kind === "manual").length;
      expect(kept + ignored).toBe(fired);
    }),
    { numRuns: 300 },
  );
});

test("whatever happens, the last firing of an episode has its whole post-roll unless a split cut it", () => {
  fc.assert(
    fc.property(ordered, (inputs) => {
      const { closed } = run(inputs);
      for (const [index, episode] of closed.entries()) {
        const isCut = closed[index + 1]?.firings[0]?.atNs === episode.endNs;
        const last = episode.firings.at(-1);
        if (isCut || last === undefined) continue;
        expect(episode.endNs - last.atNs).toBeGreaterThanOrEqual(
          5n * SECOND - 4n * SECOND * BigInt(last.rule === "task"),
        );
      }
    }),
    { numRuns: 300 },
  );
});

test("ticks change nothing but when it is noticed: coarse and fine clocks end with the same episodes", () => {
  fc.assert(
    fc.property(ordered, (inputs) => {
      const sparse = inputs.filter(({ kind }) => kind !== "tick");
      const fine = [
        ...sparse,
        ...Array.from({ length: 400 }, (_, index) => ({ kind: "tick", atNs: at(index) }) as const),
      ].toSorted((a, b) => Number(a.atNs - b.atNs));
      expect(run(fine).closed).toEqual(run(sparse).closed);
    }),
    { numRuns: 100 },
  );
});
