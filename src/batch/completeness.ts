/** States per topic what an episode asked for, what its files hold, and what is missing and why; and of the whole, whether it is complete. */
import type { Channel } from "../model/channel.ts";
import type { Episode, TopicCompleteness } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import type { TopicRole } from "../model/operation.ts";
import { SEQUENCE_SLACK } from "../ring/message-record.ts";
import type { WindowChunk } from "../ring/window.ts";
import { earliest, latest, msOfNs } from "../std/nanoseconds.ts";
import { findShortfalls, type ShortfallQuestion } from "./shortfalls.ts";
import type { StampSteps } from "./stamp-steps.ts";

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
  readonly role: TopicRole;
  /** In the order of time. */
  readonly seen: Seen[];
  readonly channelIds: Set<number>;
  hasBaseline: boolean;
  latchedCount: number;
  bytes: number;
};

export type CompletenessQuestion = {
  readonly episode: Episode;
  readonly chunks: readonly WindowChunk[];
  readonly channels: ReadonlyMap<number, Channel>;
  /** Rows of the loss ledger; those that touch the window count. */
  readonly losses: readonly Loss[];
  /** Topics that the robot has and the configuration leaves out. */
  readonly notRecorded: readonly string[];
  /** Topics that were to be subscribed for this episode. */
  readonly onDemand: readonly string[];
  readonly heavyClasses: ReadonlySet<string>;
  /** What a topic is, by its name and type. */
  readonly roleOf: (topic: string, schemaName: string) => TopicRole;
  readonly stampSteps: StampSteps;
};

/** What `completeness`, `isComplete` and `shortfalls` of an episode say. */
export type Completeness = Pick<Episode, "completeness" | "isComplete" | "shortfalls">;

export function computeCompleteness(question: CompletenessQuestion): Completeness {
  const { episode, chunks, channels, notRecorded, onDemand, roleOf } = question;
  const tallies = tallyTopics(chunks, channels, roleOf);
  const losses = question.losses.filter((loss) => loss.startNs <= episode.endNs && loss.endNs >= episode.startNs);
  const unheard = [...losses.map(({ topic }) => topic), ...onDemand].filter((topic) => topic !== "");
  const silent = [...new Set(unheard)].filter((topic) => !tallies.has(topic));
  for (const topic of silent) tallies.set(topic, blankTally("", roleOf(topic, "")));
  const asked = [...tallies].map(([topic, tally]) => topicCompleteness(question, topic, tally, losses));
  const left = notRecorded
    .filter((topic) => !tallies.has(topic))
    .map((topic) => ({
      ...topicCompleteness(question, topic, blankTally("", roleOf(topic, "")), []),
      ...{ coverage: LEFT_OUT, askedPreRollMs: 0, askedPostRollMs: 0 },
    }));
  const completeness = [...asked, ...left].toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
  const beginnings = beginningsOf(question, tallies);
  const shortfalls = findShortfalls({ episode, completeness, losses, ...beginnings });
  return { completeness, isComplete: shortfalls.length === 0, shortfalls };
}

const LEFT_OUT = "not_recorded" as const;

function tallyTopics(
  chunks: readonly WindowChunk[],
  channels: ReadonlyMap<number, Channel>,
  roleOf: CompletenessQuestion["roleOf"],
): Map<string, TopicTally> {
  const tallies = new Map<string, TopicTally>();
  for (const chunk of chunks)
    for (const [channelId, records] of chunk.index) {
      const channel = channels.get(channelId);
      if (channel === undefined) continue;
      const { topic, className, schema } = channel;
      const tally = tallies.get(topic) ?? blankTally(className, roleOf(topic, schema.name));
      tallies.set(topic, tally);
      tally.channelIds.add(channelId);
      tally.bytes += chunk.bytesByChannel.get(channelId) ?? 0;
      if (chunk.origin === "latched") tally.latchedCount += records.count;
      else
        for (const [index, [timeNs]] of [...records].entries())
          tally.seen.push({ timeNs, channelId, sequence: chunk.sequences.get(channelId)?.[index] ?? 0 });
      if (chunk.origin === "baseline") tally.hasBaseline = true;
    }
  for (const tally of tallies.values()) tally.seen.sort((a, b) => Number(a.timeNs - b.timeNs));
  return tallies;
}

const blankTally = (className: string, role: TopicRole): TopicTally => ({
  ...{ className, role, seen: [], channelIds: new Set() },
  hasBaseline: false,
  latchedCount: 0,
  bytes: 0,
});

