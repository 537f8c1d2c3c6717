/** The stretches of an episode: cut while it is open, given an end and a number when somebody asks. */
import type { Segment } from "../model/episode.ts";
import { earliest, latest } from "../std/nanoseconds.ts";

/** A segment without its end, which is the next one's start. */
export type Cut = { readonly kind: Segment["kind"]; readonly startNs: bigint };

/** One that would begin before the last one begins with it. */
export function cut(cuts: readonly Cut[], kind: Segment["kind"], atNs: bigint): readonly Cut[] {
  const last = cuts.at(-1);
  return [...cuts, { kind, startNs: last === undefined ? atNs : latest(last.startNs, atNs) }];
}

/** Tiles the window; a cut of no length is no segment, and recoveries are numbered as they remain. */
export function segmentsOf(cuts: readonly Cut[], endNs: bigint): Segment[] {
  const segments: Segment[] = [];
  let attemptNumber = 0;
  for (const [index, { kind, startNs }] of cuts.entries()) {
    const nextNs = earliest(cuts[index + 1]?.startNs ?? endNs, endNs);
    const last = segments.at(-1);
    if (nextNs <= startNs) continue;
    if (last?.kind === kind && kind !== "recovery") segments[segments.length - 1] = { ...last, endNs: nextNs };
    else if (kind === "recovery") segments.push({ kind, attempt: ++attemptNumber, startNs, endNs: nextNs });
    else segments.push({ kind, attempt: undefined, startNs, endNs: nextNs });
  }
  return segments;
}
