/**
 * The long forms of the proofs of the durability contract: `npm run proof -- NAME [--runs N] [--seconds N] [--seed N]`. Exit 1: a
 * promise was broken; what is printed names it, with what repeats it.
 */
import { parseArgs } from "node:util";
import { describeError } from "../../src/std/fault.ts";
import { seededRandom } from "../../src/std/random.ts";
import { proveModel } from "../ring/ring-model.ts";
import { DAEMON_POINTS, proveDaemonCut, proveDaemonKill } from "./daemon-proofs.ts";
import { FULL_PHASES, proveFullDisk } from "./full-disk.ts";
import { proveFuzz } from "./fuzz.ts";
import { failpointNames, proveKill } from "./kill.ts";
import type { FileSystem } from "./loop-disk.ts";
import { type Control, type CutResult, provePowerCut } from "./power-cut.ts";

type Options = { readonly runs: number; readonly seed: number; readonly seconds: number };
type Proof = (options: Options) => Promise<readonly string[]>;

/** Each prints what it found and returns its problems. */
const PROOFS: Readonly<Record<string, { readonly runs: number; readonly prove: Proof }>> = {
  kill: {
    runs: 1000,
    prove: async (options) => {
      const { runs, ends, hit, problems } = await proveKill(options);
      const missed = failpointNames().filter((name) => !hit.has(name));
      console.log(`${runs} runs: ${ends.failpoint} ended at one of ${hit.size} failpoints, ${ends.killed} at random`);
      return [...problems, ...missed.map((name) => `failpoint ${name} was never reached`)];
    },
  },
  fuzz: {
    runs: 10_000_000,
    prove: async ({ runs, seed, seconds }) => {
      const startedMs = performance.now();
      const { done, cases, slowest, residentMax, problems } = await proveFuzz({ cases: runs, seconds, seed });
      const rate = Math.round((done / (performance.now() - startedMs)) * 1000);
      console.log(`${done} cases, ${rate} a second: ${JSON.stringify(cases)}`);
      console.log(
        `at most ${Math.round(residentMax / 1e6)} MB; slowest ${slowest.ms.toFixed(0)} ms (${slowest.target})`,
      );
      return problems;
    },
  },
  "full-disk": {
    runs: FULL_PHASES.length,
    prove: async ({ runs }) => {
      const problems: string[] = [];
      for (let run = 0; run < runs; run += 1) {
        const phase = FULL_PHASES[run % FULL_PHASES.length] ?? "recording";
        const found = await proveFullDisk(phase);
        console.log(`full during ${phase}: ${found.length} problems`);
        problems.push(...found);
      }
      return problems;
    },
  },
  model: {
    runs: 5000,
    prove: async (options) => {
      try {
        await proveModel(options);
        console.log(`${options.runs} random histories of a ring`);
        return [];
      } catch (error) {
        return [describeError(error)];
      }
    },
  },
  "daemon-kill": {
    runs: DAEMON_POINTS.length,
    prove: async ({ runs }) => {
      const problems: string[] = [];
      for (let run = 0; run < runs; run += 1)
        problems.push(...(await proveDaemonKill(DAEMON_POINTS[run % DAEMON_POINTS.length] ?? "")));
      console.log(`${runs} daemons ended at a failpoint and started again`);
      return problems;
    },
  },
  "daemon-cut": { runs: 20, prove: (options) => daemonCuts(options) },
  "power-cut": { runs: 200, prove: (options) => powerCuts(options) },
};

/** Half of the cuts on each file system, side by side; then the controls, which must fail. */
async function powerCuts({ runs, seed, seconds }: Options): Promise<readonly string[]> {
  const systems = ["ext4", "xfs"] as const;
  const prove = async (fileSystem: FileSystem, cuts: number, control: Control): Promise<CutResult> => {
    const result = await provePowerCut({ fileSystem, cuts, seed, control, seconds });
    const { inEpisode, failed, lostMsMax } = result;
    const kind = control === "none" ? "" : `, control ${control}`;
    console.log(`${fileSystem}${kind}: ${failed} of ${result.cuts} failed; ${inEpisode} in an open episode`);
    if (control === "none") console.log(`${fileSystem}: at worst the last ${lostMsMax} ms of the joints were missing`);
    return result;
  };
  const results = await all(systems.map((system) => prove(system, Math.ceil(runs / 2), "none")));
  const problems = results.flatMap((result) => result.problems);
  const controls = Math.max(1, Math.ceil(runs / 20));
  for (const control of ["synchronous=NORMAL", "eatmydata"] as const)
    for (const { failed } of await all(systems.map((system) => prove(system, controls, control))))
      if (failed === 0) problems.push(`no cut failed with the control ${control}`);
  return problems;
}

/** What failed is told when the others have ended too, and unmounted their disks. */
async function all<T>(running: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(running);
  return Promise.all(running);
}

/** By turns on both file systems, within and without an open episode. */
async function daemonCuts({ runs, seed, seconds }: Options): Promise<readonly string[]> {
  const endMs = performance.now() + seconds * 1000;
  const random = seededRandom(seed);
  const problems: string[] = [];
  const [joints, frames]: [number[], number[]] = [[], []];
  for (let run = 0; run < runs && performance.now() < endMs; run += 1) {
    const cut = await proveDaemonCut(run % 2 === 0 ? "ext4" : "xfs", random() * 2000, run % 4 >= 2);
    problems.push(...cut.problems);
    joints.push(cut.jointsLostMs);
    if (cut.framesLostMs !== undefined) frames.push(cut.framesLostMs);
  }
  console.log(`${joints.length} cuts under the daemon: at worst ${Math.max(...joints)} ms of joints were missing`);
  console.log(`${frames.length} in an open episode: at worst ${Math.max(0, ...frames)} ms of frames`);
  if (Math.max(...joints) > LIGHT_LOST_MS_MAX) problems.push("more than a second of a light topic was lost");
  return problems;
}

const LIGHT_LOST_MS_MAX = 1000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string" },
    seconds: { type: "string", default: "86400" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const [name = ""] = positionals;
const proof = PROOFS[name];
if (proof === undefined) {
  console.error(`Which proof? One of ${Object.keys(PROOFS).join(", ")}.`);
  process.exit(2);
}
console.log(`${name}, seed ${values.seed}`);
const startedMs = performance.now();
const problems = await proof.prove({
  runs: Number(values.runs ?? proof.runs),
  seed: Number(values.seed),
  seconds: Number(values.seconds),
});
console.log(`${problems.length} problems, ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
for (const problem of problems.slice(0, 50)) console.log(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
