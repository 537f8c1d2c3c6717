/**
 * What is known of the clock of a boot: log_time follows the monotonic clock from one reading of both, so order and
 * durations are right whatever the wall does; the way from log_time to true time lies beside the data.
 */
import type { BootAnchor } from "./chunk.ts";

/** Before this a wall was surely never set: the year this came to be. */
export const PLAUSIBLE_NS_MIN = 1_735_689_600_000_000_000n; // 2025-01-01

/** `set`: somebody set the wall. `suspend`: the computer slept, and the monotonic clock with it. */
export type ClockStep = {
  readonly kind: "set" | "suspend";
  /** log_time at which it was seen. */
  readonly atNs: bigint;
  /** By how much the wall jumped; negative: back. */
  readonly stepMs: number;
};

/**
 * From what the true time is known: the kernel said that the wall is synchronised, or it was set from an impossible
 * time to a possible one.
 */
export type ClockTruth = "synchronised" | "set";

export type BootClock = BootAnchor & {
  /** True time − log_time, without the sleeps; undefined: nothing tells. */
  readonly correctionNs: bigint | undefined;
  readonly truth: ClockTruth | undefined;
  readonly steps: readonly ClockStep[];
};

/** How far true time is known: "impossible" is a wall that was never set, "unverified" one that nothing vouches for. */
type ClockState = ClockTruth | "unverified" | "impossible";

function clockState({ truth, wallNs }: BootClock): ClockState {
  return truth ?? (wallNs < PLAUSIBLE_NS_MIN ? "impossible" : "unverified");
}

/** As it travels beside the data, in manifests, in the metadata of files and in answers. */
export type ClockWords = {
  readonly bootId: string;
  readonly state: ClockState;
  /** Decimal: it exceeds 2^53. undefined: nothing tells. */
  readonly correctionNs: string | undefined;
  readonly steps: readonly ClockStep[];
};

export function clockWords(clock: BootClock): ClockWords {
  const { bootId, correctionNs, steps } = clock;
  return { bootId, state: clockState(clock), correctionNs: correctionNs?.toString(), steps };
}

/** Name of the metadata record of an MCAP file that says what is known of the clock of a boot in it. */
export const clockMetadataName = (bootId: string): string => `lode:clock:${bootId}`;

/** `applied`: the file's log_time is corrected already. */
export function clockMetadata(
  { bootId, state, correctionNs, steps }: ClockWords,
  isApplied: boolean,
): Map<string, string> {
  const listed = steps.map(({ kind, atNs, stepMs }) => ({ kind, at_ns: String(atNs), step_ms: stepMs }));
  return new Map([
    ["boot", bootId],
    ["state", state],
    ["correction_ns", correctionNs ?? ""],
    ["steps", JSON.stringify(listed)],
    ["applied", String(isApplied)],
  ]);
}

/** The best that is known: the log_time itself where nothing tells the true time, later by the sleeps before it. */
export function trueTimeNs(clock: BootClock, logNs: bigint): bigint {
  const piece = piecesOf(clock, sleepsOf(clock)).findLast(({ startNs }) => startNs <= logNs);
  return logNs + (piece?.shiftNs ?? 0n);
}

/** A stretch of a boot, in its log_time; both ends belong to it. */
export type BootRange = { readonly bootId: string; readonly startNs: bigint; readonly endNs: bigint };

/**
 * Where a range of true time lies in each boot, in the order of the boots. Of a boot whose true time nothing tells, it
 * is where its wall showed these times: twice, if it was set back.
 */
export function logTimeRanges(clocks: readonly BootClock[], startNs: bigint, endNs: bigint): BootRange[] {
  return clocks.flatMap((clock) => {
    const ranges: BootRange[] = [];
    for (const piece of piecesOf(clock, clock.truth === undefined ? clock.steps : sleepsOf(clock))) {
      if (piece.startNs + piece.shiftNs > endNs || piece.endNs + piece.shiftNs < startNs) continue;
      const range = { bootId: clock.bootId, startNs: nearest(piece, startNs), endNs: nearest(piece, endNs) };
      const last = ranges.at(-1);
      if (last?.endNs === range.startNs - 1n) ranges[ranges.length - 1] = { ...last, endNs: range.endNs };
      else ranges.push(range);
    }
    return ranges;
  });
}

/** The log_time of a time, or the end of the piece that is nearest to it. */
function nearest({ startNs, endNs, shiftNs }: Piece, timeNs: bigint): bigint {
  const logNs = timeNs - shiftNs;
  if (logNs < startNs) return startNs;
  return logNs > endNs ? endNs : logNs;
}

type Piece = { readonly startNs: bigint; readonly endNs: bigint; readonly shiftNs: bigint };

const FOREVER_NS = 2n ** 62n;

const sleepsOf = ({ steps }: BootClock): ClockStep[] => steps.filter(({ kind }) => kind === "suspend");

/** Between such steps time is log_time and one number; each adds to it. */
function piecesOf({ correctionNs = 0n }: BootClock, steps: readonly ClockStep[]): Piece[] {
  const starts = [{ atNs: -FOREVER_NS, stepMs: 0 }, ...steps];
  let shiftNs = correctionNs;
  return starts.map(({ atNs, stepMs }, index) => {
    shiftNs += BigInt(Math.round(stepMs * 1e6));
    const nextNs = starts[index + 1]?.atNs;
    return { startNs: atNs, endNs: nextNs === undefined ? FOREVER_NS : nextNs - 1n, shiftNs };
  });
}
