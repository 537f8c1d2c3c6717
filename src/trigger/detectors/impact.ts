/**
 * Impact: the body was hit, or hit something.
 *
 * d = | |a| − g | in m/s², with |a| the norm of the body IMU's acceleration and g its mean over the last seconds (time
 * constant 2 s): 9.8, or about 0 where gravity is taken out. Condition: d > max(`shock_ms2`, `factor` × the usual peak
 * of d), see usual-peak.ts: what a rough floor or a gait does many times a minute is no impact. Known after `learn_ms`.
 * The default of 30 m/s² over 11 ms, the half sine of IEC 60068-2-27, is a change of speed by 0.2 m/s; a robot that
 * brakes as hard as rubber grips changes its speed by 0.1 in that time.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import type { Detector, DetectorDeps, DetectorKind, Listener, Subject } from "../detector.ts";
import { type ImuSample, listenToBodyImu } from "./body-imu.ts";
import { UsualPeak } from "./usual-peak.ts";

const parametersSchema = z.strictObject({
  shock_ms2: z.number().positive().default(30),
  factor: z.number().min(1).default(3),
  learn_ms: z.number().min(0).default(5000),
});
type Parameters = z.infer<typeof parametersSchema>;

const MEAN_MS = 2000;

export const impact: DetectorKind = {
  name: "impact",
  parameters: parametersSchema,
  roles: ["imu"],
  needs: "a sensor_msgs/Imu on the robot's body",
  recoversWhen: "cleared",
  clearForMs: 500,
  coolDownMs: 2000,
  open: (parameters, deps) => new Impact(parametersSchema.parse(parameters), deps),
};

class Impact implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #bodies = new Map<string, Body>();

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const { topic } = channel;
    const listen = listenToBodyImu(channel, this.#deps, (sample, nowMs) =>
      this.#bodies.get(topic)?.feel(sample, nowMs),
    );
    if (listen !== undefined && !this.#bodies.has(topic))
      this.#bodies.set(topic, new Body(this.#parameters, this.#deps.watch(topic, "shock")));
    return listen;
  }

  describe(): readonly string[] {
    return [...this.#bodies.keys()];
  }
}

class Body {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  readonly #usual: UsualPeak;
  #mean = Number.NaN;
  #lastMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
    this.#usual = new UsualPeak(Math.ceil(parameters.learn_ms / 1000));
  }

  feel({ acceleration }: ImuSample, nowMs: number): void {
    const norm = Math.hypot(...acceleration);
    if (Number.isNaN(norm)) {
      this.subject.condition = undefined;
      return;
    }
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (Number.isNaN(this.#mean)) this.#mean = norm;
    const shock = Math.abs(norm - this.#mean);
    const { shock_ms2, factor } = this.#parameters;
    const limit = Math.max(shock_ms2, factor * this.#usual.value);
    this.subject.condition = Number.isNaN(limit) ? undefined : shock > limit;
    if (this.subject.condition) this.subject.values = () => ({ shock_ms2: shock, limit_ms2: limit });
    this.#usual.add(shock, nowMs);
    // Clipped: what a shock does to the mean would otherwise count as a shock of its own.
    const step = Math.min(shock, shock_ms2) * Math.sign(norm - this.#mean);
    if (elapsedMs > 0) this.#mean += (1 - Math.exp(-elapsedMs / MEAN_MS)) * step;
  }
}
