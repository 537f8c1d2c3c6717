/**
 * Makes recordings of the demo robot with their truth, for judging rules over many seeds.
 *
 *   node test/scripts/make-demo-recordings.ts --seeds 1-30 --seconds 60 --out /tmp/demo [--no-cameras] [--hide-belief]
 *
 * Prints a row a seed: tasks, events by kind, outcomes.
 */
import { parseArgs } from "node:util";
import { recordHeadless } from "../../src/demo/headless.ts";
import type { TaskTruth } from "../../src/demo/truth.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1-10" },
    seconds: { type: "string", default: "60" },
    out: { type: "string", default: "demo-recordings" },
    "no-cameras": { type: "boolean", default: false },
    "hide-belief": { type: "boolean", default: false },
  },
});

/** `3`, `1-30`, `1,5,9-12`. */
function parseSeeds(text: string): number[] {
  return text.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

function row(seed: number | string, durationS: number, tasks: readonly TaskTruth[]): string {
  const events = tasks.flatMap((task) => task.events);
  const count = (kind: string): number => events.filter((event) => event.kind === kind).length;
  const ended = (outcome: string): number => tasks.filter((task) => task.outcome === outcome).length;
  const numbers = [tasks.length, count("drop"), count("slip"), count("missed_grasp")];
  const outcomes = [ended("succeeded"), ended("recovered"), ended("failed")];
  const resets = tasks.filter((task) => task.isResetByOperator).length;
  const cells = [seed, durationS.toFixed(0), ...numbers, ...outcomes, resets];
  return cells.map((cell) => String(cell).padStart(9)).join("");
}

const columns = ["seed", "seconds", "tasks", "drop", "slip", "missed", "succeeded", "recovered", "failed", "resets"];
console.log(columns.map((name) => name.padStart(9)).join(""));
const all: TaskTruth[] = [];
let totalS = 0;
for (const seed of parseSeeds(values.seeds)) {
  const result = await recordHeadless({
    seed,
    seconds: Number(values.seconds),
    folder: values.out,
    name: `demo-seed-${seed}`,
    isBeliefHidden: values["hide-belief"],
    cameras: !values["no-cameras"],
  });
  all.push(...result.tasks);
  totalS += result.durationS;
  console.log(row(seed, result.durationS, result.tasks));
}
console.log(row("all", totalS, all));
