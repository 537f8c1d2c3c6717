/**
 * The IMUs on a robot's body, and what they feel.
 *
 * An IMU that leans and knocks as part of its work (on a wrist, a head, a camera) is not the body's: such topics and
 * frames are passed over unless a rule names the topic. So is every IMU of a robot that has joints but neither wheels
 * nor legs, odometry nor velocity commands (`BodyImus`): an arm on a table has no body that moves.
 */
import type { Channel } from "../../model/channel.ts";
import { type DetectorDeps, type Listener, numberOf, numbersOf, readerOf, textsOf } from "../detector.ts";
import { type FieldValue, plainTypeName } from "../seams.ts";
import { commandReaderOf } from "./plane-motion.ts";
import { type Vector, vectorReaderOf } from "./vector.ts";

const NOT_THE_BODY = /wrist|hand|grip|(?<![a-z])arm|tool|effector|finger|head|camera|realsense|phone|joy|wiimote/i;

/** A frame's name is text: read at every message of a fast IMU it costs more than all the rest of a detector. */
const FRAME_LOOK_MS = 1000;

/** m/s². */
export const GRAVITY = 9.80665;

export type ImuSample = {
  /** Specific force in the IMU's frame, m/s² where the driver keeps to REP 103: at rest it points up with 9.8. */
  readonly acceleration: Vector;
  /** rad/s about the IMU's axes. */
  readonly rate: Vector;
  /** The world's up in the IMU's frame, by its own estimate of its orientation; NaN where it makes none. */
  up(): Vector;
};

/**
 * Hands on what a body's IMU feels; undefined if the channel is none. Besides sensor_msgs/Imu, robots that have their
 * IMU in a message of their own are known by its fields (`INSIDE`). While `isJudged` says no, nothing is read.
 */
export function listenToBodyImu(
  channel: Channel,
  deps: DetectorDeps,
  feel: (sample: ImuSample, nowMs: number) => void,
  isJudged: () => boolean = () => true,
): Listener | undefined {
  const named = deps.topicOf("imu");
  const isWanted = named === undefined ? !NOT_THE_BODY.test(channel.topic) : channel.topic === named;
  const read = isWanted ? readerOfImu(channel, deps) : undefined;
  if (read === undefined) return undefined;
  const frame = readerOf(deps.fields, channel, "header.frame_id");
  let isBody = true;
  let lookAtMs = named === undefined ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return (message, nowMs) => {
    if (!isJudged()) return; // before ten numbers are read, some hundred times a second
    if (nowMs >= lookAtMs) {
      isBody = !NOT_THE_BODY.test(String(frame?.(message) ?? ""));
      lookAtMs = nowMs + FRAME_LOOK_MS;
    }
    if (isBody) feel(read(message), nowMs);
  };
}

const LEG_OR_WHEEL = /wheel|track|leg|hip|thigh|knee|calf|ankle|haa|hfe|kfe/i;
const MOVES_ABOUT = new Set([
  "nav_msgs/Odometry",
  "ackermann_msgs/AckermannDrive",
  "ackermann_msgs/AckermannDriveStamped",
]);
/** So many messages of a topic tell which joints there are: several publishers may share it. */
const LOOKS = 50;

/** The body's IMUs among all channels of a robot. */
export class BodyImus {
  readonly #deps: DetectorDeps;
  readonly #feel: (topic: string, sample: ImuSample, nowMs: number) => void;
  #hasJoints = false;
  #movesAbout: boolean;

  constructor(deps: DetectorDeps, feel: (topic: string, sample: ImuSample, nowMs: number) => void) {
    this.#deps = deps;
    this.#feel = feel;
    this.#movesAbout = deps.topicOf("imu") !== undefined;
  }

