import type { LossReason } from "./loss.ts";

/** So many messages, and their payload together. */
export type Amount = { readonly count: number; readonly bytes: number };

/** A topic's part of a boot, or of a stored chunk. */
export type TopicAmount = Amount & { readonly bootId: string; readonly topic: string };

/** A topic's messages in a chunk's row. */
export type CountedRow = TopicAmount & { readonly isQuarantined: boolean };

/** Which of a topic's counters of a boot messages enter (1) and leave (−1); a move between two of them is both. */
export type CountChange = {
  readonly received?: 1;
  readonly inMemory?: 1 | -1;
  readonly stored?: 1 | -1;
  readonly reduced?: 1;
  readonly evicted?: 1;
  readonly dropped?: LossReason;
};
