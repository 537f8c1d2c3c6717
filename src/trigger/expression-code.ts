/**
 * Fields, operators and three-valued logic of an expression as closures. NaN and undefined are unknown.
 *
 * What a piece of an expression is (number, duration, truth, text) is settled while compiling, so that a mix-up is
 * found before a robot is watched; only a field's kind shows at run time.
 */
import type { ASTNode } from "@marcbachmann/cel-js";
import { nearestHint } from "../std/yaml-file.ts";
import type { Truth } from "./edge.ts";
import type { FieldValue } from "./seams.ts";

/** Where an expression gets its values: the bound inputs of one rule. */
export type Scope = {
  readonly inputs: readonly string[];
  nowMs(): number;
  /** The latest value of a field; undefined while missing or stale. Throws `ExpressionProblem` if there is none. */
  field(input: string, path: string): FieldRead;
  /** Whether messages of the input have such a field. */
  hasField(input: string, path: string): boolean;
  /** ms since the input's last message; NaN before the first. */
  age(input: string): () => number;
  rateHz(input: string): () => number;
  /** Calls `feed` on every message of the inputs, before conditions are evaluated; `reset` after a long silence. */
  onMessage(inputs: ReadonlySet<string>, feed: (nowMs: number) => void, reset: () => void): void;
};

/** `cell`: where the value stands, for whom the call costs too much. */
type FieldRead = (() => FieldValue) & { readonly cell?: Cell };
type Cell = {
  readonly value: FieldValue;
  /** A truth value as 0 or 1; NaN of what is no number. */
  readonly number: number;
};

/** Scope, the variables of enclosing `exists` and `all`, and the functions, which need this file themselves. */
export type Frame = Scope & {
  readonly elements: ReadonlyMap<string, ListElement>;
  readonly callOf: (node: ASTNode, name: string, args: readonly ASTNode[], frame: Frame) => Code;
  readonly methodOf: (node: ASTNode, name: string, on: ASTNode, args: readonly ASTNode[], frame: Frame) => Code;
};
export type ListElement = { readonly input: string; readonly path: string; readonly index: () => number };

export type Numeric = {
  readonly kind: "number" | "duration";
  readonly run: () => number;
  /** It is always this. */
  readonly constant?: number;
  /** It is this field as it is, or its magnitude. */
  readonly field?: DirectField;
};
type DirectField = { readonly cell: Cell; readonly isMagnitude: boolean };
export type Code =
  | Numeric
  | { readonly kind: "truth"; readonly run: () => Truth }
  | { readonly kind: "text"; readonly run: () => string | undefined }
  | { readonly kind: "field"; readonly run: FieldRead };

/** Thrown with its place in the expression, counted in characters. */
export class ExpressionProblem extends Error {
  readonly offset: number;
  readonly hint: string;

  constructor(message: string, hint: string, offset: number) {
    super(message);
    this.hint = hint;
    this.offset = offset;
  }
}

export function problemAt(node: ASTNode, message: string, hint: string): ExpressionProblem {
  return new ExpressionProblem(message, hint, node.range.start);
}

export function textOf(node: ASTNode): string {
  return node.input.slice(node.range.start, node.range.end);
}

export function compile(node: ASTNode, frame: Frame): Code {
  switch (node.op) {
    case "value":
      return literal(node, node.args);
    case "id":
    case ".":
    case "[]":
      return fieldOf(node, frame);
    case "call":
      return frame.callOf(node, node.args[0], node.args[1], frame);
    case "rcall":
      return frame.methodOf(node, node.args[0], node.args[1], node.args[2], frame);
    case "&&":
    case "||":
      return logic(node.op === "||", node.args, frame);
    case "!_":
      return negation(truthAt(node.args, frame));
    case "-_":
      return mapNumber(numberAt(node.args, frame), (x) => -x);
    case "?:":
      return choice(node.args, frame);
    case "+":
    case "-":
    case "*":
    case "/":
    case "%":
      return arithmetic(node, node.op, node.args, frame);
    case "<":
    case "<=":
    case ">":
    case ">=":
      return ordering(node, node.op, node.args, frame);
    case "==":
    case "!=":
      return equality(node, node.op === "==", node.args, frame);
    case "in":
      return membership(node, node.args, frame);
    default:
      throw problemAt(node, `"${textOf(node)}" is not supported in a rule.`, "Use comparisons of fields and numbers.");
  }
}

