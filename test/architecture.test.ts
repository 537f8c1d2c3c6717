/** Holds the directions of imports between the folders of `src/`: a stage never imports its neighbour's code. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const SRC = resolve(import.meta.dirname, "../src");

/** Shared by everybody; they import nothing above them. */
const COMMON = ["std", "model", "store", "telemetry", "native"];

/** What each folder may import beside itself and COMMON. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  std: [],
  model: [],
  store: ["std"],
  telemetry: ["std", "model"],
  native: ["std"],
  protocol: [],
  config: [],
  source: [],
  decode: [],
  ring: [],
  ledger: [],
  trigger: [],
  capture: ["ring"],
  batch: ["ring", "protocol"],
  export: ["ring", "protocol", "decode"],
  upload: ["protocol"],
  receiver: ["protocol"],
  replay: ["decode"],
  demo: ["replay", "decode"],
  control: [],
  cli: ["config", "control", "daemon", "decode", "demo", "replay", "receiver", "export", "protocol"],
  daemon: [
    ...["config", "source", "decode", "ring", "ledger", "trigger", "capture", "batch", "upload", "export"],
    ...["control", "protocol", "receiver", "replay", "demo"],
  ],
};

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name));
}

function importedFolders(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g)].map((match) => match[1] ?? "");
  const urls = [...text.matchAll(/new URL\(\s*["'](\.[^"']+\.ts)["']/g)].map((match) => match[1] ?? "");
  return [...specifiers, ...urls].map((specifier) => {
    const path = relative(SRC, resolve(dirname(file), specifier));
    return path.split("/")[0] ?? "";
  });
}

function strayImports(): string[] {
  return sourceFiles(SRC).flatMap((file) => {
    const folder = relative(SRC, file).split("/")[0] ?? "";
    const base = folder === "std" || folder === "model" ? [] : COMMON;
    const allowed = new Set([folder, ...(COMMON.includes(folder) ? [] : base), ...(ALLOWED[folder] ?? [])]);
    return importedFolders(file)
      .filter((target) => target !== ".." && !allowed.has(target))
      .map((target) => `${relative(SRC, file)} imports ${target}/`);
  });
}

test("every folder of src is known to this test", () => {
  const folders = readdirSync(SRC, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map((entry) => entry.name).filter((name) => ALLOWED[name] === undefined)).toEqual([]);
});

test("no folder imports what it must not know", () => {
  expect(strayImports()).toEqual([]);
});
