/**
 * `ring-read`: 30 s of four topics out of a ring with the rows of 64 GB, and opening such a ring after a kill, both
 * with a cold page cache. And how long it takes to rebuild a lost `ring.db` from the segments' headers: all of it at once, for
 * the rig's clock stands still, where a daemon opens after a second of it and goes on in steps.
 *
 * Traps: a warm cache answers in a millisecond, so it is emptied before each reading (drop_caches; that wants root);
 * and the second reading of a window is warm whatever was done, so each reading has a window of its own.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child, ROOT, waitFor } from "../support/child.ts";
import type { Benchmark } from "./bench.ts";
import { type BigRing, buildBigRing } from "./big-ring.ts";

const FIRST_MS_MAX = 50;
const OPEN_MS_MAX = 2000;
/** A log so long is left only behind a reader that holds a snapshot for minutes. */
const LOG_BYTES = 64 * 1024 * 1024;
const SCRIPT = join(ROOT, "test/bench/ring-read-child.ts");
const TOPICS = ["/camera_0/image/compressed", "/imu/data", "/joint_states", "/tf"];

type Opened = { opened_ms: number; done_ms: number; longest_step_ms: number; chunks: number };
type Read = { first_ms: number; all_ms: number; messages: number };

export async function benchmarkRingRead(): Promise<Benchmark> {
  const folder = mkdtempSync(join(tmpdir(), "lode-big-ring-"));
  try {
    const builtMs = performance.now();
    const ring = await buildBigRing(folder);
    const buildS = (performance.now() - builtMs) / 1000;
    return await measureBigRing(folder, ring, buildS);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function measureBigRing(folder: string, ring: BigRing, buildS: number): Promise<Benchmark> {
  const reads: Read[] = [];
  for (const block of ring.blocks) reads.push(await measure<Read>(folder, ["read", String(block), ...TOPICS]));
  const logBytes = await leaveLog(folder);
  const opened = await measure<Opened>(folder, ["open"]);
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(folder, `ring.db${suffix}`), { force: true });
  const rebuilt = await measure<Opened>(folder, ["open"]);
  return result(ring, { buildS, logBytes, reads, opened, rebuilt });
}

function result(
  ring: BigRing,
  measured: {
    readonly buildS: number;
    readonly logBytes: number;
    readonly reads: readonly Read[];
    readonly opened: Opened;
    readonly rebuilt: Opened;
  },
): Benchmark {
  const { reads, opened, rebuilt } = measured;
  const firsts = reads.map(({ first_ms }) => first_ms).sort((a, b) => a - b);
  const worst = firsts.at(-1) ?? Number.NaN;
  return {
    name: "ring-read",
    about:
      `30 s of ${TOPICS.length} topics out of a ring with the ${ring.rows} rows of 64 GB (${ring.hours.toFixed(1)} h of the ` +
      `nominal robot as Lode comes, ${ring.rowsPerS.toFixed(1)} rows/s), ms to the first message, cold cache; and opening ` +
      `it after kill -9 with a log of ${mb(measured.logBytes)} MB. Trap: a warm cache.`,
    value: round(firsts[Math.floor(firsts.length / 2)] ?? Number.NaN),
    unit: "ms",
    goal: `every first message ≤ ${FIRST_MS_MAX} ms, opening ≤ ${OPEN_MS_MAX} ms`,
    holds: reads.every(({ messages }) => messages > 0) && worst <= FIRST_MS_MAX && opened.opened_ms <= OPEN_MS_MAX,
    peers: {},
    ratio: undefined,
    detail: {
      ...{ rows: ring.rows, ring_bytes: ring.bytes, segment_files: ring.segments, build_s: round(measured.buildS) },
      ...{ first_ms: firsts.map(round), all_ms: reads.map(({ all_ms }) => round(all_ms)) },
      messages: reads.map(({ messages }) => messages),
      ...{ log_mb: mb(measured.logBytes), opened_ms: round(opened.opened_ms), chunks: opened.chunks },
      ...{ longest_step_ms: round(opened.longest_step_ms) },
      ...{ rebuilt_s: round(rebuilt.done_ms / 1000) },
      rebuilt_chunks: rebuilt.chunks,
    },
  };
}

/** Runs the child up to where it waits, empties the page cache, and lets it go on. */
async function measure<T>(folder: string, args: readonly string[]): Promise<T> {
  const [mode = "", ...rest] = args;
  const child = spawn(process.execPath, [SCRIPT, folder, mode, ...rest], { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (part: Buffer) => {
    if (output === "") {
      execFileSync("sync");
      writeFileSync("/proc/sys/vm/drop_caches", "3\n");
      child.stdin.end("g");
    }
    output += part.toString();
  });
  await new Promise((resolve) => child.once("close", resolve));
  return JSON.parse(output.trim().split("\n").at(-1) ?? "");
}

async function leaveLog(folder: string): Promise<number> {
  const child = new Child([SCRIPT, folder, "fill"]);
  const log = join(folder, "ring.db-wal");
  const isLong = () => statSync(log, { throwIfNoEntry: false })?.size ?? 0;
  await waitFor(
    () => isLong() > LOG_BYTES,
    "a long log",
    180_000,
    () => child.stderr,
  );
  await child.killHard();
  return isLong();
}

const round = (value: number) => Math.round(value * 10) / 10;
const mb = (bytes: number) => Math.round(bytes / 1e6);
