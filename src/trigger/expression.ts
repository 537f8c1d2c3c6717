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
import type { Truth } from "./edge.ts";
import { callOf, methodOf } from "./expression-calls.ts";
import { ExpressionProblem, type Scope, truthAt } from "./expression-code.ts";

export { ExpressionProblem, type Scope } from "./expression-code.ts";

export type Expression = {
  readonly text: string;
  readonly ast: ASTNode;
  /** The inputs that it reads. */
  readonly inputs: readonly string[];
  /** Looks back over messages, and so is unknown until they have come. */
  readonly looksBack: boolean;
};

export type FieldReference = { readonly input: string; readonly path: string };

/** Parses and checks everything that needs no message definition. Throws `ExpressionProblem`. */
export function parseExpression(text: string, inputs: readonly string[]): Expression {
  const ast = parseCel(text);
  const used = new Set<string>();
  let looksBack = false;
  compileOver(ast, {
    ...unbound(inputs),
    field: (input) => {
      used.add(input);
      return () => undefined;
    },
    age: (input) => {
      used.add(input);
      return () => Number.NaN;
    },
    rateHz: (input) => {
      used.add(input);
      looksBack = true;
      return () => Number.NaN;
    },
    onMessage: () => {
      looksBack = true;
    },
  });
  if (used.size === 0)
    throw new ExpressionProblem("it reads no message.", `Use a field of an input: ${inputs.join(", ")}.`, 0);
  return { text, ast, inputs: [...used], looksBack };
}

/** What it reads of messages that have such fields: `norm(i.a)` of a vector reads `a.x`, `a.y`, `a.z`. */
export function fieldsOf({ ast, inputs }: Expression, hasField: Scope["hasField"]): FieldReference[] {
  const fields: FieldReference[] = [];
  const field = (input: string, path: string) => {
    fields.push({ input, path });
    return () => undefined;
  };
  compileOver(ast, { ...unbound(inputs), field, hasField });
  return fields;
}

/** A scope without messages. */
function unbound(inputs: readonly string[]): Scope {
  const unknown = () => () => Number.NaN;
  return {
    ...{ inputs, nowMs: () => 0, field: () => () => undefined, hasField: () => true },
    ...{ age: unknown, rateHz: unknown, onMessage: () => {} },
  };
}

/** The condition over bound inputs. Throws `ExpressionProblem` where a field does not exist. */
export function compileExpression(expression: Expression, scope: Scope): () => Truth {
  return compileOver(expression.ast, scope);
}

function compileOver(ast: ASTNode, scope: Scope): () => Truth {
  return truthAt(ast, { ...scope, elements: new Map(), callOf, methodOf });
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
