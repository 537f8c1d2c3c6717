/**
 * What the robots of the benchmarks send: the nominal one, of 22 MB/s and 1,030 messages a second, and one of sensors alone.
 *
 * Four JPEG cameras at 30 Hz (180 kB of noise as JPEG: incompressible, as camera JPEG is), IMU 400 Hz, joints 300 Hz,
 * motor currents 200 Hz, tf 10 Hz. Trap: a small message that comes again within lz4's window of 64 KiB costs nothing
 * to store; so each light topic goes round only after a thousand different ones.
 */
import { parse } from "@foxglove/rosmsg";
import { MessageWriter } from "@foxglove/rosmsg2-serialization";
import sharp from "sharp";
import { Definitions } from "../../src/decode/definitions.ts";
import { type Random, seededRandom } from "../../src/std/random.ts";

export type RobotStream = {
  readonly topic: string;
  readonly schemaName: string;
  readonly schemaText: string;
  /** The class that the built-in assignment gives it. */
  readonly className: "light" | "camera";
  readonly hz: number;
  /** CDR; to be sent round and round. */
  readonly payloads: readonly Uint8Array[];
};

/** `camera`: the nominal robot. `sensors`: 530-byte messages alone, 1,000 a second. */
export type MixName = "camera" | "sensors";

const VARIATIONS = 1024;
const JOINTS = Array.from({ length: 12 }, (_, index) => `joint_${index}`);

export function openMix(name: MixName): Promise<RobotStream[]> {
  return name === "camera" ? nominalStreams() : Promise.resolve(sensorStreams());
}

export async function nominalStreams(): Promise<RobotStream[]> {
  const random = seededRandom(11);
  const stream = streamMaker();
  const vector = (size: number) => ({ x: random() * size, y: random() * size, z: random() * size });
  const frames = await Promise.all(Array.from({ length: 4 }, (_, index) => noiseJpeg(index)));
  const images = frames.map((data) => ({ header: HEADER, format: "jpeg", data }));
  const cameras = [0, 1, 2, 3].map((camera) =>
    stream(`/camera_${camera}/image/compressed`, "sensor_msgs/msg/CompressedImage", 30, images),
  );
  const imu = () => ({
    header: HEADER,
    orientation: { x: 0, y: 0, z: random() * 0.01, w: 1 },
    orientation_covariance: Array(9).fill(0),
    angular_velocity: vector(0.01),
    angular_velocity_covariance: Array(9).fill(0),
    linear_acceleration: { x: 0, y: 0, z: 9.81 + random() * 0.02 },
    linear_acceleration_covariance: Array(9).fill(0),
  });
  const transform = () => ({
    header: HEADER,
    child_frame_id: "tool",
    transform: { translation: vector(1), rotation: { x: 0, y: 0, z: 0, w: 1 } },
  });
  return [
    ...cameras,
    stream("/imu/data", "sensor_msgs/msg/Imu", 400, many(imu)),
    stream("/joint_states", JOINT_STATE, 300, many(joints("base", random))),
    stream("/motor_currents", JOINT_STATE, 200, many(joints("base", random))),
    stream(
      "/tf",
      "tf2_msgs/msg/TFMessage",
      10,
      many(() => ({ transforms: [transform(), transform()] })),
    ),
  ];
}

/** Four limbs of twelve joints at 250 Hz. */
function sensorStreams(): RobotStream[] {
  const random = seededRandom(12);
  const stream = streamMaker();
  return ["left_arm", "right_arm", "left_leg", "right_leg"].map((part) =>
    stream(
      `/${part}/joint_states`,
      JOINT_STATE,
      250,
      many(joints(`${part}/shoulder_or_hip/calibrated_at_the_factory`, random)),
    ),
  );
}

const JOINT_STATE = "sensor_msgs/msg/JointState";
const HEADER = { stamp: { sec: 0, nanosec: 0 }, frame_id: "base" };
const many = (make: () => object) => Array.from({ length: VARIATIONS }, make);

function streamMaker() {
  const definitions = Definitions.open({ folders: [] });
  return (topic: string, schemaName: string, hz: number, messages: readonly object[]): RobotStream => {
    const schemaText = definitions.find(schemaName, 2) ?? "";
    const writer = new MessageWriter(parse(schemaText, { ros2: true }));
    const payloads = messages.map((message) => new Uint8Array(writer.writeMessage(message)));
    const className = schemaName.endsWith("Image") ? "camera" : "light";
    return { topic, schemaName, schemaText, className, hz, payloads };
  };
}

function joints(frameId: string, random: Random): () => object {
  const noisy = (size: number) => JOINTS.map(() => (random() - 0.5) * size);
  return () => ({
    ...{ header: { ...HEADER, frame_id: frameId }, name: JOINTS },
    ...{ position: noisy(0.01), velocity: noisy(0.01), effort: noisy(1) },
  });
}

/** A mix's messages of `seconds` in the order in which they fall due; `index` says which stretch of it. */
export function stretchOf(mix: readonly RobotStream[], seconds: number, index: number) {
  const due = mix.flatMap((stream) => {
    const count = Math.round(stream.hz * seconds);
    return Array.from({ length: count }, (_, k) => ({
      atS: k / stream.hz,
      stream,
      payload: stream.payloads[(index * count + k) % stream.payloads.length] ?? new Uint8Array(0),
    }));
  });
  return due.sort((a, b) => a.atS - b.atS);
}

/** About 180 kB: noise does not compress, and its grain sets the size. */
async function noiseJpeg(seed: number): Promise<Uint8Array> {
  const noise = seededRandom(seed);
  const pixels = Buffer.alloc(640 * 480 * 3);
  for (let index = 0; index < pixels.length; index += 1) pixels[index] = Math.floor(noise() * 256);
  return sharp(pixels, { raw: { width: 640, height: 480, channels: 3 } })
    .jpeg({ quality: 76 })
    .toBuffer();
}
