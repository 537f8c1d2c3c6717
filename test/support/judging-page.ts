/** docs/judging.md: what the shipped rules find, miss and make up, measured. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { FAULTLESS } from "./judge-faults.ts";
import { type JudgedRecording, judgeRecording, OWN_WORDS, PERIOD_S, recordingsToJudge } from "./judge-recordings.ts";
import { type Raised, ruleSets } from "./judging.ts";

const ROOT = resolve(import.meta.dirname, "../..");
export const JUDGING_PAGE = join(ROOT, "docs/judging.md");
const RESULTS = join(ROOT, "test/data/judging");

const PROBLEMS_SHOWN = 30;

const headlessSchema = z.object({
  seeds: z.tuple([z.number(), z.number()]),
  ...{
    rules: z.array(z.string()),
    runs: z.number(),
    simulated_s: z.number(),
    tasks: z.number(),
    pushes: z.number(),
    pushes_told: z.number(),
  },
  ...{ drop: z.number(), slip: z.number(), missed_grasp: z.number() },
  ...{ found: z.number(), missed: z.number(), false: z.number(), f1: z.number() },
  ...{ judged: z.number(), outcome_right: z.number(), attempts_right: z.number() },
  lag_ms: z.object({ median: z.number(), max: z.number() }),
  problems: z.array(z.string()),
});
type Headless = z.infer<typeof headlessSchema>;

const liveSchema = z.object({
  seeds: z.tuple([z.number(), z.number()]),
  seconds: z.number(),
  runs: z.array(
    z.object({
      ...{ seed: z.number(), tasks: z.number(), seconds: z.number(), agrees: z.boolean() },
      ...{ episodes: z.array(z.string()), truth: z.array(z.string()) },
      ...{ missed: z.array(z.string()), false: z.array(z.string()) },
    }),
  ),
});

const faultsSchema = z.object({
  seeds: z.tuple([z.number(), z.number()]),
  kinds: z.array(
    z.object({
      ...{ name: z.string(), files: z.number(), events: z.number(), found: z.number(), wrong: z.number() },
      lag_s: z.object({ median: z.number(), max: z.number() }),
      by: z.array(z.string()),
    }),
  ),
  problems: z.array(z.string()),
});

/** Judges the recordings now; what takes long comes from the files that its own scripts left. */
export async function judgingPage(): Promise<string> {
  const parts = [INTRODUCTION, await recordings(), faults(), robot(), live()];
  return `${parts.join("\n\n")}\n`;
}

const INTRODUCTION = `# How the rules are judged

<!-- Made by \`node test/scripts/make-judging-docs.ts\`: change that and the rules, then run it. -->

The shipped rules against recordings and robots whose truth is known. Everything on this page is printed by a script,
and can be printed again:

\`\`\`
node test/scripts/judge-faults.ts 1001 1010 --json test/data/judging/faults.json
node test/scripts/judge-headless.ts 3001 3200 --json test/data/judging/headless.json
node test/scripts/judge-headless.ts 4001 4020 --nominal --seconds 3600 --json test/data/judging/nominal.json
node test/scripts/judge-demo.ts 5001 5010 --json test/data/judging/live.json
node test/scripts/make-judging-docs.ts
\`\`\`

**What counts.** A rule tells a kind of failure, its label \`failure\`; it is *raised* from its firing until it clears. An
event of the truth is found if a rule of a fitting kind is raised in its stretch of time; what happens in an instant (a
drop, a slip, a missed grasp) needs a firing of its own. Every other firing is false. An explained miss is a miss.

**Seeds.** Rules and detectors were tuned with seeds up to 199 (the robot) and up to 99 (faults), and with the recordings
themselves: a table of those alone would show only that the rules were fitted to them. Seeds from 1001 on judge and never
tune: 1001–1040 and 2001–2010 judged earlier versions. Which seeds a table below is of stands with it.`;

