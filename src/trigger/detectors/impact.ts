/**
 * Impact: the body was hit, or hit something.
 *
 * d = |a − m| in m/s², with a the acceleration that the body's IMU feels and m its mean over the last seconds (time constant
 * 2 s): gravity, or about 0 where a driver takes it out. Condition: d > max(`shock_ms2`, `factor` × the usual peak of
 * d), see usual-peak.ts: what a rough floor or a gait does many times a minute is no impact. Known after `learn_ms`.
 * The default of 50 m/s² over 11 ms, the half sine of IEC 60068-2-27, is a change of speed by 0.35 m/s; a robot that
 * brakes as hard as rubber grips changes its speed by 0.1 in that time, and no turn over makes more than 20 of gravity.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import type { Detector, DetectorDeps, DetectorKind, Listener, Subject } from "../detector.ts";
import { BodyImus, type ImuSample } from "./body-imu.ts";
import { UsualPeak } from "./usual-peak.ts";
import { blend, type Vector } from "./vector.ts";

const parametersSchema = z.strictObject({
  shock_ms2: z.number().positive().default(50).describe("the floor (m/s²)"),
  factor: z.number().min(1).default(3).describe("times the usual peak"),
  learn_ms: z.number().min(0).default(5000).describe("before it judges (ms)"),
});
type Parameters = z.infer<typeof parametersSchema>;

const MEAN_MS = 2000;

export const impact: DetectorKind = {
  name: "impact",
  parameters: parametersSchema,
  roles: ["imu"],
  needs: "a sensor_msgs/Imu on the robot's body",
  recoversWhen: "never",
  clearForMs: 500,
  coolDownMs: 2000,
  open: (parameters, deps) => new Impact(parametersSchema.parse(parameters), deps),
};

class Impact implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #imus: BodyImus;
  readonly #bodies = new Map<string, Body>();

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
    this.#imus = new BodyImus(deps, (topic, sample, nowMs) => this.#bodyOf(topic).feel(sample, nowMs));
  }

  bind(channel: Channel): Listener | undefined {
    return this.#imus.bind(channel);
  }

  describe(): readonly string[] {
    return [...this.#bodies.keys()];
  }

  #bodyOf(topic: string): Body {
    const known = this.#bodies.get(topic);
    if (known !== undefined) return known;
    const body = new Body(this.#parameters, this.#deps.watch(topic, "shock"));
    this.#bodies.set(topic, body);
    return body;
  }
}

class Body {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  readonly #usual: UsualPeak;
  #mean: Vector | undefined;
  #lastMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
    this.#usual = new UsualPeak(Math.ceil(parameters.learn_ms / 1000));
  }

  feel({ acceleration }: ImuSample, nowMs: number): void {
    if (Number.isNaN(Math.hypot(...acceleration))) {
      this.subject.condition = undefined;
      return;
    }
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    const mean = this.#mean ?? acceleration;
    const shock = Math.hypot(acceleration[0] - mean[0], acceleration[1] - mean[1], acceleration[2] - mean[2]);
    const { shock_ms2, factor } = this.#parameters;
    const limit = Math.max(shock_ms2, factor * this.#usual.value);
    this.subject.condition = Number.isNaN(limit) ? undefined : shock > limit;
    if (this.subject.condition) this.subject.values = () => ({ shock_ms2: shock, limit_ms2: limit });
    this.#usual.add(shock, nowMs);
    const share = elapsedMs > 0 ? 1 - Math.exp(-elapsedMs / MEAN_MS) : 0;
    this.#mean = blend(mean, acceleration, share);
  }
}
