/** States per topic what an episode asked for, what its files hold, and what is missing and why; and of the whole, whether it is complete. */
import type { Channel } from "../model/channel.ts";
import type { Episode, TopicCompleteness } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import type { TopicRole } from "../model/operation.ts";
import { SEQUENCE_SLACK } from "../ring/message-record.ts";
import type { WindowChunk } from "../ring/window.ts";
import { earliest, latest, msOfNs } from "../std/nanoseconds.ts";
import { type Arrival, type ArrivalPiece, Arrivals, GAP_MESSAGES_MIN, GAP_NS_MIN, inOrder } from "./arrivals.ts";
import { findShortfalls, type ShortfallQuestion } from "./shortfalls.ts";
import type { StampSteps } from "./stamp-steps.ts";

type Gap = TopicCompleteness["gaps"][number];
type TopicTally = {
  readonly className: string;
  readonly role: TopicRole;
  /** Of its own; the latched ones from before the window are none. */
  readonly pieces: ArrivalPiece[];
  readonly arrivals: Arrivals;
  /** Of a topic with a baseline. */
  readonly reduced: ReducedStretches;
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
  for (const tally of tallies.values()) readArrivals(tally, episode);
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
      else {
        const sequences = chunk.sequences.get(channelId) ?? [];
        tally.pieces.push({ channelId, startNs: chunk.startNs, records, sequences });
      }
      if (chunk.origin === "baseline") tally.hasBaseline = true;
    }
  return tallies;
}

function readArrivals({ pieces, arrivals, reduced, hasBaseline }: TopicTally, { startNs, endNs }: Episode): void {
  for (const arrival of inOrder(pieces)) {
    arrivals.note(arrival);
    // Whole chunks reach beyond the window, their baseline does not.
    if (hasBaseline && arrival.timeNs >= startNs && arrival.timeNs <= endNs) reduced.note(arrival);
  }
}

const blankTally = (className: string, role: TopicRole): TopicTally => ({
  ...{ className, role, pieces: [], channelIds: new Set() },
  ...{ arrivals: new Arrivals(), reduced: new ReducedStretches() },
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
  const { count, lastNs: last, longestGapNs } = tally.arrivals;
  const first = tally.arrivals.first?.timeNs;
  const reduced = tally.reduced.found;
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
    messages: count + tally.latchedCount,
    bytes: tally.bytes,
    longestGapMs: longestGapNs === undefined ? undefined : msOfNs(longestGapNs),
    dropped: countDropped(own.filter((loss) => loss.topic === topic)),
    gaps: [...own.map((loss) => lossGap(episode, loss)), ...reduced, ...(reduced.length > 0 ? [] : silencesOf(tally))],
    clockSteps: stampSteps.of([...tally.channelIds]),
    isOnDemand,
    onDemandStartMs: isOnDemand && first !== undefined ? atLeastZero(msOfNs(first - firingNs)) : undefined,
    coverage: coverageOf(tally),
  };
}

function coverageOf({ arrivals, reduced, latchedCount }: TopicTally): TopicCompleteness["coverage"] {
  if (reduced.found.length > 0) return "baseline";
  if (arrivals.count > 0) return "full";
  return latchedCount > 0 ? "latched" : "none";
}

/** At the baseline rate there is no rhythm to judge by. */
const silencesOf = ({ arrivals }: TopicTally): Gap[] =>
  arrivals.silences().map((silence) => ({ ...silence, reason: "silence" }));

/** Numbers of a channel's messages count from here. */
const FIRST_SEQUENCE = 1;

/** What of the window's beginning is not there. The ledger tells everything else that light topics may lack. */
function beginningsOf(
  { episode, heavyClasses, onDemand }: CompletenessQuestion,
  tallies: ReadonlyMap<string, TopicTally>,
): Pick<ShortfallQuestion, "unrecordedMs" | "lateTopics"> {
  const begun = [...tallies].filter(([, { arrivals }]) => arrivals.count > 0);
  const lateness = ({ arrivals }: TopicTally): bigint => (arrivals.first?.timeNs ?? 0n) - episode.startNs;
  const isLate = (tally: TopicTally): boolean => lateness(tally) > tally.arrivals.silenceBoundNs;
  const isEveryLate = begun.length > 0 && begun.every(([, tally]) => isLate(tally));
  const unrecordedNs = isEveryLate ? begun.map(([, tally]) => lateness(tally)).reduce(earliest) : 0n;
  const lateTopics = begun
    .filter(([topic, { className }]) => heavyClasses.has(className) && !onDemand.includes(topic))
    .filter(([, { arrivals }]) => arrivals.count >= GAP_MESSAGES_MIN && arrivals.first?.sequence !== FIRST_SEQUENCE)
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
class ReducedStretches {
  readonly found: Gap[] = [];
  readonly #lastByChannel = new Map<number, { readonly timeNs: bigint; readonly sequence: number }>();

  /** In the order of time. */
  note({ channelId, timeNs, sequence }: Arrival): void {
    const earlier = this.#lastByChannel.get(channelId);
    this.#lastByChannel.set(channelId, { timeNs, sequence });
    const missing = sequence - (earlier?.sequence ?? sequence) - 1;
    if (earlier === undefined || missing < 1 || missing >= SEQUENCE_SLACK) return;
    const last = this.found.at(-1);
    if (last?.endNs !== earlier.timeNs) this.found.push({ startNs: earlier.timeNs, endNs: timeNs, reason: "baseline" });
    else this.found[this.found.length - 1] = { ...last, endNs: timeNs };
  }
}

const atLeastZero = (value: number): number => Math.max(value, 0);
