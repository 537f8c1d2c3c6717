/** The configuration as JSON Schema (2020-12), for editors: `config/lode.schema.json` is this, written down. */
import { z } from "zod";
import { configSchema } from "./schema.ts";

const TITLE = "Lode's configuration file (lode.yaml and lode.d/*.yaml)";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Of the file as a person writes it: sizes and durations as number or text. The same on every machine. */
export function configJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(configSchema, {
    io: "input",
    override: ({ jsonSchema, path }) => {
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      // The host's name: of this machine, not of the reader's.
      if (path.join(".") === "properties.robot.properties.id") delete jsonSchema.default;
    },
  });
  const { $schema, ...rest } = schema;
  return { $schema, title: TITLE, ...rest };
}
