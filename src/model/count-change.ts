import type { LossReason } from "./loss.ts";

/** What is added to a topic's counters of a boot; a move between two of them is a minus and a plus. */
export type CountChange = {
  readonly received?: number;
  readonly receivedBytes?: number;
  readonly inMemory?: number;
  readonly stored?: number;
  readonly storedBytes?: number;
  readonly reduced?: number;
  readonly evicted?: number;
  readonly dropped?: { readonly reason: LossReason; readonly count: number };
};
