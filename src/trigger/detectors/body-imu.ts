/**
 * The IMUs on a robot's body, and what they feel.
 *
 * An IMU that leans as part of its work (on a wrist, a head, a camera) is not the body's: such topics and frames are
 * passed over unless a rule names the topic.
 */
import type { Channel } from "../../model/channel.ts";
import { type DetectorDeps, type Listener, numberOf, numbersOf, readerOf } from "../detector.ts";
import { plainTypeName } from "../seams.ts";
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

/** Hands on what a body's IMU feels; undefined if the channel is none. */
export function listenToBodyImu(
  channel: Channel,
  deps: DetectorDeps,
  feel: (sample: ImuSample, nowMs: number) => void,
): Listener | undefined {
  const named = deps.topicOf("imu");
  const isWanted = named === undefined ? !NOT_THE_BODY.test(channel.topic) : channel.topic === named;
  if (!isWanted || plainTypeName(channel.schema.name) !== "sensor_msgs/Imu") return undefined;
  const acceleration = vectorReaderOf(deps, channel, "linear_acceleration");
  const rate = vectorReaderOf(deps, channel, "angular_velocity");
  const frame = readerOf(deps.fields, channel, "header.frame_id");
  const up = upReaderOf(channel, deps);
  if (acceleration === undefined || rate === undefined) return undefined;
  let isBody = true;
  let lookAtMs = named === undefined ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return (message, nowMs) => {
    if (nowMs >= lookAtMs) {
      isBody = !NOT_THE_BODY.test(String(frame?.(message) ?? ""));
      lookAtMs = nowMs + FRAME_LOOK_MS;
    }
    if (isBody) feel({ acceleration: acceleration(message), rate: rate(message), up: () => up(message) }, nowMs);
  };
}

const UNKNOWN: Vector = [Number.NaN, Number.NaN, Number.NaN];

/** The last row of the rotation matrix of a unit quaternion; sensor_msgs/Imu says "no estimate" by a covariance of -1. */
function upReaderOf(channel: Channel, deps: DetectorDeps): (message: Uint8Array) => Vector {
  const vector = vectorReaderOf(deps, channel, "orientation");
  const scalar = readerOf(deps.fields, channel, "orientation.w");
  const covariance = readerOf(deps.fields, channel, "orientation_covariance");
  if (vector === undefined || scalar === undefined) return () => UNKNOWN;
  return (message) => {
    const [x, y, z] = vector(message);
    const w = numberOf(scalar(message));
    const isUnit = Math.abs(Math.hypot(x, y, z, w) - 1) < 0.1;
    if (!isUnit || numbersOf(covariance?.(message))[0] === -1) return UNKNOWN;
    return [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];
  };
}
