/**
 * `npm run bench -- [NAME…] [--seconds N] [--json FILE]`: runs benchmarks, prints a table, writes the same as JSON.
 *
 * Ours and the peers' figures come from one run on one machine; the ratio is what to compare between machines. A peer
 * that this run could not measure is quoted, and says so.
 */
import { writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { table } from "../../src/cli/screen.ts";
import { benchmarkAdapter } from "./adapter.ts";
import { benchmarkBacktest } from "./backtest.ts";
import { benchmarkCeilingCamera, benchmarkCeilingSensors } from "./ceiling.ts";
import { benchmarkExport } from "./export.ts";
import { benchmarkFiring } from "./firing.ts";
import { benchmarkMemory } from "./memory.ts";
import { benchmarkNominal, benchmarkNominalDefault } from "./nominal.ts";
import { benchmarkRingRead } from "./ring-read.ts";
import { benchmarkRules } from "./rules.ts";
import { benchmarkSlowDisk } from "./slow-disk.ts";
import { amplificationBenchmark } from "./write-amplification.ts";

export type Benchmark = {
  readonly name: string;
  /** What it does, and its trap. */
  readonly about: string;
  readonly value: number;
  readonly unit: string;
  readonly goal: string;
  readonly holds: boolean;
  readonly peers: Readonly<Record<string, number | QuotedPeer>>;
  /** Ours to the first peer's. */
  readonly ratio: number | undefined;
  readonly detail: Readonly<Record<string, unknown>>;
};

/** Measured elsewhere: `from` says when, and on what. */
export type QuotedPeer = { readonly value: number; readonly quoted: true; readonly from: string };

const ALL: Readonly<Record<string, (options: { seconds: number }) => Promise<Benchmark>>> = {
  nominal: benchmarkNominal,
  "nominal-default": benchmarkNominalDefault,
  "ceiling-camera": benchmarkCeilingCamera,
  "ceiling-sensors": benchmarkCeilingSensors,
  adapter: benchmarkAdapter,
  rules: benchmarkRules,
  firing: benchmarkFiring,
  "slow-disk": benchmarkSlowDisk,
  memory: benchmarkMemory,
  export: benchmarkExport,
  "write-amplification": amplificationBenchmark("everything"),
  "write-amplification-default": amplificationBenchmark("default"),
  "write-amplification-sensors": amplificationBenchmark("sensors"),
  "ring-read": benchmarkRingRead,
  backtest: benchmarkBacktest,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "string" }, seconds: { type: "string", default: "30" } },
});
const names = positionals.length > 0 ? positionals : Object.keys(ALL);
const unknown = names.filter((name) => ALL[name] === undefined);
if (unknown.length > 0) {
  console.error(`bench: no such benchmark: ${unknown.join(", ")}. Known: ${Object.keys(ALL).join(", ")}.`);
  process.exit(2);
}
const benchmarks: Benchmark[] = [];
for (const name of names) {
  const run = ALL[name];
  if (run !== undefined) benchmarks.push(await run({ seconds: Number(values.seconds) }));
}
const machine = {
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  memory_bytes: totalmem(),
  kernel: release(),
  node: process.version,
};
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine, benchmarks }, null, 2)}\n`);
const rows = benchmarks.map((entry) => [
  entry.name,
  `${entry.value} ${entry.unit}`,
  entry.goal,
  entry.holds ? "holds" : "MISSED",
  Object.entries(entry.peers).map(peerText).join(", "),
  entry.ratio === undefined ? "" : entry.ratio.toFixed(2),
]);
console.log(table(["benchmark", ">value", "goal", "", "peers", ">ratio"], rows));
for (const { name, about, detail } of benchmarks) console.log(`\n${name}: ${about}\n${JSON.stringify(detail)}`);
process.exitCode = benchmarks.every((entry) => entry.holds) ? 0 : 1;

function peerText([name, peer]: [string, number | QuotedPeer]): string {
  return typeof peer === "number" ? `${name} ${peer}` : `${name} ${peer.value} (quoted: ${peer.from})`;
}