function literal(node: ASTNode, value: unknown): Code {
  if (typeof value === "boolean") return { kind: "truth", run: () => value };
  if (typeof value === "string") return { kind: "text", run: () => value };
  if (typeof value !== "number" && typeof value !== "bigint")
    throw problemAt(node, `${textOf(node)} is no number, text or truth value.`, 'Write 1.5, "text", true or false.');
  return constantOf("number", Number(value));
}

export function constantOf(kind: Numeric["kind"], constant: number): Numeric {
  return { kind, run: () => constant, constant };
}

/* Fields */

type Path = { readonly root: string; readonly path: string };

/** `j.effort["elbow"].x` → root `j`, path `effort["elbow"].x`; undefined if it is no such chain. */
export function pathOf(node: ASTNode): Path | undefined {
  if (node.op === "id") return { root: node.args, path: "" };
  if (node.op === ".") {
    const inner = pathOf(node.args[0]);
    return inner && { root: inner.root, path: inner.path === "" ? node.args[1] : `${inner.path}.${node.args[1]}` };
  }
  if (node.op !== "[]" || node.args[1].op !== "value") return undefined;
  const inner = pathOf(node.args[0]);
  const index = node.args[1].args;
  const key = typeof index === "string" ? JSON.stringify(index) : String(index);
  return inner && { root: inner.root, path: `${inner.path}[${key}]` };
}

function fieldOf(node: ASTNode, frame: Frame): Code {
  const found = pathOf(node);
  if (found === undefined)
    throw problemAt(node, `"${textOf(node)}" is not a field.`, 'Write j.position[0] or j.effort["elbow"].');
  const element = frame.elements.get(found.root);
  if (element !== undefined) return elementField(node, element, found.path, frame);
  requireInput(node, found.root, frame);
  if (found.path === "")
    throw problemAt(node, `"${found.root}" is a whole message.`, `Name a field of it: ${found.root}.header.stamp.`);
  return fieldAt(node, found.root, found.path, frame);
}

export function requireInput(node: ASTNode, name: string, frame: Frame): void {
  if (frame.inputs.includes(name)) return;
  throw problemAt(
    node,
    `"${name}" is not an input of this rule.`,
    nearestHint(name, [...frame.inputs, ...frame.elements.keys()]),
  );
}

/** A problem of the scope is told at the node's place. */
export function fieldAt(node: ASTNode, input: string, path: string, frame: Frame): Code {
  try {
    return { kind: "field", run: frame.field(input, path) };
  } catch (error) {
    throw error instanceof ExpressionProblem ? problemAt(node, error.message, error.hint) : error;
  }
}

/** Inside `list.exists(s, …)`: `s.level` reads the list `status[*].level` at the index under test. */
function elementField(node: ASTNode, element: ListElement, path: string, frame: Frame): Code {
  const list = fieldAt(node, element.input, path === "" ? element.path : `${element.path}[*].${path}`, frame);
  const run: FieldRead = () => {
    const values = list.run();
    return isList(values) ? values[element.index()] : undefined;
  };
  return { kind: "field", run };
}

type FieldList = Exclude<FieldValue, number | string | boolean | undefined>;

export function isList(value: unknown): value is readonly (number | string | boolean)[] | Float64Array {
  return Array.isArray(value) || value instanceof Float64Array;
}

/* What a context needs from a piece of code */

export function numberAt(node: ASTNode, frame: Frame): Numeric {
  return asNumber(node, compile(node, frame));
}

export function truthAt(node: ASTNode, frame: Frame): () => Truth {
  return asTruth(node, compile(node, frame));
}

function asNumber(node: ASTNode, code: Code): Numeric {
  if (code.kind === "number" || code.kind === "duration") return code;
  if (code.kind !== "field")
    throw problemAt(node, `"${textOf(node)}" is a ${code.kind}, and a number is needed here.`, "Compare numbers only.");
  const { run } = code;
  const { cell } = run;
  if (cell === undefined) return { kind: "number", run: () => toNumber(run()) };
  return { kind: "number", run: () => cell.number, field: { cell, isMagnitude: false } };
}

function toNumber(value: FieldValue): number {
  if (typeof value === "number") return value;
  return typeof value === "boolean" ? Number(value) : Number.NaN;
}

function asTruth(node: ASTNode, code: Code): () => Truth {
  if (code.kind === "truth") return code.run;
  if (code.kind !== "field") {
    const hint = code.kind === "duration" ? `${textOf(node)} > duration("1s")` : `${textOf(node)} > 0`;
    throw problemAt(node, `"${textOf(node)}" is a ${code.kind}, not a condition.`, `Compare it: ${hint}.`);
  }
  const run = code.run;
  return () => {
    const value = run();
    return typeof value === "boolean" ? value : undefined;
  };
}

