/**
 * Writes config/lode.schema.json and docs/configuration.md from the configuration's schema.
 *
 *   node test/scripts/make-config-docs.ts
 */
import { writeFileSync } from "node:fs";
import { CONFIGURATION_PAGE, configurationPage, SCHEMA_FILE, schemaText } from "../support/config-page.ts";

writeFileSync(SCHEMA_FILE, schemaText());
writeFileSync(CONFIGURATION_PAGE, configurationPage());
