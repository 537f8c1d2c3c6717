/** A ring with 20 s of a robot in it, and a failure at 10 s: light topics, a camera, latched, local and raw ones. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import {
  type EpisodeBatchesOptions,
  type EpisodeBatchesResult,
  writeEpisodeBatches,
} from "../../src/batch/episode-batches.ts";
import type { Channel } from "../../src/model/channel.ts";
import { type Episode, UNSAID } from "../../src/model/episode.ts";
import { parseManifest } from "../../src/protocol/manifest.ts";
import { CAMERA, channel, LIGHT, noise, Rig, type Sent, START_NS } from "../ring/ring-rig.ts";

export const at = (seconds: number): bigint => START_NS + BigInt(Math.round(seconds * 1e9));

export const JOINTS = channel(1, "/joint_states", "light");
export const IMU = channel(2, "/imu", "light");
export const TF_STATIC = channel(3, "/tf_static", "light", { isLatched: true });
export const SECRET = channel(4, "/secret", "light", { isLocal: true });
export const FRONT = channel(5, "/camera/front", "camera", {
  schema: { name: "sensor_msgs/msg/CompressedImage", encoding: "ros2msg", text: "uint8[] data" },
});
export const SIDE = channel(6, "/camera/side", "camera", {
  schema: { name: "sensor_msgs/msg/Image", encoding: "ros2msg", text: "uint8[] data" },
});

export const EPISODE: Episode = {
  id: "018f0000-0000-7000-8000-000000000001",
  bootId: "boot-1",
  kind: "failure",
  rule: "lost_grasp",
  priority: 90,
  startNs: at(5),
  endNs: at(15),
  outcome: "recovered",
  attempts: 2,
  firings: [
    {
      rule: "lost_grasp",
      ruleVersion: undefined,
      detector: "grasp",
      topic: "/joint_states",
      atNs: at(10),
      values: { gapM: 0.004 },
    },
  ],
  segments: [
    { kind: "before", attempt: undefined, startNs: at(5), endNs: at(10) },
    { kind: "failure", attempt: undefined, startNs: at(10), endNs: at(11) },
    { kind: "recovery", attempt: 1, startNs: at(11), endNs: at(13) },
    { kind: "after", attempt: undefined, startNs: at(13), endNs: at(15) },
  ],
  labels: { taskType: "pick" },
  note: "",
  isInterrupted: false,
  completeness: [],
  ...UNSAID,
};

const ROBOT = { id: "arm-7", site: "lab", embodiment: "arm", labels: { ownerTeam: "red" } };

const JPEG = await sharp({ create: { width: 64, height: 48, channels: 3, background: "#3060c0" } })
  .jpeg()
  .toBuffer();

/** A JPEG with a tail that makes each frame another and no chunk compressible. */
const frame = (seed: number): Buffer => Buffer.concat([JPEG, noise(8000, seed)]);
/** 8 × 8 of blue, as `bgr8`. */
const RAW_FRAME = Buffer.alloc(8 * 8 * 3, Buffer.from([250, 10, 20]));

export function decodeImage(known: Channel, message: Uint8Array): unknown {
  if (known.id === FRONT.id) return { format: "jpeg", data: message };
  return { width: 8, height: 8, step: 24, encoding: "bgr8", data: message };
}

/** `fullFromS`: how far back the memory tier reaches at the firing. */
export function recordedRig(memoryMs = 10_000): Rig {
  const rig = new Rig({ classes: [LIGHT, { ...CAMERA, memoryMs }] });
  for (const known of [JOINTS, IMU, TF_STATIC, SECRET, FRONT, SIDE]) rig.addChannel(known);
  for (let step = 0; step <= 2000; step += 1) {
    if (step === 1000) {
      rig.ring.hold(EPISODE.id, EPISODE.startNs, EPISODE.endNs);
      rig.ring.promote(EPISODE.startNs, at(10), at(10));
    }
    sendStep(rig, step);
    if (step % 50 === 0) rig.flush();
    rig.clock.advanceMs(10);
  }
  rig.settle();
  return rig;
}

function sendStep(rig: Rig, step: number): void {
  if (step === 100) rig.send(TF_STATIC.id, Buffer.from("base_link -> tool"));
  rig.send(JOINTS.id, Buffer.from(`joints ${"0.125 ".repeat(20)} ${step}`));
  if (step % 2 === 0) rig.send(IMU.id, Buffer.from(`imu ${step} ${"9.81 ".repeat(5)}`));
  if (step % 10 === 0) rig.send(SECRET.id, Buffer.from(`secret ${step}`));
  if (step % 10 === 5) rig.send(FRONT.id, frame(step));
  if (step % 20 === 7) rig.send(SIDE.id, RAW_FRAME);
}

export function sentWithin(rig: Rig, known: Channel, startNs: bigint, endNs: bigint): Sent[] {
  return rig.sent.filter(
    ({ channelId, logTimeNs }) => channelId === known.id && logTimeNs >= startNs && logTimeNs <= endNs,
  );
}

export async function write(
  rig: Rig,
  changes: Partial<EpisodeBatchesOptions> = {},
  episode = EPISODE,
): Promise<EpisodeBatchesResult> {
  const folder = join(rig.folder, "batches");
  mkdirSync(folder, { recursive: true });
  using reader = rig.open();
  let count = 0;
  return await writeEpisodeBatches(episode, reader, {
    folder,
    robot: ROBOT,
    lodeVersion: "0.1.0",
    heavyClasses: new Set(["camera"]),
    losses: [],
    notRecorded: [],
    decode: decodeImage,
    newId: () => `batch-${++count}`,
    nowNs: at(30),
    ...changes,
  });
}

export const parse = (bytes: Uint8Array) => parseManifest(Buffer.from(bytes).toString("utf8"));
