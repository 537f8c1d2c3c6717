/**
 * Reads single fields out of serialized messages at offsets that are computed once.
 *
 * Where a field stands depends only on the counts before it (string lengths, array sizes). A reader remembers those
 * counts and the offset that followed from them; while a message shows the same counts at the same places, the
 * field is read straight away (tens of ns), else the message is walked and the new layout remembered. An element chosen by name
 * (`effort["elbow"]`) is remembered with its name, which is compared in every message; names are taken to be unique.
 *
 * Promises: a truncated, corrupt or hostile message, a name or an index that is not there, give `undefined`; nothing
 * throws, nothing reads beyond the message. 64-bit integers become numbers (exact up to 2^53), time and duration
 * become seconds, arrays of bool become 0 and 1. A value never refers to the message's memory.
 */
import { unreachable } from "../std/assert.ts";
import { Cursor, type WireEncoding } from "./cursor.ts";
import { type PathStep, parsePath } from "./field-path.ts";
import {
  type Field,
  type FixedPrimitiveName,
  isFixedPrimitive,
  type ParsedSchema,
  PRIMITIVE_BYTES,
  type PrimitiveName,
  type Problem,
  type Struct,
} from "./parsed-schema.ts";

export type FieldValue = number | string | boolean | readonly number[] | Float64Array | readonly string[] | undefined;

export type FieldReader = (message: Uint8Array) => FieldValue;

/** A step of the walk from a struct's first byte to the value. */
type Move =
  | { readonly kind: "skip"; readonly field: Field }
  | { readonly kind: "element"; readonly field: Field; readonly index: number }
  /** Looks a name up in the string array behind `before` and returns to where it started. */
  | { readonly kind: "find_name"; readonly before: readonly Field[]; readonly names: Field; readonly key: Uint8Array }
  | { readonly kind: "named_element"; readonly field: Field };

type Target =
  | { readonly kind: "value"; readonly type: PrimitiveName }
  | { readonly kind: "array"; readonly field: Field; readonly type: PrimitiveName }
  | { readonly kind: "each"; readonly field: Field; readonly plan: Plan };

type Plan = { readonly moves: readonly Move[]; readonly target: Target };

/** Fields that name the elements of the arrays beside them (sensor_msgs/JointState, control_msgs, trajectory_msgs). */
const NAME_FIELDS = ["name", "names", "joint_names"];

const WORDS_MAX = 256; // of a remembered layout; a field behind more counts than that is walked to every time

export function compileField(parsed: ParsedSchema, encoding: WireEncoding, path: string): FieldReader | Problem {
  const plan = planPath(parsed, path);
  if ("problem" in plan) return plan;
  const location = new Location(plan, encoding);
  return plan.target.kind === "value" && isFixedPrimitive(plan.target.type)
    ? scalarReader(parsed, location, plan.target.type)
    : variableReader(parsed, location, plan.target, encoding);
}

/** The hot path of rules: the location has already made sure that the value fits. */
function scalarReader(parsed: ParsedSchema, location: Location, type: FixedPrimitiveName): FieldReader {
  const read = numberRead(type, parsed.ros);
  const isBool = type === "bool";
  return (message) => {
    const view = parsed.viewOf(message);
    const offset = location.find(view, message.byteLength);
    if (offset < 0) return undefined;
    const value = read(view, offset, location.isLittleEndian);
    return isBool ? value !== 0 : value;
  };
}

function variableReader(parsed: ParsedSchema, location: Location, target: Target, encoding: WireEncoding): FieldReader {
  const read = compileTarget(target, parsed.ros);
  // A cursor of its own: the counts inside the target are no part of the remembered layout.
  const cursor = new Cursor(encoding);
  return (message) => {
    const view = parsed.viewOf(message);
    const offset = location.find(view, message.byteLength);
    if (offset < 0 || !cursor.start(view, message.byteLength)) return undefined;
    cursor.offset = offset;
    return read(cursor);
  };
}

