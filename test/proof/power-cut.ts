/**
 * The proof by power cut: the line runs at the nominal load on a file system of its own, which is shut down under it;
 * what it had said outside before that moment must be there after the next mount.
 */
import { join } from "node:path";
import { describeError } from "../../src/std/fault.ts";
import { seededRandom } from "../../src/std/random.ts";
import { checkAllHome, checkLine, lostSteps } from "./line-check.ts";
import { type FileSystem, LoopDisk } from "./loop-disk.ts";
import { type Run, runLine } from "./outside.ts";

/** 40 frames of it a second: 22 MB/s. */
const HEAVY_BYTES = 500_000;
/** So long after the first commit; the first firing comes 2 s after the start, its episode ends a second later. */
const CUT_MS_MIN = 500;
const CUT_MS_MAX = 4000;
/** Cuts on one file system, one after the other. */
const CHAIN = 4;

export type Control = "none" | "synchronous=NORMAL" | "eatmydata";

const ENVIRONMENTS: Readonly<Record<Control, Readonly<Record<string, string>>>> = {
  none: {},
  "synchronous=NORMAL": { LODE_SYNCHRONOUS: "NORMAL" },
  eatmydata: { LD_PRELOAD: "libeatmydata.so" },
};

export type CutResult = {
  readonly cuts: number;
  /** Of these, how many had an open episode. */
  readonly inEpisode: number;
  /** Cuts after which something promised was missing. */
  readonly failed: number;
  /** Between the last light message the robot had sent and the last one on the disk, at worst. */
  readonly lostMsMax: number;
  readonly problems: readonly string[];
};

export type CutOptions = {
  readonly fileSystem: FileSystem;
  readonly cuts: number;
  readonly seed: number;
  readonly control?: Control;
  /** Ends earlier, after the cut under way. */
  readonly seconds?: number;
};

export async function provePowerCut(options: CutOptions): Promise<CutResult> {
  const { fileSystem, cuts, seed, control = "none", seconds = Number.POSITIVE_INFINITY } = options;
  const endMs = performance.now() + seconds * 1000;
  const isOver = () => total.cuts >= cuts || performance.now() > endMs;
  const random = seededRandom(seed);
  const total = { cuts: 0, inEpisode: 0, failed: 0, lostMsMax: 0 };
  const problems: string[] = [];
  while (!isOver()) {
    using disk = new LoopDisk(fileSystem);
    const folder = join(disk.path, "robot");
    const runs: Run[] = [];
    let found: string[] = [];
    while (found.length === 0 && runs.length < CHAIN && !isOver()) {
      const killAfterMs = CUT_MS_MIN + random() * (CUT_MS_MAX - CUT_MS_MIN);
      const env = ENVIRONMENTS[control];
      const cut = () => disk.cutPower();
      const line = { folder, run: runs.length, pace: "real", heavyBytes: HEAVY_BYTES } as const;
      const told = await runLine({ ...line, killAfterMs, env, cut });
      disk.unmount();
      disk.mount();
      runs.push(told);
      total.cuts += 1;
      found = checkAfterCut(folder, runs);
      if (told.fired.some(({ step }) => told.sent <= step + 100)) total.inEpisode += 1;
      if (found.length === 0) total.lostMsMax = Math.max(total.lostMsMax, lostSteps(folder, told) * 10);
    }
    total.failed += found.length > 0 ? 1 : 0;
    if (found.length === 0 && control === "none") {
      runs.push(await runLine({ folder, run: runs.length, pace: "home", heavyBytes: HEAVY_BYTES }));
      found = [...checkLine(folder, runs, HEAVY_BYTES), ...(await checkAllHome(folder, runs, HEAVY_BYTES))];
    }
    problems.push(...found.slice(0, 3).map((text) => `${fileSystem}, cut ${total.cuts}: ${text}`));
  }
  return { ...total, problems };
}

function checkAfterCut(folder: string, runs: readonly Run[]): string[] {
  try {
    return checkLine(folder, runs, HEAVY_BYTES);
  } catch (error) {
    return [`cannot be opened: ${describeError(error)}`];
  }
}
