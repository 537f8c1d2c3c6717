/**
 * Serialized messages as rosbridge shows them to clients that did not ask for raw bytes.
 *
 * JSON (`none`): byte arrays in base64, NaN and infinities null, 64-bit integers as numbers; times as `secs`/`nsecs`
 * in ROS 1 and `sec`/`nanosec` in ROS 2. CBOR (`cbor`): byte strings and typed arrays, floats and integers as they
 * are; where rosbridge's own conversion fails (arrays of fixed length and, in ROS 1, of strings; bounded ones in
 * ROS 2) it throws here too, and as there the subscriber gets nothing.
 */
import { compileDecoder } from "../decode/decoder.ts";
import { type Field, type Problem, parseSchema, type Struct } from "../decode/parsed-schema.ts";
import { CborWriter } from "./cbor-writer.ts";
import { jsonFrame } from "./publish-frame.ts";
import type { RecordedChannel } from "./recording.ts";

export type MessageValues = {
  /** The whole frame. Throws if the bytes do not fit the schema. */
  readonly toJsonFrame: (bytes: Uint8Array) => Buffer;
  /** The whole frame. Throws where rosbridge fails, too. */
  readonly toCborFrame: (bytes: Uint8Array) => Buffer;
};

/** RFC 8746: typed arrays, little-endian. */
const TYPED_ARRAY_TAGS: Readonly<Record<string, number>> = {
  uint16: 69,
  uint32: 70,
  uint64: 71,
  int8: 72,
  int16: 77,
  int32: 78,
  int64: 79,
  float32: 85,
  float64: 86,
};

export function compileValues(channel: Omit<RecordedChannel, "isLatched">): MessageValues | Problem {
  const ros = channel.encoding === "ros1" ? 1 : 2;
  const schema = parseSchema({
    name: channel.schemaName,
    encoding: ros === 1 ? "ros1msg" : "ros2msg",
    text: channel.schemaText ?? "",
  });
  if ("problem" in schema) return schema;
  const read = compileDecoder(schema, channel.encoding);
  const writer = new CborWriter();
  return {
    toJsonFrame: (bytes) => jsonFrame(channel.topic, toPlain(schema.root, read(bytes), ros)),
    toCborFrame: (bytes) => {
      writer.finish(); // what a failed message left behind
      writer.map(3).text("op").text("publish").text("topic").text(channel.topic).text("msg");
      writeStruct(writer, schema.root, read(bytes), ros);
      return writer.finish();
    },
  };
}

function toPlain(struct: Struct, value: unknown, ros: 1 | 2): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const field of struct.fields) plain[field.name] = fieldToPlain(field, memberOf(value, field.name), ros);
  return plain;
}

function fieldToPlain(field: Field, value: unknown, ros: 1 | 2): unknown {
  if (field.length.kind === "one") return oneToPlain(field, value, ros);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return Array.from<unknown, unknown>(itemsOf(value), (item) => oneToPlain(field, item, ros));
}

/** `JSON.stringify` itself turns NaN and the infinities into null. */
function oneToPlain(field: Field, value: unknown, ros: 1 | 2): unknown {
  if (field.type.kind === "struct") return toPlain(field.type, value, ros);
  if (field.type.name === "time" || field.type.name === "duration") return toRosTime(value, ros);
  return typeof value === "bigint" ? Number(value) : value;
}

function toRosTime(value: unknown, ros: 1 | 2): Record<string, number> {
  const seconds = Number(memberOf(value, "sec"));
  const fraction = Number(memberOf(value, "nanosec") ?? memberOf(value, "nsec"));
  return ros === 1 ? { secs: seconds, nsecs: fraction } : { sec: seconds, nanosec: fraction };
}

function writeStruct(writer: CborWriter, struct: Struct, value: unknown, ros: 1 | 2): void {
  writer.map(struct.fields.length);
  for (const field of struct.fields) {
    writer.text(field.name);
    const member = memberOf(value, field.name);
    if (field.length.kind === "one") writeOne(writer, field, member, ros);
    else writeArray(writer, field, member, ros);
  }
}

function writeArray(writer: CborWriter, field: Field, value: unknown, ros: 1 | 2): void {
  const items = itemsOf(value);
  refuseWhatRosbridgeCannot(field, items.length, ros);
  const tag = field.type.kind === "primitive" ? TYPED_ARRAY_TAGS[field.type.name] : undefined;
  if (ArrayBuffer.isView(value)) {
    if (tag !== undefined) writer.tag(tag);
    writer.bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    return;
  }
  writer.array(items.length);
  for (const item of items) writeOne(writer, field, item, ros);
}

function refuseWhatRosbridgeCannot(field: Field, count: number, ros: 1 | 2): void {
  if (field.type.kind === "struct" || count === 0) return;
  const isBounded = field.length.kind === "dynamic" && field.length.countMax !== Number.POSITIVE_INFINITY;
  const isStringInRos1 = ros === 1 && ["string", "time", "duration"].includes(field.type.name);
  if (field.length.kind === "fixed" || isBounded || isStringInRos1)
    throw new Error(`rosbridge's cbor conversion fails on the array ${field.name}`);
}

function writeOne(writer: CborWriter, field: Field, value: unknown, ros: 1 | 2): void {
  const name = field.type.name;
  if (field.type.kind === "struct") writeStruct(writer, field.type, value, ros);
  else if (name === "time" || name === "duration") {
    const entries = Object.entries(toRosTime(value, ros));
    writer.map(entries.length);
    for (const [key, number] of entries) writer.text(key).integer(number);
  } else if (typeof value === "string") writer.text(value);
  else if (typeof value === "boolean") writer.boolean(value);
  else if (typeof value === "bigint") writer.integer(value);
  else if (name === "float32" || name === "float64") writer.float(Number(value));
  else writer.integer(Number(value));
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/** Lists, and typed arrays as they are. */
function itemsOf(value: unknown): ArrayLike<unknown> & Iterable<unknown> {
  return Array.isArray(value) || isTypedArray(value) ? value : [];
}

function isTypedArray(value: unknown): value is Uint8Array | Float64Array | BigInt64Array {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}
