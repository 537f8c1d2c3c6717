/** The functions and methods of expressions: aggregates, ages and rates, changes, windows, texts, lists. */
import type { ASTNode } from "@marcbachmann/cel-js";
import { parseDurationMs } from "../std/time-text.ts";
import { nearestHint } from "../std/yaml-file.ts";
import type { Truth } from "./edge.ts";
import {
  asText,
  type Code,
  compile,
  constantOf,
  type Frame,
  fieldAt,
  isList,
  type ListElement,
  magnitudeOf,
  numberAt,
  pathOf,
  problemAt,
  requireInput,
  sameValue,
  textOf,
  truthAt,
} from "./expression-code.ts";
import type { FieldValue } from "./seams.ts";
import { SlidingWindow, type WindowKind } from "./window.ts";

type Call = (node: ASTNode, args: readonly ASTNode[], frame: Frame) => Code;

const CALLS: Readonly<Record<string, Call>> = {
  abs: (node, args, frame) => magnitudeOf(numberAt(only(node, args), frame)),
  norm: aggregate(0, (sum, x) => sum + x * x, Math.sqrt),
  min: aggregate(Number.POSITIVE_INFINITY, Math.min),
  max: aggregate(Number.NEGATIVE_INFINITY, Math.max),
  is_nan: isNanOf,
  duration: durationOf,
  age: (node, args, frame) => ({ kind: "duration", run: frame.age(inputOf(node, args, frame)) }),
  rate_hz: (node, args, frame) => ({ kind: "number", run: frame.rateHz(inputOf(node, args, frame)) }),
  delta: deltaOf,
  changed: changedOf,
  min_over: overWindow("min"),
  max_over: overWindow("max"),
  mean_over: overWindow("mean"),
  stddev_over: overWindow("stddev"),
};

export function callOf(node: ASTNode, name: string, args: readonly ASTNode[], frame: Frame): Code {
  const call = Object.hasOwn(CALLS, name) ? CALLS[name] : undefined;
  if (call === undefined)
    throw problemAt(node, `there is no function "${name}".`, nearestHint(name, Object.keys(CALLS)));
  return call(node, args, frame);
}

function only(node: ASTNode, args: readonly ASTNode[]): ASTNode {
  const [arg] = args;
  if (arg === undefined || args.length !== 1)
    throw problemAt(node, `"${textOf(node)}" takes one value.`, "Write abs(j.x).");
  return arg;
}

/** `norm(i.linear_acceleration)` of a vector, `max(j.effort)` of an array, `min(a, b, c)` of numbers; of texts NaN. */
function aggregate(start: number, fold: (sum: number, x: number) => number, finish = (sum: number) => sum): Call {
  return (node, args, frame) => {
    if (args.length === 0)
      throw problemAt(node, `"${textOf(node)}" needs a value.`, "Write max(a, b) or max(j.effort).");
    const [first] = args;
    const items =
      first !== undefined && args.length === 1 ? partsOf(first, frame) : args.map((arg) => numberAt(arg, frame).run);
    const run = (): number => {
      let sum = start;
      let count = 0;
      for (const item of items) {
        const value = item();
        const numbers = typeof value === "number" ? [value] : isList(value) ? value : [Number.NaN];
        for (let i = 0; i < numbers.length; i += 1) {
          const element = numbers[i];
          sum = fold(sum, typeof element === "string" ? Number.NaN : Number(element));
        }
        count += numbers.length;
      }
      return count === 0 ? Number.NaN : finish(sum);
    };
    return { kind: "number", run };
  };
}

/** Whether a number, or any of a vector or an array, is NaN; unknown where there is none. */
function isNanOf(node: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  const items = partsOf(only(node, args), frame);
  const run = (): Truth => {
    let result: Truth;
    for (const item of items) {
      const value = item();
      const numbers = isList(value) ? value : [value];
      for (let i = 0; i < numbers.length; i += 1) {
        if (Number.isNaN(numbers[i])) return true;
        if (typeof numbers[i] === "number") result = false;
      }
    }
    return result;
  };
  return { kind: "truth", run };
}

/** A single argument: an array field as it is, a vector as its x, y, z, a number as itself. */
function partsOf(node: ASTNode, frame: Frame): readonly (() => FieldValue)[] {
  const { root, path } = pathOf(node) ?? { root: "", path: "" };
  if (frame.inputs.includes(root) && path !== "" && !frame.hasField(root, path)) {
    const axes = ["x", "y", "z"].map((axis) => `${path}.${axis}`).filter((axis) => frame.hasField(root, axis));
    if (axes.length > 0) return axes.map((axis) => fieldAt(node, root, axis, frame).run);
  }
  const code = compile(node, frame);
  return [code.kind === "field" ? code.run : numberAt(node, frame).run];
}

function durationOf(node: ASTNode, args: readonly ASTNode[]): Code {
  const [arg] = args;
  if (arg?.op !== "value" || typeof arg.args !== "string" || args.length !== 1)
    throw problemAt(node, "duration() takes a text.", 'Write duration("500ms").');
  try {
    const ms = parseDurationMs(arg.args);
    return constantOf("duration", ms);
  } catch {
    throw problemAt(arg, `"${arg.args}" is not a duration.`, 'Write a number and a unit: "500ms", "30s", "5m".');
  }
}

