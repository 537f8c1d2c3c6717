/** The rules that the configuration arms: the shipped set, then the operator's files; a later name replaces an earlier. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Config } from "../config/schema.ts";
import { Definitions } from "../decode/definitions.ts";
import { compileField } from "../decode/field.ts";
import { parseSchema } from "../decode/parsed-schema.ts";
import { Fault } from "../std/fault.ts";
import { faultOf, nearestHint } from "../std/yaml-file.ts";
import { checkFields, combineRules, parseRules, type Rule } from "../trigger/rule.ts";
import type { RuleLimits } from "../trigger/rule-budget.ts";

/** Read once, so that every thread parses the same text. */
export type RuleFile = { readonly path: string; readonly text: string };

const SHIPPED = resolve(import.meta.dirname, "../../config/rules/default.yaml");

export function readRuleFiles(config: Config["rules"]): RuleFile[] {
  const paths = [...(config.shipped ? [SHIPPED] : []), ...config.files];
  return paths.map((path) => {
    try {
      return { path, text: readFileSync(path, "utf8") };
    } catch (error) {
      throw new Fault(
        "bad_rules",
        `The rule file ${path} cannot be read.`,
        "Correct rules.files, or its permissions.",
        error,
      );
    }
  });
}

export function ruleLimits({ firings_per_hour_max, cpu_percent_max }: Config["rules"]): RuleLimits {
  return { firingsPerHourMax: firings_per_hour_max, cpuPercentMax: cpu_percent_max };
}

/** Throws `Fault("bad_rules")` with place, problem and hint of everything that is wrong. */
export function parseRuleFiles(files: readonly RuleFile[], disabled: readonly string[]): Rule[] {
  const rules = combineRules(files.map(({ path, text }) => parseRules(path, text)));
  const names = rules.map((rule) => rule.name);
  const unknown = disabled.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new Fault("bad_rules", `rules.disable names "${unknown}", which is no rule.`, nearestHint(unknown, names));
  return rules.map((rule) => (disabled.includes(rule.name) ? { ...rule, isEnabled: false } : rule));
}

/** Fields that rules ask of types whose definition is known here. Throws `Fault("bad_rules")`. */
export function checkRuleFields(rules: readonly Rule[], msgFolders: readonly string[]): void {
  const definitions = Definitions.open({ folders: msgFolders });
  const findings = checkFields(rules, (type, path) => fieldProblem(definitions, type, path));
  if (findings.length > 0) throw faultOf(findings, "bad_rules");
}

function fieldProblem(definitions: Definitions, type: string, path: string): string | undefined {
  const ros = type.includes("/msg/") ? 2 : 1;
  const text = definitions.find(type, ros);
  if (text === undefined) return undefined;
  const parsed = parseSchema({ name: type, encoding: ros === 1 ? "ros1msg" : "ros2msg", text });
  if ("problem" in parsed) return undefined;
  const field = compileField(parsed, ros === 1 ? "ros1" : "cdr", path);
  return "problem" in field ? field.problem : undefined;
}
