/**
 * From a path to the moves that lead a cursor to the value: worked out once per type and path.
 *
 * Promises: a path that the type does not have is a `problem` that says what there is instead.
 */
import { type PathStep, parsePath } from "./field-path.ts";
import {
  type Field,
  hasWideText,
  type ParsedSchema,
  type PrimitiveName,
  type Problem,
  type Struct,
} from "./parsed-schema.ts";

/** A step of the walk from a struct's first byte to the value. */
export type Move =
  | { readonly kind: "skip"; readonly field: Field }
  | { readonly kind: "element"; readonly field: Field; readonly index: number }
  /** Looks a name up in the string array behind `before` and returns to where it started. */
  | { readonly kind: "find_name"; readonly before: readonly Field[]; readonly names: Field; readonly key: Uint8Array }
  | { readonly kind: "named_element"; readonly field: Field };

export type Target =
  | { readonly kind: "value"; readonly type: PrimitiveName }
  | { readonly kind: "array"; readonly field: Field; readonly type: PrimitiveName }
  | { readonly kind: "each"; readonly field: Field; readonly plan: Plan };

export type Plan = { readonly moves: readonly Move[]; readonly target: Target };

/** Fields that name the elements of the arrays beside them (sensor_msgs/JointState, control_msgs, trajectory_msgs). */
export const NAME_FIELDS: readonly string[] = ["name", "names", "joint_names"];

export function planPath(parsed: ParsedSchema, path: string): Plan | Problem {
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
      if (hasWideText(skipped.type))
        return this.#problem(`"${field.name}" stands behind the wstring "${skipped.name}".`);
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
    if (hasWideText(field.type)) return this.#problem(`the elements of "${field.name}" hold a wstring.`);
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
      if (before.some(({ type }) => hasWideText(type)))
        return this.#problem(`"${names.name}" stands behind a wstring.`);
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
