/** Rows of the loss ledger: what is missing, where, why, and how much is known about it. */

export type LossReason =
  | "connection_gap" // the bridge was away
  | "sequence_gap" // hint: the publisher's own numbers (ROS 1) leave some out
  | "rate_drop" // hint: far fewer messages than the topic usually brings, its rate being even before
  | "queue_full" // a bounded queue between two stages was full
  | "oversized_frame"
  | "malformed_frame"
  | "undecodable_json" // a JSON message did not fit its schema
  | "disk_full"
  | "crash" // the interval since the last commit
  | "corrupt_chunk" // stored and damaged since
  | "unindexed" // stored, and not found again yet by the rebuild of a damaged ring.db
  | "damaged_ring" // a damaged ring.db held it, and nothing else did
  | "damaged_journal" // rows of episodes, batches or losses that could not be read any more
  | "corrupt_batch"
  | "no_key_frame" // video that is in the ring, but not in an episode's files: what it builds on is not there
  | "evicted_unsent"; // a batch went before its receipt

/** What the bridge did not deliver can only be guessed at, from numbers that are missing or a rate that fell. */
export function isHint({ reason }: Loss): boolean {
  return reason === "sequence_gap" || reason === "rate_drop";
}

/** Of messages that never came to Lode: a row says so, and no counter moves. */
const OUTSIDE: readonly LossReason[] = ["connection_gap", "sequence_gap", "rate_drop"];

export function wasReceived({ topic, reason }: Loss): boolean {
  return topic !== "" && !OUTSIDE.includes(reason);
}

export type Loss = {
  readonly topic: string; // "" where the loss cannot be put to one topic
  readonly reason: LossReason;
  /** In the log_time of its boot. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** undefined: not known. */
  readonly count: number | undefined;
  readonly bytes: number | undefined;
  /** The present one unless told; a row that was read always tells. */
  readonly bootId?: string;
};
