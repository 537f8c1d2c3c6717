/** Arithmetic on instants and durations in nanoseconds. */

/** To the nearest nanosecond. */
export const nsOfMs = (durationMs: number): bigint => BigInt(Math.round(durationMs * 1e6));

/** Exact up to 104 days, to the microsecond beyond. */
export const msOfNs = (durationNs: bigint): number => Number(durationNs) / 1e6;

export const latest = (a: bigint, b: bigint): bigint => (a > b ? a : b);
export const earliest = (a: bigint, b: bigint): bigint => (a < b ? a : b);

export function earliestOf([first, ...others]: readonly bigint[]): bigint | undefined {
  return first === undefined ? undefined : others.reduce(earliest, first);
}
