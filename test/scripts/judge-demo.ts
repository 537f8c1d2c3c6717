/**
 * Judges the rules on the live demo robot: `judge-demo.ts FROM TO [--seconds N] [--json FILE]`.
 *
 * Each seed is the whole demo, in real time: robot, bridge, daemon, receiver, the controller's belief hidden. What came
 * home is held against what the simulator saw, and against a headless run of the same seed: the same episodes, in rule,
 * outcome and attempts, in the same order, as far as the live run got, which is to within `START_S` of its end. Exit code 1 if anything was missed, made up,
 * told wrongly, or differs.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { DemoResult } from "../../src/daemon/demo.ts";
import type { Wire } from "../../src/std/wire.ts";
import { Child } from "../support/child.ts";
import { backtest, DEMO_SETS, openSimulated, shippedRules } from "../support/judging.ts";

/** Until the live robot moves, and from an episode's end until its receipts are there. */
const START_S = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "90" }, json: { type: "string" } },
});
const [from = 1, to = from] = positionals.map(Number);
const rules = shippedRules(DEMO_SETS);
const runs = [];
for (let seed = from; seed <= to; seed += 1) {
  const live = await runLive(seed);
  const episodes = (live.episodes ?? []).map(({ rule, outcome, attempts }) => `${rule}, ${outcome}, ${attempts}`);
  const headless = await runHeadless(seed);
  const isSame = episodes.every((episode, index) => headless[index]?.text === episode);
  const due = headless.filter(({ endS }) => endS < Number(values.seconds) - START_S).length;
  runs.push({
    ...{ seed, tasks: live.tasks ?? 0, seconds: Math.round(live.seconds ?? 0), episodes },
    headless: headless.map(({ text }) => text),
    truth: (live.episodes ?? []).map(({ truth }) =>
      truth === undefined ? "nothing" : `${truth.event}, ${truth.outcome}, ${truth.attempts}`,
    ),
    agrees: isSame && episodes.length >= due && live.tasks !== undefined,
    missed: (live.missed ?? []).map((each) => `${each.event} at ${each.at_s} s`),
    false: (live.false ?? []).map(({ rule, reason }) => `${rule}: ${reason}`),
  });
  console.error(JSON.stringify(runs.at(-1)));
}
const sum = { seeds: [from, to], seconds: Number(values.seconds), runs };
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(sum, undefined, 1)}\n`);
console.log(JSON.stringify(sum));
process.exitCode = runs.every((run) => run.agrees && run.missed.length + run.false.length === 0) ? 0 : 1;

async function runLive(seed: number): Promise<Partial<Wire<DemoResult>>> {
  const length = ["--episodes", "0", "--seconds", values.seconds];
  const child = Child.lode(["demo", "--seed", String(seed), ...length, "--hide-belief", "--json"]);
  await child.exited;
  return child.lastJson<Partial<Wire<DemoResult>>>();
}

async function runHeadless(seed: number): Promise<{ text: string; endS: number }[]> {
  const seconds = Number(values.seconds);
  const { recording } = await openSimulated({ seed, seconds, isBeliefHidden: true, mix: "everyday" });
  const verdict = await backtest(recording, rules);
  return verdict.episodes
    .map(({ episode }) => episode)
    .filter(({ kind }) => kind === "failure")
    .map(({ rule, outcome, attempts, endNs }) => {
      return { text: `${rule}, ${outcome}, ${attempts}`, endS: Number(endNs - verdict.startNs) / 1e9 };
    });
}
