/**
 * Turns a message that came as JSON into the bytes its publisher would have sent (`ros1` or `cdr`).
 *
 * JSON as rosbridge and ros2-web-bridge write it: uint8[] in base64 or as numbers; NaN and ±Inf as null (which becomes
 * NaN, and is counted: the difference is lost); times as secs/nsecs or sec/nanosec; 64-bit integers as numbers
 * (their last digits are lost before they arrive) or as decimal text.
 *
 * Promises: a message either fits its schema in every field, or throws; a missing or an unknown member is a misfit
 * too, as it says that the definition is not the robot's.
 */
import { Fault } from "../std/fault.ts";
import type { WireEncoding } from "./cursor.ts";
import {
  type Field,
  hasWideText,
  type ParsedSchema,
  type PrimitiveName,
  type Problem,
  type Struct,
} from "./parsed-schema.ts";
import { type NumberName, WireWriter } from "./wire-writer.ts";

/** `bytes` belong to the caller. Throws `Fault("undecodable_json")`. */
export type Encoder = (json: unknown) => {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Float fields that were null. */
  readonly nulls: number;
};

/** The dummy member of an empty ROS 2 message, which a bridge may show. */
const EMPTY_MEMBER = "structure_needs_at_least_one_member";

export function compileEncoder(parsed: ParsedSchema, encoding: WireEncoding): Encoder | Problem {
  if (hasWideText(parsed.root))
    return { problem: `${parsed.name} has a wstring, whose form differs between middlewares.` };
  const writing = new Writing(encoding);
  return (json) => {
    try {
      return writing.write(parsed.root, json);
    } catch (error) {
      if (!(error instanceof Misfit)) throw error;
      throw new Fault(
        "undecodable_json",
        `A JSON message is no ${parsed.name}: ${error.path.join(".") || "it"} ${error.message}`,
        "Compare the type that is configured for the topic, and its definition, with the robot's.",
      );
    }
  };
}

/** What does not fit, and where: each level adds its name on the way out. */
class Misfit extends Error {
  readonly path: string[] = [];
}

type Range = readonly [min: number, max: number];

const INTEGER_RANGES: Readonly<Partial<Record<PrimitiveName, Range>>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32_768, 32_767],
  uint16: [0, 65_535],
  int32: [-2_147_483_648, 2_147_483_647],
  uint32: [0, 4_294_967_295],
};

class Writing {
  readonly #writer: WireWriter;
  readonly #isRos1: boolean;
  #nulls = 0;

  constructor(encoding: WireEncoding) {
    this.#writer = new WireWriter(encoding);
    this.#isRos1 = encoding === "ros1";
  }

  write(root: Struct, json: unknown): { bytes: Uint8Array<ArrayBuffer>; nulls: number } {
    this.#nulls = 0;
    this.#writer.start();
    this.#struct(root, json);
    return { bytes: this.#writer.finish(), nulls: this.#nulls };
  }

  #struct({ fields }: Struct, json: unknown): void {
    if (!isRecord(json)) throw misfit("an object", json);
    for (const field of fields) {
      if (!Object.hasOwn(json, field.name)) throw new Misfit(`has no member "${field.name}".`);
      try {
        this.#field(field, json[field.name]);
      } catch (error) {
        if (error instanceof Misfit) error.path.unshift(field.name);
        throw error;
      }
    }
    if (Object.keys(json).length > fields.length) refuseUnknown(fields, json);
    if (fields.length === 0) this.#writer.emptyStruct();
  }

