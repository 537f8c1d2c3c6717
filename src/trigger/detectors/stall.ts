/**
 * Stall: the robot is told to move, or its wheels push, and nothing moves.
 *
 * Two forms, each a subject of its own:
 * - *command without motion*: a base's velocity command (Twist on `cmd_vel`, `commands/velocity`) asks for at least
 *   `speed_min` (m/s, or rad/s for turning on the spot) while its Odometry shows less than `moved_share` of it. The
 *   command counts only while it keeps coming (a driver stops its base when it ceases, typically after 0.5 s), and
 *   only once the odometry has followed a command before: a base that never moved is switched off, not stalled.
 * - *effort without motion*: a wheel (a joint named so, with effort) pushes harder than `push_factor` × the mean of
 *   what it needs while it moves, and turns slower than `moved_share` of its usual speed. Other joints hold loads at
 *   rest as part of their work.
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

const parametersSchema = z.strictObject({
  speed_min: z.number().positive().default(0.1),
  moved_share: z.number().min(0).max(0.9).default(0.15),
  push_factor: z.number().min(1).default(2),
});
type Parameters = z.infer<typeof parametersSchema>;

const COMMAND_MS = 500;
const LEARN_SAMPLES = 200;
const VELOCITY_COMMAND = /(^|\/)(cmd_vel|commands\/velocity)$/;
const TWIST_TYPES = new Map([
  ["geometry_msgs/Twist", ""],
  ["geometry_msgs/TwistStamped", "twist."],
]);

export const stall: DetectorKind = {
  name: "stall",
  parameters: parametersSchema,
  roles: ["command", "odometry", "joints"],
  needs: "a velocity command with an Odometry, or wheel joints with effort",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 2000,
  open: (parameters, deps) => new Stall(parametersSchema.parse(parameters), deps),
};

class Stall implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  #command: string | undefined;
  #odometry: string | undefined;
  #base: Base | undefined;
  readonly #wheels: Wheel[] = [];

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const type = plainTypeName(channel.schema.name);
    const twist = TWIST_TYPES.get(type);
    if (twist !== undefined && this.#isFor("command", channel.topic, this.#command, VELOCITY_COMMAND)) {
      this.#command = channel.topic;
      return this.#listenToPlane(channel, twist, (base, speed, turn, nowMs) => base.tell(speed, turn, nowMs));
    }
    if (type === "nav_msgs/Odometry" && this.#isFor("odometry", channel.topic, this.#odometry, /odom/i)) {
      this.#odometry = channel.topic;
      return this.#listenToPlane(channel, "twist.twist.", (base, speed, turn, nowMs) => base.move(speed, turn, nowMs));
    }
    if (type === "sensor_msgs/JointState" && this.#isFor("joints", channel.topic, undefined, /joint/i))
      return this.#listenToWheels(channel);
    return undefined;
  }

  onTick(nowMs: number): void {
    this.#base?.judge(nowMs);
  }

  onLongSilence(): void {
    this.#base?.forget();
  }

  describe(): readonly string[] {
    const base = this.#base === undefined ? [] : [`${this.#command} against ${this.#odometry}`];
    return [...base, ...this.#wheels.map((wheel) => `${wheel.subject.topic}: ${wheel.subject.name}`)];
  }

  /** The named topic of a role, or else the first that looks right. */
  #isFor(role: string, topic: string, taken: string | undefined, pattern: RegExp): boolean {
    const named = this.#deps.topicOf(role);
    if (named !== undefined) return topic === named;
    return taken === undefined ? pattern.test(topic) : topic === taken;
  }

  #listenToPlane(
    channel: Channel,
    prefix: string,
    tell: (base: Base, speed: number, turn: number, nowMs: number) => void,
  ): Listener | undefined {
    const { fields } = this.#deps;
    const x = readerOf(fields, channel, `${prefix}linear.x`);
    const y = readerOf(fields, channel, `${prefix}linear.y`);
    const turn = readerOf(fields, channel, `${prefix}angular.z`);
    if (x === undefined || y === undefined || turn === undefined) return undefined;
    return (message, nowMs) => {
      const base = this.#openBase();
      if (base !== undefined)
        tell(base, Math.hypot(number(x, message), number(y, message)), number(turn, message), nowMs);
    };
  }

  #openBase(): Base | undefined {
    if (this.#command === undefined || this.#odometry === undefined) return undefined;
    this.#base ??= new Base(this.#parameters, this.#deps.watch(this.#command, "base"));
    return this.#base;
  }

  #listenToWheels(channel: Channel): Listener | undefined {
    const { fields } = this.#deps;
    const [names, velocities, efforts] = ["name", "velocity", "effort"].map((path) => readerOf(fields, channel, path));
    if (names === undefined || velocities === undefined || efforts === undefined) return undefined;
    let wheels: readonly (Wheel | undefined)[] | undefined;
    return (message) => {
      wheels ??= this.#openWheels(channel.topic, textsOf(names(message)));
      if (wheels.every((wheel) => wheel === undefined)) return;
      const [speed, effort] = [numbersOf(velocities(message)), numbersOf(efforts(message))];
      for (const [index, wheel] of wheels.entries())
        wheel?.feel(speed[index] ?? Number.NaN, effort[index] ?? Number.NaN);
    };
  }

  #openWheels(topic: string, names: readonly string[]): readonly (Wheel | undefined)[] {
    return names.map((name) => {
      if (!/wheel/i.test(name)) return undefined;
      const wheel = new Wheel(this.#parameters, this.#deps.watch(topic, name));
      this.#wheels.push(wheel);
      return wheel;
    });
  }
}

