/**
 * What is worth most: the one policy for every place where something must wait or go.
 *
 * **What goes first**, from the least valuable on: what no episode holds before what one holds; then the class of the
 * highest rank; then, of what is held, what lies farthest from the firing, and of the rest full rate before baseline
 * and older before newer. Rank 0 is the light topics: joints, IMU, diagnostics.
 *
 * **What is written first**: the lowest rank, since it is small and its promise is a second; then what is held; then
 * what is nearest to the firing; then as it came.
 *
 * **Shares**: value alone would let held images push out light data that nobody holds yet. So a part of every bounded
 * room is kept for rank 0, which nothing heavier may fill, held or not; and a class may be given the share that it
 * keeps of a full ring (`disk_share_max`): beyond it, it goes first.
 *
 * | room | full because | who goes, counted as |
 * |---|---|---|
 * | buffers in flight (`BufferPool`) | the store thread is stuck | the message that comes, by its rank: `queue_full` |
 * | waiting for the store (`Intake`) | bounded by those buffers | nobody; the lowest rank is taken first |
 * | memory tier (`MemoryTier`) | the class's bytes or age | its oldest: reduced to its baseline, or owed if held |
 * | owed to the disk (`Backlog`) | the disk is slow, full or broken | the least valuable: `disk_full`; full rate in memory before light |
 * | ring (`Retention`) | its bytes, or the file system's reserve | unheld only: classes over their share, then by rank, oldest first: evicted. Nothing goes for what is worth less: then the newcomer goes, `disk_full`, or waits in the backlog if it is held or light |
 */

/** Light topics: everything of a higher rank goes before them. */
export const LIGHT_RANK = 0;

/** Kept for rank 0, of what may be owed to the disk beyond the memory tier's budgets. */
export const LIGHT_SHARE_OF_BACKLOG = 0.5;
/** Kept for rank 0, of what the ring may take on disk: nothing heavier is written into it, or pushes light data out of it. */
export const LIGHT_SHARE_OF_RING = 0.01;

export type Worth = {
  readonly rank: number;
  readonly isHeld: boolean;
  readonly kind: "full" | "baseline";
  /** From the firing that wants it; 0 where none does. */
  readonly distanceNs: bigint;
  readonly startNs: bigint;
};

/** Negative: `a` goes before `b`. */
export function compareWorth(a: Worth, b: Worth): number {
  if (a.isHeld !== b.isHeld) return a.isHeld ? 1 : -1;
  if (a.rank !== b.rank) return b.rank - a.rank;
  if (a.isHeld && a.distanceNs !== b.distanceNs) return a.distanceNs > b.distanceNs ? -1 : 1;
  if (a.kind !== b.kind) return a.kind === "full" ? -1 : 1;
  return a.startNs === b.startNs ? 0 : a.startNs < b.startNs ? -1 : 1;
}

/** Negative: `a` is written before `b`; 0: as they came. */
export function compareUrgency(a: Omit<Worth, "startNs" | "kind">, b: Omit<Worth, "startNs" | "kind">): number {
  if (a.rank !== b.rank) return a.rank - b.rank;
  if (a.isHeld !== b.isHeld) return a.isHeld ? -1 : 1;
  return a.distanceNs === b.distanceNs ? 0 : a.distanceNs < b.distanceNs ? -1 : 1;
}

/** Of the buffers in flight, what a class may fill: all for rank 0, 85 % for rank 1, falling to half for rank 100. */
export function shareInFlight(rank: number): number {
  return rank <= LIGHT_RANK ? 1 : 0.85 - 0.35 * Math.min((rank - 1) / 99, 1);
}

export type ClassOnDisk = {
  readonly name: string;
  readonly rank: number;
  readonly bytes: number;
  /** What it keeps of a full ring, 0 to 1. */
  readonly shareMax: number;
};

/** What something must go for. */
export type Newcomer = { readonly rank: number; readonly isHeld: boolean };

/**
 * The classes that give their oldest chunks for a newcomer to a full ring of `capacityBytes`, in the order in which
 * they do: what is worth more stays, but that what is held may push out light data beyond its share of the ring.
 */
export function leavingOrder<T extends ClassOnDisk>(
  classes: readonly T[],
  { rank, isHeld }: Newcomer,
  capacityBytes: number,
): T[] {
  const lightBytes = classes.filter((other) => other.rank <= LIGHT_RANK).reduce((sum, { bytes }) => sum + bytes, 0);
  const isLightSpare = lightBytes > LIGHT_SHARE_OF_RING * capacityBytes;
  const isOver = ({ bytes, shareMax }: T) => bytes > shareMax * capacityBytes;
  const mayGo = (other: T) =>
    other.rank >= rank || isOver(other) || (isHeld && (other.rank > LIGHT_RANK || isLightSpare));
  const byRank = (a: T, b: T) => (a.rank === b.rank ? b.bytes - a.bytes : b.rank - a.rank);
  return classes
    .filter((other) => other.bytes > 0 && mayGo(other))
    .sort((a, b) => Number(isOver(b)) - Number(isOver(a)) || byRank(a, b));
}
