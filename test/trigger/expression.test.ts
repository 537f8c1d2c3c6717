import fc from "fast-check";
import { expect, test } from "vitest";
import type { Truth } from "../../src/trigger/edge.ts";
import { compileExpression, ExpressionProblem, parseExpression, type Scope } from "../../src/trigger/expression.ts";
import type { FieldValue } from "../../src/trigger/seams.ts";

type Fields = Readonly<Record<string, FieldValue>>;

/** A scope whose fields are looked up as written, and whose messages come one by one. */
class TestScope {
  fields: Fields = {};
  nowMs = 0;
  /** Whether fields can be read where they stand, as those of messages can. */
  hasCells = true;
  readonly #feeds: ((nowMs: number) => void)[] = [];
  readonly scope: Scope = {
    inputs: ["j", "i"],
    nowMs: () => this.nowMs,
    field: (input, path) => {
      const read = (): FieldValue => this.fields[`${input}.${path}`];
      const cell = {
        get value(): FieldValue {
          return read();
        },
        get number(): number {
          const value = read();
          return typeof value === "number" || typeof value === "boolean" ? Number(value) : Number.NaN;
        },
      };
      return this.hasCells ? Object.assign(read, { cell }) : read;
    },
    hasField: (input, path) => `${input}.${path}` in this.fields,
    age: () => () => 1500,
    rateHz: () => () => 50,
    onMessage: (_inputs, feed) => this.#feeds.push(feed),
  };