function number(read: FieldReader, message: Uint8Array): number {
  const value = read(message);
  return typeof value === "number" ? value : Number.NaN;
}

class Base {
  readonly #parameters: Parameters;
  readonly #subject: Subject;
  #commandMs = Number.NaN;
  #command = { speed: 0, turn: 0 };
  #motion = { speed: Number.NaN, turn: Number.NaN };
  #hasFollowed = false;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.#subject = subject;
  }

  tell(speed: number, turn: number, nowMs: number): void {
    this.#command = { speed, turn };
    this.#commandMs = nowMs;
    this.judge(nowMs);
  }

  move(speed: number, turn: number, nowMs: number): void {
    this.#motion = { speed, turn };
    this.judge(nowMs);
  }

  forget(): void {
    this.#commandMs = Number.NaN;
    this.#motion = { speed: Number.NaN, turn: Number.NaN };
    this.#subject.condition = undefined;
  }

  judge(nowMs: number): void {
    const { speed_min, moved_share } = this.#parameters;
    const wanted = this.#command.speed + Math.abs(this.#command.turn);
    const moved = this.#motion.speed + Math.abs(this.#motion.turn);
    if (Number.isNaN(wanted) || Number.isNaN(moved)) {
      this.#subject.condition = undefined;
      return;
    }
    const isCommanded = nowMs - this.#commandMs <= COMMAND_MS && wanted >= speed_min;
    if (isCommanded && moved > 0.5 * wanted) this.#hasFollowed = true;
    this.#subject.condition = isCommanded && this.#hasFollowed && moved < moved_share * wanted;
    if (this.#subject.condition) this.#subject.values = () => ({ commanded: wanted, moved });
  }
}

class Wheel {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  #samples = 0;
  #usualSpeed = 0;
  #usualEffort = 0;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
  }

  feel(velocity: number, effort: number): void {
    const [speed, push] = [Math.abs(velocity), Math.abs(effort)];
    if (Number.isNaN(speed) || Number.isNaN(push)) {
      this.subject.condition = undefined;
      return;
    }
    const { moved_share, push_factor } = this.#parameters;
    const isTurning = speed > Math.max(0.05, moved_share * this.#usualSpeed);
    if (isTurning) this.#learn(speed, push);
    // A wheel without a torque sensor reports zero effort for ever.
    if (this.#samples < LEARN_SAMPLES || this.#usualEffort <= 0) return;
    this.subject.condition = !isTurning && push > push_factor * this.#usualEffort;
    this.subject.values = () => ({ joint: this.subject.name, effort: push, usual_effort: this.#usualEffort });
  }

  /** Running means over the samples in motion, slow after a while. */
  #learn(speed: number, push: number): void {
    this.#samples += 1;
    const share = 1 / Math.min(this.#samples, 10 * LEARN_SAMPLES);
    this.#usualSpeed += share * (speed - this.#usualSpeed);
    this.#usualEffort += share * (push - this.#usualEffort);
  }
}
