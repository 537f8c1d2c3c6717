/** `lode backtest PATH… | --ring`: what the rules would have caught, at what cost, and what other rules change. */
import { constants, setPriority, tmpdir } from "node:os";
import { compileTopicPlan } from "../config/topic-plan.ts";
import { type BacktestOptions, backtest, type JudgedEpisode, type RecordingVerdict } from "../daemon/backtest.ts";
import { backtestToWire, missedInputs, totalsOf } from "../daemon/backtest-answer.ts";
import { changesBetween } from "../daemon/backtest-changes.ts";
import { type BacktestSource, openRingSources, sourceOfRecording } from "../daemon/backtest-source.ts";
import { trueNowNs } from "../daemon/boot-anchor.ts";
import { readClocks } from "../daemon/journal.ts";
import { parseRuleFiles, readRuleFiles, ruleLimits } from "../daemon/rule-files.ts";
import { Definitions } from "../decode/definitions.ts";
import { openRecording } from "../replay/open-recording.ts";
import { systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import { compileGlobs } from "../std/glob.ts";
import { formatBytes, formatDuration, parseTimeNs } from "../std/time-text.ts";
import { openLog } from "../telemetry/log.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { Progress } from "./progress.ts";
import { outcomeText, paint, table } from "./screen.ts";

export type BacktestCommandOptions = CommonOptions & {
  readonly ring?: boolean;
  readonly from?: string;
  readonly to?: string;
  readonly rules?: readonly string[];
  /** true: the configured rules. */
  readonly against?: readonly string[] | true;
  readonly exclude?: readonly string[];
};

type Config = ReturnType<typeof readConfig>["config"];

export async function runBacktest(paths: readonly string[], options: BacktestCommandOptions): Promise<void> {
  const { config } = readConfig(options);
  checkUsage(paths, options);
  const ruleSets = [optionsOf(options.rules, config, options)];
  if (options.against !== undefined)
    ruleSets.push(optionsOf(options.against === true ? undefined : options.against, config, options));
  const verdicts: RecordingVerdict[][] = [];
  const judge = async (source: BacktestSource) => {
    using progress = new Progress(source.startNs, source.endNs);
    verdicts.push(await backtest(source, ruleSets, progress.at));
  };
  if (options.ring === true) await judgeRing(config, options, judge);
  else await judgeFiles(paths, config, judge);
  const ours = verdicts.flatMap(([verdict]) => verdict ?? []);
  const others = options.against === undefined ? undefined : verdicts.flatMap(([, verdict]) => verdict ?? []);
  say(options, backtestToWire(ours, others), () => answerText(ours, others));
}

function checkUsage(
  paths: readonly string[],
  { ring = false, from, to, rules, against }: BacktestCommandOptions,
): void {
  const problem =
    ring === paths.length > 0
      ? "Either recordings or --ring."
      : !ring && (from !== undefined || to !== undefined)
        ? "--from and --to are of --ring."
        : against === true && rules === undefined
          ? "--against without files compares with the configured rules: give others with --rules."
          : undefined;
  if (problem !== undefined) throw new Fault("bad_usage", problem, "lode backtest --help shows an example.");
}

function optionsOf(
  files: readonly string[] | undefined,
  { rules: configured }: Config,
  { exclude = [] }: BacktestCommandOptions,
): BacktestOptions {
  const read = readRuleFiles(files === undefined ? configured : { ...configured, shipped: false, files: [...files] });
  const rules = parseRuleFiles(read, files === undefined ? configured.disable : []);
  return {
    rules,
    isExcluded: compileGlobs(exclude),
    limits: ruleLimits(configured),
    log: openLog("error", "backtest"),
  };
}

type Judge = (source: BacktestSource) => Promise<void>;

async function judgeFiles(paths: readonly string[], { topics }: Config, judge: Judge): Promise<void> {
  const definitions = Definitions.open({ folders: topics.msg_folders });
  const planTopic = compileTopicPlan(topics);
  for (const path of paths) {
    await using recording = await openRecording(path, { findDefinition: (name, ros) => definitions.find(name, ros) });
    await judge(sourceOfRecording(recording, planTopic));
  }
}

/** On the robot: whatever else runs there goes first. */
async function judgeRing({ ring, telemetry }: Config, options: BacktestCommandOptions, judge: Judge): Promise<void> {
  setPriority(constants.priority.PRIORITY_LOW);
  const nowNs = trueNowNs(readClocks(ring.folder), systemClock);
  const timeOf = (text: string | undefined) => (text === undefined ? undefined : parseTimeNs(text, nowNs));
  const given = { startNs: timeOf(options.from), endNs: timeOf(options.to) };
  const place = { folder: ring.folder, socket: telemetry.socket, spoolFolder: tmpdir() };
  using opened = await openRingSources(place, given);
  if (opened.sources.length === 0)
    throw new Fault("nothing_there", "The ring has nothing of that range.", "`lode status` shows how far it reaches.");
  for (const source of opened.sources) await judge(source);
}

function answerText(ours: readonly RecordingVerdict[], others: readonly RecordingVerdict[] | undefined): string {
  const texts = ours.map((verdict, index) => {
    const before = others?.[index];
    return [verdictText(verdict), ...(before === undefined ? [] : changeLines(before, verdict))].join("\n");
  });
  const before = others === undefined ? [] : [`before: ${totalsText(others)}`];
  return [...texts, [...before, `total: ${totalsText(ours)}`].join("\n")].join("\n\n");
}

function totalsText(verdicts: readonly RecordingVerdict[]): string {
  const { duration_s, bytes_kept_per_day, firings_per_hour } = totalsOf(verdicts);
  return `${formatDuration(duration_s * 1000)}, ${firings_per_hour} firings an hour, keeps ${formatBytes(bytes_kept_per_day)} a day`;
}

function verdictText(verdict: RecordingVerdict): string {
  const kept = verdict.episodes.reduce((sum, { bytes }) => sum + bytes, 0);
  const length = formatDuration(Number(verdict.endNs - verdict.startNs) / 1e6);
  const name = verdict.bootId === undefined ? verdict.path : `${verdict.path}, boot ${verdict.bootId}`;
  const title = `${paint("bold", name)}  ${length}, ${verdict.messages} messages, keeps ${formatBytes(kept)} of ${formatBytes(verdict.bytes)}`;
  const undecodable = [...verdict.undecodable].map(
    ([topic, count]) => `  ${topic}: ${count} messages no rule can read`,
  );
  const notes = [...verdict.problems.map((problem) => `  ${problem}`), ...undecodable].map((line) =>
    paint("yellow", line),
  );
  const idle = new Set(missedInputs(verdict).map(({ rule }) => rule));
  const unbound = idle.size === 0 ? [] : [paint("dim", `  missed inputs (--json says why): ${[...idle].join(", ")}`)];
  const dry = verdict.firings.filter(({ rule }) => verdict.policies.get(rule)?.isDryRun === true);
  const onTrial = dry.map(({ rule, atNs }) => `  ${rule} (dry run) fires at ${secondsOf(verdict, atNs)} s`);
  const found = verdict.episodes.length === 0 ? ["  no episode"] : [episodeTable(verdict)];
  return [title, ...notes, ...unbound, ...onTrial, ...found].join("\n");
}

function episodeTable(verdict: RecordingVerdict): string {
  const rows = verdict.episodes.map(({ episode, bytes }) => [
    `  ${episode.rule}`,
    windowText(verdict, episode),
    String(episode.firings.length),
    secondsOf(verdict, episode.firings[0]?.atNs ?? episode.startNs),
    outcomeText(episode.outcome),
    String(episode.attempts),
    formatBytes(bytes),
  ]);
  return table(["  episode", ">seconds", ">firings", ">first at", "outcome", ">attempts", ">size"], rows);
}

function changeLines(before: RecordingVerdict, after: RecordingVerdict): string[] {
  const { firings, episodes } = changesBetween(before, after);
  const at = (atNs: bigint) => `${secondsOf(after, atNs)} s`;
  const told = ({ episode }: JudgedEpisode) =>
    `${episode.rule} ${windowText(after, episode)} s ${episode.outcome}, ${episode.attempts} attempts`;
  const lines = [
    ...firings.removed.map(({ rule, atNs }) => paint("red", `  - ${rule} at ${at(atNs)}`)),
    ...firings.added.map(({ rule, atNs }) => paint("green", `  + ${rule} at ${at(atNs)}`)),
    ...firings.changed.map((one) => `  ~ ${one.after.rule} at ${at(one.after.atNs)}, was ${at(one.before.atNs)}`),
    ...episodes.removed.map((one) => paint("red", `  - episode ${told(one)}`)),
    ...episodes.added.map((one) => paint("green", `  + episode ${told(one)}`)),
    ...episodes.changed.map((one) => `  ~ episode ${told(one.after)}, was ${told(one.before)}`),
  ];
  const same = `${firings.same} firings and ${episodes.same} episodes are the same`;
  return lines.length === 0 ? [`  nothing changes: ${same}`] : ["  changes:", ...lines, paint("dim", `  ${same}`)];
}

function windowText(verdict: RecordingVerdict, { startNs, endNs }: { startNs: bigint; endNs: bigint }): string {
  return `${secondsOf(verdict, startNs)}–${secondsOf(verdict, endNs)}`;
}

function secondsOf({ startNs }: RecordingVerdict, atNs: bigint): string {
  return (Number(atNs - startNs) / 1e9).toFixed(2);
}
