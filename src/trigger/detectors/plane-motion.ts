/**
 * Motion in the plane, as bases are told it and as they report it: forwards and sideways in m/s, turning in rad/s.
 *
 * Commands: Twist, TwistStamped (on topics named `cmd_vel`, `commands/velocity` and the like), AckermannDrive,
 * AckermannDriveStamped (speed alone: how it turns depends on the wheelbase). Motion: Odometry on topics named "odom".
 */
import type { Channel } from "../../model/channel.ts";
import { type DetectorDeps, numberOf, readerOf } from "../detector.ts";
import { plainTypeName } from "../seams.ts";

/** Forwards, sideways, turning; used again at the next message. */
export type PlaneReader = (message: Uint8Array) => readonly number[];

const TWISTS = new Map([
  ["geometry_msgs/Twist", ""],
  ["geometry_msgs/TwistStamped", "twist."],
]);
const DRIVES = new Map([
  ["ackermann_msgs/AckermannDrive", "speed"],
  ["ackermann_msgs/AckermannDriveStamped", "drive.speed"],
]);
const VELOCITY_COMMAND = /(^|[/_])(cmd_vel|cmd_vel_\w+|commands?\/velocity|velocity_commands?)$/;

/** How to read a base's velocity command; undefined if the channel carries none. */
export function commandReaderOf(channel: Channel, deps: DetectorDeps): PlaneReader | undefined {
  const type = plainTypeName(channel.schema.name);
  const named = deps.topicOf("command");
  const drive = DRIVES.get(type);
  const twist = TWISTS.get(type);
  if (named === undefined ? twist !== undefined && !VELOCITY_COMMAND.test(channel.topic) : channel.topic !== named)
    return undefined;
  if (drive !== undefined) return readerOfAll(channel, deps, [drive]);
  return twist === undefined ? undefined : planeReaderOf(channel, deps, twist);
}

/** How to read a base's motion; undefined if the channel carries none. */
export function odometryReaderOf(channel: Channel, deps: DetectorDeps): PlaneReader | undefined {
  const named = deps.topicOf("odometry");
  if (plainTypeName(channel.schema.name) !== "nav_msgs/Odometry") return undefined;
  if (named === undefined ? !/odom/i.test(channel.topic) : channel.topic !== named) return undefined;
  return planeReaderOf(channel, deps, "twist.twist.");
}

function planeReaderOf(channel: Channel, deps: DetectorDeps, prefix: string): PlaneReader | undefined {
  return readerOfAll(
    channel,
    deps,
    ["linear.x", "linear.y", "angular.z"].map((path) => prefix + path),
  );
}

function readerOfAll(channel: Channel, { fields }: DetectorDeps, paths: readonly string[]): PlaneReader | undefined {
  const readers = paths.flatMap((path) => readerOf(fields, channel, path) ?? []);
  if (readers.length < paths.length) return undefined;
  const motion = [0, 0, 0];
  return (message) => {
    for (const [index, read] of readers.entries()) motion[index] = numberOf(read(message));
    return motion;
  };
}
