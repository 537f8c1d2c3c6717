/** What the trigger tells capture. All instants are log_time in ns since the epoch. */

export type EpisodeKind = "failure" | "span" | "sample" | "manual";
export type FiringValue = number | string | boolean;

export type RuleEvent =
  | {
      readonly kind: "firing";
      readonly rule: string;
      readonly detector: string | undefined;
      readonly topic: string;
      readonly atNs: bigint;
      readonly values: Readonly<Record<string, FiringValue>>;
      /** A person's words, where a person fired; they become the episode's note. */
      readonly note?: string;
    }
  /**
   * What follows a firing. `cleared`: the rule's condition ended (after its hysteresis). `attempt`: the robot tries again.
   * `recovered`: it made it (`recovered_when` held, or the detector saw it). `gave_up`: it stands idle without having
   * made it. `took_over`: a person did. `gone`: nobody looks any more, since the rule was removed, switched off or broke.
   */
  | {
      readonly kind: "cleared" | "attempt" | "recovered" | "gave_up" | "took_over" | "gone";
      readonly rule: string;
      readonly atNs: bigint;
      /** What it was seen by. */
      readonly values?: Readonly<Record<string, FiringValue>>;
    };

/** What capture must know of a rule. */
export type CapturePolicy = {
  readonly rule: string;
  /** A short hash of what the rule means: the same after a change of description, place or spacing. */
  readonly version: string;
  readonly kind: EpisodeKind;
  /** Judged and counted, but it opens no episode and says nothing about an open one. */
  readonly isDryRun: boolean;
  readonly preRollMs: number;
  readonly postRollMs: number;
  readonly maxMs: number;
  readonly onOverlap: "extend" | "split" | "ignore";
  /** With neither, the episode ends `post_roll_ms` after its last firing or clearing with outcome `unknown`. */
  readonly recoversWhen: "explicit" | "cleared" | "never";
  /** How long a cleared condition must stay so before that counts as recovered (`recoversWhen: "cleared"`). */
  readonly recoveredAfterClearMs: number;
  /** Without recovery within this time of the last failure or attempt the outcome is `failed`. */
  readonly recoveryTimeoutMs: number;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Topic globs that the episode keeps; latched topics are kept whatever they say. */
  readonly topics: readonly string[];
  /** Topic globs to subscribe only while the episode is open. */
  readonly onDemand: readonly string[];
};
