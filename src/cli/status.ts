/** `lode status`: one screen that says whether this robot is being recorded, and why not. */
import type { StatusAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { formatBytes, formatDuration } from "../std/time-text.ts";
import type { Wire } from "../std/wire.ts";
import { clockLines } from "./clock-text.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { hoursLines } from "./hours.ts";
import { field, paint, table } from "./screen.ts";

type Status = Wire<StatusAnswer>;

export async function runStatus(options: CommonOptions): Promise<void> {
  const { config } = readConfig(options);
  const status = await askDaemon<StatusAnswer>(config.telemetry.socket, "GET", "/v1/status");
  say(options, status, () => statusText(status));
}

function statusText(status: Status): string {
  const uptimeMs = Date.parse(status.now_time) - Date.parse(status.started_time);
  const title = `${paint("bold", status.robot)}${status.site === "" ? "" : ` · ${status.site}`} · lode ${status.version} · up ${formatDuration(uptimeMs)}`;
  return [
    title,
    "",
    field("robot", sourceText(status)),
    field("ring", ringText(status)),
    ...classLines(status).map((line) => field("", line)),
    field("wear", wearText(status.wear)),
    ...clockLines(status.clocks).map((line, index) => field(index === 0 ? "clock" : "", line)),
    field("capture", captureText(status)),
    ...alarmLines(status),
    ...hoursLines(status.hours).map((line, index) => field(index === 0 ? "hours" : "", line)),
    field("upload", uploadText(status)),
    field("messages", accountingText(status.accounting)),
    ...(status.boots.length < 2 ? [] : [field("", earlierText(status))]),
    ...lossLines(status),
  ].join("\n");
}

function sourceText({ source }: Status): string {
  if (!source.is_connected) return paint("red", `not connected to ${source.url}: ${source.reason}`);
  const silent = source.silent_count === 0 ? "" : paint("yellow", `, ${source.silent_count} silent (lode topics)`);
  return `${paint("green", "connected")} to ${source.url} · ${source.topic_count} topics${silent}`;
}

function ringText({ ring }: Status): string {
  const state = ring.state === "ok" ? "" : ` · ${paint("red", ring.state)}`;
  return `${formatBytes(ring.size_bytes)} of ${formatBytes(ring.size_bytes_max)} on disk, ${formatBytes(ring.memory_bytes)} in memory · ${ring.folder}${state}`;
}

/** What each class has and will have, the most valuable first. */
function classLines({ ring }: Status): string[] {
  const heads = ["class", ">back", ">will reach", ">on disk", ">per day", ">packed to", ">in memory"];
  const rows = ring.classes
    .toSorted((a, b) => a.rank - b.rank)
    .map((entry) => [
      entry.class_name,
      entry.oldest_time === undefined || entry.newest_time === undefined
        ? "–"
        : formatDuration(Math.max(0, Date.parse(entry.newest_time) - Date.parse(entry.oldest_time))),
      entry.forecast_ms === undefined ? "–" : paint("cyan", formatDuration(entry.forecast_ms)),
      formatBytes(entry.disk_bytes),
      entry.bytes_per_s === undefined ? "–" : formatBytes(entry.bytes_per_s * 86_400),
      entry.compression_ratio === undefined ? "–" : `${Math.round(entry.compression_ratio * 100)} %`,
      entry.tier === "disk" ? "–" : formatBytes(entry.memory_bytes),
    ]);
  const basis = ring.classes.some(({ bytes_per_s }) => bytes_per_s !== undefined)
    ? `at the rates of the last ${formatDuration(ring.measured_ms)} of recording`
    : "how far back each class will reach is known after a minute of recording";
  return [...table(heads, rows).split("\n"), paint("dim", basis)];
}

function wearText({
  source,
  device,
  bytes_today,
  own_bytes_today,
  bytes_per_day,
  budget_bytes,
  is_over_budget,
}: Status["wear"]): string {
  const today = `${formatBytes(bytes_today)} today`;
  const who =
    source === "block"
      ? `${today} on ${device} (Lode ${formatBytes(own_bytes_today)})`
      : `${today} by Lode, its disk unknown`;
  const rate = bytes_per_day === undefined ? "" : `, ${formatBytes(bytes_per_day)}/day at this rate`;
  const budget = budget_bytes === 0 ? "" : `, budget ${formatBytes(budget_bytes)}`;
  const text = `${who}${rate}${budget}`;
  return is_over_budget ? paint("yellow", `${text}: more than the budget by tonight`) : text;
}

function captureText({ capture }: Status): string {
  const refused =
    capture.rules_problem === undefined ? "" : ` · ${paint("red", "new rules refused: see lode why capture")}`;
  const throttled = capture.rules.filter((rule) => rule.throttled !== undefined).map(({ rule }) => rule);
  const held = throttled.length === 0 ? "" : ` · ${paint("yellow", `throttled: ${throttled.join(", ")}`)}`;
  const armed = `${capture.rules.filter((rule) => rule.state === "bound").length} of ${capture.rules.length} rules bound${refused}${held}`;
  const open = capture.open;
  const { last_light_lag_ms: light, last_heavy_lag_ms: heavy } = capture;
  const lag =
    light === undefined
      ? ""
      : ` · last window durable after ${formatDuration(light)}, frames ${formatDuration(heavy ?? 0)}`;
  if (open === undefined) return `${armed} · no open episode${lag}`;
  return `${armed} · ${paint("yellow", `episode open: ${open.rule}`)} since ${open.start_time.slice(11, 19)}Z, attempts ${open.attempts}`;
}

function alarmLines({ upload }: Status): string[] {
  return upload.alarm === "" ? [] : [field("alarm", paint("red", upload.alarm))];
}

function uploadText({ upload }: Status): string {
  if (upload.receiver === "") return paint("dim", "no receiver configured; episodes stay here");
  const gate = upload.is_open ? paint("green", "open") : paint("yellow", `closed: ${upload.reasons.join("; ")}`);
  const queue =
    upload.queued_batches === 0
      ? "nothing waits"
      : `${upload.queued_batches} batches wait (${formatBytes(upload.queued_bytes)})`;
  const quarantine =
    upload.quarantined_batches === 0 ? "" : paint("red", ` · ${upload.quarantined_batches} in quarantine`);
  const last = upload.last_result === "" ? "" : ` · last: ${upload.last_result}`;
  return `${gate} · ${queue}${quarantine} · ${upload.receiver}${last}`;
}

function accountingText(accounting: Status["accounting"]): string {
  const drops = Object.entries(accounting.dropped).filter(([, count]) => count > 0);
  const dropText =
    drops.length === 0
      ? "0 dropped"
      : paint("red", `dropped ${drops.map(([why, count]) => `${count} ${why}`).join(", ")}`);
  return `${accounting.received} received = ${accounting.in_memory} in memory + ${accounting.stored} stored + ${accounting.reduced} reduced + ${dropText}`;
}

/** What the ring still has of the boots before this one. */
function earlierText({ boots }: Status): string {
  const earlier = boots.slice(0, -1);
  const there = earlier.reduce((sum, { stored, evicted }) => sum + stored - evicted, 0);
  return `${there} stored in ${earlier.length === 1 ? "an earlier boot" : `${earlier.length} earlier boots`}`;
}

function lossLines({ losses }: Status): string[] {
  if (losses.length === 0) return [field("losses", paint("green", "none"))];
  const rows = losses
    .slice(-5)
    .map((loss) => [
      loss.start_time.slice(0, 19),
      `${loss.reason}${loss.is_hint ? " (hint)" : ""}`,
      loss.topic === "" ? "(all topics)" : loss.topic,
      loss.count === undefined ? "unknown" : String(loss.count),
    ]);
  return [
    field("losses", `${losses.length} ${losses.length === 1 ? "row" : "rows"}, the last:`),
    table(["from", "reason", "topic", ">messages"], rows),
  ];
}
