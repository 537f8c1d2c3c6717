/** docs/configuration.md, made from the configuration's schema: keys, units, defaults, ranges, effects. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { configJsonSchema, type JsonSchema } from "../../src/config/json-schema.ts";
import { configSchema, resolveClasses } from "../../src/config/schema.ts";
import { formatBytes } from "../../src/std/time-text.ts";
import { rulesJsonSchema } from "../../src/trigger/rule-schema.ts";

export const SCHEMA_FILE = "config/lode.schema.json";
export const RULES_SCHEMA_FILE = "config/rules.schema.json";
export const CONFIGURATION_PAGE = "docs/configuration.md";
const EXAMPLE_FILE = "config/lode.example.yaml";

export function schemaText(): string {
  return `${JSON.stringify(configJsonSchema(), undefined, 2)}\n`;
}

export function rulesSchemaText(): string {
  return `${JSON.stringify(rulesJsonSchema(), undefined, 2)}\n`;
}

export function configurationPage(): string {
  const sections = Object.entries(propertiesOf(configJsonSchema())).map(([name, schema]) => section(name, schema));
  return [INTRODUCTION, ...sections, classTable(), example()].join("\n");
}

const INTRODUCTION = `# Configuration

<!-- Made by \`node test/scripts/make-config-docs.ts\` from src/config/schema.ts: change that, then run it. -->

One YAML file, \`/etc/lode/lode.yaml\` or \`--config FILE\`. Files in \`lode.d/\` beside it are laid over it in the order
of their names: a later scalar or list replaces an earlier one, maps are merged key by key. Rule files in \`rules.d/\`
beside it are armed as well ([rules](rules.md)). Every key has a default and an empty file is valid; an unknown key is
an error that names the nearest known one. \`lode check\` says what is wrong, with file, line and column, before the
daemon is started. A change takes effect when the daemon is started again.

- A **size** is bytes or text: \`64GB\`, \`500MB\`, \`100kB\` (decimal units).
- A **duration** is milliseconds or text: \`500ms\`, \`30s\`, \`5m\`, \`2h\`, \`14d\`.
- A **glob** matches whole topic names: \`*\` within one part of the name, \`**\` across parts, \`{a,b}\` either.
- Paths that do not begin with \`/\` are seen from the folder of the configuration file.
- Secrets are never values here: \`token_file\` names the file that holds the token.

Editors that speak YAML complete and check the file with [lode.schema.json](../config/lode.schema.json):
put \`# yaml-language-server: $schema=/opt/lode/config/lode.schema.json\` on its first line.
`;

/** Every default, in the file's own names. */
const DEFAULTS: unknown = configSchema.parse({
  robot: { id: "the-host-name" },
  topics: { classes: { any: {} }, assign: [{}] },
  upload: { receivers: [{ url: "http://x", token_file: "x", public_keys: ["x"] }] },
});

function section(name: string, schema: JsonSchema): string {
  return [
    `## ${name}\n`,
    "| key | kind | default | range | effect |",
    "|---|---|---|---|---|",
    ...rows(name, schema),
    "",
  ]
    .join("\n")
    .concat(name === "topics" ? ASSIGNING : "");
}

const ASSIGNING = `
\`topics.assign\` is a list; the first entry that matches both a topic's name and its type decides, for each of
\`class\`, \`on_demand\` and \`privacy\` on its own. Types are written \`pkg/Type\` for ROS 1 and ROS 2 alike. What no entry
decides is assigned by type: images and compressed video are \`camera\`; point clouds, grids and costmaps \`cloud\`;
Theora and compressed depth \`debug\`; everything else \`light\`.
`;

/** One row a leaf; maps of objects and lists of objects go one level deeper. */
function rows(path: string, schema: JsonSchema): string[] {
  const properties = propertiesOf(schema);
  if (Object.keys(properties).length > 0)
    return Object.entries(properties).flatMap(([name, inner]) => rows(`${path}.${name}`, inner));
  const items = objectOf(schema.items);
  if (Object.keys(propertiesOf(items)).length > 0) return rows(`${path}[]`, items);
  const values = objectOf(schema.additionalProperties);
  if (Object.keys(propertiesOf(values)).length > 0) return rows(`${path}.NAME`, values);
  return [row(path, schema)];
}

