/**
 * The configuration: one YAML file, drop-ins over it in the order of their names, every default filled in.
 *
 * Each file is checked on its own, so that a finding names the file and line a person must open.
 * Lists and scalars of a later file replace those of an earlier one; maps are merged key by key.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { parse } from "yaml";
import { Fault } from "../std/fault.ts";
import { type Finding, faultOf, nearestHint, parseYaml } from "../std/yaml-file.ts";
import { type Config, configSchema, resolveClasses } from "./schema.ts";

const DEFAULT_CONFIG_PATH = "/etc/lode/lode.yaml";

export type LoadedConfig = {
  readonly config: Config;
  /** What was read, in order; empty: all defaults. */
  readonly files: readonly string[];
  /** `lode.yaml:12:3` of the value that counts, for findings that only a stage can make. */
  placeOf(path: readonly PropertyKey[]): string;
};

/** Throws `Fault("bad_config")` with all findings. A missing default file is fine, a missing named one is not. */
export function loadConfig(path: string | undefined): LoadedConfig {
  const main = path ?? DEFAULT_CONFIG_PATH;
  if (path !== undefined && !existsSync(path))
    throw new Fault(
      "bad_config",
      `There is no configuration file at ${path}.`,
      "Give --config an existing file; an empty file is valid.",
    );
  const files = [...(existsSync(main) ? [main] : []), ...dropIns(main)];
  const findings: Finding[] = [];
  const locators: Locator[] = [];
  let merged: Record<string, unknown> = {};
  for (const file of files) {
    const text = readFileSync(file, "utf8");
    const result = parseYaml(file, text, configSchema);
    if (result.kind === "bad") findings.push(...result.findings);
    else {
      const given = asMap(parse(text));
      merged = merge(merged, given);
      locators.unshift({ has: (path) => valueAt(given, path) !== undefined, locate: result.locate });
    }
  }
  const placeOf = (path: readonly PropertyKey[]) => locators.find(({ has }) => has(path))?.locate(path) ?? main;
  if (findings.length > 0) throw faultOf(findings, "bad_config");
  const config = finishConfig(merged, main);
  const strangers = unknownClasses(config, placeOf);
  if (strangers.length > 0) throw faultOf(strangers, "bad_config");
  return { config, files, placeOf };
}

function unknownClasses({ topics }: Config, placeOf: LoadedConfig["placeOf"]): Finding[] {
  const known = Object.keys(topics.classes);
  return topics.assign.flatMap(({ class: name }, index) => {
    if (name === undefined || known.includes(name)) return [];
    const problem = `topics.assign names the class "${name}", which does not exist.`;
    return [{ place: placeOf(["topics", "assign", index, "class"]), problem, hint: nearestHint(name, known) }];
  });
}

/** Of one file; the last file comes first, because it counts. */
type Locator = {
  has(path: readonly PropertyKey[]): boolean;
  locate(path: readonly PropertyKey[]): string;
};

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === "object" && inner !== null ? Object.getOwnPropertyDescriptor(inner, key)?.value : undefined,
    value,
  );
}

/** `/etc/lode/lode.yaml` → `/etc/lode/lode.d/*.yaml`, sorted by name. */
function dropIns(main: string): string[] {
  const folder = main.replace(/\.ya?ml$/, ".d");
  if (folder === main || !existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  return names.sort().map((name) => join(folder, name));
}

/** Fills in defaults and makes paths absolute, seen from the file `main`. `merged` has passed the schema, or throws. */
export function finishConfig(merged: Record<string, unknown>, main: string): Config {
  const parsed = configSchema.parse(merged);
  const givenClasses = asMap(asMap(merged.topics).classes);
  const resolved = resolveClasses(parsed.topics.classes, givenClasses as Record<string, object>);
  const classes = Object.fromEntries(
    Object.entries(resolved).map(([name, entry]) => [
      name,
      { ...entry, disk_ms_max: entry.disk_ms_max || parsed.ring.age_ms_max },
    ]),
  );
  const fromMain = (path: string) => (isAbsolute(path) ? path : resolve(dirname(main), path));
  const config: Config = {
    ...parsed,
    topics: { ...parsed.topics, classes, msg_folders: parsed.topics.msg_folders.map(fromMain) },
    ring: { ...parsed.ring, folder: fromMain(parsed.ring.folder) },
    rules: { ...parsed.rules, files: [...parsed.rules.files.map(fromMain), ...ruleDropIns(main)] },
    upload: {
      ...parsed.upload,
      receivers: parsed.upload.receivers.map((entry) => ({ ...entry, token_file: fromMain(entry.token_file) })),
    },
    receiver: { ...parsed.receiver, folder: fromMain(parsed.receiver.folder) },
    telemetry: { ...parsed.telemetry, socket: fromMain(parsed.telemetry.socket) },
  };
  return config;
}

function ruleDropIns(main: string): string[] {
  const folder = join(dirname(main), "rules.d");
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

function merge(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const result = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const isBothMaps = isMap(result[key]) && isMap(value);
    result[key] = isBothMaps ? merge(asMap(result[key]), asMap(value)) : value;
  }
  return result;
}

function isMap(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asMap(value: unknown): Record<string, unknown> {
  return isMap(value) ? (value as Record<string, unknown>) : {};
}