export function asText(node: ASTNode, code: Code): () => string | undefined {
  if (code.kind === "text") return code.run;
  if (code.kind !== "field") throw problemAt(node, `"${textOf(node)}" is not a text.`, "Compare texts with texts.");
  const run = code.run;
  return () => {
    const value = run();
    return typeof value === "string" ? value : undefined;
  };
}

/* Logic */

type Pair = readonly [ASTNode, ASTNode];

/** `decisive` is the value that decides alone: true for `||`, false for `&&`. */
function logic(decisive: boolean, args: Pair, frame: Frame): Code {
  const a = truthAt(args[0], frame);
  const b = truthAt(args[1], frame);
  const run = (): Truth => {
    const first = a();
    if (first === decisive) return decisive;
    const second = b();
    if (second === decisive) return decisive;
    return first === undefined || second === undefined ? undefined : !decisive;
  };
  return { kind: "truth", run };
}

function negation(inner: () => Truth): Code {
  const run = (): Truth => {
    const value = inner();
    return value === undefined ? undefined : !value;
  };
  return { kind: "truth", run };
}

function choice(args: readonly [ASTNode, ASTNode, ASTNode], frame: Frame): Code {
  const condition = truthAt(args[0], frame);
  const [yes, no] = [compile(args[1], frame), compile(args[2], frame)];
  if (yes.kind === "truth" || no.kind === "truth") {
    const [a, b] = [asTruth(args[1], yes), asTruth(args[2], no)];
    return { kind: "truth", run: () => choose(condition(), a, b, undefined) };
  }
  const [a, b] = [asNumber(args[1], yes), asNumber(args[2], no)];
  return { kind: sameUnit(args[1], a, b), run: () => choose(condition(), a.run, b.run, Number.NaN) };
}

function choose<T>(condition: Truth, yes: () => T, no: () => T, unknown: T): T {
  return condition === undefined ? unknown : condition ? yes() : no();
}

/* Numbers */

function sameUnit(node: ASTNode, a: Numeric, b: Numeric): "number" | "duration" {
  if (a.kind === b.kind) return a.kind;
  throw problemAt(node, "a duration and a plain number do not mix.", 'Write the time as duration("500ms").');
}

function mapNumber({ kind, run, constant }: Numeric, map: (x: number) => number): Numeric {
  return constant === undefined ? { kind, run: () => map(run()) } : constantOf(kind, map(constant));
}

export function magnitudeOf(number: Numeric): Numeric {
  const field = number.field && { ...number.field, isMagnitude: true };
  return { ...mapNumber(number, Math.abs), ...(field === undefined ? {} : { field }) };
}

type Operation<T> = (a: () => number, b: () => number) => () => T;

const ARITHMETIC: Readonly<Record<"+" | "-" | "*" | "/" | "%", Operation<number>>> = {
  "+": (a, b) => () => a() + b(),
  "-": (a, b) => () => a() - b(),
  "*": (a, b) => () => a() * b(),
  "/": (a, b) => () => a() / b(),
  "%": (a, b) => () => a() % b(),
};

function arithmetic(node: ASTNode, op: keyof typeof ARITHMETIC, args: Pair, frame: Frame): Code {
  const [a, b] = [numberAt(args[0], frame), numberAt(args[1], frame)];
  const kind = unitOf(node, op, a, b);
  const run = ARITHMETIC[op](a.run, b.run);
  return a.constant === undefined || b.constant === undefined ? { kind, run } : constantOf(kind, run());
}

/** A duration may be scaled by a number, and two of them have a ratio. */
function unitOf(node: ASTNode, op: keyof typeof ARITHMETIC, a: Numeric, b: Numeric): Numeric["kind"] {
  if ((op === "*" || op === "/") && b.kind === "number") return a.kind;
  if (op === "*" && a.kind === "number") return b.kind;
  if (op === "*") throw problemAt(node, "two durations have no product.", 'Write duration("500ms") * 4.');
  return op === "/" && a.kind === "duration" ? "number" : sameUnit(node, a, b);
}

