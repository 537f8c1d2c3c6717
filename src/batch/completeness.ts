/** States per topic what an episode asked for, what its files hold, and what is missing and why. */
import type { Channel } from "../model/channel.ts";
import type { Episode, TopicCompleteness } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import { SEQUENCE_SLACK } from "../ring/message-record.ts";
import type { WindowChunk } from "../ring/window.ts";
import { earliest, latest, msOfNs } from "../std/nanoseconds.ts";

/**
 * A silence is a gap when it is this many times the topic's usual interval, and at least a second. Usual is what nine
 * of ten intervals stay under: `/rosout` comes in bursts, and the pauses between them are no gaps.
 */
const GAP_INTERVALS = 4n;
const GAP_NS_MIN = 1_000_000_000n;
/** Fewer messages have no interval to speak of. */
const GAP_MESSAGES_MIN = 12;

type Gap = TopicCompleteness["gaps"][number];
type Seen = { readonly timeNs: bigint; readonly channelId: number; readonly sequence: number };
type TopicTally = {
  readonly className: string;
  readonly seen: Seen[];
  hasBaseline: boolean;
  latchedCount: number;
  bytes: number;
};

/** `notRecorded`: topics that the robot has and the configuration leaves out. */
export function computeCompleteness(
  episode: Episode,
  chunks: readonly WindowChunk[],
  channels: ReadonlyMap<number, Channel>,
  losses: readonly Loss[],
  notRecorded: readonly string[],
): TopicCompleteness[] {
  const tallies = tallyTopics(chunks, channels);
  const inWindow = losses.filter((loss) => loss.startNs <= episode.endNs && loss.endNs >= episode.startNs);
  const lost = inWindow.map(({ topic }) => topic).filter((topic) => topic !== "" && !tallies.has(topic));
  const recorded = [...tallies].map(([topic, tally]) => topicCompleteness(episode, topic, tally, inWindow));
  const silent = [...new Set(lost)].map((topic) => topicCompleteness(episode, topic, blankTally(""), inWindow));
  const absent = notRecorded.filter((topic) => !tallies.has(topic));
  const left = absent.map((topic) => ({
    ...topicCompleteness(episode, topic, blankTally(""), []),
    coverage: LEFT_OUT,
  }));
  return [...recorded, ...silent, ...left].toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
}

const LEFT_OUT = "not_recorded" as const;

function tallyTopics(chunks: readonly WindowChunk[], channels: ReadonlyMap<number, Channel>): Map<string, TopicTally> {
  const tallies = new Map<string, TopicTally>();
  for (const chunk of chunks)
    for (const [channelId, records] of chunk.index) {
      const channel = channels.get(channelId);
      if (channel === undefined) continue;
      const tally = tallies.get(channel.topic) ?? blankTally(channel.className);
      tallies.set(channel.topic, tally);
      tally.bytes += chunk.bytesByChannel.get(channelId) ?? 0;
      if (chunk.origin === "latched") tally.latchedCount += records.count;
      else
        for (const [index, [timeNs]] of [...records].entries())
          tally.seen.push({ timeNs, channelId, sequence: chunk.sequences.get(channelId)?.[index] ?? 0 });
      if (chunk.origin === "baseline") tally.hasBaseline = true;
    }
  return tallies;
}

const blankTally = (className: string): TopicTally => ({
  className,
  seen: [],
  hasBaseline: false,
  latchedCount: 0,
  bytes: 0,
});

function topicCompleteness(
  episode: Episode,
  topic: string,
  tally: TopicTally,
  losses: readonly Loss[],
): TopicCompleteness {
  const seen = tally.seen.toSorted((a, b) => Number(a.timeNs - b.timeNs));
  const times = seen.map(({ timeNs }) => timeNs);
  // Whole chunks reach beyond the window, their baseline does not.
  const within = seen.filter(({ timeNs }) => timeNs >= episode.startNs && timeNs <= episode.endNs);
  const reduced = tally.hasBaseline ? reducedStretches(within) : [];
  const [first] = times;
  const last = times.at(-1);
  const firingNs = episode.firings[0]?.atNs ?? episode.startNs;
  const lastFiringNs = episode.firings.at(-1)?.atNs ?? episode.startNs;
  const own = losses.filter((loss) => loss.topic === topic || loss.topic === "");
  return {
    topic,
    className: tally.className,
    preRollMs: first === undefined ? undefined : atLeastZero(msOfNs(firingNs - latest(first, episode.startNs))),
    postRollMs: last === undefined ? undefined : atLeastZero(msOfNs(earliest(last, episode.endNs) - lastFiringNs)),
    messages: times.length + tally.latchedCount,
    bytes: tally.bytes,
    dropped: countDropped(own.filter((loss) => loss.topic === topic)),
    gaps: [...own.map((loss) => lossGap(episode, loss)), ...reduced, ...(reduced.length > 0 ? [] : silences(times))],
    coverage: coverageOf(tally, reduced),
  };
}

function coverageOf(tally: TopicTally, reduced: readonly Gap[]): TopicCompleteness["coverage"] {
  if (reduced.length > 0) return "baseline";
  return tally.seen.length === 0 && tally.latchedCount > 0 ? "latched" : "full";
}

function countDropped(losses: readonly Loss[]): Record<string, number> {
  const dropped: Record<string, number> = {};
  for (const { reason, count } of losses) if (count !== undefined) dropped[reason] = (dropped[reason] ?? 0) + count; // others are gaps
  return dropped;
}

function lossGap(episode: Episode, { startNs, endNs, reason }: Loss): Gap {
  return { startNs: latest(startNs, episode.startNs), endNs: earliest(endNs, episode.endNs), reason };
}

/** Where only the reduced rate is there: numbers are left out. A restart leaves out more than a second's. */
function reducedStretches(seen: readonly Seen[]): Gap[] {
  const stretches: Gap[] = [];
  const lastByChannel = new Map<number, Seen>();
  for (const message of seen) {
    const earlier = lastByChannel.get(message.channelId);
    lastByChannel.set(message.channelId, message);
    const missing = message.sequence - (earlier?.sequence ?? message.sequence) - 1;
    if (earlier === undefined || missing < 1 || missing >= SEQUENCE_SLACK) continue;
    const last = stretches.at(-1);
    if (last?.endNs !== earlier.timeNs)
      stretches.push({ startNs: earlier.timeNs, endNs: message.timeNs, reason: "baseline" });
    else stretches[stretches.length - 1] = { ...last, endNs: message.timeNs };
  }
  return stretches;
}

/** Silences longer than the topic's rhythm explains; at the baseline rate there is no rhythm to judge by. */
function silences(times: readonly bigint[]): Gap[] {
  if (times.length < GAP_MESSAGES_MIN) return [];
  const intervals = times.slice(1).map((time, index) => time - (times[index] ?? time));
  const usual = intervals.toSorted((a, b) => Number(a - b))[Math.floor(intervals.length * 0.9)] ?? 0n;
  const bound = latest(usual * GAP_INTERVALS, GAP_NS_MIN);
  return intervals.flatMap((interval, index) => {
    const startNs = times[index] ?? 0n;
    return interval > bound ? [{ startNs, endNs: startNs + interval, reason: "silence" }] : [];
  });
}

const atLeastZero = (value: number): number => Math.max(value, 0);
