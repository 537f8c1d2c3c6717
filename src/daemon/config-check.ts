/**
 * What the schema cannot know of a configuration: whether its keys are keys, its windows times, its folders
 * there, its rules known, and whether the rules' fields exist. Every finding names file, line and how to mend it.
 */
import type { LoadedConfig } from "../config/load.ts";
import { Definitions } from "../decode/definitions.ts";
import { parsePublicKey } from "../protocol/receipt.ts";
import { Fault } from "../std/fault.ts";
import { type Finding, faultOf, nearestHint } from "../std/yaml-file.ts";
import type { Rule } from "../trigger/rule.ts";
import { compileWindows } from "../upload/gate.ts";
import { checkRuleFields, parseRuleFiles, readRuleFiles } from "./rule-files.ts";

/** Returns the rules. Throws `Fault("bad_config")` or `Fault("bad_rules")` with all findings of a kind. */
export function checkConfig({ config, placeOf }: LoadedConfig): Rule[] {
  const { rules: own, topics, upload } = config;
  const keys = upload.receivers.flatMap(({ public_keys }, receiver) =>
    public_keys.map((key, index) =>
      attempt(placeOf(["upload", "receivers", receiver, "public_keys", index]), () => parsePublicKey(key)),
    ),
  );
  const windows = upload.windows.map((window, index) =>
    attempt(placeOf(["upload", "windows", index]), () => compileWindows([window])),
  );
  const folders = topics.msg_folders.map((folder, index) =>
    attempt(placeOf(["topics", "msg_folders", index]), () => Definitions.open({ folders: [folder] })),
  );
  refuse([...keys, ...windows, ...folders].flat());
  const rules = parseRuleFiles(readRuleFiles(own), []);
  const ruleNames = rules.map((rule) => rule.name);
  const strangers = own.disable.flatMap((name, index) => {
    if (ruleNames.includes(name)) return [];
    const problem = `rules.disable names "${name}", which is no rule.`;
    return [{ place: placeOf(["rules", "disable", index]), problem, hint: nearestHint(name, ruleNames) }];
  });
  refuse(strangers);
  checkRuleFields(rules, topics.msg_folders);
  return rules.map((rule) => (own.disable.includes(rule.name) ? { ...rule, isEnabled: false } : rule));
}

function refuse(findings: readonly Finding[]): void {
  if (findings.length > 0) throw faultOf(findings, "bad_config");
}

/** What a stage says of a value. */
function attempt(place: string, body: () => unknown): Finding[] {
  try {
    body();
    return [];
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return [{ place, problem: error.message, hint: error.hint }];
  }
}
