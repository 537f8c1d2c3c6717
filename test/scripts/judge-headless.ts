/**
 * Judges the shipped rules on the simulated robot, faster than real time:
 * `judge-headless.ts FROM TO [--seconds N] [--nominal] [--json FILE]`.
 *
 * Each seed is a run of its own, the controller's belief left out, judged against what the simulator saw: every drop,
 * slip and missed grasp needs a firing of its kind, within 2.5 s; what fires besides is false; the outcome and the
 * attempts of each task with an event must be those of the one episode around it. With `--nominal` nobody bumps into
 * anything and no cup is slippery. All rule files that Lode ships are armed. Exit code 1 if less than asked is right.
 */
import { renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { RecordingVerdict } from "../../src/daemon/backtest.ts";
import { tasksOf } from "../../src/demo/headless.ts";
import type { TaskTruth, TruthEventKind } from "../../src/demo/truth.ts";
import { backtest, isAt, judge, openSimulated, ruleSets, shippedRules, type TruthEvent } from "../support/judging.ts";

const KIND_OF: Readonly<Record<TruthEventKind, string>> = {
  drop: "lost_grasp",
  slip: "slip",
  missed_grasp: "missed_grasp",
};
const LEAD_S = 0.6;
const LAG_S = 2.5;
/** What is asked. */
const F1_MIN = 0.98;
const SHARE_MIN = 0.98;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "60" }, nominal: { type: "boolean" }, json: { type: "string" } },
});
const [from = 1, to = from] = positionals.map(Number);
const rules = shippedRules(ruleSets());
const mix = values.nominal === true ? "nominal" : "everyday";
const sum = {
  ...{ seeds: [from, to], mix, rules: ruleSets(), runs: 0, simulated_s: 0, wall_s: 0 },
  ...{ tasks: 0, pushes: 0, pushes_told: 0, drop: 0, slip: 0, missed_grasp: 0 },
  ...{ found: 0, missed: 0, false: 0, judged: 0, outcome_right: 0, attempts_right: 0 },
};
const problems: string[] = [];
const lagsMs: number[] = [];
const startMs = performance.now();
for (let seed = from; seed <= to; seed += 1) {
  const told = await run(seed);
  problems.push(...told.map((problem) => `seed ${seed}: ${problem}`));
  console.error(`seed ${seed}: ${sum.tasks} tasks so far${told.map((problem) => `; ${problem}`).join("")}`);
  save();
}
console.log(JSON.stringify(result()));
const isRight = [sum.outcome_right, sum.attempts_right].every((right) => right >= SHARE_MIN * sum.judged);
process.exitCode = result().f1 >= F1_MIN && isRight && (mix === "everyday" || sum.false === 0) ? 0 : 1;

async function run(seed: number): Promise<string[]> {
  const { recording, run: simulated } = await openSimulated({
    ...{ seed, seconds: Number(values.seconds), isBeliefHidden: true, mix },
  });
  const verdict = await backtest(recording, rules);
  const tasks = tasksOf(simulated.story);
  const events = tasks.flatMap((task) => task.events);
  const pushes = simulated.story.filter((event) => event.kind === "push");
  const happened = events.map(({ kind, atS }) => eventOf(kind, atS));
  const judgement = judge(
    verdict,
    rules,
    happened,
    pushes.map(({ atS }) => pushOf(atS)),
  );
  sum.runs += 1;
  sum.simulated_s += Math.round(simulated.timeS());
  sum.tasks += tasks.length;
  sum.pushes += pushes.length;
  sum.pushes_told += pushes.filter(({ atS }) => judgement.raised.some((each) => isAt(pushOf(atS), each))).length;
  for (const { kind } of events) sum[kind] += 1;
  sum.found += judgement.found.length;
  sum.missed += judgement.missed.length;
  sum.false += judgement.false.length;
  lagsMs.push(...judgement.found.map(({ event, lagS }) => Math.round((lagS + event.fromS - atOf(event)) * 1000)));
  return [
    ...judgement.missed.map((event) => `missed a ${event.name} at ${atOf(event).toFixed(2)} s`),
    ...judgement.false.map(({ rule, fromS }) => `false ${rule} at ${fromS.toFixed(2)} s`),
    ...tasks.filter((task) => task.events.length > 0).flatMap((task) => judgeTask(task, verdict)),
  ];
}

function eventOf(kind: TruthEventKind, atS: number): TruthEvent {
  return { name: kind, kinds: [KIND_OF[kind]], fromS: atS - LEAD_S, toS: atS + LAG_S, isInstant: true };
}

/** Nobody has to tell a push: what comes of it is the event. Who says that something hit the robot is right. */
function pushOf(atS: number): TruthEvent {
  return { name: "push", kinds: ["impact"], fromS: atS, toS: atS + 1 };
}

function atOf(event: TruthEvent): number {
  return event.fromS + LEAD_S;
}

function judgeTask(task: TaskTruth, verdict: RecordingVerdict): string[] {
  const at = (ns: bigint): number => Number(ns - verdict.startNs) / 1e9;
  const within = (atS: number): boolean => atS >= task.startS && atS <= task.endS + 1;
  const episodes = verdict.episodes
    .map(({ episode }) => episode)
    .filter(({ kind, firings }) => kind === "failure" && firings.some(({ atNs }) => within(at(atNs))));
  const [episode] = episodes;
  const isOne = episodes.length === 1 && episode !== undefined;
  const isOutcome = isOne && episode.outcome === task.outcome;
  const isAttempts = isOne && episode.attempts === task.attempts;
  sum.judged += 1;
  sum.outcome_right += Number(isOutcome);
  sum.attempts_right += Number(isAttempts);
  if (isOutcome && isAttempts) return [];
  const told = episodes.map(({ outcome, attempts }) => `${outcome}/${attempts}`).join(", ") || "nothing";
  return [`task ${task.task} (${task.startS.toFixed(1)} s) was ${task.outcome}/${task.attempts}, told ${told}`];
}

function result() {
  const sorted = [...lagsMs].sort((a, b) => a - b);
  const f1 = (2 * sum.found) / (2 * sum.found + sum.false + sum.missed || 1);
  const lag_ms = { median: sorted[sorted.length >> 1] ?? 0, max: sorted.at(-1) ?? 0 };
  const wall_s = Math.round((performance.now() - startMs) / 1000);
  return { ...sum, wall_s, f1: Number(f1.toFixed(4)), lag_ms, problems };
}

/** After every seed, so that a run that is stopped leaves what it has. */
function save(): void {
  if (values.json === undefined) return;
  writeFileSync(
    `${values.json}.part`,
    `${JSON.stringify({ ...result(), seeds: [from, from + sum.runs - 1] }, undefined, 1)}\n`,
  );
  renameSync(`${values.json}.part`, values.json);
}
