/**
 * How long ago a boot's data was recorded, whatever its clock and those of later boots said.
 *
 * A boot had ended before the next one began; so its data is at least as old as all that ran since. Where its true time
 * and the present one are known, it is as old as these say. Time in which the computer was off counts only then: data
 * may be kept longer than its age allows for that reason, and is never taken for older than it is.
 */
import { type BootClock, trueTimeNs } from "../model/boot-clock.ts";
import { earliest } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import { readBoots } from "./tables.ts";

/** By the boots' numbers: log_time of that boot + this is no earlier in the log_time of the present (last) boot. */
export function shiftsToPresent(ring: Db, clocks: readonly BootClock[]): ReadonlyMap<number, bigint> {
  const known = new Map(clocks.map((clock) => [clock.bootId, clock]));
  const present = clocks.at(-1);
  const presentTruth = present?.truth === undefined ? undefined : present.correctionNs;
  const shifts = new Map<number, bigint>();
  let laterStartNs: bigint | undefined;
  // Its number need not be the highest: a rebuild may have found boots that no table knew.
  const boots = readBoots(ring).sort(
    (a, b) => Number(a.bootId === present?.bootId) - Number(b.bootId === present?.bootId),
  );
  for (const { id, bootId, powerOnNs, lastCommitNs } of boots.toReversed()) {
    const clock = known.get(bootId);
    let shiftNs = laterStartNs === undefined ? 0n : laterStartNs - lastCommitNs;
    if (laterStartNs !== undefined && clock?.truth !== undefined && presentTruth !== undefined)
      shiftNs = earliest(shiftNs, trueTimeNs(clock, lastCommitNs) - presentTruth - lastCommitNs);
    shifts.set(id, shiftNs);
    laterStartNs = powerOnNs + shiftNs;
  }
  return shifts;
}
