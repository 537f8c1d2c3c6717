import { expect, test } from "vitest";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import type { FrameKind, FrameReader } from "../../src/decode/video-frame.ts";
import type { MessageEncoding, Schema } from "../../src/model/channel.ts";
import { accessUnits, cdrMessage, KEY_DISTANCE, ROS1_SCHEMA, ros1Message, schemaOf } from "../support/video.ts";

function readerOf(schema: Schema, messageEncoding: MessageEncoding = "cdr"): FrameReader {
  const channel = { id: 1, topic: "/video", schema, messageEncoding, className: "camera" };
  const reader = new ChannelReader().videoFrames({ ...channel, isLocal: false, isLatched: false });
  if (reader === undefined) throw new Error(`${schema.name} carries no video`);
  return reader;
}

/** What ffprobe says of the files: a key frame every 20 frames. */
const expected = (count: number): FrameKind[] =>
  Array.from({ length: count }, (_, index) => (index % KEY_DISTANCE === 0 ? "key" : "delta"));

test.each(["h264", "hevc"] as const)("key frames of %s are found in every type of message that carries it", (codec) => {
  const units = accessUnits(codec);
  expect(units).toHaveLength(60);
  const names = codec === "h264" ? ["h264", "H264", "h264; yuv420p"] : ["h265", "hevc", "HEVC"];
  for (const name of names) {
    const video = readerOf(schemaOf("foxglove_msgs/msg/CompressedVideo"));
    const type = "foxglove_msgs/msg/CompressedVideo";
    expect(units.map((unit) => video(cdrMessage(type, name, unit)))).toEqual(expected(60));
    const image = readerOf(schemaOf("sensor_msgs/msg/CompressedImage"));
    expect(units.map((unit) => image(cdrMessage("sensor_msgs/msg/CompressedImage", name, unit)))).toEqual(expected(60));
    const old = readerOf(ROS1_SCHEMA, "ros1");
    expect(units.map((unit) => old(ros1Message(name, unit)))).toEqual(expected(60));
  }
});

test("an FFMPEGPacket is believed by its flag, whatever the codec", () => {
  const type = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket";
  const read = readerOf(schemaOf(type));
  const kinds = [1, 0, 3, 2].map((flags) => read(cdrMessage(type, "hevc_nvenc", new Uint8Array(9), flags)));
  expect(kinds).toEqual(["key", "delta", "key", "delta"]);
});

test("pictures that stand on their own, and streams of another form, are not taken for video", () => {
  const read = readerOf(schemaOf("sensor_msgs/msg/CompressedImage"));
  const [unit = new Uint8Array(0)] = accessUnits("h264");
  const of = (format: string, bytes: Uint8Array) => read(cdrMessage("sensor_msgs/msg/CompressedImage", format, bytes));
  expect(of("jpeg", unit)).toBe("other");
  expect(of("rgb8; jpeg compressed bgr8", unit)).toBe("other");
  expect(of("", unit)).toBe("other");
  expect(of("h264", Buffer.concat([Buffer.from([0, 0, 0, 30]), unit.subarray(4)]))).toBe("other"); // length-prefixed
  expect(of("h264", new Uint8Array(0))).toBe("other");
  expect(
    new ChannelReader().videoFrames({
      ...{ id: 1, topic: "/a", schema: ROS1_SCHEMA },
      ...{ messageEncoding: "json", className: "", isLocal: false, isLatched: false },
    }),
  ).toBeUndefined();
});

test("parameter sets that come alone are told from frames", () => {
  const read = readerOf(schemaOf("foxglove_msgs/msg/CompressedVideo"));
  const of = (...units: number[][]) =>
    read(
      cdrMessage("foxglove_msgs/msg/CompressedVideo", "h264", Buffer.from(units.flatMap((unit) => [0, 0, 1, ...unit]))),
    );
  expect(of([0x67, 1, 2], [0x68, 3])).toBe("parameters");
  expect(of([0x09, 0xf0], [0x67, 1], [0x68, 3], [0x06, 5, 0], [0x65, 0x88])).toBe("key");
  expect(of([0x06, 5, 0], [0x41, 0x9a])).toBe("delta");
  expect(of([0x06, 5, 0])).toBe("delta");
});

test("a message cut off anywhere is read without going beyond its end", () => {
  const type = "foxglove_msgs/msg/CompressedVideo";
  const read = readerOf(schemaOf(type));
  const whole = cdrMessage(type, "h264", accessUnits("h264")[0] ?? new Uint8Array(0));
  for (let size = 0; size < whole.length; size += 1)
    expect(["key", "delta", "other", "parameters"]).toContain(read(whole.slice(0, size)));
});
