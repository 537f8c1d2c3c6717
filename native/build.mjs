/**
 * Builds the native addon with the node-gyp that npm carries: `node native/build.mjs [--if-possible]`.
 *
 * Plain JavaScript for any Node that npm runs on. With `--if-possible` a failure is one clear line and exit 0: the
 * daemon does its whole job without the addon and says what it lost.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const BUILD_MS_MAX = 180_000;
const folder = dirname(fileURLToPath(import.meta.url));
const isOptional = process.argv.includes("--if-possible");

/** npm tells its scripts where its node-gyp is; outside of npm it lies beside this Node's npm. */
function findNodeGyp() {
  const beside = (npm) => join(npm, "node_modules/node-gyp/bin/node-gyp.js");
  const npmCli = process.env.npm_execpath;
  const candidates = [
    process.env.npm_config_node_gyp,
    npmCli === undefined ? undefined : beside(join(dirname(npmCli), "..")),
    beside(join(dirname(process.execPath), "../lib/node_modules/npm")),
    beside("/usr/lib/node_modules/npm"),
    beside("/usr/local/lib/node_modules/npm"),
    beside("/usr/share/nodejs/npm"),
  ];
  return candidates.find((path) => path !== undefined && existsSync(path));
}

/** Headers that lie on the machine serve any Node of this ABI-stable interface and need no download. */
function findHeaders() {
  const candidates = [process.env.npm_config_nodedir, join(dirname(process.execPath), ".."), "/usr", "/usr/local"];
  return candidates.find((path) => path && existsSync(join(path, "include/node/node_api.h")));
}

/** Returns why it could not be built. */
function build() {
  const nodeGyp = findNodeGyp();
  if (nodeGyp === undefined) return "node-gyp was not found beside npm";
  const headers = findHeaders();
  const flags = ["rebuild", "--silent", ...(headers === undefined ? [] : [`--nodedir=${headers}`])];
  const options = { cwd: folder, encoding: "utf8", timeout: BUILD_MS_MAX };
  const result = spawnSync(process.execPath, [nodeGyp, ...flags], options);
  if (result.status === 0) return undefined;
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}`.trim().split("\n");
  const telling = output.find((line) => /error|not found|No such|Error/.test(line)) ?? output.at(-1);
  return telling || result.error?.message || `node-gyp ended with ${result.status ?? result.signal}`;
}

const problem = build();
if (problem === undefined) console.log("native: built.");
else {
  console.log(`native: not built (${problem}); Lode runs without it: segment files are zero-filled once.`);
  process.exitCode = isOptional ? 0 : 1;
}
