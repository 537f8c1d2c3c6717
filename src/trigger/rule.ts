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
import type { CapturePolicy, EpisodeKind } from "../model/rule-event.ts";
import type { Fault } from "../std/fault.ts";
import { type Finding, faultOf, nearestHint, parseYaml } from "../std/yaml-file.ts";
import { type DetectorKind, detectorKinds } from "./detectors/index.ts";
import type { EdgeOptions } from "./edge.ts";
import { type Expression, ExpressionProblem, fieldsOf, parseExpression } from "./expression.ts";
import { type RuleKey, type RuleText, ruleFileSchema } from "./rule-schema.ts";
import { compileSchedule, type Schedule } from "./schedule.ts";

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
    | { readonly kind: "schedule"; readonly cron: string; readonly schedule: Schedule }
    /** Every message of its inputs is a firing. */
    | { readonly kind: "message" }
    /** Only says that an earlier rule of this name is switched off. */
    | { readonly kind: "none" };
  readonly edge: EdgeOptions;
  /** What is listened for after a firing, in this order. */
  readonly followUps: readonly FollowUpSpec[];
  readonly policy: CapturePolicy;
};

const FOLLOW_UPS = [
  { key: "attempt_when", signal: "attempt" },
  { key: "recovered_when", signal: "recovered" },
  { key: "failed_when", signal: "gave_up" },
  { key: "took_over_when", signal: "took_over" },
] as const;
type FollowUpSpec = (typeof FOLLOW_UPS)[number] & { readonly expression: Expression };

/** Throws `Fault("bad_rules")` with every finding. `path` is only named in findings. */
export function parseRules(path: string, text: string): Rule[] {
  const parsed = parseYaml(path, text, ruleFileSchema);
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
      expression.inputs.flatMap((input) =>
        (rule.inputs.get(input)?.types ?? []).flatMap((type) => {
          const known = fieldsOf(expression, (name, path) => name !== input || problemOf(type, path) === undefined);
          const paths = known.filter((field) => field.input === input).map(({ path }) => path);
          return [...new Set(paths)].flatMap((path) => {
            const problem = problemOf(type, path);
            if (problem === undefined) return [];
            const hint = `Correct "${input}.${path}", or the type of input "${input}".`;
            return [{ place: rule.place, problem: `rule ${rule.name}, ${key}: ${problem}`, hint }];
          });
        }),
      ),
    ),
  );
}

function expressionsOf({ condition, followUps }: Rule): [string, Expression][] {
  const all: [string, Expression | undefined][] = [
    ["when", condition.kind === "expression" ? condition.when : undefined],
    ["clear_when", condition.kind === "expression" ? condition.clearWhen : undefined],
    ...followUps.map(({ key, expression }): [string, Expression] => [key, expression]),
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
  const read: ReadExpression = (key) => readExpression(key, rule[key], [...inputs.keys()], reading);
  checkKeys(rule, reading);
  const condition = toCondition(rule, reading, read);
  const followUps = FOLLOW_UPS.flatMap((followUp) => {
    const isWord = followUp.key === "recovered_when" && recoveryWord(rule.recovered_when) !== undefined;
    const expression = isWord ? undefined : read(followUp.key);
    return expression === undefined ? [] : [{ ...followUp, expression }];
  });
  const detector = condition.kind === "detector" ? condition.detector : undefined;
  if (detector !== undefined) checkRoles(rule, detector, followUps, reading);
  if (condition.kind === "schedule" || condition.kind === "message") refuseFollowUps(rule, followUps, reading);
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
    followUps,
    policy: toPolicy(name, rule, condition),
  };
}

function recoveryWord(text: string | undefined): "cleared" | "never" | undefined {
  return text === "cleared" || text === "never" ? text : undefined;
}

/** What else a rule must have, or must not have, beside a key. */
const NOT_TOGETHER: readonly (readonly [RuleKey, RuleKey])[] = [
  ["when", "detector"],
  ["when", "cron"],
  ["detector", "cron"],
  ["detector", "clear_when"],
];

/** A key that would do nothing is a mistake that nobody sees. */
function checkKeys(rule: RuleText, { at, findings }: Reading): void {
  for (const [one, other] of NOT_TOGETHER)
    if (rule[one] !== undefined && rule[other] !== undefined)
      findings.push({
        place: at(other),
        problem: `a rule has either ${one} or ${other}.`,
        hint: other === "clear_when" ? "A detector says itself when it ends." : "Make it two rules.",
      });
  const isSample = rule.kind === "sample";
  if (rule.enabled && isSample !== (rule.cron !== undefined))
    findings.push({
      place: at(isSample ? "kind" : "cron"),
      problem: isSample ? "a sample needs cron." : "cron is of kind: sample.",
      hint: 'Write kind: sample and cron: "0 * * * *" for every full hour.',
    });
  if (rule.time_zone !== undefined && rule.cron === undefined)
    findings.push({ place: at("time_zone"), problem: "time_zone is of cron.", hint: "Remove it." });
}

