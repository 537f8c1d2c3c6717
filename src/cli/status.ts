/** `lode status`: one screen that says whether this robot is being recorded, and why not. */
import type { StatusAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { formatBytes, formatDuration } from "../std/time-text.ts";
import type { Wire } from "../std/wire.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
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
    ...status.ring.classes.map((entry) => field("", classText(entry))),
    field("capture", captureText(status)),
    ...alarmLines(status),
    field("upload", uploadText(status)),
    field("messages", accountingText(status.accounting)),
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

function classText(entry: Status["ring"]["classes"][number]): string {
  const { oldest_time: oldest, newest_time: newest } = entry;
  const isEmpty = oldest === undefined || newest === undefined;
  const span = isEmpty
    ? "nothing on disk yet"
    : `${formatDuration(Math.max(0, Date.parse(newest) - Date.parse(oldest)))} on disk`;
  return `${entry.class_name.padEnd(8)}${span} (${formatBytes(entry.disk_bytes)}), ${formatBytes(entry.memory_bytes)} in memory`;
}

function captureText({ capture }: Status): string {
  const armed = `${capture.rules.filter((rule) => rule.state === "bound").length} of ${capture.rules.length} rules bound`;
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

function lossLines({ losses }: Status): string[] {
  if (losses.length === 0) return [field("losses", paint("green", "none"))];
  const rows = losses
    .slice(-5)
    .map((loss) => [
      loss.start_time.slice(0, 19),
      loss.reason,
      loss.topic === "" ? "(all topics)" : loss.topic,
      loss.count === undefined ? "unknown" : String(loss.count),
    ]);
  return [field("losses", `${losses.length} rows, the last:`), table(["from", "reason", "topic", ">messages"], rows)];
}
