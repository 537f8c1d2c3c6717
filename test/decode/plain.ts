/** Plain forms of decoded messages, written for the tests alone: what readers and encoder are compared with. */
import type { Field, Struct } from "../../src/decode/parsed-schema.ts";

export function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function items(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return ArrayBuffer.isView(value) && Symbol.iterator in value ? Array.from(value as Iterable<unknown>) : [];
}

/** A leaf as a field reader gives it: seconds for times, numbers for 64-bit integers. */
function leaf(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  const seconds = member(value, "sec");
  return typeof seconds === "number"
    ? seconds + Number(member(value, "nsec") ?? member(value, "nanosec")) / 1e9
    : value;
}

type Leaf = { readonly path: string; readonly read: (message: unknown) => unknown };

/** A way to every kind of place in a type: scalars, whole arrays, first elements, every element. */
export function leavesOf(struct: Struct, path = "", read: Leaf["read"] = (message) => message): Leaf[] {
  return struct.fields.flatMap((field) => {
    const here = path === "" ? field.name : `${path}.${field.name}`;
    const readHere = (message: unknown) => member(read(message), field.name);
    return field.length.kind === "one" ? oneLeaves(field, here, readHere) : arrayLeaves(field, here, readHere);
  });
}

function oneLeaves({ type }: Field, path: string, read: Leaf["read"]): Leaf[] {
  if (type.kind === "struct") return leavesOf(type, path, read);
  return [{ path, read: (message) => leaf(read(message)) }];
}

function arrayLeaves(field: Field, path: string, read: Leaf["read"]): Leaf[] {
  const places = field.length.kind === "fixed" ? [0, field.length.count - 1] : [0, 2];
  const elements = places.flatMap((index) =>
    oneLeaves(field, `${path}[${index}]`, (message) => items(read(message))[index]),
  );
  if (field.type.kind === "primitive")
    return [...elements, { path, read: (message) => listOf(read(message), (item) => [number(leaf(item))]) }];
  const each = leavesOf(field.type).map((inner) => ({
    path: `${path}[*].${inner.path}`,
    read: (message: unknown) => listOf(read(message), (item) => listOf([inner.read(item)].flat(), (part) => [part])),
  }));
  return [...elements, ...each];
}

/** undefined where there is no array; elements that have no such value are left out. */
function listOf(value: unknown, read: (item: unknown) => unknown): unknown {
  if (value === undefined) return undefined;
  return items(value)
    .flatMap(read)
    .filter((item) => item !== undefined)
    .map(number);
}

/** In lists a bool is 0 or 1. */
function number(value: unknown): unknown {
  return typeof value === "boolean" ? Number(value) : value;
}

/** Equal as values; NaN equals NaN. */
export function isSame(one: unknown, other: unknown): boolean {
  const isList = Array.isArray(one) || ArrayBuffer.isView(one);
  if (!isList) return Object.is(one, other) || (one === 0 && other === 0);
  const [left, right] = [items(one), items(other)];
  return left.length === right.length && left.every((value, index) => isSame(value, right[index]));
}

/** A decoded message as rosbridge writes it in JSON. */
export function toJson(struct: Struct, value: unknown, ros: 1 | 2): Record<string, unknown> {
  const entries = struct.fields.map((field) => [field.name, fieldJson(field, member(value, field.name), ros)]);
  return Object.fromEntries(entries);
}

function fieldJson(field: Field, value: unknown, ros: 1 | 2): unknown {
  if (field.length.kind === "one") return oneJson(field, value, ros);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return items(value).map((item) => oneJson(field, item, ros));
}

function oneJson({ type }: Field, value: unknown, ros: 1 | 2): unknown {
  if (type.kind === "struct") return toJson(type, value, ros);
  if (typeof value === "bigint") return Number(value);
  if (type.name !== "time" && type.name !== "duration") return value;
  const [seconds, fraction] = [member(value, "sec"), member(value, "nsec") ?? member(value, "nanosec")];
  return ros === 1 ? { secs: seconds, nsecs: fraction } : { sec: seconds, nanosec: fraction };
}

/** Whether JavaScript's JSON keeps the message: no NaN, infinity or negative zero, no integer beyond 2^53. */
export function survivesJson(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value === "bigint") return value >= -(2n ** 53n) && value <= 2n ** 53n;
  if (typeof value !== "object" || value === null) return true;
  const parts = ArrayBuffer.isView(value) || Array.isArray(value) ? items(value) : Object.values(value);
  return parts.every(survivesJson);
}
