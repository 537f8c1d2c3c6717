/** README and docs say only what is so: their files exist, their commands are known, their rules parse. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { detectorKinds } from "../src/trigger/detectors/index.ts";
import { parseRules } from "../src/trigger/rule.ts";

const ROOT = join(import.meta.dirname, "..");
const PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].concat(
  readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
);
const textOf = (page: string): string => readFileSync(join(ROOT, page), "utf8");
const scripts = z
  .object({ scripts: z.record(z.string(), z.string()) })
  .parse(JSON.parse(textOf("package.json"))).scripts;

/** Fenced blocks of a language; "" for those without one. */
function blocks(page: string, language: string): string[] {
  return [...textOf(page).matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === language)
    .map((match) => match[2] ?? "");
}

/** What stands in back quotes or in blocks: where commands and files are named. */
function code(page: string): string[] {
  const spans = [
    ...textOf(page)
      .replace(/^```[\s\S]*?^```$/gm, "")
      .matchAll(/`([^`\n]+)`/g),
  ].map((match) => match[1] ?? "");
  const lines = ["", "sh", "bash"].flatMap((language) => blocks(page, language)).flatMap((block) => block.split("\n"));
  return [...spans, ...lines];
}

describe.each(PAGES)("%s", (page) => {
  test("every file it links to is there", () => {
    const links = [...textOf(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map((match) => match[1] ?? "");
    const missing = links.filter((link) => !/^[a-z]+:/.test(link) && !existsSync(join(ROOT, dirname(page), link)));
    expect(missing).toEqual([]);
  });

  test("every file of the project that it names is there", () => {
    const named = code(page).flatMap(
      (text) => text.match(/(?<![\w./-])(?:src|test|config|docs|systemd|native)\/[\w./-]+\.\w+/g) ?? [],
    );
    const inSource = code(page).flatMap(
      (text) =>
        text.match(/^(?:batch|capture|control|decode|ledger|ring|receiver|source|trigger|upload)\/[\w/-]+\.ts$/) ?? [],
    );
    const missing = [...named, ...inSource.map((path) => `src/${path}`)].filter(
      (path) => !existsSync(join(ROOT, path)),
    );
    expect(missing).toEqual([]);
  });

  test("every npm script it names exists", () => {
    const named = code(page).flatMap((text) => [...text.matchAll(/\bnpm (?:run (?:--silent |-s )?([\w:-]+)|(test))/g)]);
    const missing = named.map((match) => match[1] ?? match[2] ?? "").filter((name) => scripts[name] === undefined);
    expect(missing).toEqual([]);
  });

  test("every lode command it names takes the options it is given", () => {
    const named = code(page).flatMap((text) => [
      ...text.matchAll(/(?:^|[\s(])(?:npm run (?:--silent )?lode --|lode) ([a-z][^|#>`…)]*)/g),
    ]);
    const problems = named.flatMap((match) => commandProblem(match[1] ?? ""));
    expect(problems).toEqual([]);
  });
});

const helpByCommand = new Map<string, string>();

function help(words: readonly string[]): string {
  const key = words.join(" ");
  const known = helpByCommand.get(key);
  if (known !== undefined) return known;
  const text = execFileSync(process.execPath, ["src/cli/start.mjs", ...words, "--help"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  helpByCommand.set(key, text);
  return text;
}

/** Follows a command line through the help's own lists of commands and options. */
function commandProblem(line: string): string[] {
  const [first = "", ...rest] = line.trim().split(/\s+/);
  let words = [first.replace(/[^a-z]+$/, "")];
  if (!isListed([], words[0] ?? "")) return [`lode ${line}: no such command`];
  for (const word of rest) {
    if (/^[a-z]+$/.test(word) && isListed(words, word)) words = [...words, word];
    else break;
  }
  const options = line.match(/(?<=\s)--?[a-z][\w-]*/g) ?? [];
  const text = help(words);
  return options.filter((option) => !text.includes(option)).map((option) => `lode ${line}: no option ${option}`);
}

function isListed(parents: readonly string[], word: string): boolean {
  return new RegExp(`^ {2}${word}(\\s|\\|)`, "m").test(help(parents).split("Commands:")[1] ?? "");
}

test("every rule in the docs is a rule", () => {
  const examples = blocks("docs/rules.md", "yaml");
  expect(examples.length).toBeGreaterThanOrEqual(5);
  for (const [index, example] of examples.entries())
    expect(parseRules(`docs/rules.md, example ${index + 1}`, example).length).toBeGreaterThan(0);
});

/** As the page writes it. */
function defaultOf(schema: z.core.$ZodType): string {
  const parsed = z.safeParse(schema, undefined);
  if (!parsed.success) return "*needed*";
  const value = parsed.data;
  if (value === undefined) return "none";
  if (Array.isArray(value)) return `[${value.join(", ")}]`;
  return value === "" || JSON.stringify(value) === "{}" ? "empty" : String(value);
}

describe.each([...detectorKinds.values()])("detector $name", (kind) => {
  test("the page about rules has its parameters with their defaults, and no others", () => {
    const section = textOf("docs/rules.md")
      .split(/^### /m)
      .find((part) => (part.split("\n")[0] ?? "").split(", ").includes(kind.name));
    const rows = [...(section ?? "").matchAll(/^\| `(\w+)` \| [^|]* \| ([^|]*) \|/gm)];
    const documented = Object.fromEntries(rows.map((row) => [row[1] ?? "", row[2] ?? ""]));
    const wanted = Object.entries(kind.parameters.shape).map(([name, schema]) => [name, defaultOf(schema)]);
    expect(documented).toEqual(Object.fromEntries(wanted));
  });
});
