/**
 * What a daemon answers: the facts behind `lode status`, `topics`, `episodes` and `batches`, in our names.
 * On the wire they are `Wire<…>` of these (snake_case, instants in RFC 3339).
 */
import type { Episode } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";

export type StatusAnswer = {
  readonly version: string;
  readonly robot: string;
  readonly site: string;
  readonly startedNs: bigint;
  readonly nowNs: bigint;
  readonly source: {
    readonly url: string;
    readonly isConnected: boolean;
    /** Since when, or why not. */
    readonly reason: string;
    readonly bridge: string;
    readonly topicCount: number;
    readonly silentCount: number;
    readonly counters: Readonly<Record<string, number>>;
  };
  readonly ring: {
    readonly folder: string;
    readonly sizeBytes: number;
    readonly sizeBytesMax: number;
    readonly memoryBytes: number;
    readonly state: string;
    readonly classes: readonly ClassStatus[];
  };
  readonly capture: {
    readonly open: EpisodeSummary | undefined;
    readonly armedRules: number;
    readonly rules: readonly RuleSummary[];
    /** Firing → window durable, of the last episode; undefined before the first. */
    readonly lastLightLagMs: number | undefined;
    readonly lastHeavyLagMs: number | undefined;
  };
  readonly upload: {
    readonly receiver: string;
    readonly isOpen: boolean;
    readonly reasons: readonly string[];
    readonly queuedBatches: number;
    readonly queuedBytes: number;
    readonly oldestQueuedNs: bigint | undefined;
    readonly quarantinedBatches: number;
    readonly lastResult: string;
  };
  readonly accounting: Accounting;
  readonly losses: readonly Loss[];
};

export type ClassStatus = {
  readonly name: string;
  readonly tier: string;
  readonly diskBytes: number;
  readonly memoryBytes: number;
  readonly startNs: bigint | undefined;
  readonly endNs: bigint | undefined;
  /** At the rate of the last hour (or what there is), how long the ring reaches back when full. */
  readonly hoursWhenFull: number | undefined;
};

export type RuleSummary = {
  readonly rule: string;
  /** What its inputs are bound to, or why it is not. */
  readonly state: string;
  readonly isBound: boolean;
  readonly firedCount: number;
  readonly lastFiredNs: bigint | undefined;
};

/** Messages: received = inMemory + stored + reduced + dropped. */
export type Accounting = {
  readonly received: number;
  readonly inMemory: number;
  readonly stored: number;
  readonly reduced: number;
  readonly dropped: Readonly<Record<string, number>>;
};

export type TopicAnswer = {
  readonly topic: string;
  readonly type: string;
  readonly className: string;
  /** `cbor-raw` or `none`, or why it is not subscribed. */
  readonly mode: string;
  readonly rateHz: number;
  readonly bytesPerS: number;
  readonly isLocal: boolean;
  /** "" while it speaks. */
  readonly silentReason: string;
  readonly lastMessageNs: bigint | undefined;
  readonly accounting: Accounting;
};
export type TopicsAnswer = { readonly topics: readonly TopicAnswer[] };

export type EpisodeState = "open" | "sealed" | "batched" | "receipted" | "quarantined";

export type EpisodeSummary = {
  readonly id: string;
  readonly state: EpisodeState;
  readonly kind: string;
  readonly rule: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly outcome: string;
  readonly attempts: number;
  readonly firingCount: number;
  readonly bytes: number;
};
export type EpisodesAnswer = { readonly episodes: readonly EpisodeSummary[] };

export type EpisodeAnswer = {
  readonly episode: Episode;
  readonly state: EpisodeState;
  readonly batches: readonly BatchSummary[];
};

export type BatchSummary = {
  readonly id: string;
  readonly episodeId: string;
  readonly kind: string;
  readonly index: number;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly state: string;
  readonly reason: string;
  readonly path: string;
  readonly createdNs: bigint;
  readonly attempts: number;
  readonly lastAttempt: string;
  readonly receiptedNs: bigint | undefined;
};
export type BatchesAnswer = { readonly batches: readonly BatchSummary[] };

export type CaptureAnswer = { readonly episodeId: string };
export type PauseAnswer = { readonly isPaused: boolean; readonly untilNs: bigint | undefined };
