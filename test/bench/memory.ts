/**
 * `memory`: what chunk builder, ring and trigger hold over a robot's day, fed as fast as it goes, in a process of its
 * own: resident memory beside the memory tier, its slope after the first quarter, descriptors and timers.
 *
 * Trap: resident memory before a collection is mostly garbage, and the first minutes are the compiler's; and a slope
 * without its error says nothing. So: after a collection, from the second quarter on, with two standard errors.
 * The short form is an hour of traffic; `--seconds 86400` is the day.
 */
import { join } from "node:path";
import { Child, ROOT } from "../support/child.ts";
import type { Benchmark } from "./bench.ts";
import { serviceEnvironment } from "./lode-under-test.ts";
import type { Sample } from "./memory-day.ts";

const SHORT_SECONDS = 30; // what `npm run bench` gives
const SHORT_TRAFFIC_S = 3600;
const BESIDE_TIER_MB_MAX = 200;
/** Over the whole run: less is V8's own breathing. */
const GROWTH_MB_MAX = 5;
/** SQLite keeps the descriptor of a connection that was closed while another has the file open. */
const KEPT_DESCRIPTORS_MAX = 2;

export async function benchmarkMemory({ seconds }: { readonly seconds: number }): Promise<Benchmark> {
  const trafficS = seconds <= SHORT_SECONDS ? SHORT_TRAFFIC_S : seconds;
  const child = new Child(
    ["--expose-gc", join(ROOT, "test/bench/memory-day.ts"), String(trafficS)],
    serviceEnvironment(),
  );
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`memory-day failed: ${child.stderr}`);
  const lines = child.stdout.split("\n").filter((line) => line.startsWith("{"));
  const samples = lines.map((line): Sample => JSON.parse(line)).slice(Math.floor(lines.length / 4));
  const besideMb = Math.max(...samples.map(({ rssMb, memoryTierMb, loadMb }) => rssMb - memoryTierMb - loadMb));
  const { slope, error } = regression(samples.map(({ atS, rssMb }) => [atS / 86_400, rssMb]));
  const first = samples[0];
  const last = samples.at(-1);
  const days = ((last?.atS ?? 0) - (first?.atS ?? 0)) / 86_400;
  const isFlat = Math.abs(slope) * days <= Math.max(2 * error * days, GROWTH_MB_MAX);
  const isSame =
    (last?.descriptors ?? 0) - (first?.descriptors ?? 0) <= KEPT_DESCRIPTORS_MAX && first?.timers === last?.timers;
  return {
    name: "memory",
    about:
      "chunk builder, ring and trigger over a robot's day at high speed, an episode every ten minutes: resident memory " +
      "beside the memory tier, after a collection. Trap: garbage and compiler look like a leak, so it is a slope with its error.",
    value: Math.round(besideMb),
    unit: "MB beside the memory tier",
    goal: `≤ ${BESIDE_TIER_MB_MAX} MB, slope 0 within 2 standard errors, descriptors and timers the same`,
    holds: besideMb <= BESIDE_TIER_MB_MAX && isFlat && isSame,
    peers: {},
    ratio: undefined,
    detail: {
      form: trafficS === SHORT_TRAFFIC_S ? "short; --seconds 86400 for the day" : "long",
      traffic_s: trafficS,
      slope_mb_per_day: Math.round(slope * 10) / 10,
      slope_standard_error: Math.round(error * 10) / 10,
      first,
      last,
    },
  };
}

/** Least squares of y over x, with the slope's standard error. */
function regression(points: readonly (readonly [number, number])[]): { slope: number; error: number } {
  const count = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const residual = points.reduce((sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  return { slope, error: Math.sqrt(residual / (count - 2) / spread) };
}
