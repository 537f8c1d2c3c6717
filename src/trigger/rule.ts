/**
 * Rule files: YAML under `config/rules/` and `/etc/lode/rules.d/`, parsed and checked into `Rule`s.
 *
 * ```yaml
 * rules:
 *   elbow_hot:
 *     inputs: { j: /joint_states }
 *     when: abs(j.effort["elbow"]) > 40
 *     for_ms: 200
 * ```
 * A finding names file, line, column, what is wrong and how to mend it; one bad rule makes the whole file bad.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { CapturePolicy, EpisodeKind } from "../model/rule-event.ts";
import type { Fault } from "../std/fault.ts";
import { type Finding, faultOf, nearestHint, parseYaml } from "../std/yaml-file.ts";
import { type DetectorKind, detectorKinds } from "./detectors/index.ts";
import type { EdgeOptions } from "./edge.ts";
import { type Expression, ExpressionProblem, parseExpression } from "./expression.ts";

/** How an input finds its channel: by topic, by type, or by both. */
export type InputSpec = {
  readonly topic: string | undefined;
  /** Any of these message types; empty: whatever the topic carries. */
  readonly types: readonly string[];
  /** A value older than this is unknown; undefined: ten of the topic's own periods, at least 2 s. */
  readonly staleMs: number | undefined;
};

export type Rule = {
  readonly name: string;
  /** `default.yaml:12:3`. */
  readonly place: string;
  readonly isEnabled: boolean;
  readonly inputs: ReadonlyMap<string, InputSpec>;
  readonly condition:
    | { readonly kind: "expression"; readonly when: Expression; readonly clearWhen: Expression | undefined }
    | { readonly kind: "detector"; readonly detector: DetectorKind; readonly parameters: unknown }
    /** Only says that an earlier rule of this name is switched off. */
    | { readonly kind: "none" };
  readonly edge: EdgeOptions;
  readonly recoveredWhen: Expression | undefined;
  readonly attemptWhen: Expression | undefined;
  readonly tookOverWhen: Expression | undefined;
  readonly policy: CapturePolicy;
};

const ms = z.number().min(0).max(86_400_000);
const topic = z.string().regex(/^\/\S*$/, "a topic starts with a slash, /joint_states");
const inputSchema = z.union([
  topic,
  z.strictObject({
    topic: topic.optional(),
    type: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
    stale_ms: ms.optional(),
  }),
]);

const ruleSchema = z.strictObject({
  description: z.string().optional(),
  kind: z.enum(["failure", "span", "sample", "manual"]).default("failure"),
  enabled: z.boolean().default(true),
  dry_run: z.boolean().default(false),
  inputs: z.record(z.string().regex(/^[A-Za-z_]\w*$/, "an input's name is a word"), inputSchema).default({}),
  when: z.string().min(1).optional(),
  detector: z.string().optional(),
  parameters: z.record(z.string(), z.unknown()).default({}),
  for_ms: ms.default(0),
  clear_when: z.string().min(1).optional(),
  clear_for_ms: ms.optional(),
  cool_down_ms: ms.optional(),
  pre_roll_ms: ms.default(10_000),
  post_roll_ms: ms.default(5000),
  max_ms: ms.min(1000).default(300_000),
  recovery_timeout_ms: ms.default(60_000),
  /** An expression, `cleared` (the condition stayed away for `recovered_after_clear_ms`) or `never`. */
  recovered_when: z.string().min(1).optional(),
  recovered_after_clear_ms: ms.default(5000),
  attempt_when: z.string().min(1).optional(),
  took_over_when: z.string().min(1).optional(),
  on_overlap: z.enum(["extend", "split", "ignore"]).default("extend"),
  topics: z.array(z.string()).min(1).default(["**"]),
  on_demand: z.array(z.string()).default(["**"]),
  priority: z.number().int().min(0).max(100).default(50),
  labels: z.record(z.string(), z.string()).default({}),
});

const fileSchema = z.strictObject({ rules: z.record(z.string().regex(/^[a-z][a-z0-9_]*$/), ruleSchema).default({}) });

type RuleText = z.infer<typeof ruleSchema>;

/** Throws `Fault("bad_rules")` with every finding. `path` is only named in findings. */
export function parseRules(path: string, text: string): Rule[] {
  const parsed = parseYaml(path, text, fileSchema);
  if (parsed.kind === "bad") throw ruleFault(parsed.findings);
  const findings: Finding[] = [];
  const rules = Object.entries(parsed.value.rules).map(([name, rule]) => {
    const at: Locate = (...keys) => parsed.locate(["rules", name, ...keys]);
    return toRule(name, rule, { at, text, findings });
  });
  if (findings.length > 0) throw ruleFault(findings);
  return rules;
}

