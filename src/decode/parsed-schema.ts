/**
 * A schema's text as a tree of typed fields: what field readers, encoder and decoder walk.
 *
 * Promises: `parseSchema` never throws; a definition that does not parse, names a type it does not bring along,
 * contains itself, or would let a tiny message stand for endless work, is a `problem` for people to read. Such a
 * schema is still recorded, only not decoded. Names are checked: a library compiles them into source text.
 */
import { parse } from "@foxglove/rosmsg";
import type { Schema } from "../model/channel.ts";
import { describeError } from "../std/fault.ts";

export type MessageDefinition = ReturnType<typeof parse>[number];
type MessageDefinitionField = MessageDefinition["definitions"][number];

export type PrimitiveName = keyof typeof PRIMITIVE_BYTES | "string" | "wstring";
export type FixedPrimitiveName = keyof typeof PRIMITIVE_BYTES;

/** Size on the wire. */
export const PRIMITIVE_BYTES = {
  bool: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  float32: 4,
  float64: 8,
  time: 8,
  duration: 8,
} as const;

/** In CDR: the size, except of time and duration, which are two words of 4. */
export function alignmentOf(name: FixedPrimitiveName): number {
  return name === "time" || name === "duration" ? 4 : PRIMITIVE_BYTES[name];
}

export type Struct = { readonly kind: "struct"; readonly name: string; readonly fields: readonly Field[] };
export type Primitive = { readonly kind: "primitive"; readonly name: PrimitiveName };

type ArrayLength =
  | { readonly kind: "one" }
  | { readonly kind: "fixed"; readonly count: number }
  /** Preceded by its count on the wire. */
  | { readonly kind: "dynamic"; readonly countMax: number };

export type Field = {
  readonly name: string;
  readonly type: Struct | Primitive;
  readonly length: ArrayLength;
  /** Of a bounded string, in bytes; Infinity otherwise. */
  readonly textBytesMax: number;
};

export type ParsedSchema = {
  readonly name: string;
  readonly ros: 1 | 2;
  readonly root: Struct;
  /** The library's form of the same, for its reader. */
  readonly definitions: readonly MessageDefinition[];
  /** A DataView over a message. The last one is remembered: readers of several fields ask for the same. */
  viewOf(message: Uint8Array): DataView;
};

export type Problem = { readonly problem: string };

const TEXT_CHARS_MAX = 1_000_000; // the longest real definition seen (planning scenes) has 60,000
const NODES_MAX = 100_000; // fields of a message with every array of structs of fixed length written out
const DEPTH_MAX = 64; // structs within structs
const NAME_CHARS_MAX = 255; // the library's check of a field's name takes 14 s for one of 5,000
const TYPE_NAME = /^[A-Za-z]\w*(\/[A-Za-z]\w*){1,2}$/;
const FIELD_NAME = /^[A-Za-z_]\w*$/;

export function parseSchema(schema: Schema): ParsedSchema | Problem {
  const ros = schema.encoding === "ros1msg" ? 1 : 2;
  if (schema.encoding !== "ros1msg" && schema.encoding !== "ros2msg")
    return { problem: `"${schema.name}" has no ROS definition (schema encoding "${schema.encoding}").` };
  // An absent definition and the definition of an empty message look the same.
  if (schema.text.trim() === "" && !schema.name.endsWith("/Empty"))
    return { problem: `The definition of ${schema.name} is not known.` };
  if (schema.text.length > TEXT_CHARS_MAX)
    return { problem: `The definition of ${schema.name} is too long (${schema.text.length} characters).` };
  if (hasLongName(schema.text))
    return { problem: `The definition of ${schema.name} has a name of more than ${NAME_CHARS_MAX} characters.` };
  try {
    const definitions = parse(schema.text, { ros2: ros === 2 });
    const root = new TreeBuilder(definitions, schema.name, ros).build();
    return { name: schema.name, ros, root, definitions, viewOf: rememberingViewOf() };
  } catch (error) {
    return { problem: `The definition of ${schema.name} does not parse: ${firstLine(describeError(error))}` };
  }
}

/** Outside of comments. */
function hasLongName(text: string): boolean {
  const code = text.split("\n").map((line) => line.split("#", 1)[0] ?? "");
  return code.some((line) => line.length > NAME_CHARS_MAX && line.split(/\W+/).some(isLong));
}

const isLong = ({ length }: string): boolean => length > NAME_CHARS_MAX;

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

