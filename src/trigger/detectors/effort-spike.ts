/**
 * Effort spike: an arm's joint is hit.
 *
 * Per joint, leap = |effort − its low-pass over `smooth_ms`|. Condition: leap > `factor` × the largest leap that this joint
 * made while the arm moved, and leap > `reach_factor` × the largest effort that any of its joints had then; known after
 * `learn_ms` of motion (some joint more than 0.01 rad or m away from where it was half a second before). A payload or a
 * pose changes efforts slowly and leaps little; a wrist that never bore anything is measured by the whole arm. Fingers
 * are left out: contact is their work. What is learnt follows new maxima, but not those of a spike that is reported.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numbersOf,
  readerOf,
  type Subject,
  textsOf,
} from "../detector.ts";
import { type FieldReader, plainTypeName } from "../seams.ts";
import { findFingers } from "./finger-group.ts";

const parametersSchema = z.strictObject({
  factor: z.number().min(1).default(4),
  reach_factor: z.number().min(0).default(1.5),
  learn_ms: z.number().min(0).default(15_000),
  smooth_ms: z.number().min(10).default(200),
});
type Parameters = z.infer<typeof parametersSchema>;

const NO_STATE = /cmd|command|goal|target|desired|reference|setpoint|current/i;
const MOVED = 0.01;
const LOOK_MS = 500;
const JOINTS_MAX = 256;

export const effortSpike: DetectorKind = {
  name: "effort_spike",
  parameters: parametersSchema,
  roles: ["joints"],
  needs: "a JointState with positions and efforts",
  recoversWhen: "never",
  clearForMs: 500,
  coolDownMs: 2000,
  open: (parameters, deps) => new EffortSpike(parametersSchema.parse(parameters), deps),
};

class EffortSpike implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #arms = new Map<string, Arm>();

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const { topic, schema } = channel;
    const named = this.#deps.topicOf("joints");
    const isWanted = named === undefined ? !NO_STATE.test(topic) : topic === named;
    if (!isWanted || plainTypeName(schema.name) !== "sensor_msgs/JointState") return undefined;
    const [names, positions, efforts] = ["name", "position", "effort"].map((path) =>
      readerOf(this.#deps.fields, channel, path),
    );
    if (names === undefined || positions === undefined || efforts === undefined) return undefined;
    return (message, nowMs) => {
      const effort = numbersOf(efforts(message));
      if (effort.length === 0) return;
      const arm = this.#arms.get(topic) ?? this.#open(topic, textsOf(names(message)));
      if (arm.joints.length !== effort.length) return; // another publisher's joints on the same topic
      arm.look(positions, message, nowMs);
      arm.feel(effort, nowMs);
    };
  }

  onLongSilence(): void {
    for (const arm of this.#arms.values()) arm.forget();
  }

  describe(): readonly string[] {
    return [...this.#arms].map(
      ([topic, { joints }]) => `${topic}: ${joints.filter(({ subject }) => subject).length} joints`,
    );
  }

  #open(topic: string, names: readonly string[]): Arm {
    const fingers = new Set([...findFingers(names).values()].flat());
    const joints = names.slice(0, JOINTS_MAX).map((name, index) => ({
      subject: fingers.has(index) ? undefined : this.#deps.watch(topic, name),
      smooth: Number.NaN,
      leap: 0,
    }));
    const arm = new Arm(this.#parameters, joints);
    this.#arms.set(topic, arm);
    return arm;
  }
}

/** `leap`: the largest one in motion. Of a finger there is no subject. */
type Joint = { readonly subject: Subject | undefined; smooth: number; leap: number };

class Arm {
  readonly joints: readonly Joint[];
  readonly #parameters: Parameters;
  #reach = 0;
  #movedMs = 0;
  #isMoving = false;
  #at: readonly number[] = [];
  #lookedMs = Number.NaN;
  #lastMs = Number.NaN;

  constructor(parameters: Parameters, joints: readonly Joint[]) {
    this.#parameters = parameters;
    this.joints = joints;
  }

  forget(): void {
    this.#lastMs = Number.NaN;
    for (const joint of this.joints) joint.smooth = Number.NaN;
  }

  /** Twice a second: whether the arm moves. */
  look(read: FieldReader, message: Uint8Array, nowMs: number): void {
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    const position = Array.from(numbersOf(read(message)));
    this.#isMoving = this.#at.some((x, index) => Math.abs(x - (position[index] ?? x)) > MOVED);
    if (this.#isMoving) this.#movedMs += Math.min(nowMs - this.#lookedMs, 2 * LOOK_MS);
    this.#at = position;
    this.#lookedMs = nowMs;
  }

  feel(effort: ArrayLike<number>, nowMs: number): void {
    const { smooth_ms, learn_ms, factor, reach_factor } = this.#parameters;
    const share = Number.isNaN(this.#lastMs) ? 1 : 1 - Math.exp((this.#lastMs - nowMs) / smooth_ms);
    this.#lastMs = nowMs;
    const isKnown = this.#movedMs >= learn_ms && this.#reach > 0;
    const reach = this.#reach;
    for (const [index, joint] of this.joints.entries()) {
      const x = effort[index] ?? Number.NaN;
      const { subject } = joint;
      if (subject === undefined || Number.isNaN(x)) continue;
      if (Number.isNaN(joint.smooth)) joint.smooth = x;
      const leap = Math.abs(x - joint.smooth);
      joint.smooth += share * (x - joint.smooth);
      const limit = Math.max(factor * joint.leap, reach_factor * reach);
      subject.condition = isKnown ? leap > limit : undefined;
      if (subject.condition === true) subject.values = () => ({ joint: subject.name, leap, limit });
      else if (this.#isMoving) {
        joint.leap = Math.max(joint.leap, leap);
        this.#reach = Math.max(this.#reach, Math.abs(x));
      }
    }
  }
}
