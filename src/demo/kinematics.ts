/**
 * Where the joints must be for the hand to be somewhere, and how to get there smoothly.
 *
 * The hand always points straight down, so a pose is a point in cylinder coordinates about the arm's column.
 */
import { FOREARM_M, HAND_M, SHOULDER_HEIGHT_M, UPPER_ARM_M } from "./world.ts";

/** The point between the finger pads: yaw in radians, radius and height in metres above the table. */
export type HandPose = { readonly yaw: number; readonly radius: number; readonly height: number };

export type JointVector = readonly [yaw: number, shoulder: number, elbow: number, wrist: number];

/** Elbow-up solution of the planar two-link arm (law of cosines); a pose out of reach gives the stretched arm. */
export function solveJoints(pose: HandPose): JointVector {
  const up = pose.height + HAND_M - SHOULDER_HEIGHT_M;
  const reach = Math.min(Math.hypot(pose.radius, up), UPPER_ARM_M + FOREARM_M - 1e-6);
  const inner = Math.acos((UPPER_ARM_M ** 2 + reach ** 2 - FOREARM_M ** 2) / (2 * UPPER_ARM_M * reach));
  const shoulder = Math.atan2(pose.radius, up) - inner;
  const forearm = Math.atan2(pose.radius - UPPER_ARM_M * Math.sin(shoulder), up - UPPER_ARM_M * Math.cos(shoulder));
  return [pose.yaw, shoulder, forearm - shoulder, Math.PI - forearm];
}

/** The hand's pose from joint angles, whether or not it points straight down. */
export function handPoseOf(joints: ArrayLike<number>): HandPose {
  const [yaw = 0, shoulder = 0, elbow = 0, wrist = 0] = Array.from(joints);
  const along = (angle: number, length: number): [number, number] => [
    Math.sin(angle) * length,
    Math.cos(angle) * length,
  ];
  const [r1, z1] = along(shoulder, UPPER_ARM_M);
  const [r2, z2] = along(shoulder + elbow, FOREARM_M);
  const [r3, z3] = along(shoulder + elbow + wrist, HAND_M);
  return { yaw, radius: r1 + r2 + r3, height: SHOULDER_HEIGHT_M + z1 + z2 + z3 };
}

/**
 * Minimum-jerk course from 0 to 1 (Flash & Hogan, "The coordination of arm movements", J. Neurosci. 1985):
 * position at a share of the duration; velocity and acceleration are zero at both ends.
 */
export function minimumJerk(share: number): number {
  const s = Math.min(1, Math.max(0, share));
  return s * s * s * (10 - 15 * s + 6 * s * s);
}

/** Even braking from 0 to 1: begins at twice the mean speed and ends at rest. */
export function braking(share: number): number {
  const left = 1 - Math.min(1, Math.max(0, share));
  return 1 - left * left;
}

/** Straight in cylinder coordinates. */
export function between(from: HandPose, to: HandPose, share: number): HandPose {
  const mix = (a: number, b: number): number => a + (b - a) * share;
  return { yaw: mix(from.yaw, to.yaw), radius: mix(from.radius, to.radius), height: mix(from.height, to.height) };
}
