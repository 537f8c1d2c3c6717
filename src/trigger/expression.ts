/**
 * Rule expressions: CEL's syntax, parsed by a CEL library, compiled by us to closures over message fields.
 *
 * All numbers are doubles; durations are written `duration("500ms")` and are never mixed with numbers. Truth has
 * three values: a field that is missing, NaN, of another type, in an empty array, or of an input gone stale is
 * unknown, and so is every comparison with it; `&&` and `||` decide where the known side suffices (Kleene's logic).
 *
 * Functions: `abs norm min max` of numbers or of a whole array field · `age(input) rate_hz(input)` ·
 * `delta(number)` and `changed(field)` against the message before · `min_over max_over mean_over stddev_over
 * (number, duration)` · `text.contains/startsWith/endsWith(text)` · `list.exists/all(x, condition)` · `x in [..]`.
 * Windows and deltas are fed by every message of their inputs, whatever a condition short-circuits.
 */
import { type ASTNode, parse } from "@marcbachmann/cel-js";
import { parseDurationMs } from "../std/time-text.ts";
import { nearestHint } from "../std/yaml-file.ts";
import type { Truth } from "./edge.ts";
import type { FieldValue } from "./seams.ts";
import { SlidingWindow, type WindowKind } from "./window.ts";

type ListValue = readonly number[] | readonly string[] | readonly boolean[] | Float64Array;

/** Where an expression gets its values: the bound inputs of one rule. */
export interface Scope {
  readonly inputs: readonly string[];
  nowMs(): number;
  /** The latest value of a field; undefined while missing or stale. Throws `ExpressionProblem` if there is no such field. */
  field(input: string, path: string): () => FieldValue;
  /** Whether messages of the input have such a field. */
  hasField(input: string, path: string): boolean;
  /** ms since the input's last message; NaN before the first. */
  age(input: string): () => number;
  rateHz(input: string): () => number;
  /** Calls `feed` on every message of the inputs, before conditions are evaluated; `reset` after a long silence. */
  onMessage(inputs: ReadonlySet<string>, feed: () => void, reset: () => void): void;
}

/** Thrown with its place in the expression: `offset` and `end` count characters. */
export class ExpressionProblem extends Error {
  readonly offset: number;
  readonly hint: string;

  constructor(message: string, hint: string, offset: number) {
    super(message);
    this.hint = hint;
    this.offset = offset;
  }
}

export type Expression = {
  readonly text: string;
  readonly ast: ASTNode;
  /** The fields it reads, as written: `j.effort["elbow"]`. */
  readonly fields: readonly FieldReference[];
  readonly inputs: ReadonlySet<string>;
};

type FieldReference = { readonly text: string; readonly input: string; readonly path: string };

/** Parses and checks everything that needs no message definition. Throws `ExpressionProblem`. */
export function parseExpression(text: string, inputs: readonly string[]): Expression {
  const ast = parseCel(text);
  const fields = new Map<string, FieldReference>();
  const used = new Set<string>();
  compileTruth(ast, {
    inputs,
    nowMs: () => 0,
    field: (input, path) => {
      used.add(input);
      const separator = path.startsWith("[") ? "" : ".";
      fields.set(`${input}.${path}`, { text: `${input}${separator}${path}`, input, path });
      return () => undefined;
    },
    hasField: () => true,
    age: (input) => {
      used.add(input);
      return () => Number.NaN;
    },
    rateHz: (input) => {
      used.add(input);
      return () => Number.NaN;
    },
    onMessage: () => {},
  });
  if (used.size === 0)
    throw new ExpressionProblem("it reads no message.", `Use a field of an input: ${inputs.join(", ")}.`, 0);
  return { text, ast, fields: [...fields.values()], inputs: used };
}

/** The condition over bound inputs. Throws `ExpressionProblem` where a field does not exist. */
export function compileExpression(expression: Expression, scope: Scope): () => Truth {
  return compileTruth(expression.ast, scope);
}

function parseCel(text: string): ASTNode {
  try {
    return parse(text).ast;
  } catch (error) {
    const problem = error as { summary?: unknown; range?: { start?: unknown } };
    const offset = typeof problem.range?.start === "number" ? problem.range.start : 0;
    const summary = typeof problem.summary === "string" ? problem.summary : String(error);
    throw new ExpressionProblem(`${summary}.`, "Expressions follow CEL: a.b > 1 && !(c.d == 2).", offset);
  }
}

