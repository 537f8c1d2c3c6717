/**
 * Fall: the robot tipped over.
 *
 * The IMU's accelerometer, low-passed (time constant `smooth_ms`), gives the direction of gravity in the IMU's own
 * frame; its mean over the first `learn_ms` of standing or driving is *upright*, however the IMU is mounted.
 * tilt = angle between the two. Condition: tilt > `tilt_deg` within `within_ms` of having been below `upright_deg`,
 * and as long as it stays above `upright_deg` after that. Unknown while learning, in free fall or violent motion
 * (|a| off by more than `norm_share` of the learnt norm), and for an IMU without acceleration (all zero or NaN).
 * An IMU that leans as part of its work (on a wrist, a head, a camera) is not the robot's body: such names are passed
 * over, and so is one whose tilt changed slowly through `tilt_deg` before.
 * Source: inclination from gravity, e.g. Freescale AN3461 (2013), eq. 38.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  readerOf,
  type Subject,
} from "../detector.ts";
import { type FieldReader, plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  tilt_deg: z.number().min(10).max(180).default(50),
  upright_deg: z.number().min(1).max(90).default(25),
  within_ms: z.number().min(100).default(3000),
  learn_ms: z.number().min(500).default(5000),
  smooth_ms: z.number().min(10).default(300),
  norm_share: z.number().min(0.05).max(1).default(0.35),
});
type Parameters = z.infer<typeof parametersSchema>;

const NOT_THE_BODY = /wrist|hand|grip|arm|tool|effector|finger|head|camera|realsense|phone|joy|wiimote/i;
const DEGREES = 180 / Math.PI;

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
  readonly #bodies: Body[] = [];

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const named = this.#deps.topicOf("imu");
    const isWanted = named === undefined ? !NOT_THE_BODY.test(channel.topic) : channel.topic === named;
    if (!isWanted || plainTypeName(channel.schema.name) !== "sensor_msgs/Imu") return undefined;
    const axes = ["x", "y", "z"].map((axis) => readerOf(this.#deps.fields, channel, `linear_acceleration.${axis}`));
    const [x, y, z] = axes;
    const frame = readerOf(this.#deps.fields, channel, "header.frame_id");
    if (x === undefined || y === undefined || z === undefined) return undefined;
    const body = new Body(this.#parameters, this.#deps.watch(channel.topic, "tilt"));
    this.#bodies.push(body);
    let isBody = true;
    let lookAtMs = named === undefined ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    return (message, nowMs) => {
      if (nowMs >= lookAtMs) {
        isBody = !NOT_THE_BODY.test(String(frame?.(message) ?? ""));
        lookAtMs = nowMs + FRAME_LOOK_MS;
      }
      if (!isBody) return;
      body.feel([number(x, message), number(y, message), number(z, message)], nowMs);
    };
  }

  onLongSilence(): void {
    for (const body of this.#bodies) body.forget();
  }

  describe(): readonly string[] {
    return this.#bodies.map((body) => body.subject.topic);
  }
}

function number(read: FieldReader, message: Uint8Array): number {
  const value = read(message);
  return typeof value === "number" ? value : Number.NaN;
}

/** A frame's name is text: read at every message of a fast IMU it costs more than all the rest of this detector. */
const FRAME_LOOK_MS = 1000;

type Vector = readonly [number, number, number];

class Body {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  #smooth: Vector | undefined;
  #lastMs = 0;
  #upright: Vector = [0, 0, 0];
  #learntMs = 0;
  #uprightAtMs = Number.NaN;
  #leansAtWork = false;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
  }

  forget(): void {
    this.#smooth = undefined;
    this.#uprightAtMs = Number.NaN;
    this.subject.condition = undefined;
  }

  feel(acceleration: Vector, nowMs: number): void {
    const norm = Math.hypot(...acceleration);
    if (!(norm > 0)) return;
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    this.#smooth = blend(this.#smooth, acceleration, 1 - Math.exp(-elapsedMs / this.#parameters.smooth_ms));
    if (this.#learntMs < this.#parameters.learn_ms) this.#learn(this.#smooth, Math.min(elapsedMs, 100));
    else this.#judge(this.#smooth, nowMs);
  }

  #learn(gravity: Vector, weightMs: number): void {
    if (!(weightMs > 0)) return;
    this.#learntMs += weightMs;
    this.#upright = blend(this.#upright, gravity, weightMs / this.#learntMs);
  }

  #judge(gravity: Vector, nowMs: number): void {
    const { tilt_deg, upright_deg, within_ms, norm_share } = this.#parameters;
    const norm = Math.hypot(...this.#upright);
    if (this.#leansAtWork || Math.abs(Math.hypot(...gravity) - norm) > norm_share * norm) {
      this.subject.condition = undefined;
      return;
    }
    const tilt = angleDeg(gravity, this.#upright);
    if (tilt < upright_deg) {
      this.#uprightAtMs = nowMs;
      this.subject.condition = false;
    } else if (tilt > tilt_deg && this.subject.condition !== true) {
      const isSudden = nowMs - this.#uprightAtMs <= within_ms;
      this.subject.condition = isSudden;
      if (!isSudden) this.#leansAtWork = true;
      this.subject.values = () => ({ tilt_deg: tilt });
    }
  }
}

function blend(from: Vector | undefined, to: Vector, share: number): Vector {
  if (from === undefined) return to;
  return [
    from[0] + share * (to[0] - from[0]),
    from[1] + share * (to[1] - from[1]),
    from[2] + share * (to[2] - from[2]),
  ];
}

function angleDeg(a: Vector, b: Vector): number {
  const cosine = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / (Math.hypot(...a) * Math.hypot(...b));
  return Math.acos(Math.max(-1, Math.min(1, cosine))) * DEGREES;
}
