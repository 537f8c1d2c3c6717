/**
 * How a rule names a value inside a message.
 *
 * `a.b` a field of a field · `a[3]` an element · `a["elbow"]` the element whose name stands at the same place of the
 * array `name` beside it · `a[*].b` that field of every element · `a` a whole array of numbers or strings.
 */
import type { Problem } from "./parsed-schema.ts";

export type PathStep =
  | { readonly kind: "field"; readonly name: string }
  | { readonly kind: "index"; readonly index: number }
  | { readonly kind: "key"; readonly key: string }
  | { readonly kind: "each" };

const STEP = /\.?([A-Za-z_]\w*)|\[(\d{1,9})\]|\[("(?:[^"\\]|\\.)*"|'[^'\\]*')\]|\[(\*)\]/y;

export function parsePath(path: string): readonly PathStep[] | Problem {
  const steps: PathStep[] = [];
  const pattern = new RegExp(STEP);
  while (pattern.lastIndex < path.length) {
    const at = pattern.lastIndex;
    const match = pattern.exec(path);
    // The first name has no dot before it, every later one has.
    const hasDot = path[at] === ".";
    if (match === null || (match[1] !== undefined && hasDot !== at > 0))
      return { problem: `"${path}" is no field path: "${path.slice(at)}" is not understood.` };
    const step = toStep(match);
    if (step === undefined) return { problem: `"${path}" is no field path: ${match[0]} is not understood.` };
    steps.push(step);
  }
  return steps[0]?.kind === "field"
    ? steps
    : { problem: `"${path}" is no field path: it must start with a field name.` };
}

function toStep([, name, index, key]: RegExpExecArray): PathStep | undefined {
  if (name !== undefined) return { kind: "field", name };
  if (index !== undefined) return { kind: "index", index: Number(index) };
  if (key === undefined) return { kind: "each" };
  if (key.startsWith("'")) return { kind: "key", key: key.slice(1, -1) };
  return unquote(key);
}

function unquote(text: string): PathStep | undefined {
  try {
    return { kind: "key", key: String(JSON.parse(text)) };
  } catch {
    return undefined;
  }
}
