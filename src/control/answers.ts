/**
 * What a daemon answers: the facts behind `lode status`, `topics`, `episodes` and `batches`, in our names.
 * On the wire they are `Wire<…>` of these (snake_case, instants in RFC 3339).
 */

import type { SplitCounts, TopicCounts } from "../model/accounting.ts";
import type { ClockWords } from "../model/boot-clock.ts";
import type { Episode } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import type { OperatingHours } from "../model/operating-hours.ts";
import type { WearStatus } from "../store/flash-wear.ts";

export type StatusAnswer = {
  readonly version: string;
  readonly robot: string;
  readonly site: string;
  readonly startedNs: bigint;
  /** The present in log_time. */
  readonly nowNs: bigint;
  /** The clocks of the last boots, oldest first; the last one is the present. */
  readonly clocks: readonly ClockAnswer[];
  readonly source: {
    readonly url: string;
    readonly isConnected: boolean;
    /** Why not, if not. */
    readonly reason: string;
    readonly topicCount: number;
    readonly silentCount: number;
    /** Float fields that came as null over JSON and were stored as NaN. */
    readonly jsonNulls: number;
    /** How late the event loop was that reads the socket, in the last ten to twenty seconds. */
    readonly ingestDelay: { readonly p99Ms: number; readonly maxMs: number };
    /** From a message's arrival until every rule has judged it, likewise. */
    readonly decisionDelay: { readonly p99Ms: number; readonly maxMs: number };
  };
  readonly ring: {
    readonly folder: string;
    readonly sizeBytes: number;
    readonly sizeBytesMax: number;
    readonly memoryBytes: number;
    /** The time of recording that the classes' rates, ratios and forecasts are over: the last six hours of it at most. */
    readonly measuredMs: number;
    readonly state: string;
    readonly classes: readonly ClassStatus[];
  };
  readonly wear: WearStatus;
  readonly capture: {
    readonly open: EpisodeSummary | undefined;
    readonly rules: readonly RuleSummary[];
    /** Why the rules that the files have at present were refused; undefined: they are in force. */
    readonly rulesProblem: string | undefined;
    /** Firings of rules with `on_overlap: ignore` while an episode was open. */
    readonly ignoredFirings: number;
    /** Firing → window durable, of the last episode; undefined before the first. */
    readonly lastLightLagMs: number | undefined;
    readonly lastHeavyLagMs: number | undefined;
  };
  readonly upload: {
    readonly receiver: string;
    readonly link: string;
    readonly isOpen: boolean;
    readonly reasons: readonly string[];
    /** What a person must look at; "" if nothing. */
    readonly alarm: string;
    readonly lastResult: string;
    readonly retryInMs: number;
    readonly sentBytesToday: number;
    readonly queuedBatches: number;
    readonly queuedBytes: number;
    readonly oldestQueuedNs: bigint | undefined;
    readonly quarantinedBatches: number;
  };
  /** Of this boot, all topics together; and each for itself. */
  readonly accounting: SplitCounts;
  readonly topics: readonly TopicCounts[];
  /** Of all boots that filled this ring, this one last; `earlier`: those that have nothing left in it. */
  readonly boots: readonly (SplitCounts & { readonly bootId: string })[];
  readonly losses: readonly (Loss & { readonly isHint: boolean })[];
  /** Of each robot and site that this Lode has worked for; the present ones are the last to have been begun. */
  readonly hours: readonly OperatingHours[];
};

/** The ledger of operating hours, and of what it is the sum: the boots, in the order in which they were first seen. */
export type HoursAnswer = {
  readonly totals: readonly OperatingHours[];
  readonly boots: readonly (OperatingHours & {
    readonly bootId: string;
    /** In log_time, and in true time; undefined where nothing tells. */
    readonly startNs: bigint | undefined;
    readonly trueStartNs: bigint | undefined;
  })[];
};

/** What is known of a boot's clock. */
export type ClockAnswer = ClockWords & {
  /** log_time of its first reading. */
  readonly startNs: bigint;
  /** The same in true time; undefined: nothing tells. */
  readonly trueStartNs: bigint | undefined;
};

type ClassStatus = {
  readonly className: string;
  /** 0 is worth most. */
  readonly rank: number;
  readonly tier: string;
  readonly diskBytes: number;
  readonly memoryBytes: number;
  /** The history on disk. */
  readonly oldestNs: bigint | undefined;
  readonly newestNs: bigint | undefined;
  /** Onto the disk; undefined: too early to say, as with the forecast. */
  readonly bytesPerS: number | undefined;
  /** Stored bytes by the bytes of the messages and their records. */
  readonly compressionRatio: number | undefined;
  /** How far back it will reach when the ring is full, at this rate. */
  readonly forecastMs: number | undefined;
};

type RuleSummary = {
  readonly rule: string;
  readonly version: string;
  /** On trial: it opens no episode. */
  readonly isDryRun: boolean;
  readonly place: string;
  readonly state: string;
  /** What it watches. */
  readonly boundTo: readonly string[];
  /** Why it is not bound. */
  readonly reason: string | undefined;
  /** What of it cannot be told, each reason once. */
  readonly problems: readonly string[];
  /** Which ceiling it has reached, of firings or of cost. */
  readonly throttled: string | undefined;
  readonly firings: number;
  readonly lastFiringNs: bigint | undefined;
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
  readonly accounting: SplitCounts;
};
export type TopicsAnswer = { readonly topics: readonly TopicAnswer[] };

export type EpisodeState = "open" | "sealed" | "batched" | "receipted" | "quarantined";

export type EpisodeSummary = {
  readonly id: string;
  readonly bootId: string;
  readonly state: EpisodeState;
  readonly kind: string;
  readonly rule: string;
  /** In log_time. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** In true time; undefined: nothing tells. */
  readonly trueStartNs: bigint | undefined;
  readonly outcome: string;
  readonly attempts: number;
  readonly firingCount: number;
  readonly bytes: number;
  readonly taskType: string;
  /** undefined: not looked at yet. */
  readonly isComplete: boolean | undefined;
};
export type EpisodesAnswer = { readonly episodes: readonly EpisodeSummary[] };

export type EpisodeAnswer = {
  readonly episode: Episode;
  readonly trueStartNs: bigint | undefined;
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
};
export type BatchesAnswer = { readonly batches: readonly BatchSummary[] };

export type CaptureAnswer = { readonly episodeId: string };
export type PauseAnswer = { readonly isPaused: boolean; readonly untilNs: bigint | undefined };
