/** `lode backtest PATH…`: what the rules would have caught in recordings, and at what cost. */
import { readFileSync } from "node:fs";
import { backtestRecording, backtestToWire, type RecordingVerdict } from "../daemon/backtest.ts";
import { parseRuleFiles, readRuleFiles } from "../daemon/rule-files.ts";
import { Definitions } from "../decode/definitions.ts";
import { openRecording } from "../replay/open-recording.ts";
import { Fault } from "../std/fault.ts";
import { compileGlobs } from "../std/glob.ts";
import { formatBytes, formatDuration } from "../std/time-text.ts";
import { openLog } from "../telemetry/log.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { outcomeText, paint, table } from "./screen.ts";

export type BacktestCommandOptions = CommonOptions & {
  readonly rules?: readonly string[];
  readonly exclude?: readonly string[];
};

export async function runBacktest(paths: readonly string[], options: BacktestCommandOptions): Promise<void> {
  const { config } = readConfig(options);
  const files = options.rules === undefined ? readRuleFiles(config.rules) : options.rules.map(readRuleFile);
  const rules = parseRuleFiles(files, options.rules === undefined ? config.rules.disable : []);
  const definitions = Definitions.open({ folders: config.topics.msg_folders });
  const verdicts: RecordingVerdict[] = [];
  for (const path of paths) {
    await using recording = await openRecording(path, { findDefinition: (name, ros) => definitions.find(name, ros) });
    verdicts.push(
      await backtestRecording(recording, {
        rules,
        isExcluded: compileGlobs(options.exclude ?? []),
        log: openLog("error", "backtest"),
      }),
    );
  }
  say(options, backtestToWire(verdicts), () => verdicts.map(verdictText).join("\n\n"));
}

function readRuleFile(path: string): { path: string; text: string } {
  try {
    return { path, text: readFileSync(path, "utf8") };
  } catch (error) {
    throw new Fault("bad_rules", `The rule file ${path} cannot be read.`, "Correct --rules.", error);
  }
}

function verdictText(verdict: RecordingVerdict): string {
  const at = (ns: bigint) => (Number(ns - verdict.startNs) / 1e9).toFixed(2);
  const kept = verdict.episodes.reduce((sum, { bytes }) => sum + bytes, 0);
  const length = formatDuration(Number(verdict.endNs - verdict.startNs) / 1e6);
  const title = `${paint("bold", verdict.path)}  ${length}, ${verdict.messages} messages, keeps ${formatBytes(kept)} of ${formatBytes(verdict.bytes)}`;
  const undecodable = [...verdict.undecodable].map(([topic, count]) =>
    paint("yellow", `  ${topic}: ${count} messages no rule can read`),
  );
  if (verdict.firings.length === 0) return [title, ...undecodable, "  no firing"].join("\n");
  const rows = verdict.episodes.map(({ episode, bytes }) => [
    episode.rule,
    `${at(episode.startNs)}–${at(episode.endNs)}`,
    String(episode.firings.length),
    at(episode.firings[0]?.atNs ?? episode.startNs),
    outcomeText(episode.outcome),
    String(episode.attempts),
    formatBytes(bytes),
  ]);
  return [
    title,
    ...undecodable,
    table(
      ["  episode", ">seconds", ">firings", ">first at", "outcome", ">attempts", ">size"],
      rows.map(([first, ...rest]) => [`  ${first}`, ...rest]),
    ),
  ].join("\n");
}
