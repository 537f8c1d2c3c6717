/**
 * Free fall: the body weighs next to nothing.
 *
 * Condition: |a| < `fall_ms2`, with a the acceleration that the body's IMU feels, of one that felt more than `rest_ms2`
 * on average (time constant `MEAN_MS`, known after as long): one that takes gravity out tells nothing. Exactly 0 is what
 * an IMU without an accelerometer says, such as a camera's gyroscope, and is no fall. The rule's `for_ms` says for how long.
 * Source: Analog Devices ADXL345, THRESH_FF 0.3 to 0.6 g, TIME_FF 100 to 350 ms.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import type { Detector, DetectorDeps, DetectorKind, Listener, Subject } from "../detector.ts";
import { BodyImus, type ImuSample } from "./body-imu.ts";

const parametersSchema = z.strictObject({
  fall_ms2: z.number().positive().default(3.3).describe("less than this is a fall (m/s²) …"),
  rest_ms2: z.number().positive().default(8).describe("… of an IMU that felt more than this before (m/s²)"),
});
type Parameters = z.infer<typeof parametersSchema>;

const MEAN_MS = 5000;
/** A gap says nothing about what was felt in it. */
const GAP_MS = 100;

export const freeFall: DetectorKind = {
  name: "free_fall",
  parameters: parametersSchema,
  roles: ["imu"],
  needs: "a sensor_msgs/Imu on the robot's body",
  recoversWhen: "never",
  clearForMs: 500,
  coolDownMs: 1000,
  open: (parameters, deps) => new FreeFall(parametersSchema.parse(parameters), deps),
};

class FreeFall implements Detector {
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

  onLongSilence(): void {
    for (const { subject } of this.#bodies.values()) subject.condition = undefined;
  }

  describe(): readonly string[] {
    return [...this.#bodies.keys()];
  }

  #bodyOf(topic: string): Body {
    const known = this.#bodies.get(topic);
    if (known !== undefined) return known;
    const body = new Body(this.#parameters, this.#deps.watch(topic, "weight"));
    this.#bodies.set(topic, body);
    return body;
  }
}

class Body {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  #meanMs2 = 0;
  #heardMs = 0;
  #lastMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
  }

  feel({ acceleration }: ImuSample, nowMs: number): void {
    const felt = Math.hypot(...acceleration);
    const elapsedMs = Math.min(nowMs - this.#lastMs, GAP_MS);
    this.#lastMs = nowMs;
    if (!(felt > 0)) {
      this.subject.condition = undefined;
      return;
    }
    const isKnown = this.#heardMs >= MEAN_MS;
    const { fall_ms2, rest_ms2 } = this.#parameters;
    this.subject.condition = isKnown ? felt < fall_ms2 && this.#meanMs2 > rest_ms2 : undefined;
    if (this.subject.condition === true) this.subject.values = () => ({ felt_ms2: felt });
    if (!(elapsedMs > 0)) return;
    this.#heardMs += elapsedMs;
    this.#meanMs2 += (elapsedMs / Math.min(this.#heardMs, MEAN_MS)) * (felt - this.#meanMs2);
  }
}
