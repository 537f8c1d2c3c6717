/**
 * YAML that a person wrote, checked against a zod schema, with every finding at its place in the file.
 *
 * A finding names file, line and column, what is wrong and how to mend it; an unknown key names the nearest
 * known one. Nothing is thrown away silently: one bad key makes the whole file bad.
 */
import { isNode, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { Fault } from "./fault.ts";

export type Finding = {
  /** `lode.yaml:12:3`, ready to click in an editor. */
  readonly place: string;
  readonly problem: string;
  readonly hint: string;
};

export type YamlResult<T> =
  | { readonly kind: "ok"; readonly value: T; readonly locate: (path: readonly PropertyKey[]) => string }
  | { readonly kind: "bad"; readonly findings: readonly Finding[] };

/** Parses `text` (an empty file counts as `{}`). `file` is only named in findings. */
export function parseYaml<T>(file: string, text: string, schema: z.ZodType<T>): YamlResult<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const placeAt = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    const hint = "Check indentation, quotes and colons on this line.";
    return {
      kind: "bad",
      findings: document.errors.map((error) => ({ place: placeAt(error.pos[0]), problem: error.message, hint })),
    };
  }
  const locate = (path: readonly PropertyKey[]) => {
    // The deepest node that exists: a missing key is reported at its parent.
    for (let depth = path.length; depth > 0; depth -= 1) {
      const node = document.getIn(path.slice(0, depth), true);
      if (isNode(node) && node.range) return placeAt(node.range[0]);
    }
    return `${file}:1:1`;
  };
  const parsed = schema.safeParse(document.toJS() ?? {});
  if (parsed.success) return { kind: "ok", value: parsed.data, locate };
  return { kind: "bad", findings: parsed.error.issues.flatMap((issue) => explainIssue(issue, schema, locate)) };
}

/** All findings as one. */
export function faultOf(findings: readonly Finding[], code: string): Fault {
  const [first, ...more] = findings;
  if (first !== undefined && more.length === 0) return new Fault(code, `${first.place}: ${first.problem}`, first.hint);
  const lines = findings.map(({ place, problem, hint }) => `${place}: ${problem}\n    ${hint}`);
  return new Fault(
    code,
    `${findings.length} findings:\n${lines.join("\n")}`,
    "Mend each of them; nothing was started.",
  );
}

type Locate = (path: readonly PropertyKey[]) => string;

function explainIssue(issue: z.core.$ZodIssue, schema: z.ZodType, locate: Locate): Finding[] {
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(schema, issue.path);
    return issue.keys.map((key) => ({
      place: locate([...issue.path, key]),
      problem: `"${[...issue.path, key].join(".")}" is not a known key.`,
      hint: nearestHint(key, known),
    }));
  }
  const path = issue.path.join(".");
  return [
    {
      place: locate(issue.path),
      problem: path === "" ? issue.message : `${path}: ${issue.message}`,
      hint: hintOf(issue),
    },
  ];
}

function hintOf(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_type") return `Give a value of type ${issue.expected}.`;
  if (issue.code === "invalid_value") return `Use one of: ${issue.values.map(String).join(", ")}.`;
  if (issue.code === "too_small") return `Give at least ${String(issue.minimum)}.`;
  if (issue.code === "too_big") return `Give at most ${String(issue.maximum)}.`;
  return "Correct this value.";
}

/** "Did you mean" by edit distance, else the list of what is known. */
export function nearestHint(key: string, known: readonly string[]): string {
  const ranked = [...known].sort((a, b) => editDistance(key, a) - editDistance(key, b));
  const best = ranked[0];
  if (best !== undefined && editDistance(key, best) <= Math.max(2, key.length / 3)) return `Did you mean "${best}"?`;
  return known.length === 0 ? "Remove it." : `Known here: ${[...known].sort().join(", ")}.`;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The keys of the object schema at `path`, seen through defaults, optionals, arrays and records. */
function knownKeys(schema: unknown, path: readonly PropertyKey[]): string[] {
  let current = unwrap(schema);
  for (const part of path) {
    const definition = current?._zod?.def;
    const next = definition?.shape?.[String(part)] ?? definition?.element ?? definition?.valueType;
    current = unwrap(next);
  }
  return Object.keys(current?._zod?.def?.shape ?? {});
}

type SchemaNode = {
  readonly _zod?: {
    readonly def?: {
      readonly innerType?: unknown;
      readonly in?: unknown;
      readonly shape?: Record<string, unknown>;
      readonly element?: unknown;
      readonly valueType?: unknown;
    };
  };
};

function unwrap(schema: unknown): SchemaNode | undefined {
  let current = schema as SchemaNode | undefined;
  for (let inner: unknown = current; inner !== undefined; ) {
    current = inner as SchemaNode;
    inner = current._zod?.def?.innerType ?? current._zod?.def?.in;
  }
  return current;
}
