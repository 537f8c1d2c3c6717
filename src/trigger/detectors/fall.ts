/**
 * Fall: the robot tipped over.
 *
 * The direction of gravity in the IMU's own frame is its accelerometer, low-passed (time constant `smooth_ms`); its
 * mean over the first `learn_ms` is *upright*, however the IMU is mounted. Where that mean is not gravity (no
 * accelerometer, gravity taken out), the IMU's own estimate of its orientation tells up instead.
 * tilt = angle between the two. Condition: tilt > `tilt_deg` within `within_ms` of having been below `upright_deg`,
 * and as long as it stays above `upright_deg` after that, whatever gaps there are. Unknown while learning, in free fall
 * or violent motion (|a| off by more than `norm_share` of the learnt norm), and without a value.
 * An IMU that leans as part of its work is not the robot's body: see body-imu.ts; one whose tilt changed slowly
 * through `tilt_deg`, or that was found tilted after a silence, is unknown until it was upright for `within_ms` on end.
 * Source: inclination from gravity, e.g. Freescale AN3461 (2013), eq. 38.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import type { Detector, DetectorDeps, DetectorKind, Listener, Subject } from "../detector.ts";
import { BodyImus, GRAVITY, type ImuSample } from "./body-imu.ts";
import { angleDeg, blend, type Vector, ZERO } from "./vector.ts";

const parametersSchema = z.strictObject({
  tilt_deg: z.number().min(10).max(180).default(50).describe("further than this is a fall (°) …"),
  upright_deg: z.number().min(1).max(90).default(25).describe("… if it was below this (°) …"),
  within_ms: z.number().min(100).default(3000).describe("… so shortly before (ms)"),
  learn_ms: z.number().min(500).default(5000).describe("of standing or driving, to learn upright (ms)"),
  smooth_ms: z.number().min(10).default(300).describe("low-pass of the accelerometer (ms)"),
  norm_share: z
    .number()
    .min(0.05)
    .max(1)
    .default(0.35)
    .describe("acceleration off by more than this share is not judged"),
});
type Parameters = z.infer<typeof parametersSchema>;

export const fall: DetectorKind = {
  name: "fall",
  parameters: parametersSchema,
  roles: ["imu"],
  needs: "a sensor_msgs/Imu on the robot's body",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 5000,
  open: (parameters, deps) => new Fall(parametersSchema.parse(parameters), deps),
};

class Fall implements Detector {
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
    for (const body of this.#bodies.values()) body.forget();
  }

  describe(): readonly string[] {
    return [...this.#bodies.keys()];
  }

  #bodyOf(topic: string): Body {
    const known = this.#bodies.get(topic);
    if (known !== undefined) return known;
    const body = new Body(this.#parameters, this.#deps.watch(topic, "tilt"));
    this.#bodies.set(topic, body);
    return body;
  }
}

/** A gap in which an IMU said nothing is no time in which the robot leaned, or stood. */
const GAP_MS = 1000;

/** What the body does, and the condition that this is. */
const POSTURES = { upright: false, fallen: true, leaning: undefined } as const;

class Body {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  #source: "acceleration" | "orientation" = "acceleration";
  #smooth: Vector | undefined;
  #lastMs = Number.NaN;
  #upright: Vector = ZERO;
  #learntMs = 0;
  #posture: keyof typeof POSTURES = "upright";
  #uprightSinceMs = Number.NaN;
  #uprightAtMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
  }

  /** What lay before a silence lies until it is seen upright. */
  forget(): void {
    this.#smooth = undefined;
    this.#uprightSinceMs = Number.NaN;
    this.#uprightAtMs = Number.NaN;
    this.subject.condition = undefined;
  }

  feel(sample: ImuSample, nowMs: number): void {
    const up = this.#source === "acceleration" ? sample.acceleration : sample.up();
    if (!(Math.hypot(...up) > 0)) {
      this.subject.condition = undefined;
      if (this.#learntMs === 0) this.#changeSource();
      return;
    }
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (elapsedMs > GAP_MS) {
      this.#uprightAtMs += elapsedMs;
      this.#uprightSinceMs += elapsedMs;
    }
    const share = 1 - Math.exp(-elapsedMs / this.#parameters.smooth_ms);
    this.#smooth = this.#smooth === undefined ? up : blend(this.#smooth, up, share);
    if (this.#learntMs < this.#parameters.learn_ms) this.#learn(this.#smooth, Math.min(elapsedMs, 100));
    else this.#judge(this.#smooth, nowMs);
  }

  #learn(up: Vector, weightMs: number): void {
    if (!(weightMs > 0)) return;
    this.#learntMs += weightMs;
    this.#upright = blend(this.#upright, up, weightMs / this.#learntMs);
    if (this.#learntMs >= this.#parameters.learn_ms && !isUp(Math.hypot(...this.#upright))) this.#changeSource();
  }

  #changeSource(): void {
    this.#source = this.#source === "acceleration" ? "orientation" : "acceleration";
    this.#smooth = undefined;
    this.#learntMs = 0;
  }

  #judge(up: Vector, nowMs: number): void {
    const { tilt_deg, upright_deg, within_ms, norm_share } = this.#parameters;
    const norm = Math.hypot(...this.#upright);
    if (Math.abs(Math.hypot(...up) - norm) > norm_share * norm) {
      this.subject.condition = undefined;
      return;
    }
    const tilt = angleDeg(up, this.#upright);
    if (tilt < upright_deg) this.#stand(nowMs);
    else this.#uprightSinceMs = Number.NaN;
    if (tilt > tilt_deg && this.#posture === "upright") {
      this.#posture = nowMs - this.#uprightAtMs <= within_ms ? "fallen" : "leaning";
      this.subject.values = () => ({ tilt_deg: tilt });
    }
    this.subject.condition = POSTURES[this.#posture];
  }

  #stand(nowMs: number): void {
    if (Number.isNaN(this.#uprightSinceMs)) this.#uprightSinceMs = nowMs;
    this.#uprightAtMs = nowMs;
    const hasStood = nowMs - this.#uprightSinceMs >= this.#parameters.within_ms;
    if (this.#posture === "fallen" || hasStood) this.#posture = "upright";
  }
}

/** Gravity in m/s², or in its own unit as some drivers have it, or the length of a direction. */
function isUp(norm: number): boolean {
  return [GRAVITY, 1].some((unit) => Math.abs(norm - unit) < 0.2 * unit);
}