  send(nowMs: number, fields: Fields): void {
    this.nowMs = nowMs;
    this.fields = fields;
    for (const feed of this.#feeds) feed(nowMs);
  }
}

function evaluate(text: string, fields: Fields, hasCells = true): Truth {
  const rig = new TestScope();
  rig.fields = fields;
  rig.hasCells = hasCells;
  return compileExpression(parseExpression(text, rig.scope.inputs), rig.scope)();
}

const FIELDS: Fields = {
  "j.x": 3,
  "j.y": -4,
  "j.nan": Number.NaN,
  'j.effort["elbow"]': -2.5,
  "j.position[0]": 1,
  "j.effort": [1, -5, 2],
  "j.holes": [1, Number.NaN],
  "j.empty": [],
  "j.digits": ["", "3"],
  "j.mode": "auto",
  "j.isOn": true,
  "j.a.b.c": 7,
  "i.acceleration.x": 3,
  "i.acceleration.y": 4,
  "i.acceleration.z": 12,
  "j.status[*].level": [0, 2],
  "j.status[*].name": ["a", "b"],
  "j.big": 2 ** 60,
};

test.each<[string, Truth]>([
  // Comparison, arithmetic: doubles only.
  ["j.x > 2", true],
  ["j.x > 3 || j.x < 3 || 3 > j.x || 3 < j.x", false],
  ["j.x >= 3 && j.x <= 3 && 3 >= j.x && 3 <= j.x", true],
  ["abs(j.y) > 3.9 && abs(j.y) < 4.1 && 4 >= abs(j.y) && 4 <= abs(j.y) && j.y < 4 && -4 >= j.y", true],
  ["abs(j.nan) > 0", undefined],
  ["abs(j.missing) <= 1000", undefined],
  ["j.isOn >= 1", true],
  ["abs(j.x) > 2 + 1 / 2 * 2", false],
  ["abs(j.x) > abs(-2)", true],
  ["j.x > 2.9 && j.y < -3.9", true],
  ["2 * j.x == 6.0", true],
  ["j.x / 2 == 1.5", true],
  ["7 / 2 == 3.5 && j.x > 0", true],
  ["j.x % 2 == 1", true],
  ["-j.x < 0", true],
  ["j.x - 1 >= 2 && j.x + 1 <= 4", true],
  ["j.big > 1000000000000", true],
  ['j.effort["elbow"] == -2.5', true],
  ["j.position[0] != 1", false],
  ["j.a.b.c == 7", true],
  ["j.x > j.y", true],
  ["j.x > 1 ? j.y < 0 : j.y > 0", true],
  ["(j.x > 5 ? 1 : 2) == 2", true],
  // Unknown is never true, and what does not depend on it is decided.
  ["j.missing > 0", undefined],
  ["j.nan > 0", undefined],
  ["j.nan != 0", undefined],
  ["!(j.missing > 0)", undefined],
  ["j.missing > 0 || j.x == 3", true],
  ["j.x == 3 || j.missing > 0", true],
  ["j.missing > 0 || j.x == 4", undefined],
  ["j.missing > 0 && j.x == 4", false],
  ["j.x == 4 && j.missing > 0", false],
  ["j.missing > 0 && j.x == 3", undefined],
  ["j.missing > 0 ? true : true", undefined],
  ["j.mode > 3", undefined],
  ["j.x == j.missing", undefined],
  ["j.x == j.mode", undefined],
  ["j.x != j.mode", undefined],
  ["j.effort == j.effort", true],
  ["j.effort != j.holes", true],
  ["j.holes == j.holes", undefined],
  // Texts and truth values.
  ['j.mode == "auto"', true],
  ['j.mode != "auto"', false],
  ['j.mode in ["auto", "manual"]', true],
  ["j.x in [1, 2]", false],
  ["j.missing in [1, 2]", undefined],
  ['!(j.x in ["auto", "manual"])', undefined],
  ["!(j.effort in [1, 2])", undefined],
  ['j.x in ["auto", 3]', true],
  ['j.mode.contains("ut") && j.mode.startsWith("a") && !j.mode.endsWith("x")', true],
  ["j.isOn", true],
  ["!j.isOn", false],
  ["j.isOn == false", false],
  // Functions.
  ["abs(j.y) == 4", true],
  ["norm(j.x, j.y) == 5", true],
  ["norm(i.acceleration) == 13", true],
  ["max(j.effort) == 2 && min(j.effort) == -5", true],
  ["max(j.x, j.y, 1) == 3", true],
  ["max(j.empty) > 0", undefined],
  ["max(j.digits) < 5", undefined],
  ["max(j.x, j.nan) > 0", undefined],
  ['age(j) > duration("1s")', true],
  ['age(j) > duration("500ms") * 4', false],
  ["rate_hz(j) > 40", true],
  ["is_nan(j.nan) && !is_nan(j.x)", true],
  ["is_nan(j.missing)", undefined],
  ["is_nan(j.effort)", false],
  ["is_nan(j.holes)", true],
  ["is_nan(i.acceleration)", false],
  ["is_nan(j.empty)", undefined],
  ["is_nan(j.mode)", undefined],
  ['age(j) / duration("500ms") == 3', true],
  ['age(j) < 2 * duration("1s") && duration("1s") / 2 < age(j)', true],
  // Lists.
  ["j.status.exists(s, s.level >= 2)", true],
  ['j.status.exists(s, s.level >= 2 && s.name == "a")', false],
  ["j.status.all(s, s.level <= 2)", true],
  ["j.effort.exists(e, abs(e) > 4)", true],
  ["j.empty.exists(e, e > 0)", undefined],
  ["j.missing.all(e, e > 0)", undefined],
])("%s is %s", (text, expected) => {
  expect(evaluate(text, FIELDS)).toBe(expected);
  expect(evaluate(text, FIELDS, false)).toBe(expected);
});

test.each<[string, string, string]>([
  ["k.x > 1", '"k" is not an input', 'Did you mean "'],
  ["j.x >", "Unexpected token", ""],
  ["abss(j.x) > 1", 'no function "abss"', 'Did you mean "abs"?'],
  ["1 > 0", "reads no message", ""],
  ["abs(j.x)", "not a condition", "> 0"],
  ["age(j) > 0.5", "do not mix", "duration("],
  ['age(j.x) > duration("1s")', "takes an input", ""],
  ['age(j) > duration("5 bananas")', "not a duration", ""],
  ['age(j) * duration("1s") > 1', "no product", ""],
  ["max_over(j.x) > 1", "takes a number and a duration", ""],
  ["max_over(j.x, 5) > 1", "fixed duration", ""],
  ['j.x + "a" > 1', "a number is needed", ""],
  ["j > 1", "whole message", "Name a field"],
  ["j.x.map(e, e) > 1", 'no method "map"', ""],
  ["[1, 2] == j.x", "not supported", ""],
  ["abs(j.x, j.y) > 1", "takes one value", ""],
])("%s is refused: %s", (text, problem, hint) => {
  const parse = () => parseExpression(text, ["j", "i"]);
  expect(parse).toThrow(ExpressionProblem);
  expect(parse).toThrow(problem);
  try {
    parse();
  } catch (error) {
    expect(error instanceof ExpressionProblem && error.hint.includes(hint)).toBe(true);
  }
});

test("windows and deltas are fed by every message, whatever a condition short-circuits", () => {
  const rig = new TestScope();
  const text = 'j.x > 100 || (j.y > 0 && max_over(j.x, duration("100ms")) > 4 && delta(j.x) < 0)';
  const condition = compileExpression(parseExpression(text, rig.scope.inputs), rig.scope);
  rig.send(0, { "j.x": 5, "j.y": -1 });
  expect(condition()).toBe(false);
  rig.send(100, { "j.x": 3, "j.y": 1 });
  expect(condition()).toBe(true);
  rig.send(150, { "j.x": 4, "j.y": 1 });
  expect(condition()).toBe(false);
});

test("changed compares lists by their elements", () => {
  const rig = new TestScope();
  const condition = compileExpression(parseExpression("changed(j.buttons)", rig.scope.inputs), rig.scope);
  const seen = [[0, 1], [0, 1], [1, 1], [], [], [1], [1, 1]].map((buttons, k) => {
    rig.send(k, { "j.buttons": Float64Array.from(buttons) });
    return condition();
  });
  expect(seen).toEqual([undefined, false, true, undefined, undefined, undefined, true]);
});

test("changed compares with the message before", () => {
  const rig = new TestScope();
  const condition = compileExpression(parseExpression("changed(j.mode)", rig.scope.inputs), rig.scope);
  const seen = ["a", "a", "b", undefined, "b", "b"].map((mode, k) => {
    rig.send(k, { "j.mode": mode });
    return condition();
  });
  expect(seen).toEqual([undefined, false, true, undefined, undefined, false]);
});

/** A condition as text, and what it must be by Kleene's tables over doubles. */
type Case = { readonly text: string; readonly truth: Truth };
type NumberCase = { readonly text: string; readonly value: number };

const numbers = fc.letrec<{ number: NumberCase }>((tie) => ({
  number: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(
      ...[
        ["j.x", 3],
        ["j.y", -4],
        ["j.nan", Number.NaN],
        ["j.missing", Number.NaN],
        ["abs(j.mode)", Number.NaN],
        ["max(j.empty)", Number.NaN],
        ['j.effort["elbow"]', -2.5],
      ].map(([text, value]): NumberCase => ({ text: String(text), value: Number(value) })),
    ),
    fc.integer({ min: 0, max: 5 }).map((value): NumberCase => ({ text: String(value), value })),
    tie("number").map(({ text, value }): NumberCase => ({ text: `abs(${text})`, value: Math.abs(value) })),
    fc
      .tuple(tie("number"), fc.constantFrom("+", "-", "*", "/"), tie("number"))
      .map(
        ([a, op, b]): NumberCase => ({ text: `(${a.text} ${op} ${b.text})`, value: arithmetic(a.value, op, b.value) }),
      ),
  ),
})).number;

