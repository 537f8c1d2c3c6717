/** The answer of `lode backtest --json`; instants count in seconds from the recording's first message. */
import { formatTime } from "../std/time-text.ts";
import type { Firing, JudgedEpisode, RecordingVerdict } from "./backtest.ts";
import { changesBetween } from "./backtest-changes.ts";

/** `against`: what other rules say of the same recordings, in the same order. */
export function backtestToWire(
  verdicts: readonly RecordingVerdict[],
  against?: readonly RecordingVerdict[],
): Record<string, unknown> {
  const recordings = verdicts.map((verdict, index) => {
    const before = against?.[index];
    return { ...verdictToWire(verdict), ...(before === undefined ? {} : { changes: changesToWire(before, verdict) }) };
  });
  return {
    recordings,
    totals: totalsOf(verdicts),
    ...(against === undefined ? {} : { against: { totals: totalsOf(against) } }),
  };
}

export function totalsOf(verdicts: readonly RecordingVerdict[]) {
  const seconds = sum(verdicts, ({ startNs, endNs }) => secondsBetween(startNs, endNs));
  const per = (amount: number, unitS: number): number => (seconds > 0 ? Math.round((amount * unitS) / seconds) : 0);
  const costOf = (firings: readonly Firing[], episodes: readonly JudgedEpisode[]) => {
    const kept = sum(episodes, ({ bytes }) => bytes);
    return { bytes_kept: kept, bytes_kept_per_day: per(kept, 86_400), firings_per_hour: per(firings.length, 3600) };
  };
  const firings = verdicts.flatMap((verdict) => verdict.firings);
  const episodes = verdicts.flatMap((verdict) => verdict.episodes);
  const ofRule = (rule: string) => {
    const [fired, judged] = [
      firings.filter((firing) => firing.rule === rule),
      episodes.filter(({ episode }) => episode.rule === rule),
    ];
    return { firings: fired.length, episodes: judged.length, ...costOf(fired, judged) };
  };
  return {
    duration_s: rounded(seconds),
    bytes_seen: sum(verdicts, ({ bytes }) => bytes),
    ...costOf(firings, episodes),
    rules: Object.fromEntries([...new Set(firings.map(({ rule }) => rule))].map((rule) => [rule, ofRule(rule)])),
  };
}

function verdictToWire(verdict: RecordingVerdict): Record<string, unknown> {
  const at = clockOf(verdict);
  return {
    path: verdict.path,
    ...(verdict.bootId === undefined ? {} : { boot: verdict.bootId }),
    start_time: formatTime(verdict.startNs),
    duration_s: at(verdict.endNs),
    messages: verdict.messages,
    bytes: verdict.bytes,
    undecodable: Object.fromEntries(verdict.undecodable),
    firings: verdict.firings.map((firing) => firingToWire(firing, verdict)),
    episodes: verdict.episodes.map((judged) => episodeToWire(judged, verdict)),
    ignored_firings: verdict.ignoredFirings,
    missed_inputs: missedInputs(verdict),
    ...(verdict.problems.length === 0 ? {} : { problems: verdict.problems }),
  };
}

/** What rules could not see here, and why: inputs that are not there, parts that cannot be told, firings passed over. */
export function missedInputs(verdict: RecordingVerdict): { readonly rule: string; readonly reason: string }[] {
  return verdict.rules.flatMap(({ rule, state, reason = "", problems, throttled }) => [
    ...(state === "waiting" ? [{ rule, reason }] : []),
    ...problems.map((problem) => ({ rule, reason: problem })),
    ...(throttled === undefined ? [] : [{ rule, reason: throttled }]),
  ]);
}

function firingToWire({ rule, detector, topic, atNs, values }: Firing, verdict: RecordingVerdict) {
  const isDryRun = verdict.policies.get(rule)?.isDryRun === true;
  return {
    rule,
    ...(detector === undefined ? {} : { detector }),
    topic,
    at_s: clockOf(verdict)(atNs),
    values,
    ...(isDryRun ? { dry_run: true } : {}),
  };
}

function episodeToWire(judged: JudgedEpisode, verdict: RecordingVerdict): Record<string, unknown> {
  const { episode, messages, bytes } = judged;
  const at = clockOf(verdict);
  const { timeToRecoverMs } = episode;
  return {
    ...summaryOf(judged, verdict),
    firings: episode.firings.map((firing) =>
      verdict.firings.findIndex(
        ({ rule, atNs, topic }) => rule === firing.rule && atNs === firing.atNs && topic === firing.topic,
      ),
    ),
    segments: episode.segments.map(({ kind, attempt, startNs, endNs }) => ({
      kind,
      ...(attempt === undefined ? {} : { attempt }),
      start_s: at(startNs),
      end_s: at(endNs),
    })),
    messages,
    bytes,
    ...(timeToRecoverMs === undefined ? {} : { time_to_recover_s: rounded(timeToRecoverMs / 1000) }),
    evidence: episode.evidence.map(({ kind, outcome, rule, atNs }) => ({ kind, outcome, rule, at_s: at(atNs) })),
  };
}

function summaryOf({ episode }: JudgedEpisode, verdict: RecordingVerdict) {
  const { rule, kind, outcome, attempts } = episode;
  const at = clockOf(verdict);
  return { rule, kind, start_s: at(episode.startNs), end_s: at(episode.endNs), outcome, attempts };
}

function changesToWire(before: RecordingVerdict, after: RecordingVerdict): Record<string, unknown> {
  const { firings, episodes } = changesBetween(before, after);
  const at = clockOf(after);
  const firing = (one: Firing) => firingToWire(one, after);
  const episode = (one: JudgedEpisode) => summaryOf(one, after);
  return {
    firings: {
      same: firings.same,
      moved: firings.changed.map((one) => ({ ...firing(one.after), was_s: at(one.before.atNs) })),
      added: firings.added.map(firing),
      removed: firings.removed.map(firing),
    },
    episodes: {
      same: episodes.same,
      changed: episodes.changed.map((one) => ({ before: episode(one.before), after: episode(one.after) })),
      added: episodes.added.map(episode),
      removed: episodes.removed.map(episode),
    },
  };
}

function clockOf({ startNs }: RecordingVerdict): (ns: bigint) => number {
  return (ns) => rounded(secondsBetween(startNs, ns));
}

function secondsBetween(startNs: bigint, endNs: bigint): number {
  return Number(endNs - startNs) / 1e9;
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

function sum<Item>(items: readonly Item[], amountOf: (item: Item) => number): number {
  return items.reduce((total, item) => total + amountOf(item), 0);
}
