/** Where the messages of a topic are: what the ledger counts, what a person is told, what travels with a file. */
import type { Loss } from "./loss.ts";

type Term = "received" | "inMemory" | "stored" | "reduced" | "evicted";

/**
 * Of each term, messages and their payload (`stored`, `storedBytes`), committed or not:
 * received = inMemory + stored + reduced + dropped. What was stored has been evicted or is there.
 */
export type Counts = Readonly<Record<Term | `${Term}Bytes`, number>> & {
  /** By reason. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly droppedBytes: Readonly<Record<string, number>>;
};

/** With what of the stored is there, split: stored = held + evictable + evicted. */
export type SplitCounts = Counts & Readonly<Record<"held" | "heldBytes" | "evictable" | "evictableBytes", number>>;

export type TopicCounts = SplitCounts & { readonly topic: string };

/** What a file says of what is not in it. */
export type FileAccounting = {
  /** Rows of the loss ledger that touch its range and topics. */
  readonly losses: readonly Loss[];
  /** Of its topics in the whole ring (or boot), when it was made. */
  readonly counters: readonly (Counts & { readonly topic: string })[];
};

/** Over topics or boots. */
export function sumCounts(all: readonly SplitCounts[]): SplitCounts {
  const add = (a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>) => {
    const sum = { ...a };
    for (const [name, value] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + value;
    return sum;
  };
  let total = NO_COUNTS;
  for (const { dropped, droppedBytes, ...terms } of all) {
    const { dropped: _, droppedBytes: __, ...before } = total;
    const numbers = Object.entries(terms).filter((entry): entry is [string, number] => typeof entry[1] === "number");
    total = {
      ...{ ...before, ...add(before, Object.fromEntries(numbers)) },
      ...{ dropped: add(total.dropped, dropped), droppedBytes: add(total.droppedBytes, droppedBytes) },
    };
  }
  return total;
}

export const NO_COUNTS: SplitCounts = {
  ...{ received: 0, receivedBytes: 0, inMemory: 0, inMemoryBytes: 0, stored: 0, storedBytes: 0, reduced: 0 },
  ...{ reducedBytes: 0, held: 0, heldBytes: 0, evictable: 0, evictableBytes: 0, evicted: 0, evictedBytes: 0 },
  ...{ dropped: {}, droppedBytes: {} },
};
