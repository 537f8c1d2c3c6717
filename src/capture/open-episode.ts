/** An episode while it is open: what the machine remembers of it, what follows from that, and its form for others. */
import { type Episode, type Segment, UNSAID } from "../model/episode.ts";
import type { CapturePolicy } from "../model/rule-event.ts";
import { earliest, latest, nsOfMs } from "../std/nanoseconds.ts";
import { type Cut, segmentsOf } from "./segments.ts";

/** A rule that fired in the episode. */
export type JoinedRule = {
  readonly policy: CapturePolicy;
  /** It can tell how this ends, and has not yet. */
  readonly isPending: boolean;
  /** When its condition ended; undefined while it holds. */
  readonly clearedNs: bigint | undefined;
  /** The number of the last attempt it reported, counted with those before it joined. */
  readonly attempts: number;
};

/** What an open episode knows of itself already as others will. */
type Unknown =
  | ("endNs" | "segments" | "attempts" | "topics" | "onDemand" | "isInterrupted" | "operation" | "remarks")
  | ("completeness" | "isComplete" | "shortfalls");

export type OpenEpisode = Omit<Episode, Unknown> & {
  /** The window is at most so long. */
  readonly lengthNsMax: bigint;
  /** Until when the firings' post-rolls last. */
  readonly rollUntilNs: bigint;
  /** The same with those of clearings and decisions, beyond the longest window if need be. */
  readonly keepUntilNs: bigint;
  /** Of the last firing of a failure, or attempt. */
  readonly activeNs: bigint;
  /** The first failure since the last decision. */
  readonly failedNs: bigint | undefined;
  readonly isOutcomeByPerson: boolean;
  readonly rules: readonly JoinedRule[];
  readonly cuts: readonly Cut[];
};

/** As others see it, with this end. */
export function toEpisode(open: OpenEpisode, endNs: bigint): Episode {
  const { id, bootId, kind, rule, priority, startNs, firings, labels, note, linkedTo, outcome, evidence } = open;
  const segments = segmentsOf(open.cuts, endNs);
  const isSolved = outcome === "recovered" || outcome === "succeeded";
  return {
    ...UNSAID,
    ...{
      id,
      bootId,
      kind,
      rule,
      priority,
      startNs,
      endNs,
      firings,
      segments,
      labels,
      note,
      linkedTo,
      outcome,
      evidence,
    },
    timeToRecoverMs: isSolved ? open.timeToRecoverMs : undefined,
    topics: topicsOf(open),
    onDemand: onDemandOf(open),
    attempts: 1 + segments.filter((segment) => segment.kind === "recovery").length,
    isInterrupted: false,
    completeness: [],
  };
}

/** The longest window that a rule asks for: never less than its own pre-roll and post-roll. */
export function lengthNsOf({ maxMs, preRollMs, postRollMs }: CapturePolicy): bigint {
  return nsOfMs(Math.max(maxMs, preRollMs + postRollMs));
}

export const endNsMaxOf = ({ startNs, lengthNsMax }: OpenEpisode): bigint => startNs + lengthNsMax;
export const expectedEndNs = (open: OpenEpisode): bigint => earliest(open.keepUntilNs, endNsMaxOf(open));
export const lastSegmentKind = (open: OpenEpisode): Segment["kind"] | undefined => open.cuts.at(-1)?.kind;
export const attemptCount = ({ cuts }: OpenEpisode): number => cuts.filter(({ kind }) => kind === "recovery").length;
export const findRule = (open: OpenEpisode, rule: string): JoinedRule | undefined =>
  open.rules.find(({ policy }) => policy.rule === rule);
export const isPending = ({ rules }: OpenEpisode): boolean => rules.some((joined) => joined.isPending);
/** A task is still under way. */
export const isWithinSpan = ({ rules }: OpenEpisode): boolean =>
  rules.some((joined) => joined.isPending && joined.policy.kind === "span");

/** Something is wrong and has not been decided yet. */
export function isTroubled(open: OpenEpisode): boolean {
  const kind = lastSegmentKind(open);
  return kind === "failure" || kind === "recovery" || isPending(open);
}

/** Since when no failure's condition holds any more. */
export function quietSinceNs(open: OpenEpisode): bigint | undefined {
  let quietNs: bigint | undefined;
  for (const { clearedNs, policy } of open.rules) {
    if (policy.kind !== "failure") continue;
    if (clearedNs === undefined) return undefined;
    quietNs = quietNs === undefined ? clearedNs : latest(quietNs, clearedNs);
  }
  return quietNs;
}

/** Globs of the topics that its rules want subscribed while it is open, sorted. */
export function onDemandOf(open: OpenEpisode | undefined): readonly string[] {
  return [...new Set(open?.rules.flatMap(({ policy }) => policy.onDemand))].toSorted();
}

function topicsOf({ rules }: OpenEpisode): readonly string[] {
  const globs = new Set(rules.flatMap(({ policy }) => policy.topics));
  return globs.has("**") ? ["**"] : [...globs];
}

/** With a rule's state replaced, in its place. */
export function replaceRule(open: OpenEpisode, joined: JoinedRule): OpenEpisode {
  return { ...open, rules: open.rules.map((rule) => (rule.policy.rule === joined.policy.rule ? joined : rule)) };
}
