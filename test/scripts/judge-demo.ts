/**
 * Judges the rules on the live demo robot: `judge-demo.ts SEED… [--episodes N]` runs the whole demo once a seed, the
 * controller's belief hidden from the rules, and prints what the simulator saw beside what came home.
 * Exit code 1 if anything was missed, made up, or told wrongly.
 */
import { parseArgs } from "node:util";
import { table } from "../../src/cli/screen.ts";
import type { DemoResult } from "../../src/daemon/demo.ts";
import type { Wire } from "../../src/std/wire.ts";
import { Child } from "../support/child.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { episodes: { type: "string", default: "1" } },
});
const rows: string[][] = [];
let isRight = true;
for (const seed of positionals) {
  const child = Child.lode(["demo", "--seed", seed, "--episodes", values.episodes, "--hide-belief", "--json"]);
  const { code } = await child.exited;
  const result = child.lastJson<Partial<Wire<DemoResult>>>();
  const episodes = (result.episodes ?? []).map(({ rule, outcome, attempts, truth }) => [
    `${rule}, ${outcome}, ${attempts}`,
    truth === undefined ? "nothing" : `${truth.event}, ${truth.outcome}, ${truth.attempts}`,
  ]);
  const [seen, truth] = [episodes.map(([first]) => first).join("; "), episodes.map(([, second]) => second).join("; ")];
  isRight &&= result.missed?.length === 0 && result.false?.length === 0;
  const missed = (result.missed ?? []).map(({ event }) => event).join(", ");
  const wrong = (result.false ?? []).map(({ reason }) => reason).join(", ");
  const cpu = Math.round(((result.cpu_seconds ?? 0) / (result.seconds ?? 1)) * 100);
  rows.push([
    seed,
    String(result.tasks ?? "?"),
    truth,
    seen,
    missed || "–",
    wrong || "–",
    `${(result.seconds ?? 0).toFixed(0)} s`,
    `${cpu} %`,
    String(code),
  ]);
  console.error(rows.at(-1)?.join(" | "));
}
console.log(
  table(
    [
      ">seed",
      ">tasks",
      "simulator: event, outcome, attempts",
      "lode: rule, outcome, attempts",
      "missed",
      "false",
      ">time",
      ">core",
      ">exit",
    ],
    rows,
  ),
);
process.exitCode = isRight ? 0 : 1;
