/** The proof by hostile bytes: no crash, no unbounded memory, no hang, whatever a bridge or a damaged disk hands over. */
import { execFile } from "node:child_process";
import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EPISODE, recordedRig, write } from "../batch/episode-rig.ts";

/** Node, the samples and what waits for the collector take 400 MB. */
const RESIDENT_BYTES_MAX = 600e6;
/** On a loaded machine; a pause of the collector is in it. */
const CASE_MS_MAX = 2000;

const MEMORY_KIB_MAX = 1_500_000;
const OUTPUT = { maxBuffer: 64 * 1024 * 1024 };

export type FuzzResult = {
  readonly done: number;
  readonly cases: Readonly<Record<string, number>>;
  readonly slowest: { readonly ms: number; readonly target: string; readonly index: number };
  readonly residentMax: number;
  readonly problems: readonly string[];
};

/** Ends after so many cases or seconds, whichever comes first. */
export async function proveFuzz(options: {
  readonly cases: number;
  readonly seconds: number;
  readonly seed: number;
}): Promise<FuzzResult> {
  const folder = mkdtempSync(join(tmpdir(), "lode-fuzz-"));
  try {
    await makeFiles(folder);
    const { cases, seconds, seed } = options;
    const script = join(import.meta.dirname, "fuzz-child.ts");
    const end = await boundedNode([script, ...[seed, 0, cases, seconds].map(String), folder]);
    if (end.code !== 0) {
      const at = /at \d+\n$/.exec(end.stdout)?.[0].trim() ?? "at the start";
      const problem = `the process ended with ${end.code} after ${at}: ${end.stderr.slice(-2000)}`;
      return { done: 0, cases: {}, slowest: { ms: 0, target: "", index: 0 }, residentMax: 0, problems: [problem] };
    }
    const result: FuzzResult = JSON.parse(end.stdout.trim().split("\n").at(-1) ?? "");
    const problems = [...result.problems];
    const { ms, target, index } = result.slowest;
    if (ms > CASE_MS_MAX) problems.push(`${target}, case ${index}: took ${ms} ms`);
    if (result.residentMax > RESIDENT_BYTES_MAX) problems.push(`${result.residentMax} bytes resident`);
    return { ...result, problems };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Ended = { readonly code: number | string; readonly stdout: string; readonly stderr: string };

/** A Node that may have `MEMORY_KIB_MAX` of memory and no more: asking for a length that lies ends it, as on a robot. */
export function boundedNode(args: readonly string[]): Promise<Ended> {
  const command = `ulimit -d ${MEMORY_KIB_MAX}; exec "$0" "$@"`;
  return new Promise((resolve) =>
    execFile("/bin/sh", ["-c", command, process.execPath, ...args], OUTPUT, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.signal ?? error.code ?? 1), stdout, stderr }),
    ),
  );
}

/** The files of an episode, as Lode writes them. */
async function makeFiles(folder: string): Promise<void> {
  using rig = recordedRig(2000);
  const { batches } = await write(rig, {}, EPISODE);
  for (const { kind, path } of batches)
    if (kind !== "heavy") renameSync(path, join(folder, kind === "meta" ? "meta.json" : "light.mcap"));
}
