/**
 * A detector is a condition that an expression cannot say: a small state machine over messages.
 *
 * It finds its inputs by message type and names where the rule does not say, keeps one `Subject` per thing it
 * watches (a joint, a topic, a status name), and may say that the robot tries again or made it. It is pure over
 * messages and rule time; holding, clearing and cool-down are the rule's.
 */
import type { z } from "zod";
import type { Channel } from "../model/channel.ts";
import type { FiringValue } from "../model/rule-event.ts";
import type { Truth } from "./edge.ts";
import type { FieldAccess, FieldReader } from "./seams.ts";

/** One thing watched. The detector writes it, the trigger reads it after every message and tick. */
export type Subject = {
  readonly topic: string;
  readonly name: string;
  condition: Truth;
  /** What a firing tells; read only when it fires. */
  values: () => Readonly<Record<string, FiringValue>>;
};

type Signal = "attempt" | "recovered" | "gave_up" | "took_over";

export type DetectorDeps = {
  readonly fields: FieldAccess;
  /** The topic that the rule names for a role; undefined: find one. */
  topicOf(role: string): string | undefined;
  /** A new thing to watch, with condition unknown. */
  watch(topic: string, name: string): Subject;
  /** `values`: what it was seen by; evidence for the episode's outcome. */
  signal(signal: Signal, values?: Readonly<Record<string, FiringValue>>): void;
};

/** Handles one message of a channel; `nowMs` is rule time, `atNs` log time. The bytes are borrowed for the call. */
export type Listener = (message: Uint8Array, nowMs: number, atNs: bigint) => void;

export interface Detector {
  /** Its conditions are looked at every tick and not after every message, for it watches far more than one message tells. */
  readonly isJudgedAtTicks?: boolean;
  /** Offered every channel once: how to listen to it, or undefined. */
  bind(channel: Channel): Listener | undefined;
  /** About every 50 ms of rule time. */
  onTick?(nowMs: number): void;
  /** Everything was silent for seconds: what was learnt of rhythms and motion before no longer holds. */
  onLongSilence?(): void;
  /** What it found to watch, for `status`: "/joint_states: finger_l, finger_r"; empty while it has nothing. */
  describe(): readonly string[];
}

export type DetectorKind = {
  readonly name: string;
  readonly parameters: z.ZodObject;
  /** Names under which a rule may give topics. */
  readonly roles: readonly string[];
  /** What it needs, said when it found nothing: "a JointState with finger joints". */
  readonly needs: string;
  readonly recoversWhen: "explicit" | "cleared" | "never";
  readonly clearForMs: number;
  readonly coolDownMs: number;
  open(parameters: unknown, deps: DetectorDeps): Detector;
};

/** The reader for a path, or undefined where messages of the channel have no such field. */
export function readerOf(fields: FieldAccess, channel: Channel, path: string): FieldReader | undefined {
  const reader = fields(channel, path);
  return typeof reader === "function" ? reader : undefined;
}

/** The number, or NaN where the message has none. */
export function numberOf(value: ReturnType<FieldReader>): number {
  return typeof value === "number" ? value : Number.NaN;
}

export function numbersOf(value: ReturnType<FieldReader>): ArrayLike<number> {
  if (value instanceof Float64Array) return value;
  return Array.isArray(value) && typeof value[0] === "number" ? value : [];
}

export function textsOf(value: ReturnType<FieldReader>): readonly string[] {
  return Array.isArray(value) && typeof value[0] === "string" ? value : [];
}