/** A comparison and its contrary are both false of NaN. Each is a closure of its own, so that it can be inlined. */
const ORDERINGS: Readonly<Record<"<" | "<=" | ">" | ">=", Operation<Truth>>> = {
  "<": (a, b) => () => {
    const x = a();
    const y = b();
    return x < y ? true : x >= y ? false : undefined;
  },
  "<=": (a, b) => () => {
    const x = a();
    const y = b();
    return x <= y ? true : x > y ? false : undefined;
  },
  ">": (a, b) => ORDERINGS["<"](b, a),
  ">=": (a, b) => ORDERINGS["<="](b, a),
};

function ordering(node: ASTNode, op: keyof typeof ORDERINGS, args: Pair, frame: Frame): Code {
  const [a, b] = [numberAt(args[0], frame), numberAt(args[1], frame)];
  sameUnit(node, a, b);
  return { kind: "truth", run: threshold(op, a, b) ?? threshold(MIRRORED[op], b, a) ?? ORDERINGS[op](a.run, b.run) };
}

const MIRRORED = { "<": ">", "<=": ">=", ">": "<", ">=": "<=" } as const;

/**
 * Against a constant, as most conditions are; of a field, or its magnitude, in one closure in place of five, which is
 * what twenty rules on every message cost. x > c is −x < −c.
 */
function threshold(op: keyof typeof ORDERINGS, { field, run }: Numeric, { constant }: Numeric) {
  if (constant === undefined || Number.isNaN(constant)) return undefined;
  const isStrict = op === "<" || op === ">";
  const sign = op === "<" || op === "<=" ? 1 : -1;
  const limit = sign * constant;
  if (field === undefined)
    return (): Truth => {
      const x = sign * run();
      return Number.isNaN(x) ? undefined : isStrict ? x < limit : x <= limit;
    };
  const { cell, isMagnitude } = field;
  return (): Truth => {
    const x = sign * (isMagnitude ? Math.abs(cell.number) : cell.number);
    return Number.isNaN(x) ? undefined : isStrict ? x < limit : x <= limit;
  };
}

/** The kind that one side is known to have decides how the other is read; two fields compare as they come. */
function equality(node: ASTNode, isSame: boolean, args: Pair, frame: Frame): Code {
  const [left, right] = [compile(args[0], frame), compile(args[1], frame)];
  const kinds = [left.kind, right.kind];
  if (kinds.includes("text")) return sameValue(asText(args[0], left), asText(args[1], right), isSame);
  if (kinds.includes("truth")) return sameValue(asTruth(args[0], left), asTruth(args[1], right), isSame);
  if (left.kind === "field" && right.kind === "field") return sameValue(left.run, right.run, isSame);
  const [a, b] = [asNumber(args[0], left), asNumber(args[1], right)];
  sameUnit(node, a, b);
  return sameValue(a.run, b.run, isSame);
}

export function sameValue(a: () => FieldValue, b: () => FieldValue, isSame: boolean): Code {
  const run = (): Truth => {
    const x = a();
    const y = b();
    const same = typeof x === "object" && typeof y === "object" ? sameList(x, y) : sameScalar(x, y);
    return same === undefined ? undefined : same === isSame;
  };
  return { kind: "truth", run };
}

/** Values of different kinds cannot be compared. */
function sameScalar(x: FieldValue, y: FieldValue): Truth {
  if (x === undefined || typeof x !== typeof y || Number.isNaN(x) || Number.isNaN(y)) return undefined;
  return x === y;
}

/** Unknown where an element is, or where there is none. */
function sameList(x: FieldList, y: FieldList): Truth {
  if (x.length === 0 || y.length === 0) return undefined;
  if (x.length !== y.length) return false;
  let result: Truth;
  for (let i = 0; i < x.length; i += 1) {
    const same = sameScalar(x[i], y[i]);
    if (same !== true) return same;
    result = true;
  }
  return result;
}

/** Unknown of a value that none of the list's could equal: of another kind, or an array. */
function membership(node: ASTNode, args: Pair, frame: Frame): Code {
  if (args[1].op !== "list") throw problemAt(node, '"in" needs a list.', "Write x in [1, 2].");
  const values = args[1].args.map((item) => {
    if (item.op !== "value") throw problemAt(item, "a list holds plain values.", "Write x in [1, 2].");
    return typeof item.args === "bigint" ? Number(item.args) : item.args;
  });
  const set = new Set<unknown>(values);
  const kinds = new Set(values.map((value) => typeof value));
  const left = compile(args[0], frame);
  const run = (): Truth => {
    const value = left.run();
    return Number.isNaN(value) || !kinds.has(typeof value) ? undefined : set.has(value);
  };
  return { kind: "truth", run };
}
