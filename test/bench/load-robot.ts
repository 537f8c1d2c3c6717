/**
 * The nominal robot as a load: 22 MB/s and 1,030 messages a second through a rosbridge server of its own process.
 *
 * Four JPEG cameras at 30 Hz (180 kB of noise as JPEG: incompressible, as camera JPEG is), IMU 400 Hz, joints 300 Hz,
 * motor currents 200 Hz, tf 10 Hz. Prints {"url"} once it listens; on SIGTERM stops publishing, waits until the
 * sockets have drained and prints what it published and sent per topic: the ledger a recorder is held against.
 *
 * Usage: load-robot.ts [SCALE] (1 = nominal)
 */

import { parse } from "@foxglove/rosmsg";
import { MessageWriter } from "@foxglove/rosmsg2-serialization";
import sharp from "sharp";
import { Definitions } from "../../src/decode/definitions.ts";
import type { Publisher } from "../../src/replay/bridge-topic.ts";
import { RosbridgeServer } from "../../src/replay/rosbridge-server.ts";
import { seededRandom } from "../../src/std/random.ts";

const scale = Number(process.argv[2] ?? "1");
const random = seededRandom(11);
const definitions = Definitions.open({ folders: [] });
const server = await RosbridgeServer.open({ port: 0, ros: 2 });

type Stream = {
  readonly publisher: Publisher;
  readonly hz: number;
  readonly payloads: readonly Uint8Array[];
  due: number;
  index: number;
};
const streams: Stream[] = [];

const JOINTS = Array.from({ length: 12 }, (_, index) => `joint_${index}`);

function addStream(topic: string, type: string, hz: number, messages: readonly object[]): void {
  const text = definitions.find(type, 2) ?? "";
  const publisher = server.advertise({ topic, schemaName: type, schemaText: text, encoding: "cdr", isLatched: false });
  const writer = new MessageWriter(parse(text, { ros2: true }));
  const payloads = messages.map((message) => new Uint8Array(writer.writeMessage(message)));
  streams.push({ publisher, hz: hz * scale, payloads, due: random() / hz, index: 0 });
}

const header = { stamp: { sec: 0, nanosec: 0 }, frame_id: "base" };
const noisy = (count: number, size: number) => Array.from({ length: count }, () => (random() - 0.5) * size);
const frames = await Promise.all(Array.from({ length: 4 }, (_, index) => noiseJpeg(index)));
for (let camera = 0; camera < 4; camera += 1) {
  const messages = frames.map((data) => ({ header, format: "jpeg", data }));
  addStream(`/camera_${camera}/image/compressed`, "sensor_msgs/msg/CompressedImage", 30, messages);
}
const many = (make: () => object) => Array.from({ length: 64 }, make);
const vector = (size: number) => ({ x: random() * size, y: random() * size, z: random() * size });
addStream(
  "/imu/data",
  "sensor_msgs/msg/Imu",
  400,
  many(() => ({
    header,
    orientation: { x: 0, y: 0, z: random() * 0.01, w: 1 },
    orientation_covariance: Array(9).fill(0),
    angular_velocity: vector(0.01),
    angular_velocity_covariance: Array(9).fill(0),
    linear_acceleration: { x: 0, y: 0, z: 9.81 + random() * 0.02 },
    linear_acceleration_covariance: Array(9).fill(0),
  })),
);
const joints = () => ({
  header,
  name: JOINTS,
  position: noisy(12, 0.01),
  velocity: noisy(12, 0.01),
  effort: noisy(12, 1),
});
addStream("/joint_states", "sensor_msgs/msg/JointState", 300, many(joints));
addStream("/motor_currents", "sensor_msgs/msg/JointState", 200, many(joints));
const transform = () => ({
  header,
  child_frame_id: "tool",
  transform: { translation: vector(1), rotation: { x: 0, y: 0, z: 0, w: 1 } },
});
addStream(
  "/tf",
  "tf2_msgs/msg/TFMessage",
  10,
  many(() => ({ transforms: [transform(), transform()] })),
);

console.log(
  JSON.stringify({
    url: server.url,
    topics: streams.map((entry) => `${entry.publisher.channel.topic}=${entry.publisher.channel.schemaName}`),
  }),
);

let startMs: number | undefined;
const timer = setInterval(() => {
  // Publishing starts when everybody listens, so that "published" is what a recorder must have.
  if (startMs === undefined && streams.every((entry) => server.subscriberCount(entry.publisher.channel.topic) > 0))
    startMs = performance.now();
  if (startMs === undefined) return;
  const now = (performance.now() - startMs) / 1000;
  for (const stream of streams) publishDue(stream, now);
}, 2);

function publishDue(stream: Stream, nowS: number): void {
  while (stream.due <= nowS) {
    const payload = stream.payloads[stream.index % stream.payloads.length];
    if (payload !== undefined) server.publish(stream.publisher, payload);
    stream.index += 1;
    stream.due += 1 / stream.hz;
  }
}

process.on("SIGTERM", () => {
  clearInterval(timer);
  void server.whenDrained(AbortSignal.timeout(10_000)).then(() => {
    console.log(
      JSON.stringify({
        seconds: startMs === undefined ? 0 : (performance.now() - startMs) / 1000,
        topics: Object.fromEntries(server.sentCounts()),
      }),
    );
    process.exit(0);
  });
});

/** About 180 kB: noise does not compress, and its grain sets the size. */
async function noiseJpeg(seed: number): Promise<Uint8Array> {
  const noise = seededRandom(seed);
  const pixels = Buffer.alloc(640 * 480 * 3);
  for (let index = 0; index < pixels.length; index += 1) pixels[index] = Math.floor(noise() * 256);
  return sharp(pixels, { raw: { width: 640, height: 480, channels: 3 } })
    .jpeg({ quality: 76 })
    .toBuffer();
}