/** Rules of several files: a later rule of the same name takes the place of the earlier one. */
export function combineRules(files: readonly (readonly Rule[])[]): Rule[] {
  return [...new Map(files.flat().map((rule) => [rule.name, rule])).values()];
}

/**
 * Looks up every field that an input with a known type is asked for. `problemOf(type, path)` says why messages of
 * `type` have no such field; undefined if they have, or if the type is not known here.
 */
export function checkFields(
  rules: readonly Rule[],
  problemOf: (type: string, path: string) => string | undefined,
): Finding[] {
  return rules.flatMap((rule) =>
    expressionsOf(rule).flatMap(([key, expression]) =>
      expression.fields.flatMap((field) =>
        (rule.inputs.get(field.input)?.types ?? []).flatMap((type) => {
          const problem = problemOf(type, field.path);
          if (problem === undefined) return [];
          const hint = `Correct "${field.text}", or the type of input "${field.input}".`;
          return [{ place: rule.place, problem: `rule ${rule.name}, ${key}: ${problem}`, hint }];
        }),
      ),
    ),
  );
}

function expressionsOf(rule: Rule): [string, Expression][] {
  const { condition } = rule;
  const all: [string, Expression | undefined][] = [
    ["when", condition.kind === "expression" ? condition.when : undefined],
    ["clear_when", condition.kind === "expression" ? condition.clearWhen : undefined],
    ["recovered_when", rule.recoveredWhen],
    ["attempt_when", rule.attemptWhen],
    ["took_over_when", rule.tookOverWhen],
  ];
  return all.flatMap(([key, expression]) => (expression === undefined ? [] : [[key, expression]]));
}

function ruleFault(findings: readonly Finding[]): Fault {
  return faultOf(findings, "bad_rules");
}

type Locate = (...keys: string[]) => string;
type Reading = { readonly at: Locate; readonly text: string; readonly findings: Finding[] };

function toRule(name: string, rule: RuleText, reading: Reading): Rule {
  const inputs = toInputs(rule, reading);
  const expression = (key: keyof RuleText) => readExpression(key, rule[key], [...inputs.keys()], reading);
  const condition = toCondition(rule, reading, expression);
  const detector = condition.kind === "detector" ? condition.detector : undefined;
  const isWord = rule.recovered_when === "cleared" || rule.recovered_when === "never";
  return {
    name,
    place: reading.at(),
    isEnabled: rule.enabled,
    inputs,
    condition,
    edge: {
      holdMs: rule.for_ms,
      clearMs: rule.clear_for_ms ?? detector?.clearForMs ?? 500,
      coolDownMs: rule.cool_down_ms ?? detector?.coolDownMs ?? 1000,
    },
    recoveredWhen: isWord ? undefined : expression("recovered_when"),
    attemptWhen: expression("attempt_when"),
    tookOverWhen: expression("took_over_when"),
    policy: toPolicy(name, rule, condition),
  };
}

function toPolicy(name: string, rule: RuleText, condition: Rule["condition"]): CapturePolicy {
  const detector = condition.kind === "detector" ? condition.detector : undefined;
  const word = rule.recovered_when ?? detector?.recoversWhen ?? "cleared";
  return {
    rule: name,
    version: versionOf(rule, condition),
    isDryRun: rule.dry_run,
    kind: rule.kind satisfies EpisodeKind,
    preRollMs: rule.pre_roll_ms,
    postRollMs: rule.post_roll_ms,
    maxMs: rule.max_ms,
    onOverlap: rule.on_overlap,
    recoversWhen: word === "cleared" || word === "never" ? word : "explicit",
    recoveredAfterClearMs: rule.recovered_after_clear_ms,
    recoveryTimeoutMs: rule.recovery_timeout_ms,
    priority: rule.priority,
    labels: rule.labels,
    topics: rule.topics,
    onDemand: rule.on_demand,
  };
}

/**
 * What decides when the rule fires and what it keeps, hashed: 8 hex digits of SHA-256. Two rules that differ only in
 * description, spacing, order of keys, or in saying a default, are the same version.
 */