/** Where a field of one fixed-size value stands, for readers of other forms. undefined: the type has no such field. */
export function compileLocation(
  parsed: ParsedSchema,
  encoding: WireEncoding,
  path: string,
  type: FixedPrimitiveName,
): Location | undefined {
  const plan = planPath(parsed, path);
  if ("problem" in plan || plan.target.kind !== "value" || plan.target.type !== type) return undefined;
  return new Location(plan, encoding);
}

/**
 * What must stand where in a message for the target to stand at `offset`: every count before it, and the name it was
 * chosen by. Words of 4 bytes: a name's first word reaches back into its count, which is the same too.
 */
type Layout = {
  kind: number; // the encapsulation, in CDR
  isLittleEndian: boolean;
  readonly wordOffsets: number[];
  readonly words: number[];
  offset: number;
  /** A message must be as long for the layout to apply; Infinity: it never does. */
  needsBytes: number;
};

/**
 * Finds the target, remembering the layouts of the last two kinds of message: two publishers on one
 * topic (the joints of arm and gripper) take turns.
 */
class Location {
  readonly #plan: Plan;
  readonly #cursor: Cursor;
  readonly #isCdr: boolean;
  #layout = emptyLayout();
  #otherLayout = emptyLayout();
  #lastCountOffset = -1;

  constructor(plan: Plan, encoding: WireEncoding) {
    this.#plan = plan;
    this.#isCdr = encoding === "cdr";
    this.#cursor = new Cursor(encoding, (offset, value) => this.#rememberCount(offset, value));
  }

  /** Of the message that was found last. */
  get isLittleEndian(): boolean {
    return this.#layout.isLittleEndian;
  }

  /** The offset of the target's first byte; a value of fixed size fits into the message. −1 if it is not there. */
  find(view: DataView, sizeBytes: number): number {
    if (this.#applies(this.#layout, view, sizeBytes)) return this.#layout.offset;
    const other = this.#otherLayout;
    this.#otherLayout = this.#layout;
    this.#layout = other;
    return this.#applies(other, view, sizeBytes) ? other.offset : this.#walk(view, sizeBytes);
  }

  #applies(layout: Layout, view: DataView, sizeBytes: number): boolean {
    if (sizeBytes < layout.needsBytes || (this.#isCdr && view.getUint16(0) !== layout.kind)) return false;
    const { wordOffsets, words, isLittleEndian } = layout;
    for (let index = 0; index < wordOffsets.length; index += 1)
      if (view.getUint32(wordOffsets[index] ?? 0, isLittleEndian) !== words[index]) return false;
    return true;
  }

  #walk(view: DataView, sizeBytes: number): number {
    const cursor = this.#cursor;
    const layout = this.#layout;
    layout.needsBytes = Number.POSITIVE_INFINITY;
    layout.wordOffsets.length = 0;
    layout.words.length = 0;
    this.#lastCountOffset = -1;
    if (!cursor.start(view, sizeBytes)) return -1;
    layout.isLittleEndian = cursor.isLittleEndian;
    const found = move(cursor, this.#plan.moves);
    const valueBytes = found === undefined ? -1 : this.#alignToValue();
    if (found === undefined || valueBytes < 0) return -1;
    for (let end = found.end; end > found.start; end -= 4)
      this.#remember(end - 4, view.getUint32(end - 4, layout.isLittleEndian));
    layout.kind = this.#isCdr ? view.getUint16(0) : 0;
    layout.offset = cursor.offset;
    if (layout.words.length <= WORDS_MAX)
      layout.needsBytes = Math.max(cursor.offset + valueBytes, ...layout.wordOffsets.map((offset) => offset + 4));
    return cursor.offset;
  }

  /** The size of a value of fixed size, 0 for other targets, −1 if it does not fit. */
  #alignToValue(): number {
    const { target } = this.#plan;
    if (target.kind !== "value" || !isFixedPrimitive(target.type)) return 0;
    return this.#cursor.fits(target.type) ? PRIMITIVE_BYTES[target.type] : -1;
  }

  /** A stretch may be walked twice (a name is looked up first): each count is remembered once. */
  #rememberCount(offset: number, value: number): void {
    if (offset <= this.#lastCountOffset) return;
    this.#lastCountOffset = offset;
    this.#remember(offset, value);
  }

  #remember(offset: number, word: number): void {
    if (this.#layout.words.length > WORDS_MAX) return;
    this.#layout.wordOffsets.push(offset);
    this.#layout.words.push(word);
  }
}

function emptyLayout(): Layout {
  const needsBytes = Number.POSITIVE_INFINITY;
  return { kind: 0, isLittleEndian: true, wordOffsets: [], words: [], offset: -1, needsBytes };
}

function bytesEqual(view: DataView, offset: number, bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index += 1)
    if (view.getUint8(offset + index) !== bytes[index]) return false;
  return true;
}

