/**
 * How far back each class will reach once the ring is full, at the rates of today: the order of value (`value.ts`)
 * and the classes' own bounds, played to their end.
 *
 * A class never takes more than its own bytes and age allow. Of what the ring may take each class gets, in order of
 * value, up to its share; what is left over after that goes, in order of value again, to whoever can use it. Classes
 * of one rank fill up to the same level.
 */
export type ForecastClass = {
  readonly name: string;
  readonly rank: number;
  /** On disk, at the present rate. */
  readonly bytesPerS: number;
  /** The class's own bounds; 0: none. */
  readonly bytesMax: number;
  readonly msMax: number;
  /** What it keeps of a full ring, 0 to 1. */
  readonly shareMax: number;
};

type Given = { readonly entry: ForecastClass; bytes: number };

/** Per class in ms; a class of which nothing comes is not in it. */
export function forecastReach(classes: readonly ForecastClass[], capacityBytes: number): Map<string, number> {
  const given = classes.filter(({ bytesPerS }) => bytesPerS > 0).map((entry): Given => ({ entry, bytes: 0 }));
  const ranks = [...new Set(given.map(({ entry }) => entry.rank))].sort((a, b) => a - b);
  for (const isShared of [true, false])
    for (const rank of ranks) {
      const left = capacityBytes - given.reduce((sum, { bytes }) => sum + bytes, 0);
      const share = (entry: ForecastClass) => (isShared ? entry.shareMax * capacityBytes : Number.POSITIVE_INFINITY);
      fill(
        given.filter(({ entry }) => entry.rank === rank),
        left,
        (entry) => Math.min(wanted(entry), share(entry)),
      );
    }
  return new Map(given.map(({ entry, bytes }) => [entry.name, (bytes / entry.bytesPerS) * 1000]));
}

/** What a class would take if it were alone. */
function wanted({ bytesPerS, bytesMax, msMax }: ForecastClass): number {
  const byAge = msMax > 0 ? (msMax / 1000) * bytesPerS : Number.POSITIVE_INFINITY;
  return Math.min(byAge, bytesMax > 0 ? bytesMax : Number.POSITIVE_INFINITY);
}

/** Like water: all of a group rise to one level, but for those that have more already or want less. */
function fill(group: readonly Given[], left: number, limitOf: (entry: ForecastClass) => number): void {
  const bytesAt = (level: number) => group.map(({ entry, bytes }) => Math.max(bytes, Math.min(limitOf(entry), level)));
  const total = (level: number) => bytesAt(level).reduce((sum, bytes) => sum + bytes, 0);
  const totalMax = total(0) + Math.max(0, left);
  let low = 0;
  let high = totalMax;
  for (let halving = 0; halving < 60; halving += 1) {
    const middle = (low + high) / 2;
    if (total(middle) <= totalMax) low = middle;
    else high = middle;
  }
  const level = total(high) <= totalMax ? high : low;
  bytesAt(level).forEach((bytes, index) => {
    const given = group[index];
    if (given !== undefined) given.bytes = bytes;
  });
}