function versionOf(rule: RuleText, condition: Rule["condition"]): string {
  const { description: _, enabled: __, ...meaning } = rule;
  const parameters = condition.kind === "detector" ? condition.parameters : {};
  const text = JSON.stringify({ ...meaning, parameters }, (_key, value: unknown) =>
    typeof value === "string" ? withoutSpacing(value) : isRecord(value) ? sortKeys(value) : value,
  );
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

/** Spaces between quotes stay. */
function withoutSpacing(text: string): string {
  return text.replace(/("[^"]*"|'[^']*')|\s+/g, (_match, quoted?: string) => quoted ?? "");
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function sortKeys(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function toInputs(rule: RuleText, { at, findings }: Reading): Map<string, InputSpec> {
  const inputs = new Map<string, InputSpec>();
  for (const [name, input] of Object.entries(rule.inputs)) {
    const spec = typeof input === "string" ? { topic: input } : input;
    const types = spec.type === undefined ? [] : [spec.type].flat();
    if (spec.topic === undefined && types.length === 0)
      findings.push({
        place: at("inputs", name),
        problem: `input "${name}" says neither topic nor type.`,
        hint: `Write ${name}: /joint_states, or ${name}: {type: sensor_msgs/msg/Imu}.`,
      });
    inputs.set(name, { topic: spec.topic, types, staleMs: spec.stale_ms });
  }
  return inputs;
}

type ReadExpression = (key: keyof RuleText) => Expression | undefined;

function toCondition(rule: RuleText, reading: Reading, expression: ReadExpression): Rule["condition"] {
  const { at, findings } = reading;
  if (rule.detector !== undefined && rule.when !== undefined)
    findings.push({
      place: at("detector"),
      problem: "a rule has either when or detector.",
      hint: "Make it two rules.",
    });
  if (rule.detector !== undefined) return toDetector(rule.detector, rule, reading);
  const when = expression("when");
  if (when !== undefined) return { kind: "expression", when, clearWhen: expression("clear_when") };
  if (rule.when === undefined && rule.enabled)
    findings.push({ place: at(), problem: "the rule has no condition.", hint: "Give it when or detector." });
  return { kind: "none" };
}

function toDetector(name: string, rule: RuleText, { at, findings }: Reading): Rule["condition"] {
  const detector = detectorKinds.get(name);
  if (detector === undefined) {
    const hint = nearestHint(name, [...detectorKinds.keys()]);
    findings.push({ place: at("detector"), problem: `there is no detector "${name}".`, hint });
    return { kind: "none" };
  }
  for (const input of Object.keys(rule.inputs).filter((role) => !detector.roles.includes(role)))
    findings.push({
      place: at("inputs", input),
      problem: `detector ${name} has no input "${input}".`,
      hint: nearestHint(input, detector.roles),
    });
  const parameters = detector.parameters.safeParse(rule.parameters);
  if (parameters.success) return { kind: "detector", detector, parameters: parameters.data };
  for (const issue of parameters.error.issues) {
    const keys = issue.code === "unrecognized_keys" ? issue.keys : [String(issue.path[0] ?? "")];
    const known = Object.keys(detector.parameters.shape);
    for (const key of keys)
      findings.push({
        place: at("parameters", key),
        problem: `parameter "${key}" of detector ${name}: ${issue.code === "unrecognized_keys" ? "unknown." : issue.message}`,
        hint: issue.code === "unrecognized_keys" ? nearestHint(key, known) : `It takes: ${known.join(", ")}.`,
      });
  }
  return { kind: "none" };
}

function readExpression(
  key: keyof RuleText,
  text: unknown,
  inputs: readonly string[],
  { at, text: file, findings }: Reading,
): Expression | undefined {
  if (typeof text !== "string") return undefined;
  try {
    return parseExpression(text, inputs);
  } catch (error) {
    if (!(error instanceof ExpressionProblem)) throw error;
    const place = placeWithin(at(key), file, text, error.offset);
    findings.push({ place, problem: `${key}: ${error.message}`, hint: error.hint });
    return undefined;
  }
}

/** Moves a place on by `offset` characters of an expression that stands there on one line, quoted or not. */
function placeWithin(place: string, file: string, expression: string, offset: number): string {
  const found = /^(.*):(\d+):(\d+)$/.exec(place);
  if (found === null) return place;
  const [, path = "", line = "1", column = "1"] = found;
  const rest = file.split("\n")[Number(line) - 1]?.slice(Number(column) - 1) ?? "";
  const quote = /^["']/.test(rest) ? 1 : 0;
  if (rest.slice(quote, quote + expression.length) !== expression) return place;
  return `${path}:${line}:${Number(column) + quote + offset}`;
}
