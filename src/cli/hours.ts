/** `lode hours`: how long the robot worked, and how it went, per robot, site and boot. */
import type { HoursAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import type { OperatingHours } from "../model/operating-hours.ts";
import { formatDuration } from "../std/time-text.ts";
import type { Wire } from "../std/wire.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { paint, table } from "./screen.ts";

type Hours = Wire<OperatingHours>;

export async function runHours(options: CommonOptions & { readonly csv?: boolean }): Promise<void> {
  const { config } = readConfig(options);
  const answer = await askDaemon<HoursAnswer>(config.telemetry.socket, "GET", "/v1/hours");
  say(options, answer, () => (options.csv === true ? csvText(answer) : hoursText(answer)));
}

/** A line for each robot and site. */
export function hoursLines(all: readonly Hours[]): string[] {
  return all.map((hours) => {
    const place = all.length === 1 ? "" : `${paint("bold", [hours.robot, hours.site].filter(Boolean).join(" at "))}: `;
    const moving =
      hours.watched_ms === 0 ? "whether it moved is not known" : `${formatDuration(hours.moving_ms)} moving`;
    const ends = [
      [hours.recoveries, "recovered"],
      [hours.unrecovered, "failed"],
      [hours.interventions, "taken over"],
    ].filter(([count]) => count !== 0);
    const told = ends.map(([count, word]) => `${count} ${word}`).join(", ");
    const failures =
      hours.failures === 0 ? "no failure" : `${counted(hours.failures, "failure")} (${rulesText(hours)})`;
    const attempts =
      hours.failures === 0 ? "" : ` · ${counted(hours.attempts, "attempt")}${told === "" ? "" : ` · ${told}`}`;
    return `${place}${formatDuration(hours.on_ms)} on, ${moving} · ${counted(hours.tasks, "task")} · ${failures}${attempts}`;
  });
}

function hoursText({ totals, boots }: Wire<HoursAnswer>): string {
  const heads = ["boot", "robot", "site", ">on", ">connected", ">moving", ">tasks", ">failures", ">attempts"];
  const rows = boots.map((hours) => [
    (hours.true_start_time ?? hours.start_time ?? hours.boot_id).slice(0, 19),
    hours.robot,
    hours.site,
    formatDuration(hours.on_ms),
    formatDuration(hours.connected_ms),
    hours.watched_ms === 0 ? "–" : formatDuration(hours.moving_ms),
    ...[hours.tasks, hours.failures, hours.attempts, hours.recoveries, hours.unrecovered].map(String),
    String(hours.interventions),
    rulesText(hours),
  ]);
  const ends = [">recovered", ">failed", ">taken over", "by rule"];
  return [...hoursLines(totals), "", table([...heads, ...ends], rows)].join("\n");
}

const COLUMNS = [
  ...(["robot", "site", "boot_id", "start_time", "true_start_time", "on_ms", "connected_ms", "watched_ms"] as const),
  ...(["moving_ms", "tasks", "failures", "attempts", "recoveries", "unrecovered", "interventions"] as const),
] as const;

function csvText({ boots }: Wire<HoursAnswer>): string {
  const rows = boots.map((hours) => {
    const byRule = hours.failures_by_rule.map(({ rule, count }) => `${rule}:${count}`).join(";");
    return [...COLUMNS.map((column) => String(hours[column] ?? "")), byRule].map(csvCell).join(",");
  });
  return [[...COLUMNS, "failures_by_rule"].join(","), ...rows].join("\n");
}

const csvCell = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
const rulesText = ({ failures_by_rule: rules }: Hours): string =>
  rules.map(({ rule, count }) => `${rule} ${count}`).join(", ");
