/** `lode export`: a range of the ring, an episode, or files that a receiver got, as MCAP or CSV. */
import { dirname, resolve } from "node:path";
import { trueNowNs } from "../daemon/boot-anchor.ts";
import { type ExportSource, openExportSource } from "../daemon/export-source.ts";
import { readClocks } from "../daemon/journal.ts";
import { ChannelReader } from "../decode/channel-reader.ts";
import { exportCsv } from "../export/export-csv.ts";
import { type ExportOptions, exportMcap } from "../export/export-mcap.ts";
import { type BootClock, trueTimeNs } from "../model/boot-clock.ts";
import type { Loss } from "../model/loss.ts";
import { systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import { compileGlobs } from "../std/glob.ts";
import { formatBytes, parseTimeNs } from "../std/time-text.ts";
import { formatTimeNs } from "../std/wire.ts";
import { type CommonOptions, interruptSignal, readConfig, say } from "./command.ts";
import { Progress } from "./progress.ts";

export type ExportCommandOptions = CommonOptions & {
  readonly from?: string;
  readonly to?: string;
  readonly topics?: readonly string[];
  readonly format: string;
  readonly corrected?: boolean;
  readonly output: string;
};

export async function runExport(ids: readonly string[], options: ExportCommandOptions): Promise<void> {
  const { ring, telemetry } = readConfig(options).config;
  const isBounded = options.from !== undefined || options.to !== undefined;
  const nowNs = isBounded ? trueNowNs(readClocks(ring.folder), systemClock) : systemClock.wallNs();
  const startNs = options.from === undefined ? undefined : parseTimeNs(options.from, nowNs);
  const endNs = options.to === undefined ? undefined : parseTimeNs(options.to, nowNs);
  if (startNs !== undefined && endNs !== undefined && endNs < startNs)
    throw new Fault("bad_time", `--to ${options.to} is before --from ${options.from}.`, "Swap them.");
  const topics = options.topics ?? ["**"];
  const problems = new Set<string>(); // CSV reads twice
  const onProblem = (reason: string) => void problems.add(reason);
  const spoolFolder = dirname(resolve(options.output));
  const place = { folder: ring.folder, socket: telemetry.socket, spoolFolder, onProblem };
  const { source, parts, clocks, accounting } = await openExportSource(ids, place, { startNs, endNs }, topics);
  using opened = source;
  const isCorrected = options.corrected === true;
  if (isCorrected && !clocks.some(({ truth }) => truth !== undefined)) throw nothingKnown();
  using progress = new Progress(startNs ?? parts[0]?.startNs ?? 0n, endNs ?? nowNs);
  const reader = new ChannelReader();
  const followed = { signal: interruptSignal(), onProgress: progress.at, videoFrames: reader.videoFrames };
  const wantsTopic = compileGlobs(topics);
  const known = accounting === undefined ? {} : { accounting: () => accounting(wantsTopic) };
  const wanted: ExportOptions = { parts, clocks, isCorrected, wantsTopic, ...known, ...followed };
  if (options.format === "csv") return await exportTables(opened, wanted, options, problems);
  if (options.format !== "mcap")
    throw new Fault("bad_usage", `"${options.format}" is no format.`, "Use --format mcap or csv.");
  const result = await exportMcap(opened, options.output, wanted);
  if (result.messages === 0) throw nothingThere(options.output, topics);
  say(
    options,
    result,
    () =>
      `${result.path}: ${result.messages} messages on ${Object.keys(result.topics).length} topics, ${formatBytes(result.sizeBytes)}${damage(result.damaged)}${losses(result.accounting?.losses ?? [])}${leftOut(result.undecodable)}${reach(result.completeUntilNs, clocks.at(-1), endNs)}`,
  );
}

async function exportTables(
  source: ExportSource["source"],
  wanted: ExportOptions,
  options: ExportCommandOptions,
  problems: ReadonlySet<string>,
): Promise<void> {
  const files = await exportCsv(source, options.output, new ChannelReader().decode, wanted);
  const damaged = [...problems];
  const lines = () =>
    files.map(({ path, messages, skipped, undecodable, problem }) => {
      const left = Object.keys(skipped).length === 0 ? "" : `, left out: ${Object.keys(skipped).join(", ")}`;
      return `${path}: ${messages} messages${left}${undecodable === 0 ? "" : `, ${undecodable} could not be read (${problem})`}`;
    });
  say(options, { files, damaged }, () => lines().join("\n") + damage(damaged));
}

function damage(damaged: readonly string[]): string {
  return damaged.length === 0 ? "" : `\n${damaged.length} chunks could not be read and are missing: ${damaged[0]}`;
}

function losses(rows: readonly Loss[]): string {
  const byReason = Map.groupBy(rows, ({ reason }) => reason);
  const texts = [...byReason].map(([reason, ofReason]) => {
    const known = ofReason.reduce((sum, { count }) => sum + (count ?? 0), 0);
    const unknown = ofReason.filter(({ count }) => count === undefined).length;
    const counts = [
      ...(known > 0 ? [`${known} messages`] : []),
      ...(unknown > 0 ? [`${unknown} of unknown count`] : []),
    ];
    return `${reason} (${counts.join(", ")})`;
  });
  return texts.length === 0 ? "" : `\nNever came or was lost in this range: ${texts.join(", ")}.`;
}

function leftOut(undecodable: Readonly<Record<string, number>>): string {
  const counts = Object.entries(undecodable).map(([topic, count]) => `${count} of ${topic}`);
  return counts.length === 0 ? "" : `\nFrames left out, the key frame before them is not there: ${counts.join(", ")}.`;
}

function reach(untilNs: bigint | undefined, clock: BootClock | undefined, endNs: bigint | undefined): string {
  if (untilNs === undefined) return "";
  const trueNs = clock === undefined ? untilNs : trueTimeNs(clock, untilNs);
  return endNs === undefined || trueNs >= endNs ? "" : `\nComplete up to ${formatTimeNs(trueNs)}.`;
}

function nothingKnown(): Fault {
  return new Fault(
    "nothing_known",
    "Nothing tells the true time of what is to be exported.",
    "`lode status` says what is known of the clocks; a received file says it in its metadata records lode:clock:BOOT.",
  );
}

function nothingThere(path: string, topics: readonly string[]): Fault {
  return new Fault(
    "nothing_there",
    `There is nothing of ${topics.join(", ")} in that range; ${path} is empty.`,
    "`lode status` shows how far the ring reaches back.",
  );
}
