/**
 * Whether an episode has what was asked, and if not, why, in words.
 *
 * A topic that fell silent by itself, or spoke for the first time, is whole: nothing of it is missing. What makes an
 * episode incomplete is what was sent and is not there, or may not be: losses of the ledger, hints included; heavy topics
 * at their reduced rate, or that reach less far back than asked; a topic on demand that gave nothing; a window that
 * begins before the recording; an interruption.
 */
import type { Episode, Shortfall, TopicCompleteness } from "../model/episode.ts";
import { isHint, type Loss, type LossReason } from "../model/loss.ts";
import { msOfNs } from "../std/nanoseconds.ts";

/** Of batch files, which come after this. */
type WindowLoss = Exclude<LossReason, "corrupt_batch" | "evicted_unsent">;

const LOSS_WORDS: Readonly<Record<WindowLoss, string>> = {
  connection_gap: "the bridge was away, or Lode did not run",
  sequence_gap: "the publisher's numbers leave some out",
  rate_drop: "far fewer came than usual",
  queue_full: "a queue was full",
  oversized_frame: "a frame was too large",
  malformed_frame: "a frame was broken",
  undecodable_json: "the JSON did not fit its type",
  disk_full: "the disk was full",
  crash: "lost in a crash",
  corrupt_chunk: "damaged on the disk",
  unindexed: "not found again yet after damage to ring.db",
  damaged_ring: "lost with a damaged ring.db",
  damaged_journal: "rows of the loss ledger are lost with a damaged journal.db",
  no_key_frame: "video without the key frame it builds on",
};

/** `recordedFromNs`: of the first message of all; `latePreRolls`: heavy topics that begin late. */
export type ShortfallQuestion = {
  readonly episode: Episode;
  readonly completeness: readonly TopicCompleteness[];
  /** Rows of the ledger that touch the window. */
  readonly losses: readonly Loss[];
  /** Of the window's beginning, nothing was recorded for so long; 0: it was. */
  readonly unrecordedMs: number;
  /** Heavy topics whose first message comes later than their rhythm explains, and was not their first ever. */
  readonly lateTopics: readonly string[];
};

export function findShortfalls(question: ShortfallQuestion): Shortfall[] {
  const { episode, completeness, unrecordedMs, lateTopics } = question;
  const found: Shortfall[] = lossShortfalls(question.losses);
  const add = (reason: string, topics: readonly string[], words: string) =>
    found.push({ reason, topics, count: undefined, isHint: false, words });
  if (episode.isInterrupted) add("interrupted", [], "The recording ended while the episode was open.");
  const isExplained = found.some(({ reason }) => reason === "connection_gap" || reason === "crash");
  if (unrecordedMs > 0 && !isExplained)
    add("recording_began", [], `Nothing was recorded in the first ${seconds(unrecordedMs)} of the window.`);
  for (const { topic, preRollMs = 0, askedPreRollMs } of completeness.filter((one) => lateTopics.includes(one.topic)))
    add("pre_roll", [topic], `${topic} reaches back ${seconds(preRollMs)} of ${seconds(askedPreRollMs)}.`);
  for (const { topic, gaps } of completeness.filter(({ coverage }) => coverage === "baseline")) {
    const reduced = gaps.filter(({ reason }) => reason === "baseline");
    const ms = reduced.reduce((sum, { startNs, endNs }) => sum + msOfNs(endNs - startNs), 0);
    add("baseline", [topic], `${topic} is there at its reduced rate only for ${seconds(ms)} of the window.`);
  }
  const mute = completeness.filter(({ isOnDemand, coverage }) => isOnDemand && coverage === "none");
  for (const { topic } of mute) add("on_demand", [topic], `${topic} was asked for, and nothing came.`);
  return found;
}

function lossShortfalls(losses: readonly Loss[]): Shortfall[] {
  const byReason = Map.groupBy(losses, ({ reason }) => reason);
  return [...byReason].flatMap(([reason, rows]) => {
    if (reason === "corrupt_batch" || reason === "evicted_unsent") return [];
    const topics = [...new Set(rows.map(({ topic }) => topic).filter((topic) => topic !== ""))].toSorted();
    const count = rows.every((row) => row.count !== undefined)
      ? rows.reduce((sum, row) => sum + (row.count ?? 0), 0)
      : undefined;
    const where = topics.length === 0 ? "" : ` of ${topics.length > 3 ? `${topics.length} topics` : topics.join(", ")}`;
    const what = `${count ?? "An unknown number of"} ${count === 1 ? "message" : "messages"}${where}`;
    return [{ reason, topics, count, isHint: rows.every(isHint), words: `${what}: ${LOSS_WORDS[reason]}.` }];
  });
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
