/**
 * The seam between a robot and everything behind it: what any source is told, what it delivers, what it reports.
 *
 * A source connects by itself, keeps the connection, and never throws at its sink's expense: whatever a robot or a
 * network does ends as messages, counted drops, or a connection state.
 */
import type { LossReason } from "../model/loss.ts";
import type { TopicPlan } from "../model/topic-class.ts";
import type { Clock } from "../std/clock.ts";
import type { Matcher } from "../std/glob.ts";
import type { Random } from "../std/random.ts";
import type { Log } from "../telemetry/log.ts";

export type TopicAnnouncement = {
  readonly topic: string;
  /** As the bridge says it: `sensor_msgs/msg/Imu` or `sensor_msgs/Imu`. */
  readonly schemaName: string;
  /** The full definition with its dependencies, where the bridge gives it. May not parse: it is passed on as it is. */
  readonly schemaText: string | undefined;
  readonly ros: 1 | 2;
  /** A well-known latched (transient local) or rarely sent topic. */
  readonly isLatched: boolean;
};

/** What a source delivers to. A method that throws costs the message it was given, nothing more. */
export interface SourceSink {
  /** Before the first message of a topic, and again if its type changes; the number comes back with every message. */
  openTopic(announcement: TopicAnnouncement): number;
  /** The topic is gone and forgotten; its number may be given to another. */
  closeTopic(topic: string): void;
  /** One serialized message. `bytes` is borrowed for the call. `arrivalNs`: monotonic clock. */
  onBytes(handle: number, bytes: Uint8Array, arrivalNs: bigint): void;
  /** One message that came as JSON; `wireBytes` is the size of its frame. */
  onJson(handle: number, message: unknown, wireBytes: number, arrivalNs: bigint): void;
  /** Messages that were dropped at the edge; topic "" where the frame did not say. */
  onDrop(topic: string, reason: LossReason, count: number, bytes: number): void;
  /** Called at each change only. `atNs` (monotonic) of a disconnection is when the bridge was last heard. */
  onConnection(state: ConnectionState): void;
}

export type ConnectionState = {
  readonly kind: "connected" | "disconnected";
  readonly url: string;
  readonly reason: string;
  readonly atNs: bigint;
};

export type SourceDeps = {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** What the configuration says of a topic; undefined: not recorded. Asked once per topic and type. */
  planTopic(topic: string, schemaName: string): TopicPlan | undefined;
  /** Topic → type from the configuration: all there is where the bridge has no rosapi. */
  readonly configuredTypes: ReadonlyMap<string, string>;
};

export type TopicStatus = {
  readonly topic: string;
  readonly schemaName: string;
  /** How its messages come; `on_demand`: not asked for at present; `not_recorded`: the configuration leaves it out. */
  readonly mode: "cbor-raw" | "none" | "on_demand" | "not_recorded";
  /** Subscribed while somebody asks for it only, whatever its mode at present. */
  readonly isOnDemand: boolean;
  readonly received: number;
  /** Monotonic clock. */
  readonly lastMessageNs: bigint | undefined;
  /** Names of the nodes that publish it; undefined where nobody knows (yet). */
  readonly publishers: readonly string[] | undefined;
  /** Why nothing comes, in a sentence; undefined while it is not silent. */
  readonly silentReason: string | undefined;
};

/** One robot. `run` resolves when the signal fires, everything delivered. */
export interface Source {
  run(signal: AbortSignal): Promise<void>;
  /** From now on the matching on-demand topics are subscribed, those that turn up later too, and no others. */
  subscribeOnDemand(topics: Matcher): void;
  topics(): readonly TopicStatus[];
}
