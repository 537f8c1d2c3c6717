/**
 * Writes config/lode.schema.json and docs/configuration.md from the configuration's schema, and
 * config/rules.schema.json from that of rule files.
 *
 *   node test/scripts/make-config-docs.ts
 */
import { writeFileSync } from "node:fs";
import {
  CONFIGURATION_PAGE,
  configurationPage,
  RULES_SCHEMA_FILE,
  rulesSchemaText,
  SCHEMA_FILE,
  schemaText,
} from "../support/config-page.ts";

writeFileSync(RULES_SCHEMA_FILE, rulesSchemaText());
writeFileSync(SCHEMA_FILE, schemaText());
writeFileSync(CONFIGURATION_PAGE, configurationPage());
