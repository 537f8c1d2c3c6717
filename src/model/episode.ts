import type { EpisodeKind, FiringValue } from "./rule-event.ts";

export type Outcome = "recovered" | "failed" | "operator_took_over" | "succeeded" | "unknown";

export type Segment = {
  readonly kind: "before" | "failure" | "recovery" | "after";
  /** Of a recovery: which attempt, from 1. */
  readonly attempt: number | undefined;
  readonly startNs: bigint;
  readonly endNs: bigint;
};

export type EpisodeFiring = {
  readonly rule: string;
  readonly detector: string | undefined;
  readonly topic: string;
  readonly atNs: bigint;
  readonly values: Readonly<Record<string, FiringValue>>;
};

export type Episode = {
  readonly id: string; // UUIDv7: sorts by time of creation
  readonly bootId: string;
  readonly kind: EpisodeKind;
  /** The rule of its first firing. */
  readonly rule: string;
  readonly priority: number;
  /** The window asked for, in log_time; the end of an open episode is what is known so far. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly outcome: Outcome;
  /** Tries at the task within the episode, the failed one included: 1 + recovery attempts. */
  readonly attempts: number;
  readonly firings: readonly EpisodeFiring[];
  readonly segments: readonly Segment[];
  readonly labels: Readonly<Record<string, string>>;
  readonly note: string;
  /** The process died while it was open. */
  readonly isInterrupted: boolean;
  readonly completeness: readonly TopicCompleteness[];
};

/** Per topic of an episode: what was asked, what is there, what is missing and why. */
export type TopicCompleteness = {
  readonly topic: string;
  readonly className: string;
  /** Time before the first firing that the data really reaches back to; undefined if the topic has no message in the window. */
  readonly preRollMs: number | undefined;
  readonly postRollMs: number | undefined;
  readonly messages: number;
  readonly bytes: number;
  /** Messages that are missing although they were received or hinted at, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly gaps: readonly { readonly startNs: bigint; readonly endNs: bigint; readonly reason: string }[];
  /** "full", "baseline" (some stretch only at the reduced rate), "latched" (last message from before), "not_recorded". */
  readonly coverage: "full" | "baseline" | "latched" | "not_recorded";
};
