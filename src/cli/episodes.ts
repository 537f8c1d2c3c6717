/** `lode episodes [ID]`: what was captured; one of them whole. */
import type { EpisodeAnswer, EpisodesAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { formatBytes, formatDuration } from "../std/time-text.ts";
import type { Wire } from "../std/wire.ts";
import { markLines, toldTime } from "./clock-text.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { field, outcomeText, paint, table } from "./screen.ts";

export async function runEpisodes(id: string | undefined, options: CommonOptions): Promise<void> {
  const { config } = readConfig(options);
  const socket = config.telemetry.socket;
  if (id === undefined) {
    const answer = await askDaemon<EpisodesAnswer>(socket, "GET", "/v1/episodes");
    return say(options, answer, () => listText(answer));
  }
  const answer = await askDaemon<EpisodeAnswer>(socket, "GET", `/v1/episodes/${encodeURIComponent(id)}`);
  say(options, answer, () => episodeText(answer));
}

function listText({ episodes }: Wire<EpisodesAnswer>): string {
  if (episodes.length === 0) return "No episodes yet. A rule's firing or `lode capture` makes one.";
  const rows = episodes.map((episode) => [
    episode.id.slice(0, 13),
    toldTime(episode),
    formatDuration(Date.parse(episode.end_time) - Date.parse(episode.start_time)),
    episode.rule,
    outcomeText(episode.outcome),
    String(episode.attempts),
    String(episode.firing_count),
    formatBytes(episode.bytes),
    episode.state,
    episode.is_complete === false ? paint("yellow", "incomplete") : "",
  ]);
  const heads = ["id", "start", ">length", "rule", "outcome", ">attempts", ">firings", ">size", "state", ""];
  return [table(heads, rows), ...markLines(episodes)].join("\n");
}

function episodeText({ episode, true_start_time, state, batches }: Wire<EpisodeAnswer>): string {
  const times = { start_time: episode.start_time, true_start_time };
  const startMs = Date.parse(episode.start_time);
  const at = (time: string) => `${((Date.parse(time) - startMs) / 1000).toFixed(2).padStart(7)} s`;
  const segments = episode.segments.map((segment) => {
    const name = segment.attempt === undefined ? segment.kind : `${segment.kind} ${segment.attempt}`;
    return field("", `${at(segment.start_time)} – ${at(segment.end_time)}  ${name}`);
  });
  const firings = episode.firings.map((firing) => {
    const values = Object.entries(firing.values).map(([name, value]) => `${name} ${value}`);
    return field(
      "",
      `${at(firing.at_time)}  ${firing.rule}${firing.topic === "" ? "" : ` on ${firing.topic}`}  ${paint("dim", values.join(", "))}`,
    );
  });
  const topics = episode.completeness.map((topic) => [
    topic.topic,
    topic.role,
    topic.coverage,
    rollText(topic.pre_roll_ms, topic.asked_pre_roll_ms),
    rollText(topic.post_roll_ms, topic.asked_post_roll_ms),
    String(topic.messages),
    topic.longest_gap_ms === undefined ? "" : formatDuration(topic.longest_gap_ms),
    formatBytes(topic.bytes),
    oddities(topic),
  ]);
  const files = batches.map((batch) => [
    batch.kind,
    formatBytes(batch.size_bytes),
    batch.state,
    String(batch.attempts),
    batch.state === "deleted" ? paint("dim", "home, and deleted here") : batch.path,
  ]);
  return [
    `${paint("bold", episode.rule)} · ${outcomeText(episode.outcome)} · attempts ${episode.attempts} · ${state}`,
    field("id", episode.id),
    field("when", `${toldTime(times)}, ${formatDuration(Date.parse(episode.end_time) - startMs)}`),
    ...markLines([times]).map((line) => field("", line)),
    ...(episode.is_interrupted ? [field("", paint("red", "interrupted: the daemon died while it was open"))] : []),
    ...operationLines(episode),
    ...storyLines(episode, at),
    field("segments", ""),
    ...segments,
    field("firings", ""),
    ...firings,
    "",
    ...completeLines(episode),
    ...(topics.length === 0 ? [] : [table(TOPIC_HEADS, topics)]),
    "",
    files.length === 0
      ? paint("dim", "no batches yet")
      : table(["batch", ">size", "state", ">attempts", "file"], files),
  ].join("\n");
}

type Shown = Wire<EpisodeAnswer>["episode"];
type Topic = Shown["completeness"][number];

/** What it was a part of. */
function operationLines({ operation, labels, topics, firings }: Shown): string[] {
  const versions = new Map(firings.map(({ rule, rule_version }) => [rule, rule_version ?? ""]));
  const rules = [...versions].map(([rule, version]) => `${rule} ${paint("dim", version)}`.trimEnd()).join(", ");
  const told = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const lines = [
    field("rules", `${rules}${topics.join() === "**" ? "" : ` · keeps ${topics.join(" ")}`}`),
    ...(told.length === 0 ? [] : [field("labels", told.join(", "))]),
  ];
  if (operation === undefined) return lines;
  const { task_type, robot, site, embodiment, software, physics } = operation;
  const place = [task_type, robot, embodiment, site].filter((word) => word !== "").join(" · ");
  const signs = physics.signs.length === 0 ? "" : `: ${physics.signs.join("; ")}`;
  const kind = `${physics.kind} (${physics.basis}${signs})`;
  return [
    field("operation", place),
    field("data", physics.is_contradicted ? paint("yellow", `${kind}, which contradicts it`) : kind),
    field("software", software.map(({ name, version }) => `${name} ${version}`).join(", ")),
    ...lines,
  ];
}

/** How it ended and by whose word, what it belongs with, what people said. */
function storyLines(
  { evidence, time_to_recover_ms, linked_to, remarks, note }: Shown,
  at: (time: string) => string,
): string[] {
  const decisions = evidence.map(({ kind, outcome, rule, at_time, values }) => {
    const read = Object.entries(values).map(([name, value]) => `${name} ${value}`);
    return `${at(at_time)}  ${outcome}: ${kind}${rule === "" ? "" : ` (${rule})`}  ${paint("dim", read.join(", "))}`.trimEnd();
  });
  const recovered = time_to_recover_ms === undefined ? [] : [`recovered after ${formatDuration(time_to_recover_ms)}`];
  const said = remarks.map(({ at_time, author, labels, note: words, outcome }) => {
    const parts = [outcome, ...Object.entries(labels).map(([key, value]) => `${key}=${value}`), words];
    return `${at_time.slice(0, 19)}Z ${author}: ${parts.filter((part) => part !== undefined).join(", ")}`;
  });
  const link =
    linked_to === undefined
      ? []
      : [`${linked_to.kind} as ${linked_to.id}, ${formatDuration(linked_to.after_ms)} before`];
  return [
    ...listed("decided", [...decisions, ...recovered]),
    ...listed("linked", link),
    ...listed("note", note === "" ? [] : note.split("\n")),
    ...listed("said", said),
  ];
}

const listed = (label: string, lines: readonly string[]): string[] =>
  lines.map((line, index) => field(index === 0 ? label : "", line));

const TOPIC_HEADS = ["topic", "role", "coverage", ">pre s", ">post s", ">messages", ">longest gap", ">size", ""];

function completeLines({ is_complete, shortfalls }: Shown): string[] {
  if (is_complete === undefined) return [paint("dim", "whether it is complete is known once it is batched")];
  if (is_complete) return [field("complete", paint("green", "yes: nothing of what was asked is missing"))];
  const reasons = shortfalls.map(({ words, is_hint }) => `${words}${is_hint ? paint("dim", " (a guess)") : ""}`);
  return listed("complete", [paint("yellow", "no"), ...reasons]);
}

/** Achieved, and asked where it is less. */
function rollText(achievedMs: number | undefined, askedMs: number): string {
  if (achievedMs === undefined) return "";
  const isShort = achievedMs < askedMs - SHORT_MS;
  return `${(achievedMs / 1000).toFixed(1)}${isShort ? paint("yellow", ` of ${(askedMs / 1000).toFixed(1)}`) : ""}`;
}

/** Less is the rhythm of the messages. */
const SHORT_MS = 1000;

function oddities({ dropped, gaps, clock_steps, is_on_demand, on_demand_start_ms }: Topic): string {
  const drops = Object.entries(dropped).map(([reason, count]) => `${count} ${reason}`);
  const steps = clock_steps.map(({ step_ms }) => `stamps stepped ${(step_ms / 1000).toFixed(1)} s`);
  const start = on_demand_start_ms === undefined ? "" : ` after ${formatDuration(on_demand_start_ms)}`;
  const parts = [
    ...drops,
    ...steps,
    gaps.length === 0 ? "" : `${gaps.length} gaps`,
    is_on_demand ? `on demand${start}` : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}
