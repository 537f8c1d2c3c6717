/** The value class of a topic: what its bytes are worth and what they may cost. */
export type TopicClass = {
  readonly name: string;
  /** 0 is worth most. Under pressure the highest rank goes first. */
  readonly rank: number;
  /** `disk`: every message goes to the disk tier. `memory`: full rate in memory, baseline on disk. */
  readonly tier: "disk" | "memory";
  /** Messages a second and topic that enter the disk tier while nothing is wrong (tier `memory` only; 0 = none). */
  readonly baselineHz: number;
  /** What the memory tier keeps at full rate (tier `memory` only). */
  readonly memoryMs: number;
  readonly memoryBytesMax: number;
  /** What the disk tier keeps; 0 = no bound but the ring's own. */
  readonly diskMsMax: number;
  readonly diskBytesMax: number;
  /** What it keeps of a full ring, 0 to 1; beyond it, it goes first. */
  readonly diskShareMax: number;
  /** rosbridge `queue_length` on subscribing: an unbounded one lets one stalled client stop the topic for everybody. */
  readonly queueLength: number;
};

/** What the configuration says of one topic. `undefined` from a plan function means: not recorded. */
export type TopicPlan = {
  readonly topicClass: TopicClass;
  readonly isOnDemand: boolean;
  readonly isLocal: boolean;
};