function toPolicy(name: string, rule: RuleText, condition: Rule["condition"]): CapturePolicy {
  const detector = condition.kind === "detector" ? condition.detector : undefined;
  const isAsked = rule.kind === "sample" || rule.kind === "manual";
  const inferred = detector?.recoversWhen ?? (isAsked ? "never" : "cleared");
  const recoversWhen = rule.recovered_when === undefined ? inferred : (recoveryWord(rule.recovered_when) ?? "explicit");
  return {
    rule: name,
    version: versionOf(rule, condition),
    isDryRun: rule.dry_run,
    kind: rule.kind satisfies EpisodeKind,
    preRollMs: rule.pre_roll_ms,
    postRollMs: rule.post_roll_ms,
    maxMs: rule.max_ms,
    onOverlap: rule.on_overlap,
    recoversWhen,
    recoveredAfterClearMs: rule.recovered_after_clear_ms,
    recoveryTimeoutMs: rule.recovery_timeout_ms,
    priority: rule.priority ?? (rule.kind === "sample" ? 10 : 50),
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
  const text = JSON.stringify({ ...meaning, parameters }, (key, value: unknown) => {
    if (typeof value === "string" && key.endsWith("when")) return withoutSpacing(value);
    return isRecord(value) ? sortKeys(value) : value;
  });
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

type ReadExpression = (key: RuleKey) => Expression | undefined;

function toCondition(rule: RuleText, reading: Reading, read: ReadExpression): Rule["condition"] {
  if (rule.detector !== undefined) return toDetector(rule.detector, rule, reading);
  if (rule.cron !== undefined) return toSchedule(rule.cron, rule.time_zone, reading);
  const when = read("when");
  if (when !== undefined) return { kind: "expression", when, clearWhen: read("clear_when") };
  if (rule.when !== undefined || !rule.enabled || rule.kind === "sample") return { kind: "none" };
  if (rule.kind === "manual" && Object.keys(rule.inputs).length > 0) return { kind: "message" };
  reading.findings.push({
    place: reading.at(),
    problem: "the rule has no condition.",
    hint: "Give it when or detector.",
  });
  return { kind: "none" };
}

function toSchedule(cron: string, timeZone: string | undefined, { at, findings }: Reading): Rule["condition"] {
  const schedule = compileSchedule(cron, timeZone);
  if (typeof schedule === "function") return { kind: "schedule", cron, schedule };
  const hint = 'Write minute, hour, day, month, weekday: "30 8-17 * * 1-5"; time_zone as Europe/Berlin.';
  findings.push({ place: at("cron"), problem: schedule.problem, hint });
  return { kind: "none" };
}

/** A capture that was asked for is over with its post-roll: nothing follows that could be listened for. */
function refuseFollowUps({ kind }: RuleText, followUps: readonly FollowUpSpec[], { at, findings }: Reading): void {
  for (const { key } of followUps)
    findings.push({
      place: at(key),
      problem: `${key} goes with when or detector, not with a ${kind} that is only asked for.`,
      hint: "Remove it.",
    });
}

/** Inputs of a detector are its roles, by topic; others must be read by an expression of the rule. */
function checkRoles(
  rule: RuleText,
  detector: DetectorKind,
  followUps: readonly FollowUpSpec[],
  reading: Reading,
): void {
  const read = new Set(followUps.flatMap(({ expression }) => expression.inputs));
  for (const input of Object.keys(rule.inputs).filter((role) => !detector.roles.includes(role) && !read.has(role)))
    reading.findings.push({
      place: reading.at("inputs", input),
      problem: `detector ${detector.name} has no input "${input}".`,
      hint: nearestHint(input, detector.roles),
    });
  for (const role of detector.roles.filter((name) => rule.inputs[name] !== undefined))
    if (inputTopic(rule.inputs[role]) === undefined)
      reading.findings.push({
        place: reading.at("inputs", role),
        problem: `detector ${detector.name} finds "${role}" by its type itself.`,
        hint: `Name its topic, ${role}: /some/topic, or leave it away.`,
      });
}

function inputTopic(input: RuleText["inputs"][string] | undefined): string | undefined {
  return typeof input === "string" ? input : input?.topic;
}

function toDetector(name: string, rule: RuleText, { at, findings }: Reading): Rule["condition"] {
  const detector = detectorKinds.get(name);
  if (detector === undefined) {
    const hint = nearestHint(name, [...detectorKinds.keys()]);
    findings.push({ place: at("detector"), problem: `there is no detector "${name}".`, hint });
    return { kind: "none" };
  }
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
  key: RuleKey,
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
