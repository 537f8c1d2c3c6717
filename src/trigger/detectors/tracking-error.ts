/**
 * Tracking error: a joint is not where it is told to be, and does not go there.
 *
 * Inputs: commanded and measured positions of joints of the same names: JointStates on topics named as commands
 * (command, cmd, target, desired, setpoint, reference) against those that are not; or what a trajectory controller states
 * of itself (control_msgs/JointTrajectoryControllerState, the feedback of FollowJointTrajectory).
 * e = distance of the position from everything commanded within the last `lag_ms`: a joint that follows late has none.
 * Condition per joint: e > max(`error_min`, `factor` × the usual peak of e, see usual-peak.ts), while the joint does
 * not go there: its way towards the command, position less its mean of half a second, is under 3 % of e. So an arm
 * that sags is known by its sag, and a far target is no error while it is approached.
 * Judged after `LEARN_S` seconds of commands; unknown while none come. Hands are left out: what they hold stops fingers
 * short of their command.
 * Units are those of the positions, rad or m. The default of 0.2 rad is the trajectory tolerance that the drivers of
 * common arms come with (Universal Robots' ROS drivers, constraints/trajectory).
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
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";
import { SlidingWindow } from "../window.ts";
import { layoutReaderOf } from "./joint-layout.ts";
import { UsualPeak } from "./usual-peak.ts";

const parametersSchema = z.strictObject({
  error_min: z.number().positive().default(0.2).describe("the floor (rad or m)"),
  factor: z.number().min(1).default(3).describe("times the usual peak of the error"),
  lag_ms: z.number().min(50).max(10_000).default(500).describe("a joint may be as late as this (ms)"),
});
type Parameters = z.infer<typeof parametersSchema>;

export const trackingError: DetectorKind = {
  name: "tracking_error",
  parameters: parametersSchema,
  roles: ["command", "joints"],
  needs: "commanded and measured positions of the same joints",
  recoversWhen: "cleared",
  clearForMs: 500,
  coolDownMs: 2000,
  open: (parameters, deps) => new TrackingError(parametersSchema.parse(parameters), deps),
};

export const COMMAND_NAME = /command|cmd|target|desired|set_?point|reference|goal/i;
const HAND = /hand|finger|gripper|thumb|claw|jaw|knuckle|pinch/i;
const JOINTS_MAX = 256; // a broken publisher must not fill the memory with new names
/** A joint's state or command, fast as it may come, is looked at so often. */
const LOOK_MS = 10;

/** Messages that carry both, and what stands before `joint_names`. */
const CONTROLLERS = new Map([
  ["control_msgs/JointTrajectoryControllerState", ""],
  ["control_msgs/FollowJointTrajectoryActionFeedback", "feedback."],
  ["control_msgs/action/FollowJointTrajectory_FeedbackMessage", "feedback."],
]);

