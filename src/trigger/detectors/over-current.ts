/**
 * Over-current: a motor draws more than it may, or far more than it ever needed.
 *
 * Input: amperes per motor, in the `effort` of a JointState on a topic whose name says "current". The magnitude is
 * low-passed (time constant `smooth_ms`), since every start of a motor draws a peak.
 * Condition per motor: I > `limit_a` where that is given; else I > `factor` × the learnt reach, known after
 * `learn_ms` of the motor at work (above a tenth of its reach). The reach follows a new maximum by at most
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
  textsOf,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  limit_a: z.number().positive().optional(),
  factor: z.number().min(1.1).default(2),
  learn_ms: z.number().min(1000).default(60_000),
  smooth_ms: z.number().min(1).default(250),
  follow_share: z.number().min(0).max(1).default(0.05),
});
type Parameters = z.infer<typeof parametersSchema>;

const WORKING_SHARE = 0.1;
const MOTORS_MAX = 256;

export const overCurrent: DetectorKind = {
  name: "over_current",
  parameters: parametersSchema,
  roles: ["currents"],
  needs: 'a JointState whose topic says "current"',
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
    const isWanted = named === undefined ? /current/i.test(channel.topic) : channel.topic === named;
    if (!isWanted || plainTypeName(channel.schema.name) !== "sensor_msgs/JointState") return undefined;
    const efforts = readerOf(this.#deps.fields, channel, "effort");
    const names = readerOf(this.#deps.fields, channel, "name");
    if (efforts === undefined || names === undefined) return undefined;
    let motors: readonly Motor[] = [];
    return (message, nowMs) => {
      const amperes = numbersOf(efforts(message));
      if (motors.length !== amperes.length) motors = this.#open(channel.topic, textsOf(names(message)), amperes.length);
      for (const [index, motor] of motors.entries()) motor.feel(Math.abs(amperes[index] ?? Number.NaN), nowMs);
    };
  }

  describe(): readonly string[] {
    return this.#motors.map((motor) => `${motor.subject.topic}: ${motor.subject.name}`);
  }

  #open(topic: string, names: readonly string[], count: number): readonly Motor[] {
    if (this.#motors.length + count > MOTORS_MAX) return [];
    const motors = Array.from({ length: count }, (_, index) => {
      const name = names[index] ?? String(index);
      const known = this.#motors.find((motor) => motor.subject.topic === topic && motor.subject.name === name);
      return known ?? new Motor(this.#parameters, this.#deps.watch(topic, name));
    });
    for (const motor of motors) if (!this.#motors.includes(motor)) this.#motors.push(motor);
    return motors;
  }
}

class Motor {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  #smoothA = 0;
  #reachA = 0;
  #workedMs = 0;
  #lastMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
  }

  feel(ampere: number, nowMs: number): void {
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
    const { limit_a, factor, learn_ms } = this.#parameters;
    if (limit_a !== undefined) return limit_a;
    return this.#workedMs < learn_ms ? undefined : factor * this.#reachA;
  }

  #learn(elapsedMs: number): void {
    const { learn_ms, follow_share } = this.#parameters;
    if (this.#smoothA > WORKING_SHARE * this.#reachA) this.#workedMs += elapsedMs;
    if (this.#smoothA <= this.#reachA) return;
    const isLearning = this.#workedMs < learn_ms;
    const mostA = this.#reachA * (1 + (follow_share * elapsedMs) / 1000);
    this.#reachA = isLearning ? this.#smoothA : Math.min(this.#smoothA, mostA);
  }
}
