/**
 * Where the joints must be for the hand to be somewhere, and how to get there smoothly.
 *
 * The hand always points straight down, so a pose is a point in cylinder coordinates about the arm's column.
 */
import { FOREARM_M, HAND_M, SHOULDER_HEIGHT_M, UPPER_ARM_M } from "./world.ts";

/** The point between the finger pads: yaw in radians, radius and height in metres above the table. */
export type HandPose = { readonly yaw: number; readonly radius: number; readonly height: number };

/** A place on the table. */
export type Place = { readonly x: number; readonly y: number };

export type JointVector = readonly [yaw: number, shoulder: number, elbow: number, wrist: number];

/** Whether the arm can grasp a cup that stands there. */
export function isInReach({ x, y }: Place): boolean {
  const radius = Math.hypot(x, y);
  return radius > 0.2 && radius < 0.4 && Math.abs(Math.atan2(y, x)) < 1.3;
}

/** Elbow-up solution of the planar two-link arm (law of cosines); a pose out of reach gives the stretched arm. */
export function solveJoints(pose: HandPose): JointVector {
  const up = pose.height + HAND_M - SHOULDER_HEIGHT_M;
  const reach = Math.min(Math.hypot(pose.radius, up), UPPER_ARM_M + FOREARM_M - 1e-6);
  const inner = Math.acos((UPPER_ARM_M ** 2 + reach ** 2 - FOREARM_M ** 2) / (2 * UPPER_ARM_M * reach));
  const shoulder = Math.atan2(pose.radius, up) - inner;
  const forearm = Math.atan2(pose.radius - UPPER_ARM_M * Math.sin(shoulder), up - UPPER_ARM_M * Math.cos(shoulder));
  return [pose.yaw, shoulder, forearm - shoulder, Math.PI - forearm];
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
