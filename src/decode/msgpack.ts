/**
 * Messages whose type nobody knows and which came as JSON: kept as MessagePack (MCAP message encoding `msgpack`,
 * schema encoding ""). They carry their field names with them, so that a field is read by decoding the whole message;
 * that costs microseconds, and is for the few topics without a definition.
 */
import { pack, unpack } from "msgpackr";
import { Fault } from "../std/fault.ts";
import type { FieldReader, FieldValue } from "./field.ts";
import { type PathStep, parsePath } from "./field-path.ts";
import { NAME_FIELDS } from "./field-plan.ts";
import type { Problem } from "./parsed-schema.ts";

/** The bytes lie in a shared slab: copy them before keeping or transferring. Throws `Fault("undecodable_json")`. */
export function packMessage(message: unknown): Uint8Array {
  try {
    return pack(message);
  } catch (error) {
    throw new Fault("undecodable_json", "A message could not be packed.", "", error);
  }
}

/** Throws `Fault("undecodable_message")`. */
export function unpackMessage(bytes: Uint8Array): unknown {
  try {
    return unpack(bytes);
  } catch (error) {
    throw new Fault("undecodable_message", "A msgpack message is damaged.", "", error);
  }
}

/** Throws `Fault("undecodable_message")`. */
export function decodeJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch (error) {
    throw new Fault("undecodable_message", "A JSON message is damaged.", "", error);
  }
}

/** Reads a field of a message that describes itself; what the path does not find is undefined. */
export function compileObjectField(decode: (bytes: Uint8Array) => unknown, path: string): FieldReader | Problem {
  const steps = parsePath(path);
  if ("problem" in steps) return steps;
  return (message) => {
    try {
      return toFieldValue(follow(decode(message), steps));
    } catch {
      return undefined;
    }
  };
}

function follow(value: unknown, steps: readonly PathStep[]): unknown {
  let current = value;
  let around: unknown; // what holds the array that a key looks into
  for (const [index, step] of steps.entries()) {
    if (step.kind === "each")
      return Array.isArray(current) ? current.flatMap((item) => follow(item, steps.slice(index + 1)) ?? []) : undefined;
    if (step.kind === "field") {
      around = current;
      current = member(current, step.name);
    } else if (Array.isArray(current)) {
      current = current[step.kind === "index" ? step.index : indexOfName(around, step.key)];
    } else return undefined;
  }
  return current;
}

function indexOfName(around: unknown, key: string): number {
  const names = NAME_FIELDS.map((name) => member(around, name)).find((value) => Array.isArray(value));
  return names?.indexOf(key) ?? -1;
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

function toFieldValue(value: unknown): FieldValue {
  if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "bigint") return Number(value);
  if (!Array.isArray(value)) return toSeconds(value) ?? toAxes(value);
  if (value.every((item) => typeof item === "string")) return value;
  const numbers = value.map((item) => (typeof item === "boolean" ? Number(item) : toFieldValue(item)));
  return numbers.every((item) => typeof item === "number") ? numbers : undefined;
}

/** A vector is its x, y, z. */
function toAxes(value: unknown): readonly number[] | undefined {
  const axes = ["x", "y", "z"].map((axis) => member(value, axis)).filter((axis) => typeof axis === "number");
  return axes.length === 0 ? undefined : axes;
}

/** ROS 1 and ROS 2 times as bridges write them. */
function toSeconds(value: unknown): number | undefined {
  const seconds = member(value, "secs") ?? member(value, "sec");
  const nanoseconds = member(value, "nsecs") ?? member(value, "nanosec");
  return typeof seconds === "number" && typeof nanoseconds === "number" ? seconds + nanoseconds / 1e9 : undefined;
}
