/**
 * Wheel slip: the wheels say that the robot turns, and the IMU feels that it does not, or the other way round.
 *
 * Over the last `window_ms`, o is the change of heading by the odometry (its turning, rad/s, summed up) and g the one
 * by the gyroscope about the axis that points up: the mean direction of gravity, however the IMU is mounted; z where
 * the IMU feels none. Condition: |g/k − o| > `slip_rad` + `slip_share` × max(|g/k|, |o|).
 * k is learnt from the headings of single seconds by least squares (1 where axes and units follow REP 103) and
 * believed once both agreed over at least `AGREED_S` seconds with a squared correlation of `AGREED_SHARE`: a gyroscope in degrees or
 * about another axis, or an odometry without turning, proves nothing. An odometry that takes its turning from the
 * gyroscope shows no slip. Skidding bases slip a little in every turn; the default is beyond that.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import type { Detector, DetectorDeps, DetectorKind, Listener, Subject } from "../detector.ts";
import { type ImuSample, listenToBodyImu } from "./body-imu.ts";
import { odometryReaderOf } from "./plane-motion.ts";
import { blend, dot, type Vector, ZERO } from "./vector.ts";

const parametersSchema = z.strictObject({
  window_ms: z.number().min(500).max(10_000).default(2000).describe("over which headings are compared (ms)"),
  slip_rad: z.number().positive().default(0.5).describe("what headings may differ by (rad) …"),
  slip_share: z.number().min(0).max(1).default(0.3).describe("… and this share of the larger turn besides"),
});
type Parameters = z.infer<typeof parametersSchema>;

export const wheelSlip: DetectorKind = {
  name: "wheel_slip",
  parameters: parametersSchema,
  roles: ["odometry", "imu"],
  needs: "a nav_msgs/Odometry and a sensor_msgs/Imu on the robot's body",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 2000,
  open: (parameters, deps) => new WheelSlip(parametersSchema.parse(parameters), deps),
};

class WheelSlip implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  #odometry: { readonly topic: string; turn: number; atMs: number } | undefined;
  #imu: string | undefined;
  #headings: Headings | undefined;

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    return this.#bindOdometry(channel) ?? this.#bindImu(channel);
  }

  onLongSilence(): void {
    this.#headings?.forget();
  }

  describe(): readonly string[] {
    return this.#headings === undefined ? [] : [`${this.#odometry?.topic} against ${this.#imu}`];
  }

  #bindOdometry(channel: Channel): Listener | undefined {
    const read = odometryReaderOf(channel, this.#deps);
    if (read === undefined || (this.#odometry !== undefined && this.#odometry.topic !== channel.topic))
      return undefined;
    const odometry = { topic: channel.topic, turn: Number.NaN, atMs: Number.NaN };
    this.#odometry = odometry;
    return (message, nowMs) => {
      odometry.turn = read(message)[2] ?? Number.NaN;
      odometry.atMs = nowMs;
    };
  }

  #bindImu(channel: Channel): Listener | undefined {
    if (this.#imu !== undefined && this.#imu !== channel.topic) return undefined;
    const listen = listenToBodyImu(channel, this.#deps, (sample, nowMs) => this.#feel(channel.topic, sample, nowMs));
    if (listen !== undefined) this.#imu = channel.topic;
    return listen;
  }

  #feel(topic: string, sample: ImuSample, nowMs: number): void {
    const odometry = this.#odometry;
    if (odometry === undefined) return;
    this.#headings ??= new Headings(this.#parameters, this.#deps.watch(topic, "heading"));
    const isHeard = nowMs - odometry.atMs <= ODOMETRY_MS;
    this.#headings.feel(sample, isHeard ? odometry.turn : Number.NaN, nowMs);
  }
}

const ODOMETRY_MS = 500;
const STEP_MS_MAX = 200;
const SLICE_MS = 100;
const UP_MS = 10_000;
const AGREED_S = 5;
const AGREED_SHARE = 0.6;
const TURNED_RAD = 0.01;

/** Seconds so long before a slip teach nothing, and after so long a slip the two never agreed. */
const DOUBTFUL_MS = 2000;
const SLIP_MS_MAX = 10_000;

/** Headings by odometry and by gyroscope over a stretch of time. */
type Slice = { readonly endsMs: number; odometry: number; gyroscope: number };

