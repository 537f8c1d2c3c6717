/** Vectors of a message: x, y, z in whatever unit the field has. */
import type { Channel } from "../../model/channel.ts";
import { type DetectorDeps, numberOf, readerOf } from "../detector.ts";

export type Vector = readonly [number, number, number];
export const ZERO: Vector = [0, 0, 0];

/** Reads a vector; what is missing is NaN. undefined where the channel's messages have no such field. */
export function vectorReaderOf(
  { fields }: DetectorDeps,
  channel: Channel,
  path: string,
): ((message: Uint8Array) => Vector) | undefined {
  const [x, y, z] = ["x", "y", "z"].map((axis) => readerOf(fields, channel, `${path}.${axis}`));
  if (x === undefined || y === undefined || z === undefined) return undefined;
  return (message) => [numberOf(x(message)), numberOf(y(message)), numberOf(z(message))];
}

export function dot(a: Vector, b: Vector): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** `share` of the way from one to the other. */
export function blend(from: Vector, to: Vector, share: number): Vector {
  return [
    from[0] + share * (to[0] - from[0]),
    from[1] + share * (to[1] - from[1]),
    from[2] + share * (to[2] - from[2]),
  ];
}

/** NaN if one of them has no length. */
export function angleDeg(a: Vector, b: Vector): number {
  const cosine = dot(a, b) / (Math.hypot(...a) * Math.hypot(...b));
  return (Math.acos(Math.max(-1, Math.min(1, cosine))) * 180) / Math.PI;
}