/** Which element has the name that was looked up, and where the name's bytes stand. */
type FoundName = { readonly index: number; readonly start: number; readonly end: number };

const NO_NAME: FoundName = { index: -1, start: 0, end: 0 };

/** Takes the cursor through the moves; undefined if the message does not have them. */
function move(cursor: Cursor, moves: readonly Move[]): FoundName | undefined {
  let found = NO_NAME;
  for (const step of moves) {
    if (step.kind === "skip") {
      if (!cursor.skipField(step.field)) return undefined;
    } else if (step.kind === "find_name") {
      const name = findName(cursor, step.before, step.names, step.key);
      if (name === undefined) return undefined;
      found = name;
    } else {
      const index = step.kind === "element" ? step.index : found.index;
      if (index >= cursor.enterArray(step.field) || !cursor.skipElements(step.field, index)) return undefined;
    }
  }
  return found;
}

function findName(cursor: Cursor, before: readonly Field[], names: Field, key: Uint8Array): FoundName | undefined {
  const start = cursor.offset;
  for (const field of before) if (!cursor.skipField(field)) return undefined;
  const count = cursor.enterArray(names);
  for (let index = 0; index < count; index += 1) {
    const length = cursor.textBytes();
    if (length < 0) return undefined;
    const offset = cursor.offset - (cursor.isCdr ? length + 1 : length);
    if (length !== key.length || !bytesEqual(cursor.view, offset, key)) continue;
    cursor.offset = start;
    return { index, start: offset, end: offset + length };
  }
  return undefined;
}

// ---- values

type NumberRead = (view: DataView, offset: number, isLittleEndian: boolean) => number;

const READ_NUMBER: Readonly<Record<FixedPrimitiveName, NumberRead>> = {
  bool: (view, offset) => (view.getUint8(offset) === 0 ? 0 : 1),
  int8: (view, offset) => view.getInt8(offset),
  uint8: (view, offset) => view.getUint8(offset),
  int16: (view, offset, little) => view.getInt16(offset, little),
  uint16: (view, offset, little) => view.getUint16(offset, little),
  int32: (view, offset, little) => view.getInt32(offset, little),
  uint32: (view, offset, little) => view.getUint32(offset, little),
  int64: (view, offset, little) => Number(view.getBigInt64(offset, little)),
  uint64: (view, offset, little) => Number(view.getBigUint64(offset, little)),
  float32: (view, offset, little) => view.getFloat32(offset, little),
  float64: (view, offset, little) => view.getFloat64(offset, little),
  time: (view, offset, little) => view.getUint32(offset, little) + view.getUint32(offset + 4, little) / 1e9,
  // ROS 1 nanoseconds carry the sign of the seconds; those of ROS 2 are below 1e9, where both readings agree.
  duration: (view, offset, little) => view.getInt32(offset, little) + view.getInt32(offset + 4, little) / 1e9,
};

/** ROS 1 times have unsigned seconds, ROS 2 times signed ones. */
function numberRead(type: FixedPrimitiveName, ros: 1 | 2): NumberRead {
  return type === "time" && ros === 2 ? READ_NUMBER.duration : READ_NUMBER[type];
}

/** Reads a target that begins at the cursor; undefined if it does not fit. */
type TargetRead = (cursor: Cursor) => FieldValue;