function arithmetic(a: number, op: string, b: number): number {
  return op === "+" ? a + b : op === "-" ? a - b : op === "*" ? a * b : a / b;
}

function compared(a: number, op: string, b: number): Truth {
  if (Number.isNaN(a) || Number.isNaN(b)) return undefined;
  return { "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a === b, "!=": a !== b }[op];
}

const conditions = fc.letrec<{ condition: Case }>((tie) => ({
  condition: fc.oneof(
    { depthSize: "medium", withCrossShrink: true },
    fc
      .tuple(numbers, fc.constantFrom("<", "<=", ">", ">=", "==", "!="), numbers)
      .map(([a, op, b]): Case => ({ text: `${a.text} ${op} ${b.text}`, truth: compared(a.value, op, b.value) })),
    tie("condition").map(
      ({ text, truth }): Case => ({ text: `!(${text})`, truth: truth === undefined ? undefined : !truth }),
    ),
    fc.tuple(tie("condition"), tie("condition")).map(([a, b]): Case => {
      const isFalse = a.truth === false || b.truth === false;
      return { text: `(${a.text} && ${b.text})`, truth: isFalse ? false : both(a, b) };
    }),
    fc.tuple(tie("condition"), tie("condition")).map(([a, b]): Case => {
      const isTrue = a.truth === true || b.truth === true;
      return { text: `(${a.text} || ${b.text})`, truth: isTrue ? true : either(a, b) };
    }),
  ),
})).condition;

const both = (a: Case, b: Case): Truth => (a.truth === undefined || b.truth === undefined ? undefined : true);
const either = (a: Case, b: Case): Truth => (a.truth === undefined || b.truth === undefined ? undefined : false);

test("any condition is what Kleene's tables say of it: what rests on an unknown is never true", () => {
  fc.assert(
    fc.property(conditions, ({ text, truth }) => {
      fc.pre(text.includes("j."));
      expect(evaluate(text, FIELDS), text).toBe(truth);
    }),
    { numRuns: 2000 },
  );
});