/** What a piece of an expression is, with the closure that gives its value. NaN and undefined are unknown. */
type Code =
  | { readonly kind: "number"; readonly run: () => number; readonly inputs: ReadonlySet<string> }
  | { readonly kind: "duration"; readonly run: () => number; readonly inputs: ReadonlySet<string> }
  | { readonly kind: "truth"; readonly run: () => Truth; readonly inputs: ReadonlySet<string> }
  | { readonly kind: "text"; readonly run: () => string | undefined; readonly inputs: ReadonlySet<string> }
  | {
      readonly kind: "field";
      readonly run: () => FieldValue;
      readonly inputs: ReadonlySet<string>;
      readonly path: string;
    };

/** Scope plus the variables of enclosing `exists` and `all`. */
type Frame = Scope & { readonly elements?: ReadonlyMap<string, Element> };
type Element = { readonly input: string; readonly path: string; readonly index: () => number };

const NONE: ReadonlySet<string> = new Set();
const CALLS: Readonly<Record<string, (node: ASTNode, args: readonly ASTNode[], frame: Frame) => Code>> = {
  abs: (_node, args, frame) => mapNumber(only(args, frame, "abs(x)"), Math.abs),
  norm: (node, args, frame) => aggregate(node, args, frame, 0, (sum, x) => sum + x * x, Math.sqrt),
  min: (node, args, frame) => aggregate(node, args, frame, Number.POSITIVE_INFINITY, Math.min),
  max: (node, args, frame) => aggregate(node, args, frame, Number.NEGATIVE_INFINITY, Math.max),
  duration: (node, args) => durationOf(node, args),
  age: (node, args, frame) => ofInput("duration", node, args, frame, frame.age),
  rate_hz: (node, args, frame) => ofInput("number", node, args, frame, frame.rateHz),
  delta: (_node, args, frame) => deltaOf(only(args, frame, "delta(x)"), frame),
  changed: (node, args, frame) => changedOf(node, args, frame),
  min_over: (node, args, frame) => overWindow("min", node, args, frame),
  max_over: (node, args, frame) => overWindow("max", node, args, frame),
  mean_over: (node, args, frame) => overWindow("mean", node, args, frame),
  stddev_over: (node, args, frame) => overWindow("stddev", node, args, frame),
};

function problemAt(node: ASTNode, message: string, hint: string): ExpressionProblem {
  return new ExpressionProblem(message, hint, node.range.start);
}

function textOf(node: ASTNode): string {
  return node.input.slice(node.range.start, node.range.end);
}

function compileTruth(node: ASTNode, frame: Frame): () => Truth {
  return truthOf(node, compile(node, frame)).run;
}

