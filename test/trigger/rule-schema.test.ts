/** What editors and readers are told of rule files is what the parser takes. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { rulesJsonSchema } from "../../src/trigger/rule-schema.ts";
import { RULES_SCHEMA_FILE, rulesSchemaText } from "../support/config-page.ts";

const REMAKE = "run `node test/scripts/make-config-docs.ts`";
const object = z.looseObject({});
const ruleOf = (schema: unknown) =>
  z
    .object({
      properties: z.object({ rules: z.object({ additionalProperties: z.looseObject({ allOf: z.array(object) }) }) }),
    })
    .parse(schema).properties.rules.additionalProperties;
const { allOf, ...RULE } = ruleOf(rulesJsonSchema());
const checkRule = z.fromJSONSchema(RULE);
const KEYS = Object.keys(object.parse(RULE.properties));

test("the schema that editors use is the parser's", () => {
  expect(readFileSync(RULES_SCHEMA_FILE, "utf8"), REMAKE).toBe(rulesSchemaText());
});

test.each(readdirSync("config/rules"))("an editor finds nothing wrong with the shipped %s", (name) => {
  const text = readFileSync(`config/rules/${name}`, "utf8");
  expect(text).toContain("yaml-language-server: $schema=../rules.schema.json");
  const { rules } = z.object({ rules: z.record(z.string(), z.unknown()) }).parse(parse(text));
  for (const rule of Object.values(rules)) expect(checkRule.safeParse(rule).error?.issues).toBeUndefined();
});

test("an editor finds an unknown key, a wrong word and a wrong kind", () => {
  for (const rule of [{ pre_rol_ms: 5 }, { kind: "fail" }, { for_ms: "soon" }, { inputs: { j: "joints" } }])
    expect(checkRule.safeParse(rule).success).toBe(false);
});

test("an editor finds the parameters of each detector", () => {
  const branch = allOf.find((one) => JSON.stringify(one).includes('"const":"fall"'));
  const consequence = z.object({ properties: z.object({ parameters: object }) }).parse(branch?.then);
  const parameters = z.fromJSONSchema(consequence.properties.parameters);
  expect([{ tilt_deg: 60 }, { tilt: 60 }].map((value) => parameters.safeParse(value).success)).toEqual([true, false]);
});

test("the page of rules has every key", () => {
  const page = readFileSync("docs/rules.md", "utf8");
  const table = page.slice(page.indexOf("## A rule's keys"), page.indexOf("## Expressions"));
  for (const key of KEYS) expect(table, `docs/rules.md lacks ${key}`).toContain(`\`${key}\``);
});
