/** Rows of the loss ledger: what is missing, where, why, and how much is known about it. */

export type LossReason =
  | "connection_gap" // the bridge was away
  | "queue_full" // a bounded queue between two stages was full
  | "oversized_frame"
  | "malformed_frame"
  | "undecodable_json" // a JSON message did not fit its schema
  | "disk_full"
  | "crash" // the interval since the last commit
  | "corrupt_chunk"
  | "corrupt_batch"
  | "evicted_unsent"; // a batch went before its receipt

export type Loss = {
  readonly topic: string; // "" where the loss cannot be put to one topic
  readonly reason: LossReason;
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** undefined: not known. */
  readonly count: number | undefined;
  readonly bytes: number | undefined;
};
