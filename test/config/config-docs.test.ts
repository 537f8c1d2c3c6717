import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { configJsonSchema } from "../../src/config/json-schema.ts";
import { loadConfig } from "../../src/config/load.ts";
import { parseRuleFiles, readRuleFiles } from "../../src/daemon/rule-files.ts";
import { CONFIGURATION_PAGE, configurationPage, SCHEMA_FILE, schemaText } from "../support/config-page.ts";

const EXAMPLE = "config/lode.example.yaml";
const REMAKE = "run: node test/scripts/make-config-docs.ts";

test("the JSON Schema for editors is what the configuration's schema says", () => {
  expect(readFileSync(SCHEMA_FILE, "utf8"), REMAKE).toBe(schemaText());
});

test("the page about the configuration is what its schema says", () => {
  expect(readFileSync(CONFIGURATION_PAGE, "utf8"), REMAKE).toBe(configurationPage());
});

test("every key says what it does", () => {
  const silent = configurationPage()
    .split("\n")
    .filter((line) => line.startsWith("| `") && line.endsWith("|  |"));
  expect(silent).toEqual([]);
});

test("the example configuration is valid, rules and all", () => {
  const { config } = loadConfig(EXAMPLE);
  expect(config.robot.id).toBe("arm-7");
  expect(parseRuleFiles(readRuleFiles(config.rules), config.rules.disable).length).toBeGreaterThan(0);
});

test("the JSON Schema takes the example, and no key that it does not know", () => {
  const schema = z.fromJSONSchema(configJsonSchema());
  const example: unknown = parse(readFileSync(EXAMPLE, "utf8"));
  expect(schema.safeParse(example).error).toBeUndefined();
  expect(schema.safeParse({ ring: { bytes_mx: 1 } }).success).toBe(false);
});
