/** The committed videos as a robot would send them: access unit by access unit, in messages of several types. */
import { readFileSync } from "node:fs";
import { parse } from "@foxglove/rosmsg";
import { MessageWriter as Ros1Writer } from "@foxglove/rosmsg-serialization";
import { MessageWriter as CdrWriter } from "@foxglove/rosmsg2-serialization";
import type { Schema } from "../../src/model/channel.ts";

export type Codec = "h264" | "hevc";
/** Of both files: frames a second, and frames from a key frame to the next (ffprobe says so too). */
export const FRAME_HZ = 10;
export const KEY_DISTANCE = 20;

/** The file's access units: each begins with its delimiter (H.264 type 9, H.265 type 35). */
export function accessUnits(codec: Codec): readonly Uint8Array[] {
  const bytes = readFileSync(new URL(`../data/video/keys_every_20.${codec}`, import.meta.url));
  const delimiter = Buffer.from(codec === "h264" ? [0, 0, 0, 1, 0x09] : [0, 0, 0, 1, 0x46]);
  const starts: number[] = [];
  for (let at = bytes.indexOf(delimiter); at >= 0; at = bytes.indexOf(delimiter, at + 1)) starts.push(at);
  return starts.map((start, index) => bytes.subarray(start, starts[index + 1] ?? bytes.length));
}

const TIME_HEADER = "================\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n";
const TIME = "================\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n";

/** Definitions as the packages have them, comments left out. */
export const VIDEO_TYPES = {
  "foxglove_msgs/msg/CompressedVideo": `builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n${TIME}`,
  "sensor_msgs/msg/CompressedImage": `std_msgs/Header header\nstring format\nuint8[] data\n${TIME_HEADER}${TIME}`,
  "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": `std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\nbool is_bigendian\nuint8[] data\n${TIME_HEADER}${TIME}`,
} as const;
const ROS1_IMAGE =
  "Header header\nstring format\nuint8[] data\n================\nMSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n";

export type VideoType = keyof typeof VIDEO_TYPES;

export const schemaOf = (name: VideoType): Schema => ({ name, encoding: "ros2msg", text: VIDEO_TYPES[name] });
export const ROS1_SCHEMA: Schema = { name: "sensor_msgs/CompressedImage", encoding: "ros1msg", text: ROS1_IMAGE };

const HEADER = { stamp: { sec: 0, nanosec: 0 }, frame_id: "front_camera" };

export function cdrMessage(name: VideoType, format: string, data: Uint8Array, flags = 0): Uint8Array {
  const writer = new CdrWriter(parse(VIDEO_TYPES[name], { ros2: true }));
  const common = { header: HEADER, timestamp: HEADER.stamp, frame_id: HEADER.frame_id, data };
  return writer.writeMessage({ ...common, format, encoding: format, width: 64, height: 48, pts: 1n, flags });
}

export function ros1Message(format: string, data: Uint8Array): Uint8Array {
  const header = { seq: 1, stamp: { sec: 0, nsec: 0 }, frame_id: "cam" };
  return new Ros1Writer(parse(ROS1_IMAGE)).writeMessage({ header, format, data });
}