function topicCompleteness(
  { episode, onDemand, stampSteps, heavyClasses }: CompletenessQuestion,
  topic: string,
  tally: TopicTally,
  losses: readonly Loss[],
): TopicCompleteness {
  const { seen } = tally;
  const times = seen.map(({ timeNs }) => timeNs);
  // Whole chunks reach beyond the window, their baseline does not.
  const within = seen.filter(({ timeNs }) => timeNs >= episode.startNs && timeNs <= episode.endNs);
  const reduced = tally.hasBaseline ? reducedStretches(within) : [];
  const [first] = times;
  const last = times.at(-1);
  const firingNs = episode.firings[0]?.atNs ?? episode.startNs;
  const lastFiringNs = episode.firings.at(-1)?.atNs ?? episode.startNs;
  const own = losses.filter((loss) => loss.topic === topic || loss.topic === "");
  const isOnDemand = onDemand.includes(topic);
  return {
    ...{ topic, className: tally.className, role: tally.role },
    askedPreRollMs: isOnDemand ? 0 : atLeastZero(msOfNs(firingNs - episode.startNs)),
    askedPostRollMs: atLeastZero(msOfNs(episode.endNs - lastFiringNs)),
    preRollMs: first === undefined ? undefined : atLeastZero(msOfNs(firingNs - latest(first, episode.startNs))),
    postRollMs: last === undefined ? undefined : atLeastZero(msOfNs(earliest(last, episode.endNs) - lastFiringNs)),
    cutTo: heavyClasses.has(tally.className) ? "chunk" : "message",
    messages: times.length + tally.latchedCount,
    bytes: tally.bytes,
    longestGapMs: longestGapMs(times),
    dropped: countDropped(own.filter((loss) => loss.topic === topic)),
    gaps: [...own.map((loss) => lossGap(episode, loss)), ...reduced, ...(reduced.length > 0 ? [] : silences(times))],
    clockSteps: stampSteps.of([...tally.channelIds]),
    isOnDemand,
    onDemandStartMs: isOnDemand && first !== undefined ? atLeastZero(msOfNs(first - firingNs)) : undefined,
    coverage: coverageOf(tally, reduced),
  };
}

function coverageOf(tally: TopicTally, reduced: readonly Gap[]): TopicCompleteness["coverage"] {
  if (reduced.length > 0) return "baseline";
  if (tally.seen.length > 0) return "full";
  return tally.latchedCount > 0 ? "latched" : "none";
}

function longestGapMs(times: readonly bigint[]): number | undefined {
  const intervals = intervalsOf(times);
  return intervals.length === 0 ? undefined : msOfNs(intervals.reduce(latest));
}

/** Numbers of a channel's messages count from here. */
const FIRST_SEQUENCE = 1;

/** What of the window's beginning is not there. The ledger tells everything else that light topics may lack. */
function beginningsOf(
  { episode, heavyClasses, onDemand }: CompletenessQuestion,
  tallies: ReadonlyMap<string, TopicTally>,
): Pick<ShortfallQuestion, "unrecordedMs" | "lateTopics"> {
  const begun = [...tallies].filter(([, { seen }]) => seen.length > 0);
  const lateness = ({ seen }: TopicTally): bigint => (seen[0]?.timeNs ?? 0n) - episode.startNs;
  const isLate = (tally: TopicTally): boolean => lateness(tally) > silenceBound(tally.seen.map(({ timeNs }) => timeNs));
  const isEveryLate = begun.length > 0 && begun.every(([, tally]) => isLate(tally));
  const unrecordedNs = isEveryLate ? begun.map(([, tally]) => lateness(tally)).reduce(earliest) : 0n;
  const lateTopics = begun
    .filter(([topic, { className }]) => heavyClasses.has(className) && !onDemand.includes(topic))
    .filter(([, { seen }]) => seen.length >= GAP_MESSAGES_MIN && seen[0]?.sequence !== FIRST_SEQUENCE)
    .filter(([, tally]) => isLate(tally) && lateness(tally) > unrecordedNs + GAP_NS_MIN)
    .map(([topic]) => topic);
  return { unrecordedMs: msOfNs(unrecordedNs), lateTopics };
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
  const bound = silenceBound(times);
  return intervalsOf(times).flatMap((interval, index) => {
    const startNs = times[index] ?? 0n;
    return interval > bound ? [{ startNs, endNs: startNs + interval, reason: "silence" }] : [];
  });
}

function silenceBound(times: readonly bigint[]): bigint {
  const intervals = intervalsOf(times).toSorted((a, b) => Number(a - b));
  return latest((intervals[Math.floor(intervals.length * 0.9)] ?? 0n) * GAP_INTERVALS, GAP_NS_MIN);
}

const intervalsOf = (times: readonly bigint[]): bigint[] =>
  times.slice(1).map((time, index) => time - (times[index] ?? time));

const atLeastZero = (value: number): number => Math.max(value, 0);
