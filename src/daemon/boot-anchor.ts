import { readFileSync } from "node:fs";
import type { BootAnchor } from "../model/chunk.ts";
import type { Clock } from "../std/clock.ts";
import { uuidV7 } from "../std/uuid.ts";

const BOOT_ID = "/proc/sys/kernel/random/boot_id";

/** One reading of both clocks: from here on log_time follows the monotonic clock, whatever the wall does. */
export function readBootAnchor(clock: Clock): BootAnchor {
  const wallNs = clock.wallNs();
  return { bootId: readBootId(wallNs), monotonicNs: clock.monotonicNs(), wallNs };
}

function readBootId(wallNs: bigint): string {
  try {
    return readFileSync(BOOT_ID, "utf8").trim();
  } catch {
    return uuidV7(Number(wallNs / 1_000_000n)); // no Linux /proc: every start counts as a boot
  }
}

/** The log_time of a monotonic instant. */
export function logTimeNs(anchor: BootAnchor, monotonicNs: bigint): bigint {
  return anchor.wallNs + (monotonicNs - anchor.monotonicNs);
}