  bind(channel: Channel): Listener | undefined {
    const type = plainTypeName(channel.schema.name);
    if (MOVES_ABOUT.has(type) || commandReaderOf(channel, this.#deps) !== undefined) this.#movesAbout = true;
    if (type === "sensor_msgs/JointState") return this.#lookAtJoints(channel);
    return listenToBodyImu(
      channel,
      this.#deps,
      (sample, nowMs) => this.#feel(channel.topic, sample, nowMs),
      () => this.#movesAbout || !this.#hasJoints,
    );
  }

  #lookAtJoints(channel: Channel): Listener | undefined {
    const names = readerOf(this.#deps.fields, channel, "name");
    let looks = 0;
    return (message) => {
      if (looks >= LOOKS || names === undefined) return;
      looks += 1;
      this.#hasJoints = true;
      if (textsOf(names(message)).some((name) => LEG_OR_WHEEL.test(name))) this.#movesAbout = true;
    };
  }
}

type ImuReader = (message: Uint8Array) => ImuSample;

/** Where acceleration (m/s²), rate of turn (rad/s) and quaternion (w first) lie as arrays. */
const INSIDE = [
  // unitree_go/LowState, unitree_hg/LowState; unitree_legged_msgs/LowState
  ["imu_state.accelerometer", "imu_state.gyroscope", "imu_state.quaternion"],
  ["imu.accelerometer", "imu.gyroscope", "imu.quaternion"],
  // px4_msgs/SensorCombined
  ["accelerometer_m_s2", "gyro_rad", "q"],
] as const;

function readerOfImu(channel: Channel, deps: DetectorDeps): ImuReader | undefined {
  if (plainTypeName(channel.schema.name) === "sensor_msgs/Imu") return readerOfStandardImu(channel, deps);
  // Messages that describe themselves might have any field.
  if (channel.messageEncoding !== "cdr" && channel.messageEncoding !== "ros1") return undefined;
  for (const [acceleration, rate, quaternion] of INSIDE) {
    const [force, turn, orientation] = [acceleration, rate, quaternion].map((path) =>
      readerOf(deps.fields, channel, path),
    );
    if (force === undefined || turn === undefined) continue;
    return (message) => ({
      acceleration: vectorIn(numbersOf(force(message))),
      rate: vectorIn(numbersOf(turn(message))),
      up: () => {
        const [w = Number.NaN, x = Number.NaN, y = Number.NaN, z = Number.NaN] = listed(orientation?.(message));
        return upOf(x, y, z, w);
      },
    });
  }
  return undefined;
}

function readerOfStandardImu(channel: Channel, deps: DetectorDeps): ImuReader | undefined {
  const acceleration = vectorReaderOf(deps, channel, "linear_acceleration");
  const rate = vectorReaderOf(deps, channel, "angular_velocity");
  const vector = vectorReaderOf(deps, channel, "orientation");
  const scalar = readerOf(deps.fields, channel, "orientation.w");
  const covariance = readerOf(deps.fields, channel, "orientation_covariance");
  if (acceleration === undefined || rate === undefined || vector === undefined || scalar === undefined)
    return undefined;
  return (message) => ({
    acceleration: acceleration(message),
    rate: rate(message),
    // A covariance of -1 says that there is no estimate.
    up: () =>
      numbersOf(covariance?.(message))[0] === -1 ? NOWHERE : upOf(...vector(message), numberOf(scalar(message))),
  });
}

const NOWHERE: Vector = [Number.NaN, Number.NaN, Number.NaN];

function vectorIn(values: ArrayLike<number>): Vector {
  return [values[0] ?? Number.NaN, values[1] ?? Number.NaN, values[2] ?? Number.NaN];
}

function listed(value: FieldValue): readonly number[] {
  return Array.from(numbersOf(value));
}

/** The last row of the rotation matrix of a unit quaternion. */
function upOf(x: number, y: number, z: number, w: number): Vector {
  if (!(Math.abs(Math.hypot(x, y, z, w) - 1) < 0.1)) return NOWHERE;
  return [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];
}
