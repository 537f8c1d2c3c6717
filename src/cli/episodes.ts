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
  ]);
  const heads = ["id", "start", ">length", "rule", "outcome", ">attempts", ">firings", ">size", "state"];
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
    return field("", `${at(firing.at_time)}  ${firing.rule} on ${firing.topic}  ${paint("dim", values.join(", "))}`);
  });
  const topics = episode.completeness.map((topic) => [
    topic.topic,
    topic.coverage,
    topic.pre_roll_ms === undefined ? "" : (topic.pre_roll_ms / 1000).toFixed(1),
    topic.post_roll_ms === undefined ? "" : (topic.post_roll_ms / 1000).toFixed(1),
    String(topic.messages),
    formatBytes(topic.bytes),
    topic.gaps.length === 0 ? "" : `${topic.gaps.length} gaps`,
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
    field("segments", ""),
    ...segments,
    field("firings", ""),
    ...firings,
    "",
    topics.length === 0
      ? paint("dim", "completeness is known once it is batched")
      : table(["topic", "coverage", ">pre s", ">post s", ">messages", ">size", ""], topics),
    "",
    files.length === 0
      ? paint("dim", "no batches yet")
      : table(["batch", ">size", "state", ">attempts", "file"], files),
  ].join("\n");
}