function inputOf(node: ASTNode, args: readonly ASTNode[], frame: Frame): string {
  const [arg] = args;
  if (arg?.op !== "id" || args.length !== 1)
    throw problemAt(node, `"${textOf(node)}" takes an input.`, `Inputs of this rule: ${frame.inputs.join(", ")}.`);
  requireInput(arg, arg.args, frame);
  return arg.args;
}

/** Compiles a piece and calls what `feedOf` makes of it at every message of the inputs that it reads. */
function follow<T extends Code>(
  frame: Frame,
  compilePiece: (frame: Frame) => T,
  feedOf: (code: T) => (nowMs: number) => void,
  reset: () => void,
): T {
  const used = new Set<string>();
  const noting =
    <A extends readonly unknown[], R>(read: (input: string, ...rest: A) => R) =>
    (input: string, ...rest: A): R => {
      used.add(input);
      return read(input, ...rest);
    };
  const { field, age, rateHz } = frame;
  const code = compilePiece({ ...frame, field: noting(field), age: noting(age), rateHz: noting(rateHz) });
  frame.onMessage(used, feedOf(code), reset);
  return code;
}

/** The change since the message before; NaN until there are two. */
function deltaOf(node: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  // In an array: a number in a variable of a closure is allocated anew with every message.
  const seen = new Float64Array([Number.NaN, Number.NaN]);
  const { kind } = follow(
    frame,
    (noting) => numberAt(only(node, args), noting),
    ({ run }) =>
      () => {
        seen[0] = seen[1] ?? Number.NaN;
        seen[1] = run();
      },
    () => seen.fill(Number.NaN),
  );
  return { kind, run: () => (seen[1] ?? Number.NaN) - (seen[0] ?? Number.NaN) };
}

function changedOf(node: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  let before: FieldValue;
  let latest: FieldValue;
  const { kind } = follow(
    frame,
    (noting) => compile(only(node, args), noting),
    ({ run }) =>
      () => {
        before = latest;
        const value = run();
        latest = value instanceof Float64Array ? value.slice() : value;
      },
    () => {
      latest = undefined;
    },
  );
  if (kind !== "field") throw problemAt(node, "changed() takes a field.", "Write changed(s.mode).");
  return sameValue(
    () => before,
    () => latest,
    false,
  );
}

function overWindow(kind: WindowKind): Call {
  return (node, args, frame) => {
    const [value, length] = args;
    if (value === undefined || length === undefined || args.length !== 2)
      throw problemAt(node, `${kind}_over takes a number and a duration.`, `Write ${kind}_over(j.x, duration("1s")).`);
    if (length.op !== "call" || length.args[0] !== "duration")
      throw problemAt(length, "the length of a window is a fixed duration.", 'Write duration("1s").');
    const window = new SlidingWindow(kind, numberAt(length, frame).run());
    const code = follow(
      frame,
      (noting) => numberAt(value, noting),
      ({ run }) =>
        (nowMs) =>
          window.push(run(), nowMs),
      () => window.reset(),
    );
    return { kind: code.kind, run: () => window.value(frame.nowMs()) };
  };
}

const TEXT_METHODS: Readonly<Record<string, (text: string, part: string) => boolean>> = {
  contains: (text, part) => text.includes(part),
  startsWith: (text, part) => text.startsWith(part),
  endsWith: (text, part) => text.endsWith(part),
};

export function methodOf(node: ASTNode, name: string, on: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  if (name === "exists" || name === "all") return quantifier(node, name, on, args, frame);
  const method = Object.hasOwn(TEXT_METHODS, name) ? TEXT_METHODS[name] : undefined;
  const [arg] = args;
  if (method === undefined || arg === undefined || args.length !== 1) {
    const known = ["exists", "all", ...Object.keys(TEXT_METHODS)];
    throw problemAt(node, `there is no method "${name}" like this.`, nearestHint(name, known));
  }
  const [text, part] = [asText(on, compile(on, frame)), asText(arg, compile(arg, frame))];
  const run = (): Truth => {
    const [a, b] = [text(), part()];
    return a === undefined || b === undefined ? undefined : method(a, b);
  };
  return { kind: "truth", run };
}

/** `d.status.exists(s, s.level >= 2)`: unknown of an empty or missing list. */
function quantifier(node: ASTNode, name: "exists" | "all", on: ASTNode, args: readonly ASTNode[], frame: Frame): Code {
  const list = pathOf(on);
  const [variable, body] = args;
  if (list === undefined || list.path === "" || variable?.op !== "id" || body === undefined || args.length !== 2)
    throw problemAt(node, `"${name}" needs a list, a name and a condition.`, "Write d.status.exists(s, s.level >= 2).");
  requireInput(on, list.root, frame);
  let index = 0;
  let lengthOf: (() => FieldValue) | undefined;
  const element: ListElement = { input: list.root, path: list.path, index: () => index };
  const condition = truthAt(body, {
    ...frame,
    elements: new Map([...frame.elements, [variable.args, element]]),
    field: (input, path) => {
      const read = frame.field(input, path);
      if (input === list.root && path.startsWith(list.path)) lengthOf ??= read;
      return read;
    },
  });
  const decisive = name === "exists";
  const run = (): Truth => {
    const values = lengthOf?.();
    if (!isList(values) || values.length === 0) return undefined;
    let result: Truth = !decisive;
    for (index = 0; index < values.length; index += 1) {
      const value = condition();
      if (value === decisive) return decisive;
      if (value === undefined) result = undefined;
    }
    return result;
  };
  return { kind: "truth", run };
}