function compile(node: ASTNode, frame: Frame): Code {
  switch (node.op) {
    case "value":
      return literal(node, node.args);
    case "id":
    case ".":
    case "[]":
      return fieldOf(node, frame);
    case "call":
      return callOf(node, node.args[0], node.args[1], frame);
    case "rcall":
      return methodOf(node, node.args[0], node.args[1], node.args[2], frame);
    case "&&":
    case "||":
      return logic(node.op, node.args, frame);
    case "!_":
      return negation(node.args, frame);
    case "-_":
      return mapNumber(numberOf(node.args, frame), (x) => -x);
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
  if (typeof value === "number" || typeof value === "bigint") {
    const number = Number(value);
    return { kind: "number", run: () => number, inputs: NONE };
  }
  if (typeof value === "boolean") return { kind: "truth", run: () => value, inputs: NONE };
  if (typeof value === "string") return { kind: "text", run: () => value, inputs: NONE };
  throw problemAt(
    node,
    `${textOf(node)} is not a number, a text or a truth value.`,
    'Write 1.5, "text", true or false.',
  );
}

/* Fields */

type Path = { readonly root: string; readonly path: string };

/** `j.effort["elbow"].x` → root `j`, path `effort["elbow"].x`; undefined if it is no such chain. */
function pathOf(node: ASTNode): Path | undefined {
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
  const element = frame.elements?.get(found.root);
  if (element !== undefined) return elementField(node, element, found.path, frame);
  requireInput(node, found.root, frame);
  if (found.path === "")
    throw problemAt(node, `"${found.root}" is a whole message.`, `Name a field of it: ${found.root}.header.stamp.`);
  return field(node, found.root, found.path, frame);
}

function requireInput(node: ASTNode, name: string, frame: Frame): void {
  if (frame.inputs.includes(name)) return;
  const known = [...frame.inputs, ...(frame.elements?.keys() ?? [])];
  throw problemAt(node, `"${name}" is not an input of this rule.`, nearestHint(name, known));
}

function field(node: ASTNode, input: string, path: string, frame: Frame): Code {
  try {
    return { kind: "field", run: frame.field(input, path), inputs: new Set([input]), path };
  } catch (error) {
    if (error instanceof ExpressionProblem) throw problemAt(node, error.message, error.hint);
    throw error;
  }
}

/** Inside `list.exists(s, …)`: `s.level` reads the list `status[*].level` at the index under test. */
function elementField(node: ASTNode, element: Element, path: string, frame: Frame): Code {
  const list = field(node, element.input, path === "" ? element.path : `${element.path}[*].${path}`, frame);
  const index = element.index;
  return {
    kind: "field",
    path,
    inputs: list.inputs,
    run: () => {
      const values = list.run();
      return isList(values) ? values[index()] : undefined;
    },
  };
}

function isList(value: unknown): value is ListValue {
  return Array.isArray(value) || value instanceof Float64Array;
}

/* Conversions: what a context needs from a piece of code */

type Numeric = Extract<Code, { kind: "number" | "duration" }>;
type Truthy = Extract<Code, { kind: "truth" }>;

function numberOf(node: ASTNode, frame: Frame): Numeric {
  return asNumber(node, compile(node, frame));
}

function asNumber(node: ASTNode, code: Code): Numeric {
  if (code.kind === "number" || code.kind === "duration") return code;
  if (code.kind === "field") {
    const run = code.run;
    return { kind: "number", inputs: code.inputs, run: () => toNumber(run()) };
  }
  throw problemAt(node, `"${textOf(node)}" is a ${code.kind}, and a number is needed here.`, "Compare numbers only.");
}

function toNumber(value: FieldValue): number {
  if (typeof value === "number") return value;
  return typeof value === "boolean" ? Number(value) : Number.NaN;
}

function truthOf(node: ASTNode, code: Code): Truthy {
  if (code.kind === "truth") return code;
  if (code.kind === "field") {
    const run = code.run;
    return { kind: "truth", inputs: code.inputs, run: () => toTruth(run()) };
  }
  const hint = code.kind === "duration" ? `${textOf(node)} > duration("1s")` : `${textOf(node)} > 0`;
  throw problemAt(node, `"${textOf(node)}" is a ${code.kind}, not a condition.`, `Compare it: ${hint}.`);
}

function toTruth(value: FieldValue): Truth {
  return typeof value === "boolean" ? value : undefined;
}

function asText(node: ASTNode, code: Code): () => string | undefined {
  if (code.kind === "text") return code.run;
  if (code.kind !== "field") throw problemAt(node, `"${textOf(node)}" is not a text.`, "Compare texts with texts.");
  const run = code.run;
  return () => {
    const value = run();
    return typeof value === "string" ? value : undefined;
  };
}

function both(a: Code, b: Code): ReadonlySet<string> {
  return new Set([...a.inputs, ...b.inputs]);
}

/* Logic */

function logic(op: "&&" | "||", args: readonly [ASTNode, ASTNode], frame: Frame): Code {
  const left = truthOf(args[0], compile(args[0], frame));
  const right = truthOf(args[1], compile(args[1], frame));
  const [a, b, decisive] = [left.run, right.run, op === "||"];
  const run = (): Truth => {
    const first = a();
    if (first === decisive) return decisive;
    const second = b();
    if (second === decisive) return decisive;
    return first === undefined || second === undefined ? undefined : !decisive;
  };
  return { kind: "truth", run, inputs: both(left, right) };
}

function negation(arg: ASTNode, frame: Frame): Code {
  const inner = truthOf(arg, compile(arg, frame));
  const run = (): Truth => {
    const value = inner.run();
    return value === undefined ? undefined : !value;
  };
  return { kind: "truth", run, inputs: inner.inputs };
}

function choice(args: readonly [ASTNode, ASTNode, ASTNode], frame: Frame): Code {
  const condition = truthOf(args[0], compile(args[0], frame));
  const yes = compile(args[1], frame);
  const no = compile(args[2], frame);
  const inputs = new Set([...condition.inputs, ...yes.inputs, ...no.inputs]);
  if (yes.kind === "truth" || no.kind === "truth") {
    const [a, b] = [truthOf(args[1], yes).run, truthOf(args[2], no).run];
    const run = (): Truth => {
      const value = condition.run();
      return value === undefined ? undefined : value ? a() : b();
    };
    return { kind: "truth", run, inputs };
  }
  const [a, b] = [asNumber(args[1], yes), asNumber(args[2], no)];
  const run = (): number => {
    const value = condition.run();
    return value === undefined ? Number.NaN : value ? a.run() : b.run();
  };
  return { kind: sameUnit(args[1], a, b), run, inputs };
}

/* Numbers */

function sameUnit(node: ASTNode, a: Numeric, b: Numeric): "number" | "duration" {
  if (a.kind === b.kind) return a.kind;
  throw problemAt(node, "a duration and a plain number do not mix.", 'Write the time as duration("500ms").');
}

function mapNumber(code: Numeric, map: (x: number) => number): Numeric {
  const run = code.run;
  return { kind: code.kind, inputs: code.inputs, run: () => map(run()) };
}

type Pair = readonly [ASTNode, ASTNode];

const ARITHMETIC: Readonly<Record<string, (a: () => number, b: () => number) => () => number>> = {
  "+": (a, b) => () => a() + b(),
  "-": (a, b) => () => a() - b(),
  "*": (a, b) => () => a() * b(),
  "/": (a, b) => () => a() / b(),
  "%": (a, b) => () => a() % b(),
};

function arithmetic(node: ASTNode, op: string, args: Pair, frame: Frame): Code {
  const a = numberOf(args[0], frame);
  const b = numberOf(args[1], frame);
  const run = ARITHMETIC[op]?.(a.run, b.run);
  if (run === undefined) throw problemAt(node, `"${op}" is not supported.`, "Use + - * / %.");
  const isScaled = (op === "*" || op === "/") && b.kind === "number";
  return { kind: isScaled ? a.kind : sameUnit(node, a, b), run, inputs: both(a, b) };
}

/** A comparison and its contrary are both false of NaN. Each is a closure of its own, so that it can be inlined. */
const ORDERINGS: Readonly<Record<string, (a: () => number, b: () => number) => () => Truth>> = {
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
  ">": (a, b) => () => {
    const x = a();
    const y = b();
    return x > y ? true : x <= y ? false : undefined;
  },
  ">=": (a, b) => () => {
    const x = a();
    const y = b();
    return x >= y ? true : x < y ? false : undefined;
  },
};

function ordering(node: ASTNode, op: string, args: Pair, frame: Frame): Code {
  const a = numberOf(args[0], frame);
  const b = numberOf(args[1], frame);
  sameUnit(node, a, b);
  const run = ORDERINGS[op]?.(a.run, b.run);
  if (run === undefined) throw problemAt(node, `"${op}" is not supported.`, "Use < <= > >=.");
  return { kind: "truth", run, inputs: both(a, b) };
}

function equality(node: ASTNode, isSame: boolean, args: Pair, frame: Frame): Code {
  const left = compile(args[0], frame);
  const right = compile(args[1], frame);
  return { kind: "truth", run: compareSame(node, args, left, right, isSame), inputs: both(left, right) };
}

/** The kind that one side is known to have decides how the other is read; two fields compare as they come. */
function compareSame(node: ASTNode, args: Pair, left: Code, right: Code, isSame: boolean): () => Truth {
  if (left.kind === "text" || right.kind === "text")
    return sameValue(asText(args[0], left), asText(args[1], right), isSame);
  if (left.kind === "truth" || right.kind === "truth")
    return sameValue(truthOf(args[0], left).run, truthOf(args[1], right).run, isSame);
  if (left.kind === "field" && right.kind === "field") return sameValue(left.run, right.run, isSame);
  const [a, b] = [asNumber(args[0], left), asNumber(args[1], right)];
  sameUnit(node, a, b);
  return sameValue(a.run, b.run, isSame);
}

function sameValue(a: () => FieldValue, b: () => FieldValue, isSame: boolean): () => Truth {
  return () => {
    const x = a();
    const y = b();
    if (x === undefined || y === undefined || Number.isNaN(x) || Number.isNaN(y)) return undefined;
    return (x === y) === isSame;
  };
}

function membership(node: ASTNode, args: Pair, frame: Frame): Code {
  if (args[1].op !== "list") throw problemAt(node, '"in" needs a list.', "Write x in [1, 2].");
  const values = args[1].args.map((item) => {
    if (item.op !== "value") throw problemAt(item, "a list holds plain values.", "Write x in [1, 2].");
    return typeof item.args === "bigint" ? Number(item.args) : item.args;
  });
  const set = new Set<unknown>(values);
  const left = compile(args[0], frame);
  const run = (): Truth => {
    const value = left.run();
    return value === undefined || Number.isNaN(value) ? undefined : set.has(value);
  };
  return { kind: "truth", run, inputs: left.inputs };
}

/* Calls */

function callOf(node: ASTNode, name: string, args: readonly ASTNode[], frame: Frame): Code {
  const call = Object.hasOwn(CALLS, name) ? CALLS[name] : undefined;
  if (call === undefined)
    throw problemAt(node, `there is no function "${name}".`, nearestHint(name, Object.keys(CALLS)));
  return call(node, args, frame);
}

function only(args: readonly ASTNode[], frame: Frame, usage: string): Numeric {
  const [arg] = args;
  if (arg === undefined || args.length !== 1)
    throw new ExpressionProblem(`${usage} takes one value.`, `Write ${usage}.`, args[1]?.range.start ?? 0);
  return numberOf(arg, frame);
}

/** `norm(i.linear_acceleration)` of a vector, `max(j.effort)` of an array, `min(a, b, c)` of numbers. */
function aggregate(
  node: ASTNode,
  args: readonly ASTNode[],
  frame: Frame,
  start: number,
  fold: (sum: number, x: number) => number,
  finish: (sum: number) => number = (sum) => sum,
): Code {
  const [first] = args;
  if (first === undefined)
    throw problemAt(node, `"${textOf(node)}" needs a value.`, "Write max(a, b) or max(j.effort).");
  const items = args.length === 1 ? listOf(first, frame) : args.map((arg) => numberOf(arg, frame));
  const run = (): number => {
    let sum = start;
    let count = 0;
    for (const item of items) {
      const value = item.run();
      if (typeof value === "number") {
        sum = fold(sum, value);
        count += 1;
      } else if (isList(value)) {
        for (let i = 0; i < value.length; i += 1) sum = fold(sum, Number(value[i]));
        count += value.length;
      } else return Number.NaN;
    }
    return count === 0 ? Number.NaN : finish(sum);
  };
  return { kind: "number", run, inputs: new Set(items.flatMap((item) => [...item.inputs])) };
}

/** A single argument: an array field as it is, a vector as its x, y, z, a number as itself. */
function listOf(node: ASTNode, frame: Frame): readonly Code[] {
  const found = pathOf(node);
  if (
    found !== undefined &&
    frame.inputs.includes(found.root) &&
    found.path !== "" &&
    !frame.hasField(found.root, found.path)
  ) {
    const axes = ["x", "y", "z"]
      .map((axis) => `${found.path}.${axis}`)
      .filter((path) => frame.hasField(found.root, path));
    if (axes.length > 0) return axes.map((path) => field(node, found.root, path, frame));
  }
  const code = compile(node, frame);
  return [code.kind === "field" ? code : asNumber(node, code)];
}

function durationOf(node: ASTNode, args: readonly ASTNode[]): Code {
  const [arg] = args;
  if (arg?.op !== "value" || typeof arg.args !== "string" || args.length !== 1)
    throw problemAt(node, "duration() takes a text.", 'Write duration("500ms").');
  try {
    const ms = parseDurationMs(arg.args);
    return { kind: "duration", run: () => ms, inputs: NONE };
  } catch {
    throw problemAt(arg, `"${arg.args}" is not a duration.`, 'Write a number and a unit: "500ms", "30s", "5m".');
  }
}

function ofInput(
  kind: "number" | "duration",
  node: ASTNode,
  args: readonly ASTNode[],
  frame: Frame,
  read: (input: string) => () => number,
): Code {
  const [arg] = args;
  if (arg?.op !== "id" || args.length !== 1)
    throw problemAt(node, `"${textOf(node)}" takes an input.`, `Inputs of this rule: ${frame.inputs.join(", ")}.`);
  requireInput(arg, arg.args, frame);
  return { kind, run: read(arg.args), inputs: new Set([arg.args]) };
}

/** The change since the message before; NaN until there are two. */
function deltaOf(code: Numeric, frame: Frame): Code {
  let before = Number.NaN;
  let latest = Number.NaN;
  const feed = () => {
    before = latest;
    latest = code.run();
  };
  const reset = () => {
    latest = Number.NaN;
  };
  frame.onMessage(code.inputs, feed, reset);
  return { kind: code.kind, run: () => latest - before, inputs: code.inputs };
}

function changedOf(node: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  const [arg] = args;
  const code = arg && compile(arg, frame);
  if (code?.kind !== "field" || args.length !== 1)
    throw problemAt(node, "changed() takes a field.", "Write changed(s.mode).");
  let before: FieldValue;
  let latest: FieldValue;
  const feed = () => {
    before = latest;
    latest = code.run();
  };
  const reset = () => {
    latest = undefined;
  };
  frame.onMessage(code.inputs, feed, reset);
  return {
    kind: "truth",
    inputs: code.inputs,
    run: sameValue(
      () => before,
      () => latest,
      false,
    ),
  };
}

function overWindow(kind: WindowKind, node: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  const [valueNode, lengthNode] = args;
  if (valueNode === undefined || lengthNode === undefined || args.length !== 2)
    throw problemAt(node, `${kind}_over takes a number and a duration.`, `Write ${kind}_over(j.x, duration("1s")).`);
  const code = numberOf(valueNode, frame);
  const length = compile(lengthNode, frame);
  if (length.kind !== "duration" || length.inputs.size > 0)
    throw problemAt(lengthNode, "the length of a window is a fixed duration.", 'Write duration("1s").');
  const window = new SlidingWindow(kind, length.run());
  frame.onMessage(
    code.inputs,
    () => window.push(code.run(), frame.nowMs()),
    () => window.reset(),
  );
  return { kind: code.kind, run: () => window.value(frame.nowMs()), inputs: code.inputs };
}

/* Methods */

const TEXT_METHODS: Readonly<Record<string, (text: string, part: string) => boolean>> = {
  contains: (text, part) => text.includes(part),
  startsWith: (text, part) => text.startsWith(part),
  endsWith: (text, part) => text.endsWith(part),
};

function methodOf(node: ASTNode, name: string, receiver: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  if (name === "exists" || name === "all") return quantifier(node, name, receiver, args, frame);
  const method = Object.hasOwn(TEXT_METHODS, name) ? TEXT_METHODS[name] : undefined;
  const [arg] = args;
  if (method === undefined || arg === undefined || args.length !== 1) {
    const known = ["exists", "all", ...Object.keys(TEXT_METHODS)];
    throw problemAt(node, `there is no method "${name}" like this.`, nearestHint(name, known));
  }
  const text = compile(receiver, frame);
  const part = compile(arg, frame);
  const [readText, readPart] = [asText(receiver, text), asText(arg, part)];
  const run = (): Truth => {
    const [a, b] = [readText(), readPart()];
    return a === undefined || b === undefined ? undefined : method(a, b);
  };
  return { kind: "truth", run, inputs: both(text, part) };
}

/** `d.status.exists(s, s.level >= 2)`: unknown of an empty or missing list. */
function quantifier(
  node: ASTNode,
  name: "exists" | "all",
  receiver: ASTNode,
  args: readonly ASTNode[],
  frame: Frame,
): Code {
  const list = pathOf(receiver);
  const [variable, body] = args;
  if (list === undefined || list.path === "" || variable?.op !== "id" || body === undefined || args.length !== 2)
    throw problemAt(node, `"${name}" needs a list, a name and a condition.`, "Write d.status.exists(s, s.level >= 2).");
  requireInput(receiver, list.root, frame);
  let index = 0;
  const element: Element = { input: list.root, path: list.path, index: () => index };
  const lengths: (() => FieldValue)[] = [];
  const inner: Frame = {
    ...frame,
    elements: new Map([...(frame.elements ?? []), [variable.args, element]]),
    field: (input, path) => {
      const read = frame.field(input, path);
      if (input === list.root && path.startsWith(list.path)) lengths.push(read);
      return read;
    },
  };
  const condition = truthOf(body, compile(body, inner));
  const decisive = name === "exists";
  const run = (): Truth => {
    const values = lengths[0]?.();
    if (!isList(values) || values.length === 0) return undefined;
    let result: Truth = !decisive;
    for (index = 0; index < values.length; index += 1) {
      const value = condition.run();
      if (value === decisive) return decisive;
      if (value === undefined) result = undefined;
    }
    return result;
  };
  return { kind: "truth", run, inputs: new Set([list.root, ...condition.inputs]) };
}