function rememberingViewOf(): (message: Uint8Array) => DataView {
  let last: Uint8Array | undefined;
  const empty: DataView = new DataView(new ArrayBuffer(0));
  let view = empty;
  return (message) => {
    if (message !== last) {
      // Of memory that was given away there is no view, and nothing to see.
      view = message.byteLength === 0 ? empty : new DataView(message.buffer, message.byteOffset, message.byteLength);
      last = message;
    }
    return view;
  };
}

/** Resolves type names to shared structs; throws on what cannot be walked. */
class TreeBuilder {
  readonly #definitions: readonly MessageDefinition[];
  readonly #rootName: string;
  readonly #ros: 1 | 2;
  readonly #structs = new Map<string, Struct>();
  readonly #nodeCounts = new Map<Struct, number>();
  readonly #open = new Set<string>();

  constructor(definitions: readonly MessageDefinition[], rootName: string, ros: 1 | 2) {
    this.#definitions = definitions;
    this.#rootName = rootName;
    this.#ros = ros;
  }

  build(): Struct {
    const root = this.#definitions.find((definition) => definition.name === undefined) ?? this.#definitions[0];
    if (root === undefined) throw new Error("it is empty.");
    for (const { name } of this.#definitions)
      if (name !== undefined && !TYPE_NAME.test(name)) throw new Error(`"${name}" is no type name.`);
    return this.#struct(root, this.#rootName);
  }

  #struct(definition: MessageDefinition, name: string): Struct {
    if (this.#open.has(name)) throw new Error(`${name} contains itself.`);
    if (this.#open.size >= DEPTH_MAX) throw new Error(`${name} is nested more than ${DEPTH_MAX} deep.`);
    this.#open.add(name);
    const fields = definition.definitions
      .filter((field) => field.isConstant !== true)
      .map((field) => this.#field(field));
    this.#open.delete(name);
    const struct: Struct = { kind: "struct", name, fields };
    this.#countNodes(struct);
    return struct;
  }

  #field(field: MessageDefinitionField): Field {
    if (!FIELD_NAME.test(field.name)) throw new Error(`"${field.name}" is no field name.`);
    const type = field.isComplex === true ? this.#resolve(field.type) : toPrimitive(field.type);
    const length = lengthOf(field);
    // Zero bytes an element: a count of four thousand million would cost nothing to send and an hour to read.
    if (length.kind !== "one" && type.kind === "struct" && this.#ros === 1 && isZeroSized(type))
      throw new Error(`"${field.name}" is an array of the empty type ${type.name}.`);
    const textBytesMax = toCount(field.upperBound) ?? Number.POSITIVE_INFINITY;
    return { name: field.name, type, length, textBytesMax };
  }

  #resolve(name: string): Struct {
    const known = this.#structs.get(name);
    if (known !== undefined) return known;
    const definition = this.#definitions.find((candidate) => candidate.name === name);
    if (definition === undefined) throw new Error(`it does not bring ${name} along.`);
    const struct = this.#struct(definition, name);
    this.#structs.set(name, struct);
    return struct;
  }

  #countNodes(struct: Struct): void {
    let nodes = 1;
    for (const { type, length } of struct.fields)
      nodes +=
        type.kind === "struct" ? (this.#nodeCounts.get(type) ?? 0) * (length.kind === "fixed" ? length.count : 1) : 1;
    if (nodes > NODES_MAX) throw new Error(`${struct.name} has more than ${NODES_MAX} fields.`);
    this.#nodeCounts.set(struct, nodes);
  }
}

function toPrimitive(name: string): Primitive {
  if (name === "string" || name === "wstring") return { kind: "primitive", name };
  if (isFixedPrimitive(name)) return { kind: "primitive", name };
  throw new Error(`"${name}" is no primitive type.`);
}

export function isFixedPrimitive(name: string): name is FixedPrimitiveName {
  return Object.hasOwn(PRIMITIVE_BYTES, name);
}

function lengthOf(field: MessageDefinitionField): ArrayLength {
  if (field.isArray !== true) return { kind: "one" };
  const count = toCount(field.arrayLength);
  if (count !== undefined) return { kind: "fixed", count };
  return { kind: "dynamic", countMax: toCount(field.arrayUpperBound) ?? Number.POSITIVE_INFINITY };
}

/** The library allows the name of a constant where IDL does; ROS messages have numbers. */
function toCount(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`"${String(value)}" is no length.`);
}

function isZeroSized(struct: Struct): boolean {
  return struct.fields.every(({ type }) => type.kind === "struct" && isZeroSized(type));
}

/** Whether a wstring is in it, whose form differs between middlewares: what lies behind cannot be found. */
export function hasWideText(type: Struct | Primitive): boolean {
  return type.kind === "struct" ? type.fields.some((field) => hasWideText(field.type)) : type.name === "wstring";
}