class Headings {
  readonly #parameters: Parameters;
  readonly #subject: Subject;
  #agreement = new Agreement();
  #up: Vector = ZERO;
  #lastMs = Number.NaN;
  #slices: Slice[] = [];
  #second: Slice | undefined;
  /** Seconds that wait to be learnt from. */
  #seconds: Slice[] = [];
  #agreedMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.#subject = subject;
  }

  forget(): void {
    this.#slices = [];
    this.#second = undefined;
    this.#seconds = [];
    this.#lastMs = Number.NaN;
    this.#subject.condition = undefined;
  }

  feel({ acceleration, rate }: ImuSample, turn: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (!Number.isNaN(Math.hypot(...acceleration)))
      this.#up = blend(this.#up, acceleration, Math.min(1, Math.max(0, elapsedMs || 0) / UP_MS));
    const turning = rateAbout(this.#up, rate);
    if (!(elapsedMs <= STEP_MS_MAX) || Number.isNaN(turning) || Number.isNaN(turn)) {
      if (elapsedMs > 0) this.forget();
      this.#lastMs = nowMs;
      return;
    }
    this.#add(turn * (elapsedMs / 1000), turning * (elapsedMs / 1000), nowMs);
    this.#judge(nowMs);
    this.#learn(nowMs);
  }

  #add(odometry: number, gyroscope: number, nowMs: number): void {
    let slice = this.#slices.at(-1);
    if (slice === undefined || nowMs > slice.endsMs) {
      slice = { endsMs: nowMs + SLICE_MS, odometry: 0, gyroscope: 0 };
      this.#slices.push(slice);
      while ((this.#slices[0]?.endsMs ?? nowMs) < nowMs - this.#parameters.window_ms) this.#slices.shift();
    }
    this.#second ??= { endsMs: nowMs + 1000, odometry: 0, gyroscope: 0 };
    for (const part of [slice, this.#second]) {
      part.odometry += odometry;
      part.gyroscope += gyroscope;
    }
    if (nowMs < this.#second.endsMs) return;
    this.#seconds.push(this.#second);
    this.#second = undefined;
  }

  #learn(nowMs: number): void {
    if (this.#subject.condition !== true) {
      this.#agreedMs = nowMs;
      const [oldest] = this.#seconds;
      if (oldest === undefined || nowMs - oldest.endsMs < DOUBTFUL_MS) return;
      this.#agreement.learn(oldest.odometry, oldest.gyroscope);
      this.#seconds.shift();
      return;
    }
    this.#seconds = [];
    this.#second = undefined;
    if (nowMs - this.#agreedMs > SLIP_MS_MAX) this.#agreement = new Agreement();
  }

  #judge(nowMs: number): void {
    const { slip_rad, slip_share, window_ms } = this.#parameters;
    const first = this.#slices[0];
    const { factor } = this.#agreement;
    if (first === undefined || nowMs - first.endsMs < window_ms - 2 * SLICE_MS || factor === undefined) {
      this.#subject.condition = undefined;
      return;
    }
    const [o, g] = this.#slices.reduce(
      ([turned, felt], { odometry, gyroscope }) => [turned + odometry, felt + gyroscope / factor],
      [0, 0],
    );
    this.#subject.condition = Math.abs(g - o) > slip_rad + slip_share * Math.max(Math.abs(g), Math.abs(o));
    if (this.#subject.condition) this.#subject.values = () => ({ odometry_rad: o, gyroscope_rad: g });
  }
}

function rateAbout(up: Vector, rate: Vector): number {
  const length = Math.hypot(...up);
  return length > 0 ? dot(up, rate) / length : rate[2];
}

/** y ≈ k·x over single seconds. */
class Agreement {
  #xx = 0;
  #xy = 0;
  #yy = 0;
  #seconds = 0;

  learn(x: number, y: number): void {
    if (Math.max(Math.abs(x), Math.abs(y)) < TURNED_RAD) return;
    this.#seconds += 1;
    this.#xx += x * x;
    this.#xy += x * y;
    this.#yy += y * y;
  }

  get factor(): number | undefined {
    const isAgreed = this.#seconds >= AGREED_S && this.#xy ** 2 > AGREED_SHARE * this.#xx * this.#yy;
    return isAgreed ? this.#xy / this.#xx : undefined;
  }
}
