import type { Operation, TopicRole } from "./operation.ts";
import type { EpisodeKind, FiringValue } from "./rule-event.ts";

export type Outcome = "recovered" | "failed" | "operator_took_over" | "succeeded" | "unknown";

/**
 * What decided an outcome. `recovery_seen`: the rule's `recovered_when`, or its detector, saw it. `stayed_clear`: the
 * condition ended (at `atNs`) and stayed away for `clear_ms`. `end_seen`: a task's end. `cannot_tell`: no rule of the
 * episode can tell recovery, or the one that could is gone. `max_ms`, `split`, `interrupted`: it ended before anything decided.
 */
export const EVIDENCE_KINDS = [
  ...(["recovery_seen", "stayed_clear", "end_seen", "gave_up", "recovery_timeout", "took_over", "operator"] as const),
  ...(["cannot_tell", "max_ms", "split", "interrupted"] as const),
] as const;
export type EvidenceKind = (typeof EVIDENCE_KINDS)[number];

export type OutcomeEvidence = {
  readonly kind: EvidenceKind;
  readonly outcome: Outcome;
  /** Whose word it is; empty: a person's. */
  readonly rule: string;
  readonly atNs: bigint;
  /** What was read, or for how long it was waited. */
  readonly values: Readonly<Record<string, FiringValue>>;
};

/** An earlier episode that this one belongs with: its rule fired there too, or this one's firing cut it off. */
export type EpisodeLink = {
  readonly id: string;
  readonly kind: "same_failure" | "continues";
  /** From its end to this one's first firing. */
  readonly afterMs: number;
};

export type Segment = {
  readonly kind: "before" | "failure" | "recovery" | "after";
  /** Of a recovery: which attempt, from 1. */
  readonly attempt: number | undefined;
  readonly startNs: bigint;
  readonly endNs: bigint;
};

export type EpisodeFiring = {
  readonly rule: string;
  /** Of what the rule said when it fired; undefined: a person's firing, or older than this field. */
  readonly ruleVersion: string | undefined;
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
  /** Every decision in its order; the last one made the outcome. Empty: nothing has decided yet, or it is older. */
  readonly evidence: readonly OutcomeEvidence[];
  /** From the first failure to the recovery; undefined where none was seen. */
  readonly timeToRecoverMs: number | undefined;
  readonly linkedTo: EpisodeLink | undefined;
  /** Globs of what it keeps. */
  readonly topics: readonly string[];
  /** Globs of the topics on demand that its rules asked for. */
  readonly onDemand: readonly string[];
  /** Tries at the task within the episode, the failed one included: 1 + recovery attempts. */
  readonly attempts: number;
  readonly firings: readonly EpisodeFiring[];
  readonly segments: readonly Segment[];
  readonly labels: Readonly<Record<string, string>>;
  readonly note: string;
  /** The process died while it was open. */
  readonly isInterrupted: boolean;
  /** As it was when the episode opened; undefined: older than this field, or a back-test. */
  readonly operation: Operation | undefined;
  /** What people said of it afterwards, laid over the rest already. */
  readonly remarks: readonly Remark[];
  readonly completeness: readonly TopicCompleteness[];
  /** Nothing of what was asked is missing as far as anybody knows; undefined: not looked at yet. */
  readonly isComplete: boolean | undefined;
  /** Why not. */
  readonly shortfalls: readonly Shortfall[];
};

/** A person's word about an episode. */
export type Remark = {
  readonly atNs: bigint;
  readonly author: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly note: string | undefined;
  readonly outcome: Outcome | undefined;
};

/** What rows of earlier versions do not say. */
export const UNSAID = {
  ...{ evidence: [], timeToRecoverMs: undefined, linkedTo: undefined, topics: ["**"] },
  ...{ onDemand: ["**"], operation: undefined, remarks: [], isComplete: undefined, shortfalls: [] },
} as const satisfies Partial<Episode>;

/** Per topic of an episode: what was asked, what is there, what is missing and why. */
export type TopicCompleteness = {
  readonly topic: string;
  readonly className: string;
  readonly role: TopicRole;
  /** Time before the first firing, and after the last one, that was asked for; on demand nothing before it is. */
  readonly askedPreRollMs: number;
  readonly askedPostRollMs: number;
  /** Time before the first firing that the data really reaches back to; undefined if the topic has no message in the window. */
  readonly preRollMs: number | undefined;
  readonly postRollMs: number | undefined;
  /** How the window is cut: at the message, or around whole chunks, which bring more than was asked and never less. */
  readonly cutTo: "message" | "chunk" | undefined;
  readonly messages: number;
  readonly bytes: number;
  /** Between two messages that follow each other; undefined if there are not two. */
  readonly longestGapMs: number | undefined;
  /** Messages that are missing although they were received or hinted at, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly gaps: readonly { readonly startNs: bigint; readonly endNs: bigint; readonly reason: string }[];
  /** Where the publisher's stamps jump against the time of arrival; positive: forward. */
  readonly clockSteps: readonly { readonly atNs: bigint; readonly stepMs: number }[];
  /** Subscribed only while an episode is open. */
  readonly isOnDemand: boolean;
  /** Of a topic on demand: from the episode's first firing to its first message. */
  readonly onDemandStartMs: number | undefined;
  /**
   * "full", "baseline" (some stretch only at the reduced rate), "latched" (last message from before), "none" (asked for,
   * and nothing came), "not_recorded" (the configuration leaves it out).
   */
  readonly coverage: "full" | "baseline" | "latched" | "none" | "not_recorded";
};

/** What entries of earlier versions do not say. */
export const UNSAID_TOPIC = {
  ...{ role: "observation", askedPreRollMs: 0, askedPostRollMs: 0, longestGapMs: undefined, clockSteps: [] },
  ...{ isOnDemand: false, onDemandStartMs: undefined, cutTo: undefined },
} as const satisfies Partial<TopicCompleteness>;

/**
 * Something of what was asked that is not there. `reason` is one of the loss ledger's, or `baseline` (a heavy topic at its
 * reduced rate only), `pre_roll` (one that reaches less far back), `recording_began` (nothing was recorded before),
 * `on_demand` (a topic that was asked for and gave nothing), `interrupted`.
 */
export type Shortfall = {
  readonly reason: string;
  /** Empty: every one. */
  readonly topics: readonly string[];
  /** Messages, where anybody knows. */
  readonly count: number | undefined;
  /** Only a guess, from numbers that are missing or a rate that fell. */
  readonly isHint: boolean;
  /** In a sentence. */
  readonly words: string;
};