class TrackingError implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #joints = new Map<string, Joint>();

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const type = plainTypeName(channel.schema.name);
    const prefix = CONTROLLERS.get(type);
    const [command, state] = [this.#deps.topicOf("command"), this.#deps.topicOf("joints")];
    if (prefix !== undefined && (command === undefined || channel.topic === command))
      return this.#listenToController(channel, prefix);
    if (type !== "sensor_msgs/JointState") return undefined;
    if (channel.topic === command || (command === undefined && COMMAND_NAME.test(channel.topic)))
      return this.#listen(channel, "name", [["position", tell]]);
    const isState = state === undefined ? !/current|effort/i.test(channel.topic) : channel.topic === state;
    return isState ? this.#listen(channel, "name", [["position", move]]) : undefined;
  }

  onLongSilence(): void {
    for (const joint of this.#joints.values()) joint.forget();
  }

  describe(): readonly string[] {
    const joints = [...this.#joints.values()].filter((joint) => joint.isCommanded);
    return joints.map(({ subject }) => `${subject.topic}: ${subject.name}`);
  }

  #listenToController(channel: Channel, prefix: string): Listener | undefined {
    const isNew = readerOf(this.#deps.fields, channel, `${prefix}reference.positions`) !== undefined;
    const [told, moved] = isNew ? ["reference", "feedback"] : ["desired", "actual"];
    return this.#listen(channel, `${prefix}joint_names`, [
      [`${prefix}${told}.positions`, tell],
      [`${prefix}${moved}.positions`, move],
    ]);
  }

  #listen(channel: Channel, names: string, fields: readonly (readonly [string, Hear])[]): Listener | undefined {
    const jointsOf = layoutReaderOf(channel, this.#deps, names, (texts) => this.#open(channel.topic, texts));
    const readers = fields.flatMap(([path, hear]) => {
      const read = readerOf(this.#deps.fields, channel, path);
      return read === undefined ? [] : [{ read, hear }];
    });
    if (jointsOf === undefined || readers.length < fields.length) return undefined;
    let lookMs = Number.NEGATIVE_INFINITY;
    let layout: Joints = [];
    return (message, nowMs) => {
      const joints = jointsOf(message);
      // Messages of another layout carry other joints.
      if (nowMs - lookMs < LOOK_MS && joints === layout) return;
      lookMs = nowMs;
      layout = joints;
      for (const { read, hear } of readers) {
        const positions = numbersOf(read(message));
        for (const [index, joint] of joints.entries())
          if (joint !== undefined) hear(joint, positions[index] ?? Number.NaN, nowMs);
      }
    };
  }

  #open(topic: string, names: readonly string[]): Joints {
    return names.map((name) => {
      if (HAND.test(name)) return undefined;
      const known = this.#joints.get(name);
      if (known !== undefined || this.#joints.size >= JOINTS_MAX) return known;
      const joint = new Joint(this.#parameters, this.#deps.watch(topic, name));
      this.#joints.set(name, joint);
      return joint;
    });
  }
}

type Joints = readonly (Joint | undefined)[];
type Hear = (joint: Joint, position: number, nowMs: number) => void;
const tell: Hear = (joint, position, nowMs) => joint.tell(position, nowMs);
const move: Hear = (joint, position, nowMs) => joint.move(position, nowMs);

const MEAN_MS = 500;
const APPROACH_SHARE = 0.03;
const LEARN_S = 3;

class Joint {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  readonly #lowest: SlidingWindow;
  readonly #highest: SlidingWindow;
  readonly #usual = new UsualPeak(LEARN_S);
  #mean = Number.NaN;
  #movedMs = Number.NaN;
  isCommanded = false;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
    this.#lowest = new SlidingWindow("min", parameters.lag_ms);
    this.#highest = new SlidingWindow("max", parameters.lag_ms);
  }

  forget(): void {
    this.#lowest.reset();
    this.#highest.reset();
    this.#mean = Number.NaN;
    this.subject.condition = undefined;
  }

  tell(position: number, nowMs: number): void {
    this.isCommanded = true;
    this.#lowest.push(position, nowMs);
    this.#highest.push(position, nowMs);
  }

  move(position: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#movedMs;
    this.#movedMs = nowMs;
    if (!this.isCommanded) return;
    const [low, high] = [this.#lowest.value(nowMs), this.#highest.value(nowMs)];
    if (Number.isNaN(position) || Number.isNaN(low) || !(elapsedMs >= 0)) {
      this.subject.condition = undefined;
      return;
    }
    if (Number.isNaN(this.#mean)) this.#mean = position;
    this.#mean += (1 - Math.exp(-elapsedMs / MEAN_MS)) * (position - this.#mean);
    this.#judge(position, Math.max(low - position, position - high, 0), position < low ? 1 : -1, nowMs);
  }

  #judge(position: number, error: number, direction: number, nowMs: number): void {
    const { error_min, factor } = this.#parameters;
    const limit = Math.max(error_min, factor * this.#usual.value);
    const isApproaching = (position - this.#mean) * direction > APPROACH_SHARE * error;
    this.subject.condition = Number.isNaN(limit) ? undefined : error > limit && !isApproaching;
    if (this.subject.condition) this.subject.values = () => ({ joint: this.subject.name, error, limit });
    if (this.subject.condition !== true && !isApproaching) this.#usual.add(error, nowMs);
  }
}
