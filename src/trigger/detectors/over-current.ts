/**
 * Over-current: a motor draws more than it may, or far more than it ever needed.
 *
 * Inputs: amperes per motor, in the `effort` of a JointState or the `data` of a std_msgs number or array on a topic
 * whose name says "current" and of what (a motor, a battery, a unit), or in a field of that meaning of any message (`FIELDS`). The magnitude is low-passed (time constant
 * `smooth_ms`), since every start of a motor draws a peak.
 * Condition per motor: I > `limit_a` where that is given; else I > `factor` × the learnt reach, the most it drew.
 * The reach is known after `learn_ms` of the motor at work (above a tenth of the reach) in which its load went up and
 * down by a quarter of the reach at least `CYCLES` times: a motor that idled for an hour has not shown what it needs.
 * A reach that grows by half while it is learnt begins anew. It then follows a new maximum by at most
 * `follow_share` a second of work, so that a fault cannot teach itself to be normal while it is reported.
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
import { layoutReaderOf } from "./joint-layout.ts";

const parametersSchema = z.strictObject({
  limit_a: z.number().positive().optional().describe("a fixed limit (A, or the unit of the field)"),
  factor: z.number().min(1.1).default(2).describe("times the learnt reach"),
  learn_ms: z.number().min(1000).default(60_000).describe("of the motor at work, before it judges (ms)"),
  smooth_ms: z.number().min(1).default(250).describe("low-pass: every start draws a peak (ms)"),
  follow_share: z
    .number()
    .min(0)
    .max(1)
    .default(0.05)
    .describe("how fast the learnt reach follows a new maximum (1/s)"),
});
type Parameters = z.infer<typeof parametersSchema>;

const WORKING_SHARE = 0.1;
const SWING_SHARE = 0.25;
const CYCLES = 10;
const GROWTH = 1.5;
const MOTORS_MAX = 256;

/** `/motor_currents`, `/left_wheel/current`, `/current_left`; not `/current_speed` … */
const CURRENT_TOPIC = /currents?(_?(left|right|front|rear|m?a|amps?|amperes?|motors?|\d+))*$/i;
/** … and numbers only where a unit, a motor or what feeds it is beside it; not `/mission/current`, `/ocean_current`. */
const AMPERES =
  /motor|wheel|driver?|actuator|joint|servo|axis|axle|thruster|rotor|propeller|pump|winch|grip|finger|batter|power|supply|phase_|(?<![a-z])(arm|leg|hip|knee|esc|bus|m\d+|left|right|front|rear)(?![a-z])|_?(m?a|amps?|amperes?)$/i;
/** Where messages of drivers keep a motor's amperes. */
const FIELDS = [
  ...["motor_current", "motor_currents", "present_current", "measured_currents", "drivers[*].current"],
  ...["left_driver_current", "right_driver_current", "current_ma_left", "current_ma_right"],
  ...["state.current_motor", "current_motor"],
];

export const overCurrent: DetectorKind = {
  name: "over_current",
  parameters: parametersSchema,
  roles: ["currents"],
  needs: "motor currents, in a topic or a field named so",
  recoversWhen: "cleared",
  clearForMs: 500,
  coolDownMs: 2000,
  open: (parameters, deps) => new OverCurrent(parametersSchema.parse(parameters), deps),
};

