/** The shipped rules on real and simulated recordings: every failure of the truth, and nothing else. */
import { expect, test } from "vitest";
import type { RecordingVerdict } from "../../src/daemon/backtest.ts";
import { backtestToWire } from "../../src/daemon/backtest-answer.ts";
import { FAULTLESS, judgeFaults, lineOf } from "../support/judge-faults.ts";
import { judgeRecording, OWN_WORDS, recordingsToJudge } from "../support/judge-recordings.ts";
import { backtest, DEMO_SETS, openShared, ruleSets, shippedRules } from "../support/judging.ts";

const NO_WORDS: readonly string[] = [];
const ARMED = [["default"], ruleSets()].flatMap((sets) => [NO_WORDS, OWN_WORDS].map((hidden) => ({ sets, hidden })));

test.each(recordingsToJudge())("in %s the rules find what went wrong, and nothing else", async (file) => {
  for (const { sets, hidden } of ARMED) {
    const { missed, false: wrong } = await judgeRecording(file, sets, hidden);
    expect({ sets, hidden, missed, wrong }).toEqual({ sets, hidden, missed: [], wrong: [] });
  }
});

test("the dropped cup is found as it falls, with its second try and its recovery", async () => {
  const { raised, told } = await judgeRecording("sim_cup_slip_recover.mcap", ruleSets(), OWN_WORDS);
  expect(raised.map(({ rule }) => rule)).toEqual(["lost_grasp"]);
  expect(Math.abs((raised[0]?.fromS ?? 0) - 4.37)).toBeLessThan(0.2);
  expect(told).toEqual([{ outcome: "recovered", attempts: 2 }]);
});

test("the Kobuki's own over-current bits are told when they come", async () => {
  const { raised } = await judgeRecording("kobuki_left_wheel_fault.mcap", ["default"], OWN_WORDS);
  const bits = raised.filter(({ rule }) => rule === "kobuki_over_current").map(({ fromS }) => Math.round(fromS));
  expect(bits).toEqual([53, 62]);
});

/** One of each kind, and without the plain Husky, which has what the upside-down one has: the script judges all. */
test.each(FAULTLESS.slice(1))(
  "a fault of each kind put into %s is found, and nothing else is said",
  async (file) => {
    const seen = new Set<string>();
    const judged = await judgeFaults(file, [1, 1], (name) => !seen.has(name) && seen.add(name).has(name));
    expect(judged.length).toBeGreaterThan(0);
    const wrong = judged.filter((each) => each.found < each.events || each.false.length > 0);
    expect(wrong.map(lineOf)).toEqual([]);
  },
  120_000,
);

async function judgeCup(): Promise<RecordingVerdict> {
  await using recording = await openShared("sim_cup_slip_recover.mcap");
  return await backtest(recording, shippedRules(DEMO_SETS));
}

test("the same recording gives the same events again", async () => {
  const [first, second] = [await judgeCup(), await judgeCup()];
  expect(second.events).toEqual(first.events);
});

test("the answer of a back-test has its documented form", async () => {
  const verdict = await judgeCup();
  const wire = JSON.parse(JSON.stringify(backtestToWire([verdict])));
  expect(wire.recordings[0]).toMatchObject({
    start_time: "2026-01-02T00:01:00.011Z",
    duration_s: 15.381,
    messages: 6001,
    undecodable: {},
    firings: [{ rule: "lost_grasp", detector: "lost_grasp", topic: "/joint_states" }],
    episodes: [{ rule: "lost_grasp", kind: "failure", start_s: 0, outcome: "recovered", attempts: 2, firings: [0] }],
  });
  expect(wire.recordings[0].episodes[0].segments.map((segment: { kind: string }) => segment.kind)).toEqual([
    "before",
    "failure",
    "recovery",
    "after",
  ]);
  expect(wire.totals.bytes_kept).toBeLessThanOrEqual(wire.totals.bytes_seen);
  expect(wire.totals.firings_per_hour).toBe(Math.round(3600 / 15.381));
});