function compileTarget(target: Target, ros: 1 | 2): TargetRead {
  switch (target.kind) {
    case "value":
      return isFixedPrimitive(target.type) ? compileScalar(target.type, ros) : readText;
    case "array":
      return isFixedPrimitive(target.type)
        ? compileNumbers(target.field, target.type, ros)
        : (cursor) => readTexts(cursor, target.field);
    case "each":
      return compileEach(target.field, target.plan, ros);
    default:
      return unreachable(target);
  }
}

function compileScalar(type: FixedPrimitiveName, ros: 1 | 2): TargetRead {
  const read = numberRead(type, ros);
  return (cursor) => {
    if (!cursor.fits(type)) return undefined;
    const value = read(cursor.view, cursor.offset, cursor.isLittleEndian);
    return type === "bool" ? value !== 0 : value;
  };
}

function readText(cursor: Cursor): string | undefined {
  const length = cursor.textBytes();
  if (length < 0) return undefined;
  const offset = cursor.offset - (cursor.isCdr && length > 0 ? length + 1 : length);
  return decodeText(cursor.view, offset, length);
}

function decodeText(view: DataView, offset: number, length: number): string {
  return Buffer.from(view.buffer, view.byteOffset + offset, length).toString("utf8");
}

function readTexts(cursor: Cursor, field: Field): readonly string[] | undefined {
  const count = cursor.enterArray(field);
  if (count < 0) return undefined;
  const texts: string[] = [];
  while (texts.length < count) {
    const text = readText(cursor);
    if (text === undefined) return undefined;
    texts.push(text);
  }
  return texts;
}

function compileNumbers(field: Field, type: FixedPrimitiveName, ros: 1 | 2): TargetRead {
  const read = numberRead(type, ros);
  const size = PRIMITIVE_BYTES[type];
  return (cursor) => {
    const count = cursor.enterArray(field);
    if (count < 0 || !cursor.fits(type, count)) return undefined;
    const values = new Float64Array(count);
    for (let index = 0; index < count; index += 1)
      values[index] = read(cursor.view, cursor.offset + index * size, cursor.isLittleEndian);
    return values;
  };
}

/** Elements in which the rest of the path is not there are left out; a message that ends early gives undefined. */
function compileEach(field: Field, plan: Plan, ros: 1 | 2): TargetRead {
  const read = compileTarget(plan.target, ros);
  return (cursor) => {
    const count = cursor.enterArray(field);
    if (count < 0) return undefined;
    const values: (string | number)[] = [];
    for (let index = 0; index < count; index += 1) {
      const start = cursor.offset;
      if (move(cursor, plan.moves) !== undefined) appendValue(values, read(cursor));
      cursor.offset = start;
      if (!cursor.skipElements(field, 1)) return undefined;
    }
    return listOf(values);
  };
}

function appendValue(values: (string | number)[], value: FieldValue): void {
  if (value === undefined) return;
  if (typeof value === "object") for (const item of value) values.push(item);
  else values.push(typeof value === "boolean" ? Number(value) : value);
}

function listOf(values: readonly (string | number)[]): readonly number[] | readonly string[] {
  const numbers = values.filter((value) => typeof value === "number");
  return numbers.length === values.length ? numbers : values.map(String);
}

// ---- planning

function planPath(parsed: ParsedSchema, path: string): Plan | Problem {
  const steps = parsePath(path);
  if ("problem" in steps) return steps;
  return new Planner(path).plan(parsed.root, steps);
}

class Planner {
  readonly #path: string;
  /** Structs that were entered since the last `[*]`, with the place among the moves where each begins. */
  #entered: { struct: Struct; at: number }[] = [];
  #moves: Move[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** `steps` begin with a field of `struct`. */
  plan(struct: Struct, steps: readonly PathStep[]): Plan | Problem {
    this.#entered.push({ struct, at: this.#moves.length });
    const [first, second] = steps;
    const index = struct.fields.findIndex((field) => first?.kind === "field" && field.name === first.name);
    const field = struct.fields[index];
    if (field === undefined) return this.#noField(struct, first);
    for (const skipped of struct.fields.slice(0, index)) {
      if (hasWideText(skipped)) return this.#problem(`"${field.name}" stands behind the wstring "${skipped.name}".`);
      this.#moves.push({ kind: "skip", field: skipped });
    }
    if (second === undefined || second.kind === "field") return this.#inField(field, steps.slice(1));
    return this.#inArray(field, second, steps.slice(2));
  }