class OverCurrent implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #motors: Motor[] = [];

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const named = this.#deps.topicOf("currents");
    if (named !== undefined && channel.topic !== named) return undefined;
    const isCurrent = named !== undefined || CURRENT_TOPIC.test(channel.topic);
    const type = plainTypeName(channel.schema.name);
    if (type === "sensor_msgs/JointState") return isCurrent ? this.#listenToJoints(channel) : undefined;
    const isAmperes = named !== undefined || (isCurrent && AMPERES.test(nearEndOf(channel.topic)));
    if (isAmperes && type.startsWith("std_msgs/")) return this.#listenToNumbers(channel, ["data"]);
    // Messages that describe themselves might have any field: then a rule must name the topic.
    const isTyped = channel.messageEncoding === "cdr" || channel.messageEncoding === "ros1";
    return named !== undefined || isTyped ? this.#listenToNumbers(channel, FIELDS) : undefined;
  }

  #listenToJoints(channel: Channel): Listener | undefined {
    const efforts = readerOf(this.#deps.fields, channel, "effort");
    const motorsOf = layoutReaderOf(channel, this.#deps, "name", (names) => this.#open(channel.topic, names));
    if (efforts === undefined || motorsOf === undefined) return undefined;
    return (message, nowMs) => {
      const amperes = numbersOf(efforts(message));
      for (const [index, motor] of motorsOf(message).entries()) motor.feel(amperes[index] ?? Number.NaN, nowMs);
    };
  }

  #listenToNumbers(channel: Channel, paths: readonly string[]): Listener | undefined {
    const readers = paths.flatMap((path) => {
      const read = readerOf(this.#deps.fields, channel, path);
      return read === undefined ? [] : [{ path, read, motors: [] as readonly Motor[] }];
    });
    if (readers.length === 0) return undefined;
    return (message, nowMs) => {
      for (const reader of readers) {
        const value = reader.read(message);
        const amperes = typeof value === "number" ? [value] : numbersOf(value);
        if (reader.motors.length !== amperes.length)
          reader.motors = this.#open(channel.topic, namesOf(reader.path, amperes.length));
        for (const [index, motor] of reader.motors.entries()) motor.feel(amperes[index] ?? Number.NaN, nowMs);
      }
    };
  }

  describe(): readonly string[] {
    return this.#motors.map((motor) => `${motor.subject.topic}: ${motor.subject.name}`);
  }

  #open(topic: string, names: readonly string[]): readonly Motor[] {
    if (this.#motors.length + names.length > MOTORS_MAX) return [];
    return names.map((name) => {
      const known = this.#motors.find(({ subject }) => subject.topic === topic && subject.name === name);
      if (known !== undefined) return known;
      const motor = new Motor(this.#parameters, this.#deps.watch(topic, name));
      this.#motors.push(motor);
      return motor;
    });
  }
}

/** The last part of a topic's name and the one before it, numbers aside: of `/motors/3/current`, `motors/current`. */
function nearEndOf(topic: string): string {
  const parts = topic.split("/").filter((part) => !/^\d+$/.test(part));
  return parts.slice(-2).join("/");
}

function namesOf(path: string, count: number): readonly string[] {
  return count === 1 ? [path] : Array.from({ length: count }, (_, index) => `${path}[${index}]`);
}

class Motor {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  #smoothA = 0;
  #reachA = 0;
  #firstReachA = 0;
  #workedMs = 0;
  #swings = 0;
  #turnA = 0;
  #isRising = true;
  #lastMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
  }

  feel(signedA: number, nowMs: number): void {
    const ampere = Math.abs(signedA);
    if (Number.isNaN(ampere)) {
      this.subject.condition = undefined;
      return;
    }
    const elapsedMs = Number.isNaN(this.#lastMs) ? 0 : Math.min(nowMs - this.#lastMs, 200);
    this.#lastMs = nowMs;
    this.#smoothA += (1 - Math.exp(-elapsedMs / this.#parameters.smooth_ms)) * (ampere - this.#smoothA);
    const current = this.#smoothA;
    const limit = this.#limit();
    this.subject.condition = limit === undefined ? undefined : current > limit;
    if (this.subject.condition)
      this.subject.values = () => ({ motor: this.subject.name, current_a: current, limit_a: limit ?? Number.NaN });
    this.#learn(elapsedMs);
  }

  #limit(): number | undefined {
    const { limit_a, factor } = this.#parameters;
    return limit_a ?? (this.#isLearning ? undefined : factor * this.#reachA);
  }

  get #isLearning(): boolean {
    return this.#workedMs < this.#parameters.learn_ms || this.#swings < 2 * CYCLES;
  }

  #learn(elapsedMs: number): void {
    const smoothA = this.#smoothA;
    if (smoothA > WORKING_SHARE * this.#reachA) this.#workedMs += elapsedMs;
    this.#countSwings(smoothA);
    if (smoothA <= this.#reachA) return;
    if (this.#isLearning) this.#reachA = smoothA;
    else this.#reachA = Math.min(smoothA, this.#reachA * (1 + (this.#parameters.follow_share * elapsedMs) / 1000));
    if (!this.#isLearning || this.#reachA < GROWTH * this.#firstReachA) return;
    this.#firstReachA = this.#reachA;
    this.#workedMs = 0;
    this.#swings = 0;
  }

  /** A swing is a way up or down of a quarter of the reach. */
  #countSwings(smoothA: number): void {
    const furthest = this.#isRising ? Math.max(this.#turnA, smoothA) : Math.min(this.#turnA, smoothA);
    this.#turnA = furthest;
    if (Math.abs(smoothA - furthest) < SWING_SHARE * this.#reachA || this.#reachA === 0) return;
    this.#isRising = !this.#isRising;
    this.#turnA = smoothA;
    this.#swings += 1;
  }
}