async function recordings(): Promise<string> {
  const rows: string[] = [];
  const sums = new Map<string, { events: number; found: number; wrong: number }>();
  for (const file of recordingsToJudge()) {
    const cells: string[] = [];
    for (const [name, sets] of [
      ["default", ["default"]],
      ["all", ruleSets()],
    ] as const) {
      const seen = await judgeRecording(file, sets, []);
      const hidden = await judgeRecording(file, sets, OWN_WORDS);
      add(sums, `${name}, with`, seen);
      add(sums, `${name}, without`, hidden);
      cells.push(recordingCells(seen, hidden));
    }
    const [first = "", second = ""] = cells;
    if (first === second) rows.push(`| ${file} | both | ${first} |`);
    else rows.push(`| ${file} | default | ${first} |`, `| ${file} | all | ${second} |`);
  }
  const totals = [...sums].map(
    ([name, { events, found, wrong }]) =>
      `| ${name} | ${found} of ${events} | ${(found / events).toFixed(2)} | ${wrong} |`,
  );
  return `## Recordings

Every recording in test/data/recordings, with \`default.yaml\` alone and with all rule files at once (${ruleSets()
    .map((name) => `\`${name}.yaml\``)
    .join(", ")});
with the robot's own words and without (\`${OWN_WORDS.join("`, `")}\`).
Where two are the same, they are told once. The truth is that of the recordings' origin: of the labouring Kobuki the
robot's own warnings of very high current (its diagnostics, once a second: ±${PERIOD_S} s) and its over-current bits; its wheel was
faulty all along, so that what is said of its motors while it drives is not false. In the others nothing is known to
have gone wrong.

| recording | rules | firings | false | missed | outcome, attempts: told | in truth |
|---|---|---|---|---|---|---|
${rows.join("\n")}

| rules, own words | found | recall | false firings |
|---|---|---|---|
${totals.join("\n")}`;
}

function add(
  sums: Map<string, { events: number; found: number; wrong: number }>,
  name: string,
  judged: JudgedRecording,
): void {
  const sum = sums.get(name) ?? { events: 0, found: 0, wrong: 0 };
  sums.set(name, sum);
  sum.events += judged.events;
  sum.found += judged.found;
  sum.wrong += judged.false.length;
}

function recordingCells(seen: JudgedRecording, hidden: JudgedRecording): string {
  const both = (text: (judged: JudgedRecording) => string): string => {
    const [first, second] = [text(seen), text(hidden)];
    return first === second ? first : `${first}; without: ${second}`;
  };
  const { outcome, attempts } = seen.truth;
  const truth = seen.events === 0 ? "nothing" : outcome === undefined ? "not stated" : `${outcome}, ${attempts}`;
  return [
    ...[both(({ raised }) => firingsText(raised)), both((judged) => firingsText(judged.false))],
    both(({ missed }) => missed.join(", ") || "none"),
    both(({ told }) => told.map((each) => `${each.outcome}, ${each.attempts}`).join("; ") || "nothing"),
    truth,
  ].join(" | ");
}

function firingsText(raised: readonly Raised[]): string {
  const byRule = Map.groupBy(raised, ({ rule }) => rule);
  const text = [...byRule].map(([rule, each]) => `${rule} ${each.map(({ fromS }) => fromS.toFixed(1)).join(", ")} s`);
  return text.join("; ") || "none";
}

function faults(): string {
  const result = read("faults.json", faultsSchema);
  if (result === undefined) return "## Faults put into nominal recordings\n\nNot judged yet.";
  const rows = result.kinds.map(
    ({ name, files, events, found, wrong, lag_s, by }) =>
      `| ${name} | ${files} | ${found} of ${events} | ${wrong} | ${lag_s.median.toFixed(2)}, ${lag_s.max.toFixed(2)} | ${by.join(", ") || "–"} |`,
  );
  return `## Faults put into nominal recordings

test/support/faults.ts puts faults into ${FAULTLESS.length} real recordings without any (the Husky's twice: as it is, and as if its
IMU were mounted upside down), one at a time; seeds ${seedsText(result.seeds)} draw when, how much and which way. All rule files are armed,
the robot's own words hidden. *false* counts whatever else was said.