  #inField(field: Field, rest: readonly PathStep[]): Plan | Problem {
    const { type, length } = field;
    if (length.kind !== "one" && (rest.length > 0 || type.kind === "struct"))
      return this.#problem(`"${field.name}" is an array: choose elements, as in ${field.name}[0] or ${field.name}[*].`);
    if (length.kind === "one") return this.#inElement(field, rest);
    return type.kind === "struct" || type.name === "wstring"
      ? this.#problem("wstring is not read.")
      : { moves: this.#moves, target: { kind: "array", field, type: type.name } };
  }

  #inElement({ name, type }: Field, rest: readonly PathStep[]): Plan | Problem {
    if (type.kind === "struct")
      return rest[0]?.kind === "field"
        ? this.plan(type, rest)
        : this.#problem(`"${name}" is a whole ${describe(type)}`);
    if (rest.length > 0) return this.#problem(`"${name}" is a ${type.name}, which has no parts.`);
    if (type.name === "wstring") return this.#problem("wstring is not read.");
    return { moves: this.#moves, target: { kind: "value", type: type.name } };
  }

  #inArray(field: Field, step: PathStep, rest: readonly PathStep[]): Plan | Problem {
    if (field.length.kind === "one") return this.#problem(`"${field.name}" is no array.`);
    if (step.kind === "each") return this.#inEach(field, rest);
    if (step.kind === "index") {
      if (field.length.kind === "fixed" && step.index >= field.length.count)
        return this.#problem(`"${field.name}" has ${field.length.count} elements, counted from 0.`);
      this.#moves.push({ kind: "element", field, index: step.index });
    } else if (step.kind === "key") {
      const problem = this.#findName(field, step.key);
      if (problem !== undefined) return problem;
      this.#moves.push({ kind: "named_element", field });
    }
    return this.#inElement(field, rest);
  }

  #inEach(field: Field, rest: readonly PathStep[]): Plan | Problem {
    const before = this.#moves;
    this.#moves = [];
    this.#entered = [];
    const plan = this.#inElement(field, rest);
    return "problem" in plan ? plan : { moves: before, target: { kind: "each", field, plan } };
  }

  /** Puts the look-up where the struct begins that holds the names: the nearest one around the array. */
  #findName(field: Field, key: string): Problem | undefined {
    if (this.#moves.some((step) => step.kind === "find_name")) return this.#problem("only one name can be looked up.");
    for (const { struct, at } of this.#entered.toReversed()) {
      const index = struct.fields.findIndex((candidate) => isNames(candidate));
      const names = struct.fields[index];
      if (names === undefined) continue;
      const before = struct.fields.slice(0, index);
      if (before.some(hasWideText)) return this.#problem(`"${names.name}" stands behind a wstring.`);
      this.#moves.splice(at, 0, { kind: "find_name", before, names, key: Buffer.from(key, "utf8") });
      return undefined;
    }
    return this.#problem(`there is no array of strings "name" beside "${field.name}".`);
  }

  #noField(struct: Struct, step: PathStep | undefined): Problem {
    const name = step?.kind === "field" ? step.name : "";
    return this.#problem(`"${name}" is no field of ${describe(struct)}`);
  }

  #problem(why: string): Problem {
    return { problem: `${this.#path}: ${why}` };
  }
}

function describe(struct: Struct): string {
  const names = struct.fields.map((field) => field.name);
  return `${struct.name}, which has ${names.length === 0 ? "no fields" : names.join(", ")}.`;
}

function isNames({ name, type, length }: Field): boolean {
  return NAME_FIELDS.includes(name) && type.kind === "primitive" && type.name === "string" && length.kind !== "one";
}

function hasWideText({ type }: Field): boolean {
  return type.kind === "struct" ? type.fields.some(hasWideText) : type.name === "wstring";
}