  #field(field: Field, json: unknown): void {
    if (field.length.kind === "one") this.#one(field, json);
    else this.#array(field, json);
  }

  #array(field: Field, json: unknown): void {
    const { length, type } = field;
    const isByteArray = type.kind === "primitive" && (type.name === "uint8" || type.name === "int8");
    const items = isByteArray && typeof json === "string" ? bytesOf(json) : json;
    if (!Array.isArray(items) && !(items instanceof Uint8Array)) throw misfit("an array", items);
    if (length.kind === "fixed" && items.length !== length.count) throw new Misfit(`needs ${length.count} elements.`);
    if (length.kind === "dynamic" && items.length > length.countMax)
      throw new Misfit(`has more than ${length.countMax} elements.`);
    if (length.kind === "dynamic") this.#writer.number("uint32", items.length);
    if (items instanceof Uint8Array) this.#writer.bytes(items);
    else for (let index = 0; index < items.length; index += 1) this.#one(field, items[index]);
  }

  #one({ type, textBytesMax }: Field, json: unknown): void {
    if (type.kind === "struct") this.#struct(type, json);
    else if (type.name === "float32" || type.name === "float64") this.#writer.number(type.name, this.#float(json));
    else if (type.name === "bool") this.#writer.number("bool", truth(json));
    else if (type.name === "int64" || type.name === "uint64") this.#writer.integer64(integer64(type.name, json));
    else if (type.name === "time" || type.name === "duration") this.#time(type.name, json);
    else if (type.name === "string" || type.name === "wstring") this.#writer.text(text(json, textBytesMax));
    else this.#writer.number(type.name, integer(type.name, json));
  }

  #float(json: unknown): number {
    if (typeof json === "number") return json;
    if (json !== null) throw misfit("a number", json);
    this.#nulls += 1;
    return Number.NaN;
  }

  #time(name: "time" | "duration", json: unknown): void {
    if (!isRecord(json)) throw misfit(`a ${name}`, json);
    const { secs, sec, nsecs, nanosec } = json;
    const [first, second] = this.#isRos1 ? ROS1_TIME_WORDS[name] : ROS2_TIME_WORDS;
    this.#writer.number(first, integer(first, secs ?? sec));
    this.#writer.number(second, integer(second, nsecs ?? nanosec));
  }
}

const ROS1_TIME_WORDS = { time: ["uint32", "uint32"], duration: ["int32", "int32"] } as const;
const ROS2_TIME_WORDS = ["int32", "uint32"] as const;

function integer(name: NumberName, json: unknown): number {
  const [min, max] = INTEGER_RANGES[name] ?? [0, 0];
  if (typeof json === "number" && Number.isInteger(json) && json >= min && json <= max) return json;
  throw misfit(`an ${name}`, json);
}

function integer64(name: "int64" | "uint64", json: unknown): bigint {
  const value = wide(json);
  if (value === undefined) throw misfit(`an ${name}`, json);
  const [min, max] = name === "int64" ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
  // JSON numbers round: the greatest integers arrive as the next power of two.
  if (typeof json === "number" && value === max + 1n) return max;
  if (value < min || value > max) throw misfit(`an ${name}`, json);
  return value;
}

function wide(json: unknown): bigint | undefined {
  if (typeof json === "bigint") return json;
  if (typeof json === "string") return /^-?\d{1,20}$/.test(json) ? BigInt(json) : undefined;
  return typeof json === "number" && Number.isInteger(json) ? BigInt(json) : undefined;
}

function truth(json: unknown): number {
  if (typeof json === "boolean" || json === 0 || json === 1) return Number(json);
  throw misfit("a bool", json);
}

function text(json: unknown, bytesMax: number): string {
  if (typeof json !== "string") throw misfit("a string", json);
  if (json.length > bytesMax) throw new Misfit(`is longer than ${bytesMax}.`);
  return json;
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

function bytesOf(base64: string): Uint8Array {
  if (base64.length % 4 !== 0 || !BASE64.test(base64)) throw new Misfit("is no base64.");
  return Buffer.from(base64, "base64");
}

function refuseUnknown(fields: readonly Field[], json: Readonly<Record<string, unknown>>): void {
  const names = new Set(fields.map((field) => field.name));
  const unknown = Object.keys(json).find((name) => !names.has(name));
  if (unknown === undefined || (unknown === EMPTY_MEMBER && fields.length === 0)) return;
  throw new Misfit(`has the member "${unknown}", which the definition has not.`);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function misfit(wanted: string, json: unknown): Misfit {
  const got = json === null ? "null" : Array.isArray(json) ? "an array" : typeof json;
  return new Misfit(`should be ${wanted} and is ${typeof json === "number" ? json : got}.`);
}
