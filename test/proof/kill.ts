/** The proof by `kill -9`: at random moments and at every named failpoint, again and again on the same folder. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "../../src/std/random.ts";
import { checkAllHome, checkLine } from "./line-check.ts";
import { type Run, runLine } from "./outside.ts";

const SOURCES = join(import.meta.dirname, "../../src");

/** Every name in the sources. */
export function failpointNames(): string[] {
  const files = readdirSync(SOURCES, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const names = files.flatMap((name) =>
    [...readFileSync(join(SOURCES, name), "utf8").matchAll(/\bfailpoint\("([^"]+)"\)/g)].map((match) => match[1] ?? ""),
  );
  return [...new Set(names)].sort();
}

export type KillResult = {
  readonly runs: number;
  /** Ended at a failpoint, at a random moment, or by itself because the point was not reached. */
  readonly ends: Record<Run["end"], number>;
  readonly hit: ReadonlySet<string>;
  readonly problems: readonly string[];
};

/** A run of a chain: an armed failpoint, or how long after the first commit it is killed. */
export type Plan = ({ readonly failpoint: string } | { readonly killAfterMs: number }) & {
  /** What happens to `ring.db` before the run: it is lost, overwritten at its head, or set aside already. */
  readonly ring?: "gone" | "damaged" | "aside";
};

/** Runs the plans one after the other on one folder, checks after each, and at the end brings everything home. */
export async function runChain(plans: readonly Plan[]): Promise<KillResult> {
  const folder = mkdtempSync(join(tmpdir(), "lode-kill-"));
  const runs: Run[] = [];
  const hit = new Set<string>();
  const problems: string[] = [];
  const note = (plan: string, found: readonly string[]) =>
    problems.push(...found.slice(0, 5).map((text) => `${plan}: ${text}`));
  try {
    for (const [run, plan] of plans.entries()) {
      if (plan.ring !== undefined) loseRing(folder, plan.ring, runs);
      const told = await runLine({ folder, run, pace: "fast", ...plan });
      runs.push(told);
      if ("failpoint" in plan && told.end === "failpoint") hit.add(plan.failpoint.split(":")[0] ?? "");
      note(JSON.stringify(plans.slice(0, run + 1)), checkLine(folder, runs));
      if (problems.length > 0) break;
    }
    if (problems.length === 0) {
      runs.push(await runLine({ folder, run: plans.length, pace: "home" }));
      note(`after ${JSON.stringify(plans)}`, [...checkLine(folder, runs), ...(await checkAllHome(folder, runs))]);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const ends = { killed: 0, failpoint: 0, itself: 0 };
  for (const { end } of runs) ends[end] += 1;
  return { runs: runs.length, ends, hit, problems };
}

function loseRing(folder: string, how: NonNullable<Plan["ring"]>, runs: readonly Run[]): void {
  const path = join(folder, "data/ring.db");
  // What was set aside can be read, so that everything comes back; but a second time, before that, it is overwritten.
  for (const told of runs) told.isRingLost ||= how !== "aside" || existsSync(`${path}.damaged`);
  if (how === "aside")
    for (const suffix of ["-wal", "-shm", ""])
      if (existsSync(path + suffix)) renameSync(path + suffix, `${path}.damaged${suffix}`);
  if (how === "gone") rmSync(path, { force: true });
  for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
  if (how === "damaged" && existsSync(path)) writeFileSync(path, Buffer.alloc(100, 7), { flag: "r+" });
}

const CHAIN = 12;
/** A failpoint is reached for the first time, or for one of the next. */
const REACHED_MAX = 12;
const KILL_MS_MAX = 600;
/** Three databases are made, one after the other. */
const FIRST_CHAIN: readonly Plan[] = Array.from({ length: 3 }, () => [
  { failpoint: "database.migrating" },
  { failpoint: "database.migrated" },
]).flat();

/** Every failpoint by name, in turn, with random kills between them, until at least so many runs are made. */
export async function proveKill(options: {
  readonly runs: number;
  readonly seed: number;
  /** Ends earlier, after the chain under way. */
  readonly seconds?: number;
}): Promise<KillResult> {
  const endMs = performance.now() + (options.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  const random = seededRandom(options.seed);
  const names = failpointNames().filter((name) => !name.startsWith("database."));
  let turn = 0;
  const chain = (): Plan[] =>
    Array.from({ length: CHAIN }, (_, index): Plan => {
      if (index % 4 === 0) return { killAfterMs: random() * KILL_MS_MAX };
      const name = names[turn++ % names.length] ?? "";
      const failpoint = turn <= names.length ? name : `${name}:${1 + Math.floor(random() * REACHED_MAX)}`;
      return name.startsWith("ring_file.")
        ? { failpoint, ring: "damaged" }
        : name.startsWith("rebuild.")
          ? { failpoint, ring: turn > names.length && random() < 0.3 ? "gone" : "aside" }
          : { failpoint };
    });
  const chains: (readonly Plan[])[] = [FIRST_CHAIN];
  while (chains.flat().length + chains.length < options.runs) chains.push(chain());
  const results: KillResult[] = [];
  const lane = async () => {
    for (let plans = chains.shift(); plans !== undefined && performance.now() < endMs; plans = chains.shift())
      results.push(await runChain(plans));
  };
  await Promise.all([lane(), lane()]);
  // What settles a crash is not reached behind an end that left nothing to settle.
  const hit = results.reduce(joined).hit;
  for (const failpoint of names.slice(0, turn).filter((name) => !hit.has(name)))
    chains.push([
      { killAfterMs: 100 },
      failpoint.startsWith("rebuild.") ? { failpoint, ring: "aside" } : { failpoint },
    ]);
  await Promise.all([lane(), lane()]);
  return results.reduce(joined);
}

function joined(a: KillResult, b: KillResult): KillResult {
  const ends = { ...a.ends };
  for (const end of ["killed", "failpoint", "itself"] as const) ends[end] += b.ends[end];
  const hit = new Set([...a.hit, ...b.hit]);
  return { runs: a.runs + b.runs, ends, hit, problems: [...a.problems, ...b.problems] };
}
