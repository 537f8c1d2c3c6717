import { readFileSync } from "node:fs";
import { type BootClock, trueTimeNs } from "../model/boot-clock.ts";
import { type BootAnchor, logTimeNs } from "../model/chunk.ts";
import type { Clock } from "../std/clock.ts";
import { uuidV7 } from "../std/uuid.ts";

const BOOT_ID = "/proc/sys/kernel/random/boot_id";
/** One of so many readings was not interrupted. */
const READINGS = 5;

/** One reading of both clocks: if it is the first of its boot, log_time follows the monotonic clock from here on. */
export function readBootAnchor(clock: Clock): BootAnchor {
  const reading = readBoth(clock);
  return { bootId: readBootId(reading.wallNs), ...reading };
}

/** Both clocks at one instant, to some microseconds: the reading that took least of a few. */
export function readBoth(clock: Clock): { readonly wallNs: bigint; readonly monotonicNs: bigint } {
  const readings = Array.from({ length: READINGS }, () => {
    const startNs = clock.monotonicNs();
    const wallNs = clock.wallNs();
    const tookNs = clock.monotonicNs() - startNs;
    return { wallNs, monotonicNs: startNs + tookNs / 2n, tookNs };
  });
  const { wallNs, monotonicNs } = readings.reduce((best, one) => (one.tookNs < best.tookNs ? one : best));
  return { wallNs, monotonicNs };
}

function readBootId(wallNs: bigint): string {
  try {
    return readFileSync(BOOT_ID, "utf8").trim();
  } catch {
    return uuidV7(Number(wallNs / 1_000_000n)); // no Linux /proc: every start counts as a boot
  }
}

/** The present as far as it is known: what the wall shows, unless the true time of this boot is known better. */
export function trueNowNs(clocks: readonly BootClock[], clock: Clock): bigint {
  const { bootId, wallNs, monotonicNs } = readBootAnchor(clock);
  const boot = clocks.find((known) => known.bootId === bootId);
  return boot?.truth === undefined ? wallNs : trueTimeNs(boot, logTimeNs(boot, monotonicNs));
}