| fault | recordings | found | false | seconds to the firing: median, most | told by |
|---|---|---|---|---|---|
${rows.join("\n")}${problemsText(result.problems)}`;
}

function robot(): string {
  const everyday = read("headless.json", headlessSchema);
  const nominal = read("nominal.json", headlessSchema);
  const rows = [
    ...(everyday === undefined ? [] : [robotRow("everyday", everyday)]),
    ...(nominal === undefined ? [] : [robotRow("nominal", nominal)]),
  ];
  if (rows.length === 0) return "## The demo robot, faster than real time\n\nNot judged yet.";
  return `## The demo robot, faster than real time

The simulated arm (MuJoCo, contact forces alone decide what happens to the cup), what its controller believes hidden:
\`/task/state\`, \`/diagnostics\` and \`/rosout\` are not in the data. *everyday*: dry, damp, wet and oily cups, cups that
somebody pushes and that the robot mis-sees; *nominal*: only cups that friction holds. What comes of a push is an event
(a drop, a slip), the push itself is none: a rule need not tell it; that something hit the robot is true, whatever else
is said of a push that does nothing is false. All rule files are armed. Outcome and attempts
are judged of every task in which something went wrong.

| work | seeds | hours | tasks | pushes, told | drops, slips, missed grasps | found | false | F1 | outcome right | attempts right | ms to the firing: median, most |
|---|---|---|---|---|---|---|---|---|---|---|---|
${rows.join("\n")}${problemsText([...(everyday?.problems ?? []), ...(nominal?.problems ?? [])])}`;
}

function robotRow(name: string, result: Headless): string {
  const { drop, slip, missed_grasp, judged, outcome_right, attempts_right, lag_ms } = result;
  const share = (right: number): string => (judged === 0 ? "–" : `${right} of ${judged}`);
  const cells = [
    ...[
      name,
      seedsText(result.seeds),
      (result.simulated_s / 3600).toFixed(1),
      result.tasks,
      `${result.pushes}, ${result.pushes_told}`,
    ],
    ...[`${drop}, ${slip}, ${missed_grasp}`, `${result.found} of ${drop + slip + missed_grasp}`, result.false],
    ...[drop + slip + missed_grasp === 0 ? "–" : result.f1.toFixed(3), share(outcome_right), share(attempts_right)],
    drop + slip + missed_grasp === 0 ? "–" : `${lag_ms.median}, ${lag_ms.max}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

function live(): string {
  const result = read("live.json", liveSchema);
  if (result === undefined) return "## The demo robot, live\n\nNot judged yet.";
  const rows = result.runs.map(
    ({ seed, tasks, episodes, truth, missed, false: wrong, agrees }) =>
      `| ${seed} | ${tasks} | ${truth.join("; ") || "nothing"} | ${episodes.join("; ") || "nothing"} | ${missed.join("; ") || "0"} | ${wrong.join("; ") || "0"} | ${agrees ? "yes" : "no"} |`,
  );
  return `## The demo robot, live

\`lode demo\` whole and in real time: robot, bridge, daemon and receiver, ${result.seconds} s a seed; *agrees*: the same episodes, in rule,
outcome and attempts and in the same order, as the headless run of the seed.

| seed | tasks | simulator: event, outcome, attempts | what came home: rule, outcome, attempts | missed | false | agrees |
|---|---|---|---|---|---|---|
${rows.join("\n")}`;
}

function seedsText([from, to]: readonly [number, number]): string {
  return `${from}–${to}`;
}

function problemsText(problems: readonly string[]): string {
  if (problems.length === 0) return "";
  const lines = problems.slice(0, PROBLEMS_SHOWN).map((problem) => `- ${problem}`);
  const more = problems.length - lines.length;
  return `\n\nWhat was wrong:\n\n${[...lines, ...(more > 0 ? [`- and ${more} more`] : [])].join("\n")}`;
}

function read<T>(name: string, schema: z.ZodType<T>): T | undefined {
  const path = join(RESULTS, name);
  return existsSync(path) ? schema.parse(JSON.parse(readFileSync(path, "utf8"))) : undefined;
}
