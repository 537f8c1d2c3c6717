/**
 * What changes between two rule sets that judged the same recording.
 *
 * A firing is the same if rule, topic and instant are; it moved if the nearest one of the same rule and topic that has
 * no partner yet lies within `MOVED_NS_MAX`. Episodes are partners if their windows overlap; a pair of which rule,
 * window, outcome or attempts differ is a change.
 */
import { earliest, latest } from "../std/nanoseconds.ts";
import type { Firing, JudgedEpisode, RecordingVerdict } from "./backtest.ts";

export type Changes = {
  readonly firings: Partners<Firing> & { readonly same: number };
  readonly episodes: Partners<JudgedEpisode> & { readonly same: number };
};

type Partners<Item> = {
  readonly changed: readonly { readonly before: Item; readonly after: Item }[];
  readonly added: readonly Item[];
  readonly removed: readonly Item[];
};

/** Beyond it, it is another event. */
const MOVED_NS_MAX = 2_000_000_000n;

export function changesBetween(before: RecordingVerdict, after: RecordingVerdict): Changes {
  return {
    firings: pair(before.firings, after.firings, firingDistance, isSameFiring),
    episodes: pair(before.episodes, after.episodes, episodeDistance, isSameEpisode),
  };
}

/** The nearest first; `distanceOf` gives undefined for two that are no partners. */
function pair<Item>(
  before: readonly Item[],
  after: readonly Item[],
  distanceOf: (a: Item, b: Item) => bigint | undefined,
  isSame: (a: Item, b: Item) => boolean,
): Partners<Item> & { readonly same: number } {
  const candidates = before.flatMap((a) =>
    after.flatMap((b) => {
      const distance = distanceOf(a, b);
      return distance === undefined ? [] : [{ before: a, after: b, distance }];
    }),
  );
  const taken = new Set<Item>();
  const pairs = candidates
    .sort((a, b) => (a.distance < b.distance ? -1 : a.distance > b.distance ? 1 : 0))
    .filter((candidate) => {
      if (taken.has(candidate.before) || taken.has(candidate.after)) return false;
      taken.add(candidate.before).add(candidate.after);
      return true;
    });
  const changed = pairs.filter((one) => !isSame(one.before, one.after));
  return {
    same: pairs.length - changed.length,
    changed: before.flatMap((item) => changed.filter((one) => one.before === item)),
    added: after.filter((item) => !taken.has(item)),
    removed: before.filter((item) => !taken.has(item)),
  };
}

function firingDistance(a: Firing, b: Firing): bigint | undefined {
  const distance = a.atNs < b.atNs ? b.atNs - a.atNs : a.atNs - b.atNs;
  return a.rule === b.rule && a.topic === b.topic && distance <= MOVED_NS_MAX ? distance : undefined;
}

const isSameFiring = (a: Firing, b: Firing): boolean => a.atNs === b.atNs;

/** Less, the longer both last together. */
function episodeDistance({ episode: a }: JudgedEpisode, { episode: b }: JudgedEpisode): bigint | undefined {
  const sharedNs = earliest(a.endNs, b.endNs) - latest(a.startNs, b.startNs);
  return sharedNs > 0n ? -sharedNs : undefined;
}

function isSameEpisode({ episode: a }: JudgedEpisode, { episode: b }: JudgedEpisode): boolean {
  const isSameWindow = a.startNs === b.startNs && a.endNs === b.endNs;
  return isSameWindow && a.rule === b.rule && a.outcome === b.outcome && a.attempts === b.attempts;
}