function row(path: string, schema: JsonSchema): string {
  const effect = typeof schema.description === "string" ? schema.description.replaceAll("|", "\\|") : "";
  return `| \`${path}\` | ${kindOf(schema)} | ${defaultOf(path, schema)} | ${rangeOf(schema)} | ${effect} |`;
}

const kinds = (schema: JsonSchema): readonly JsonSchema[] => (Array.isArray(schema.anyOf) ? schema.anyOf : []);
const textPattern = (schema: JsonSchema): string => String(kinds(schema).find((kind) => kind.pattern)?.pattern ?? "");

function kindOf(schema: JsonSchema): string {
  if (textPattern(schema).includes("GB")) return "size";
  if (textPattern(schema).includes("ms|s|m")) return "duration";
  if (Array.isArray(schema.enum)) return "word";
  if (schema.type === "array") return "list of texts";
  if (schema.type === "object") return "map of texts";
  if (schema.type === "integer") return "whole number";
  return schema.type === "string" ? "text" : String(schema.type);
}

function defaultOf(path: string, schema: JsonSchema): string {
  if (path === "robot.id") return "the host's name";
  if (path.startsWith("topics.classes.NAME")) return "see below";
  const value = lookUp(DEFAULTS, path.replaceAll("[]", ".0").split("."));
  if (value === undefined || path.startsWith("upload.receivers[]"))
    return path.includes("receivers") ? "*needed*" : "–";
  if (typeof value === "number" && kindOf(schema) === "size") return value === 0 ? "0" : formatBytes(value);
  if (typeof value === "number" && kindOf(schema) === "duration") return duration(value);
  if (value === "") return "empty";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

function duration(ms: number): string {
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
  ] as const;
  const [name, size] = units.find(([, unit]) => ms >= unit && ms % unit === 0) ?? ["ms", 1];
  return `${ms / size} ${name}`;
}

function rangeOf(schema: JsonSchema): string {
  if (Array.isArray(schema.enum)) return schema.enum.map((word) => `\`${word}\``).join(", ");
  const { minimum, maximum, minItems, maxItems } = { ...kinds(schema)[0], ...schema };
  if (minItems !== undefined || maxItems !== undefined) return `${minItems ?? 0} to ${maxItems ?? "any"} entries`;
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  return minimum === undefined ? "" : `from ${minimum}`;
}

/** What the built-in classes are without a word in the configuration. */
function classTable(): string {
  const classes = Object.entries(resolveClasses({}, {}));
  const heads = [
    "rank",
    "tier",
    "baseline_hz",
    "memory_ms",
    "memory_bytes_max",
    "disk_share_max",
    "queue_length",
  ] as const;
  const cell = (key: (typeof heads)[number], value: number | string, tier: string): string => {
    if (tier === "disk" && ["baseline_hz", "memory_ms", "memory_bytes_max"].includes(key)) return "–";
    if (key === "memory_bytes_max") return formatBytes(Number(value));
    return key === "memory_ms" ? duration(Number(value)) : String(value);
  };
  return [
    "## The built-in classes\n",
    `| class | ${heads.join(" | ")} |`,
    `|---|${heads.map(() => "---|").join("")}`,
    ...classes.map(
      ([name, one]) => `| \`${name}\` | ${heads.map((key) => cell(key, one[key], one.tier)).join(" | ")} |`,
    ),
    "\nEach may be changed key by key under `topics.classes`, and more may be added. `disk_ms_max` is the ring's",
    "`age_ms_max` unless given, `disk_bytes_max` has no bound but the ring's own. Classes of `rank` above 0 are *heavy*:",
    "they go into an episode's `heavy` files.\n",
  ].join("\n");
}

function example(): string {
  return `## An example\n\n\`\`\`yaml\n${readFileSync(EXAMPLE_FILE, "utf8").trimEnd()}\n\`\`\`\n`;
}

function lookUp(value: unknown, path: readonly string[]): unknown {
  const [name, ...rest] = path;
  return name === undefined ? value : lookUp(objectOf(value)[name], rest);
}

function propertiesOf(schema: JsonSchema): Readonly<Record<string, JsonSchema>> {
  return z.record(z.string(), z.record(z.string(), z.unknown())).catch({}).parse(schema.properties);
}

function objectOf(value: unknown): JsonSchema {
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
