/**
 * What the proofs' robot publishes: every message can be told from its run, step and channel alone, so that whoever
 * reads it back needs no list of what was sent, only of what was acknowledged.
 */
import { createHash } from "node:crypto";
import { CAMERA, channel, LIGHT, noise, type RigOptions, START_NS, topicClass } from "../ring/ring-rig.ts";

export const HEAVY_BYTES = 20_000;
export const STEP_MS = 10;
const STEP_NS = BigInt(STEP_MS) * 1_000_000n;
const RUN_NS = 3_600_000_000_000n;

export const JOINTS = channel(1, "/joint_states", "light");
export const IMU = channel(2, "/imu", "light");
export const FRONT = channel(3, "/camera/front", "camera");
export const CLOUD = channel(4, "/cloud", "cloud");
export const TF_STATIC = channel(5, "/tf_static", "light", { isLatched: true });
export const CHANNELS = [JOINTS, IMU, FRONT, CLOUD, TF_STATIC];

/** Episodes reach so far before and after their firing. */
export const PRE_STEPS = 100;
export const POST_STEPS = 100;

/** `heavyBytes`: of a frame, 40 of which come a second; the line's segments and bounds follow it. */
export function lineOptions(run: number, heavyBytes = HEAVY_BYTES): RigOptions {
  const scale = Math.max(1, Math.ceil(heavyBytes / HEAVY_BYTES));
  return {
    classes: [
      LIGHT,
      { ...CAMERA, memoryMs: 3000 },
      topicClass("cloud", { tier: "disk", rank: 3, memoryBytesMax: 0, diskBytesMax: 2_000_000 * scale }),
    ],
    // Two sizes in turn: what was made in the other size goes from the disk as soon as it is free.
    segmentBytes: (run % 2 === 0 ? 512 * 1024 : 384 * 1024) * scale,
    inlineBytesMax: 16 * 1024,
    bytesMax: scale === 1 ? 60e6 : 180e6,
    bootId: `boot-${run}`,
  };
}

export const timeOf = (run: number, step: number): bigint => START_NS + BigInt(run) * RUN_NS + BigInt(step) * STEP_NS;

export function runAndStepOf(logTimeNs: bigint): { readonly run: number; readonly step: number } {
  const sinceNs = logTimeNs - START_NS;
  return { run: Number(sinceNs / RUN_NS), step: Number((sinceNs % RUN_NS) / STEP_NS) };
}

/** Undefined: the channel sends nothing at this step. */
export function contentOf(channelId: number, run: number, step: number, heavyBytes = HEAVY_BYTES): Buffer | undefined {
  const text = `${channelId} ${run} ${step} `;
  if (channelId === JOINTS.id) return Buffer.from(text.repeat(20));
  if (channelId === IMU.id && step % 2 === 0) return Buffer.from(text.repeat(10));
  if (channelId === TF_STATIC.id && step === 3) return Buffer.from(text);
  const isHeavyDue = (channelId === FRONT.id && step % 5 === 1) || (channelId === CLOUD.id && step % 5 === 3);
  if (!isHeavyDue) return undefined;
  const start = (step * 7919) % (NOISE.length - heavyBytes);
  return Buffer.concat([Buffer.from(text), NOISE.subarray(start, start + heavyBytes)]);
}

const NOISE = noise(1 << 19, 1);

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
