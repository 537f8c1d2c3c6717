/**
 * `lode replay`: serves recordings as a robot behind rosbridge, one after the other.
 *
 * Nothing plays before a client came and its subscriptions settled. It ends when all is played and the client has
 * taken it, or at the signal; with `isLooping` only at the signal.
 */
import { type Clock, systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import { formatBytes, formatDuration } from "../std/time-text.ts";
import type { Publisher, TopicCounts } from "./bridge-topic.ts";
import { openRecording } from "./open-recording.ts";
import { advertiseAll, type PlayResult, play, waitForSubscriptions } from "./player.ts";
import type { Recording, RecordingDeps } from "./recording.ts";
import { RosbridgeServer } from "./rosbridge-server.ts";

export type ReplayOptions = {
  readonly files: readonly string[];
  readonly port: number;
  readonly host?: string;
  /** 1 is recorded speed. */
  readonly rate: number;
  readonly isLooping: boolean;
  /** How long no new subscription must come before playing starts. */
  readonly settleMs?: number;
};

export type ReplayIo = {
  /** One line for the person who watches; stderr. */
  readonly talk: (line: string) => void;
};

export type ReplayDeps = RecordingDeps & { readonly clock?: Clock };

export type ReplaySummary = {
  readonly played: readonly ({ readonly path: string } & PlayResult)[];
  /** What the bridge published and sent, and what it did not, per topic. */
  readonly topics: readonly TopicSummary[];
};

type TopicSummary = { readonly topic: string } & Readonly<TopicCounts>;
type Opened = { readonly recording: Recording; readonly publishers: readonly Publisher[] };

const SETTLE_MS = 1000;

/** Throws `Fault` before anything is served if a file cannot be played. */
export async function runReplay(
  options: ReplayOptions,
  io: ReplayIo,
  signal: AbortSignal,
  deps: ReplayDeps,
): Promise<ReplaySummary> {
  if (!(options.rate > 0))
    throw new Fault("bad_rate", `${options.rate} is no rate to play at.`, "Write a number above 0: --rate 2.");
  await using files = new AsyncDisposableStack();
  const recordings: Recording[] = [];
  for (const path of options.files) recordings.push(files.use(await openRecording(path, deps)));
  const { port, host } = options;
  const where = host === undefined ? { port } : { port, host };
  await using server = await RosbridgeServer.open({ ...where, ros: commonRos(recordings) }, deps);
  const opened = recordings.map((recording) => ({ recording, publishers: advertiseAll(server, recording) }));
  for (const recording of recordings) announce(recording, io);
  io.talk(`Waiting for a client on ${server.url} (rosbridge, ROS ${server.ros}).`);
  const clock = deps.clock ?? systemClock;
  const played: ({ readonly path: string } & PlayResult)[] = [];
  if (await waitForSubscriptions(server, options.settleMs ?? SETTLE_MS, clock, signal)) {
    io.talk(`${server.clientCount} client(s) subscribed; playing at ${options.rate} times the recorded speed.`);
    do played.push(...(await playAll(opened, server, options.rate, clock, io, signal)));
    while (options.isLooping && !signal.aborted);
  }
  const topics = [...server.sentCounts()].map(([topic, counts]) => ({ topic, ...counts }));
  for (const line of describeTopics(topics)) io.talk(line);
  return { played, topics };
}

function commonRos(recordings: readonly Recording[]): 1 | 2 {
  const first = recordings[0];
  if (first === undefined) throw new Fault("no_recording", "There is nothing to play.", "Name a recording.");
  const other = recordings.find((recording) => recording.ros !== first.ros);
  if (other !== undefined)
    throw new Fault(
      "mixed_ros",
      `${first.path} is ROS ${first.ros} and ${other.path} is ROS ${other.ros}; a bridge speaks one of them.`,
      "Play them in two runs.",
    );
  return first.ros;
}

async function playAll(
  opened: readonly Opened[],
  server: RosbridgeServer,
  rate: number,
  clock: Clock,
  io: ReplayIo,
  signal: AbortSignal,
): Promise<({ readonly path: string } & PlayResult)[]> {
  const results: ({ readonly path: string } & PlayResult)[] = [];
  for (const { recording, publishers } of opened) {
    if (signal.aborted) break;
    const result = await play(recording, publishers, server, { rate }, clock, signal);
    const stalled = result.stalledMs >= 1 ? `, waited ${formatDuration(result.stalledMs)} for the client` : "";
    const amount = `${result.messages} messages, ${formatBytes(result.bytes)} in ${formatDuration(result.durationMs)}`;
    io.talk(`${result.isCut ? "Cut" : "Played"} ${recording.path}: ${amount}${stalled}.`);
    results.push({ path: recording.path, ...result });
  }
  return results;
}

function announce(recording: Recording, io: ReplayIo): void {
  const duration = formatDuration(Number(recording.endNs - recording.startNs) / 1e6);
  const topics = new Set(recording.channels.map((channel) => channel.topic)).size;
  io.talk(`${recording.path}: ${recording.messageCount} messages on ${topics} topics, ${duration}.`);
  if (recording.problem !== undefined) io.talk(`  ${recording.problem}`);
}

/** One line a topic that had messages. */
function describeTopics(topics: readonly TopicSummary[]): string[] {
  const busy = topics.filter(({ published }) => published > 0).sort((a, b) => (a.topic < b.topic ? -1 : 1));
  return busy.map((counts) => {
    const lost = (["dropped", "throttled", "oversized", "unencodable"] as const)
      .filter((key) => counts[key] > 0)
      .map((key) => `, ${counts[key]} ${key}`);
    return `  ${counts.topic}: ${counts.published} published, ${counts.sent} sent${lost.join("")}`;
  });
}
