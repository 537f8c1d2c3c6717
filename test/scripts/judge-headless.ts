/**
 * Judges the shipped rules on the demo robot, faster than real time: `judge-headless.ts FROM TO [--seconds N]`.
 *
 * Each seed is recorded with its ground truth, the controller's belief left out, and back-tested. An event is found if
 * a firing of its rule comes within 2.5 s; a firing without an event is false; the outcome and the attempts of each
 * task with an event must be those of the one episode around it. Exit code 1 if anything is wrong.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { backtestRecording, type RecordingVerdict } from "../../src/daemon/backtest.ts";
import { parseRuleFiles, readRuleFiles } from "../../src/daemon/rule-files.ts";
import { type HeadlessResult, recordHeadless } from "../../src/demo/headless.ts";
import type { TaskTruth } from "../../src/demo/truth.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const RULE_OF: Readonly<Record<string, string>> = { drop: "lost_grasp", slip: "slip" };
const LEAD_S = 0.6;
const LAG_S = 2.5;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "60" } },
});
const [from = 1, to = from] = positionals.map(Number);
const config: Config = configSchema.parse({});
const rules = parseRuleFiles(readRuleFiles(config.rules), []);
const total = { tasks: 0, events: 0, found: 0, false: 0, judged: 0, outcomeRight: 0, attemptsRight: 0, simulatedS: 0 };
const lagsMs: number[] = [];
for (let seed = from; seed <= to; seed += 1) await judge(seed);
const { events, found, false: wrong } = total;
const f1 = (2 * found) / (2 * found + wrong + (events - found) || 1);
lagsMs.sort((a, b) => a - b);
const [median, most] = [lagsMs[Math.floor(lagsMs.length / 2)] ?? 0, lagsMs.at(-1) ?? 0];
console.log(JSON.stringify({ seeds: [from, to], ...total, f1: Number(f1.toFixed(4)), lag_ms: { median, max: most } }));
process.exitCode =
  found === events && wrong === 0 && total.outcomeRight === total.judged && total.attemptsRight === total.judged
    ? 0
    : 1;

async function judge(seed: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "lode-judge-"));
  try {
    const recorded = await recordHeadless({
      seed,
      seconds: Number(values.seconds),
      folder,
      name: "run",
      isBeliefHidden: true,
      cameras: false,
    });
    await using recording = await openRecording(recorded.recordingPath, { findDefinition: () => undefined });
    const verdict = await backtestRecording(recording, { rules, isExcluded: () => false, log: silentLog });
    compare(seed, recorded, verdict);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compare(seed: number, recorded: HeadlessResult, verdict: RecordingVerdict): void {
  const at = (ns: bigint) => Number(ns - verdict.startNs) / 1e9;
  const firings = verdict.firings.map((firing) => ({ rule: firing.rule, atS: at(firing.atNs), isUsed: false }));
  const problems: string[] = [];
  for (const { kind, atS } of recorded.tasks
    .flatMap((task) => task.events)
    .filter((event) => RULE_OF[event.kind] !== undefined)) {
    total.events += 1;
    const firing = firings.find(
      (entry) => !entry.isUsed && entry.rule === RULE_OF[kind] && entry.atS > atS - LEAD_S && entry.atS < atS + LAG_S,
    );
    if (firing === undefined) problems.push(`missed a ${kind} at ${atS.toFixed(2)} s`);
    else {
      firing.isUsed = true;
      total.found += 1;
      lagsMs.push(Math.round((firing.atS - atS) * 1000));
    }
  }
  for (const firing of firings.filter((entry) => !entry.isUsed)) {
    total.false += 1;
    problems.push(`false ${firing.rule} at ${firing.atS.toFixed(2)} s`);
  }
  for (const task of recorded.tasks) {
    total.tasks += 1;
    if (task.events.some((event) => RULE_OF[event.kind] !== undefined)) problems.push(...judgeTask(task, verdict, at));
  }
  total.simulatedS = Math.round(total.simulatedS + recorded.durationS);
  console.error(
    `seed ${seed}: ${recorded.tasks.length} tasks${problems.length === 0 ? "" : `; ${problems.join("; ")}`}`,
  );
}

function judgeTask(task: TaskTruth, verdict: RecordingVerdict, at: (ns: bigint) => number): string[] {
  const within = (atS: number) => atS >= task.startS && atS <= task.endS + 1;
  const episodes = verdict.episodes
    .map(({ episode }) => episode)
    .filter(({ firings }) => firings.some((firing) => within(at(firing.atNs))));
  const [episode] = episodes;
  const isOne = episodes.length === 1 && episode !== undefined;
  const [isOutcome, isAttempts] = [
    isOne && episode.outcome === task.outcome,
    isOne && episode.attempts === task.attempts,
  ];
  total.judged += 1;
  total.outcomeRight += Number(isOutcome);
  total.attemptsRight += Number(isAttempts);
  if (isOutcome && isAttempts) return [];
  const told = episodes.map(({ outcome, attempts }) => `${outcome}/${attempts}`).join(", ") || "nothing";
  return [`task ${task.task} was ${task.outcome}/${task.attempts}, told ${told}`];
}
