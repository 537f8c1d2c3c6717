import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { Fault } from "../../src/std/fault.ts";
import { checkFields, combineRules, parseRules } from "../../src/trigger/rule.ts";

const RULES = resolve(import.meta.dirname, "../../config/rules");

function faultOf(text: string): Fault {
  try {
    parseRules("r.yaml", text);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error("nothing was wrong");
}

test.each(readdirSync(RULES))("the shipped %s is a good rule file", (name) => {
  expect(parseRules(name, readFileSync(join(RULES, name), "utf8")).length).toBeGreaterThan(0);
});

test("a rule is read with its units and its defaults", () => {
  const [rule] = parseRules(
    "r.yaml",
    `rules:
  hot:
    inputs: { j: /joint_states, b: { type: sensor_msgs/msg/BatteryState, stale_ms: 500 } }
    when: j.effort[0] > 3 || b.percentage < 0.1
    for_ms: 250
    labels: { part: elbow }
`,
  );
  expect(rule?.edge).toEqual({ holdMs: 250, clearMs: 500, coolDownMs: 1000 });
  expect(rule?.policy).toMatchObject({ rule: "hot", kind: "failure", preRollMs: 10_000, postRollMs: 5000 });
  expect(rule?.policy).toMatchObject({ recoversWhen: "cleared", onOverlap: "extend", labels: { part: "elbow" } });
  expect(rule?.inputs.get("b")).toEqual({ topic: undefined, types: ["sensor_msgs/msg/BatteryState"], staleMs: 500 });
});

test("who says how a robot recovers: the rule, else its detector, else the end of the condition", () => {
  const of = (body: string) => parseRules("r.yaml", `rules:\n  a:\n${body}`)[0]?.policy.recoversWhen;
  expect(of("    detector: lost_grasp\n")).toBe("explicit");
  expect(of("    detector: stall\n")).toBe("cleared");
  expect(of("    detector: stall\n    recovered_when: never\n")).toBe("never");
  expect(of("    inputs: {j: /j}\n    when: j.x > 1\n    recovered_when: j.x < 0\n")).toBe("explicit");
});

test("a rule's version is the hash of its meaning, not of its text", () => {
  const of = (body: string) => parseRules("r.yaml", `rules:\n  a:\n    inputs: {j: /j}\n${body}`)[0]?.policy.version;
  const version = of('    when: j.x["a b"] > 1\n');
  expect(version).toMatch(/^[0-9a-f]{8}$/);
  expect(of('    when: j.x["a b"]>1\n    description: said otherwise\n    for_ms: 0\n')).toBe(version);
  for (const other of ['j.x["ab"] > 1', 'j.x["a b"] > 1.0000000001', 'j.x["a b"] >= 1'])
    expect(of(`    when: ${other}\n`)).not.toBe(version);
  expect(of('    when: j.x["a b"] > 1\n    pre_roll_ms: 5\n')).not.toBe(version);
});

test("the defaults of a detector are part of the version", () => {
  const of = (body: string) => parseRules("r.yaml", `rules:\n  a: {detector: fall${body}}\n`)[0]?.policy.version;
  expect(of(", parameters: {tilt_deg: 50}")).toBe(of(""));
  expect(of(", parameters: {tilt_deg: 51}")).not.toBe(of(""));
});

const RULE = (body: string) => `rules:\n  hot:\n    inputs: {j: /joint_states}\n${body}`;

test.each<[string, string, string, string]>([
  ["an unknown key", RULE("    when: j.x > 1\n    pre_rol_ms: 5\n"), "r.yaml:5:17: ", 'Did you mean "pre_roll_ms"?'],
  ["a wrong type", RULE("    when: j.x > 1\n    for_ms: soon\n"), "r.yaml:5:13: rules.hot.for_ms", "number"],
  ["an impossible number", RULE("    when: j.x > 1\n    for_ms: -5\n"), "r.yaml:5:13: ", "at least 0"],
  ["a syntax error", RULE("    when: j.x > > 1\n"), "r.yaml:4:17: when: Unexpected token", "CEL"],
  [
    "a quoted expression",
    RULE("    when: 'j.x > jj.y'\n"),
    'r.yaml:4:18: when: "jj" is not an input',
    'Did you mean "j"',
  ],
  ["an unknown function", RULE("    when: 1 > sqr(j.x)\n"), 'r.yaml:4:15: when: there is no function "sqr"', "abs"],
  ["a later expression", RULE("    when: j.x > 1\n    clear_when: k.x > 1\n"), "r.yaml:5:17: clear_when:", "j"],
  ["an unknown detector", "rules:\n  a:\n    detector: stal\n", "r.yaml:3:15: ", 'Did you mean "stall"?'],
  ["a wrong parameter", "rules:\n  a:\n    detector: fall\n    parameters: {tilt: 3}\n", "r.yaml:4:24: ", "tilt_deg"],
  [
    "a parameter out of range",
    "rules:\n  a:\n    detector: fall\n    parameters: {tilt_deg: 3}\n",
    "r.yaml:4:28: ",
    "It takes",
  ],
  [
    "a wrong input of a detector",
    "rules:\n  a:\n    detector: fall\n    inputs: {imus: /imu}\n",
    "r.yaml:4:20: ",
    'Did you mean "imu"?',
  ],
  ["two conditions", RULE("    when: j.x > 1\n    detector: stall\n"), "either when or detector", "two rules"],
  ["no condition", RULE("    for_ms: 5\n"), "r.yaml:3:5: the rule has no condition", "Give it when"],
  ["a sample without cron", "rules:\n  a: {kind: sample}\n", "a sample needs cron", "0 * * * *"],
  ["cron of another kind", RULE('    cron: "0 * * * *"\n'), "cron is of kind: sample", "0 * * * *"],
  [
    "cron and a condition",
    RULE('    kind: sample\n    cron: "0 * * * *"\n    when: j.x > 1\n'),
    "r.yaml:5:11: a rule has either when or cron",
    "two rules",
  ],
  [
    "a minute that is none",
    'rules:\n  a: {kind: sample, cron: "61 * * * *"}\n',
    'r.yaml:2:27: "61 * * * *" is not a cron expression',
    "weekday",
  ],
  [
    "a time zone that is none",
    'rules:\n  a: {kind: sample, cron: "1 * * * *", time_zone: Mars}\n',
    'no time zone "Mars"',
    "Europe/Berlin",
  ],
  [
    "a time zone of nothing",
    RULE("    when: j.x > 1\n    time_zone: Europe/Berlin\n"),
    "time_zone is of cron",
    "Remove",
  ],
  [
    "an end of a detector's condition",
    "rules:\n  a: {detector: stall, inputs: {j: /j}, clear_when: j.x > 1}\n",
    "either detector or clear_when",
    "says itself",
  ],
  [
    "a role by its type",
    "rules:\n  a: {detector: fall, inputs: {imu: {type: sensor_msgs/Imu}}}\n",
    'finds "imu" by its type itself',
    "imu: /some/topic",
  ],
  [
    "what follows a capture that was asked for",
    RULE("    kind: manual\n    failed_when: j.x > 1\n"),
    "r.yaml:5:18: failed_when goes with when or detector",
    "Remove",
  ],
  [
    "a type that is none",
    "rules:\n  a:\n    inputs: {j: {type: Imu}}\n    when: j.x > 1\n",
    "r.yaml:3:24: ",
    "pkg/Type",
  ],
  ["a topic without a slash", "rules:\n  a:\n    inputs: {j: joints}\n    when: j.x > 1\n", "r.yaml:3:17: ", ""],
  [
    "an input that names nothing",
    "rules:\n  a:\n    inputs: {j: {stale_ms: 5}}\n    when: j.x > 1\n",
    "neither topic nor type",
    "",
  ],
  ["broken YAML", "rules:\n  a: [\n", "r.yaml:", "indentation"],
])("%s is told with its place, what is wrong and how to mend it", (_name, text, message, hint) => {
  const fault = faultOf(text);
  expect(fault.code).toBe("bad_rules");
  expect(fault.message).toContain(message);
  expect(`${fault.message}\n${fault.hint}`).toContain(hint);
});

test("every finding of a file is told at once", () => {
  const fault = faultOf(RULE("    when: k.x > 1\n    recovered_when: abss(j.x) > 1\n"));
  expect(fault.message.match(/^\S+\.yaml:\d+:\d+: /gm)).toHaveLength(2);
});

test("a later rule takes the place of an earlier one of its name, and may switch it off", () => {
  const first = parseRules("a.yaml", "rules:\n  a: {detector: stall}\n  b: {detector: fall}\n");
  const second = parseRules("b.yaml", "rules:\n  a: {enabled: false}\n");
  expect(combineRules([first, second]).map((rule) => [rule.name, rule.isEnabled])).toEqual([
    ["a", false],
    ["b", true],
  ]);
});

test("a field that messages of a known type do not have is found before the rule is armed", () => {
  const text =
    "rules:\n  a:\n    inputs: {i: {topic: /imu, type: sensor_msgs/msg/Imu}}\n    when: i.angular_velocity.q > 1\n";
  const findings = checkFields(parseRules("r.yaml", text), (type, path) =>
    path === "angular_velocity.q" ? `${type} has no field ${path}.` : undefined,
  );
  expect(findings).toEqual([
    {
      place: "r.yaml:3:5",
      problem: "rule a, when: sensor_msgs/msg/Imu has no field angular_velocity.q.",
      hint: 'Correct "i.angular_velocity.q", or the type of input "i".',
    },
  ]);
});

test("the norm of a vector is checked by its parts, which the message has", () => {
  const rule = (when: string) =>
    parseRules("r.yaml", `rules:\n  a:\n    inputs: {i: {type: sensor_msgs/Imu}}\n    when: ${when}\n`);
  const fields = ["linear_acceleration.x", "linear_acceleration.y", "linear_acceleration.z", "covariance"];
  const problemOf = (_type: string, path: string) => (fields.includes(path) ? undefined : `no ${path}`);
  expect(checkFields(rule("norm(i.linear_acceleration) > max(i.covariance)"), problemOf)).toEqual([]);
  expect(checkFields(rule("norm(i.acceleration) > 3"), problemOf).map(({ problem }) => problem)).toEqual([
    "rule a, when: no acceleration",
  ]);
});
