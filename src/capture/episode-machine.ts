/**
 * Decides what belongs to an episode and how it ended.
 *
 * Promises: pure (all instants are the log_time of its inputs, and deadlines fall due at their own instant
 * however coarse the ticks are, so live and back-test agree exactly); at most one episode is open; segments tile
 * the window; an episode never outlasts the longest `maxMs` of its rules (or pre-roll + post-roll, if longer).
 *
 * Meaning:
 * - A firing opens an episode, with its pre-roll. A later firing of any rule joins it; `split` closes the open one
 *   and opens the next, and so does a firing whose post-roll no longer fits under `maxMs`, and one of a rule that sees
 *   recovery when the loop before it is decided (never a person's); `ignore` only counts it.
 * - Each joined rule that can tell recovery is *pending* until it does. A `recovered` event settles its own rule and
 *   those that can only infer (`recoversWhen: "cleared"`); the last settlement decides `recovered`. One rule that
 *   waits `recoveryTimeoutMs` since the last firing or attempt, or that sees the robot give up, decides `failed`; a
 *   person decides at once.
 * - The episode closes one post-roll after the deciding moment, and one after the last firing or clearing.
 * - Two rules may report the same physical attempt: recovery n starts when any one rule has reported n of them.
 *   Rules without `recovered_when` report none; there a firing again after clearing says that the robot tried in
 *   between, and so does a clearing that lasts.
 */
import { type Episode, type EpisodeFiring, type Outcome, type Segment, UNSAID } from "../model/episode.ts";
import type { CapturePolicy, EpisodeKind, RuleEvent } from "../model/rule-event.ts";
import { unreachable } from "../std/assert.ts";
import { earliest, latest, nsOfMs } from "../std/nanoseconds.ts";

/** A person's firing. */
export type ManualCapture = {
  readonly kind: "manual";
  readonly atNs: bigint;
  readonly preRollMs: number;
  readonly postRollMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly note: string;
};

/** A person says how it ended; nothing overrules that. */
type OperatorOutcome = { readonly kind: "outcome"; readonly atNs: bigint; readonly outcome: Outcome };

export type MachineInput =
  | RuleEvent
  | ManualCapture
  | OperatorOutcome
  | { readonly kind: "tick"; readonly atNs: bigint };

export type MachineCommand =
  | { readonly kind: "opened"; readonly episode: Episode }
  /** Firings, window, segments or outcome changed. */
  | { readonly kind: "changed"; readonly episode: Episode }
  /** Keep everything of this range, up to where the episode may reach at most. */
  | { readonly kind: "hold"; readonly id: string; readonly startNs: bigint; readonly endNs: bigint }
  /** Topic globs to be subscribed from now on; empty at the close. */
  | { readonly kind: "on_demand"; readonly globs: readonly string[] }
  | { readonly kind: "closed"; readonly episode: Episode }
  | { readonly kind: "ignored"; readonly rule: string; readonly atNs: bigint };

export type MachineContext = {
  /** The policy of a rule that fires; throws on a rule it never heard of. */
  policyOf(rule: string): CapturePolicy;
  newId(atNs: bigint): string;
  readonly bootId: string;
};

export type MachineState = { readonly open: OpenEpisode | undefined };
export type MachineStep = { readonly state: MachineState; readonly commands: readonly MachineCommand[] };

type JoinedRule = {
  readonly policy: CapturePolicy;
  readonly isPending: boolean;
  /** When its condition ended; undefined while it holds. */
  readonly clearedNs: bigint | undefined;
  /** The number of the last attempt it reported, counted with those before it joined. */
  readonly attempts: number;
};

/** A segment without its end, which is the next one's start. */
type Cut = { readonly kind: Segment["kind"]; readonly startNs: bigint };

type OpenEpisode = {
  readonly id: string;
  readonly bootId: string;
  readonly kind: EpisodeKind;
  readonly rule: string;
  readonly priority: number;
  readonly startNs: bigint;
  readonly endNsMax: bigint;
  readonly keepUntilNs: bigint;
  /** Of the last firing or attempt. */
  readonly activeNs: bigint;
  readonly outcome: Outcome;
  readonly isOutcomeByPerson: boolean;
  readonly firings: readonly EpisodeFiring[];
  readonly rules: readonly JoinedRule[];
  readonly cuts: readonly Cut[];
  readonly labels: Readonly<Record<string, string>>;
  readonly note: string;
};

export const idleMachine: MachineState = { open: undefined };

const MANUAL_RULE = "manual";
/** A person wants to see everything: whatever the configuration marks as on demand. */
const ALL_TOPICS = ["**"];

/** Inputs come in the order of log_time; one that comes late counts at the time already reached. */
export function stepMachine(state: MachineState, input: MachineInput, context: MachineContext): MachineStep {
  const commands: MachineCommand[] = [];
  const open = state.open === undefined ? undefined : advance(state.open, input.atNs, commands);
  const next = apply(open, input, context, commands);
  return { state: { open: next }, commands };
}

/** The open episode as far as it is known. */
export function openEpisodeOf(state: MachineState): Episode | undefined {
  return state.open === undefined ? undefined : toEpisode(state.open, expectedEndNs(state.open));
}

function apply(
  open: OpenEpisode | undefined,
  input: MachineInput,
  context: MachineContext,
  commands: MachineCommand[],
): OpenEpisode | undefined {
  switch (input.kind) {
    case "tick":
      return open;
    case "firing": {
      const policy = context.policyOf(input.rule);
      return policy.isDryRun ? open : fire(open, firingOf(input), policy, input.note ?? "", context, commands);
    }
    case "manual":
      return fire(open, manualFiring(input), manualPolicy(input), input.note, context, commands);
    case "cleared":
    case "attempt":
    case "recovered":
    case "gave_up":
    case "took_over":
    case "outcome": {
      const next = open === undefined ? undefined : settle(open, input);
      if (next !== undefined && next !== open) commands.push(changed(next));
      return next;
    }
    default:
      return unreachable(input);
  }
}

/** What an event does to an open episode without opening or closing one; the same object if nothing. */
function settle(
  open: OpenEpisode,
  input: Exclude<MachineInput, ManualCapture | { kind: "firing" } | { kind: "tick" }>,
): OpenEpisode {
  switch (input.kind) {
    case "cleared":
      return clear(open, input.rule, input.atNs);
    case "attempt":
      return attempt(open, input.rule, input.atNs);
    case "recovered":
      return recover(open, input.rule, input.atNs);
    case "gave_up":
      return isPendingFor(open, input.rule) ? decide(open, input.atNs, "failed") : open;
    case "took_over":
      return isTroubled(open) ? decide(open, input.atNs, "operator_took_over") : open;
    case "outcome":
      return { ...decide(open, input.atNs, input.outcome), isOutcomeByPerson: true, outcome: input.outcome };
    default:
      return unreachable(input);
  }
}

// --- firings ---------------------------------------------------------------------------------------------------

function fire(
  open: OpenEpisode | undefined,
  firing: EpisodeFiring,
  policy: CapturePolicy,
  note: string,
  context: MachineContext,
  commands: MachineCommand[],
): OpenEpisode {
  if (open !== undefined) {
    if (policy.onOverlap === "ignore") {
      commands.push({ kind: "ignored", rule: firing.rule, atNs: firing.atNs });
      return open;
    }
    if (!mustSplit(open, firing, policy)) return extend(open, firing, policy, note, commands);
    commands.push(...closing(open, firing.atNs));
  }
  const fresh = join(blank(firing, policy, context), firing, policy, note);
  commands.push({ kind: "opened", episode: toEpisode(fresh, expectedEndNs(fresh)) }, hold(fresh));
  if (policy.onDemand.length > 0) commands.push({ kind: "on_demand", globs: policy.onDemand });
  return fresh;
}

function extend(
  open: OpenEpisode,
  firing: EpisodeFiring,
  policy: CapturePolicy,
  note: string,
  commands: MachineCommand[],
): OpenEpisode {
  const next = join(open, firing, policy, note);
  commands.push(changed(next));
  if (next.startNs < open.startNs || next.endNsMax > open.endNsMax) commands.push(hold(next));
  const globs = onDemandOf(next);
  if (globs.length > onDemandOf(open).length) commands.push({ kind: "on_demand", globs });
  return next;
}

/** Two firings of one instant belong together whatever the policy: a window needs a length. */
function mustSplit(open: OpenEpisode, firing: EpisodeFiring, policy: CapturePolicy): boolean {
  if (firing.atNs <= open.activeNs) return false;
  if (policy.kind === "manual") return false;
  if (policy.recoversWhen === "explicit" && isOver(open)) return true;
  return policy.onOverlap === "split" || firing.atNs + nsOfMs(policy.postRollMs) > endNsMaxWith(open, policy);
}

/** A rule that sees recovery has said how the loop ended: what fails next is a loop of its own, however soon it comes. */
function isOver({ outcome, rules }: OpenEpisode): boolean {
  const isDecided = outcome === "recovered" || outcome === "failed";
  return isDecided && rules.some(({ policy }) => policy.recoversWhen === "explicit");
}

const endNsMaxWith = (open: OpenEpisode, policy: CapturePolicy): bigint =>
  latest(open.endNsMax, open.startNs + nsOfMs(policy.maxMs));

function blank(firing: EpisodeFiring, policy: CapturePolicy, context: MachineContext): OpenEpisode {
  const startNs = firing.atNs - nsOfMs(policy.preRollMs);
  const postRollEndNs = firing.atNs + nsOfMs(policy.postRollMs);
  return {
    id: context.newId(firing.atNs),
    bootId: context.bootId,
    kind: policy.kind,
    rule: firing.rule,
    priority: policy.priority,
    startNs,
    endNsMax: latest(startNs + nsOfMs(policy.maxMs), postRollEndNs),
    keepUntilNs: postRollEndNs,
    activeNs: firing.atNs,
    outcome: "unknown",
    isOutcomeByPerson: false,
    firings: [],
    rules: [],
    cuts: [{ kind: "before", startNs }],
    labels: {},
    note: "",
  };
}

function join(open: OpenEpisode, firing: EpisodeFiring, policy: CapturePolicy, note: string): OpenEpisode {
  const startNs = earliest(open.startNs, firing.atNs - nsOfMs(policy.preRollMs));
  const postRollEndNs = firing.atNs + nsOfMs(policy.postRollMs);
  const cuts = open.cuts.map((cut, index) => (index === 0 ? { ...cut, startNs } : cut));
  return {
    ...open,
    startNs,
    endNsMax: latest(endNsMaxWith(open, policy), policy.kind === "manual" ? postRollEndNs : open.endNsMax),
    kind: policy.kind === "failure" ? "failure" : open.kind,
    priority: Math.max(open.priority, policy.priority),
    keepUntilNs: latest(open.keepUntilNs, postRollEndNs),
    activeNs: latest(open.activeNs, firing.atNs),
    outcome: policy.recoversWhen === "never" || open.isOutcomeByPerson ? open.outcome : "unknown",
    firings: [...open.firings, firing],
    rules: joinRule(open, firing.rule, policy),
    cuts: cutAtFiring({ ...open, cuts }, firing, policy),
    labels: { ...policy.labels, ...open.labels },
    note: [open.note, note].filter((text) => text !== "").join("\n"),
  };
}

function joinRule(open: OpenEpisode, rule: string, policy: CapturePolicy): JoinedRule[] {
  const known = open.rules.find((joined) => joined.policy.rule === rule);
  const isPending = policy.kind === "span" || (policy.kind === "failure" && policy.recoversWhen !== "never");
  const attempts = known?.attempts ?? attemptCount(open);
  const joined = { policy, isPending, clearedNs: undefined, attempts };
  return [...open.rules.filter((other) => other !== known), joined];
}

function cutAtFiring(open: OpenEpisode, firing: EpisodeFiring, policy: CapturePolicy): readonly Cut[] {
  const last = open.cuts.at(-1);
  if (policy.kind === "span") return open.cuts;
  if (policy.kind !== "failure") return last?.kind === "before" ? cut(open.cuts, "after", firing.atNs) : open.cuts;
  if (last?.kind !== "failure") return cut(open.cuts, "failure", firing.atNs);
  const isAgain = open.rules.some((joined) => joined.policy.rule === firing.rule);
  return isAgain ? cut(cutInferredAttempt(open), "failure", firing.atNs) : open.cuts;
}

/** Where nobody reports attempts, what follows the clearing of every condition was one. */
function cutInferredAttempt(open: OpenEpisode): readonly Cut[] {
  const quietNs = quietSinceNs(open);
  const isReported = open.rules.some((joined) => joined.policy.recoversWhen === "explicit");
  const isFailing = open.cuts.at(-1)?.kind === "failure";
  return quietNs === undefined || isReported || !isFailing ? open.cuts : cut(open.cuts, "recovery", quietNs);
}

// --- what follows a firing -------------------------------------------------------------------------------------

function clear(open: OpenEpisode, rule: string, atNs: bigint): OpenEpisode {
  const joined = open.rules.find((candidate) => candidate.policy.rule === rule);
  if (joined === undefined || joined.clearedNs !== undefined) return open;
  const keepUntilNs = latest(open.keepUntilNs, atNs + nsOfMs(joined.policy.postRollMs));
  const cleared = replaceRule(open, { ...joined, clearedNs: atNs });
  if (joined.policy.kind === "span" && joined.isPending) return resolve(cleared, rule, atNs, open.outcome);
  return joined.policy.recoversWhen === "never" ? { ...cleared, keepUntilNs } : cleared;
}

function attempt(open: OpenEpisode, rule: string, atNs: bigint): OpenEpisode {
  const joined = open.rules.find((candidate) => candidate.policy.rule === rule);
  if (joined === undefined || !isTroubled(open)) return open;
  const reported = replaceRule(
    { ...open, activeNs: latest(open.activeNs, atNs) },
    { ...joined, attempts: joined.attempts + 1 },
  );
  return joined.attempts + 1 > attemptCount(open) ? { ...reported, cuts: cut(open.cuts, "recovery", atNs) } : reported;
}

function recover(open: OpenEpisode, rule: string, atNs: bigint): OpenEpisode {
  const joined = open.rules.find((candidate) => candidate.policy.rule === rule);
  if (joined?.isPending !== true) return open;
  if (joined.policy.kind === "span") return resolve(open, rule, atNs, "succeeded");
  const rules = open.rules.map((other) =>
    other.policy.recoversWhen === "cleared" && other.policy.kind === "failure" ? { ...other, isPending: false } : other,
  );
  return resolve({ ...open, rules }, rule, atNs, "recovered");
}

function isPendingFor(open: OpenEpisode, rule: string): boolean {
  return open.rules.some((joined) => joined.policy.rule === rule && joined.isPending);
}

/** One rule knows how it ended; the last one to know decides. */
function resolve(open: OpenEpisode, rule: string, atNs: bigint, outcome: Outcome): OpenEpisode {
  const rules = open.rules.map((joined) => (joined.policy.rule === rule ? { ...joined, isPending: false } : joined));
  const resolved = { ...open, rules };
  if (isPending(resolved)) return resolved;
  const cuts = outcome === "recovered" ? cutInferredAttempt(open) : open.cuts;
  return decide({ ...resolved, cuts }, atNs, outcome);
}

function decide(open: OpenEpisode, atNs: bigint, outcome: Outcome): OpenEpisode {
  const postRollMs = Math.max(...open.rules.map((joined) => joined.policy.postRollMs));
  return {
    ...open,
    outcome: open.isOutcomeByPerson ? open.outcome : outcome,
    rules: open.rules.map((joined) => ({ ...joined, isPending: false })),
    keepUntilNs: latest(open.keepUntilNs, atNs + nsOfMs(postRollMs)),
    cuts: cut(open.cuts, "after", atNs),
  };
}

// --- deadlines -------------------------------------------------------------------------------------------------

type Deadline = { readonly atNs: bigint; readonly next: (open: OpenEpisode) => OpenEpisode | "close" };

/** Lets everything fall due that is due by `nowNs`, each at its own instant. */
function advance(start: OpenEpisode, nowNs: bigint, commands: MachineCommand[]): OpenEpisode | undefined {
  let open = start;
  for (;;) {
    const due = deadlines(open).reduce((first, other) => (other.atNs < first.atNs ? other : first));
    if (due.atNs > nowNs) return open;
    const next = due.next(open);
    if (next === "close") {
      commands.push(...closing(open, due.atNs));
      return undefined;
    }
    open = next;
    commands.push(changed(open));
  }
}

function deadlines(open: OpenEpisode): Deadline[] {
  const closeNs = isPending(open) ? open.endNsMax : expectedEndNs(open);
  return [
    ...open.rules.filter((joined) => joined.isPending).flatMap((joined) => ruleDeadline(open, joined)),
    { atNs: closeNs, next: () => "close" },
  ];
}

function ruleDeadline(open: OpenEpisode, { policy, clearedNs }: JoinedRule): Deadline[] {
  if (policy.kind === "span") return [];
  if (policy.recoversWhen === "cleared" && clearedNs !== undefined) {
    const atNs = clearedNs + nsOfMs(policy.recoveredAfterClearMs);
    return [{ atNs, next: (now) => resolve(now, policy.rule, atNs, "recovered") }];
  }
  const atNs = open.activeNs + nsOfMs(policy.recoveryTimeoutMs);
  return [{ atNs, next: (now) => decide(now, atNs, "failed") }];
}

// --- the episode -----------------------------------------------------------------------------------------------

function closing(open: OpenEpisode, endNs: bigint): MachineCommand[] {
  const outcome = isPending(open) && !open.isOutcomeByPerson ? "unknown" : open.outcome;
  // Nobody could tell how it ended, but the condition did end.
  const quietNs = open.cuts.at(-1)?.kind === "failure" && !isPending(open) ? quietSinceNs(open) : undefined;
  const cuts = quietNs === undefined ? open.cuts : cut(open.cuts, "after", quietNs);
  const closed: MachineCommand = { kind: "closed", episode: toEpisode({ ...open, outcome, cuts }, endNs) };
  return onDemandOf(open).length > 0 ? [closed, { kind: "on_demand", globs: [] }] : [closed];
}

function toEpisode(open: OpenEpisode, endNs: bigint): Episode {
  const segments = segmentsOf(open.cuts, endNs);
  const { id, bootId, kind, rule, priority, startNs, outcome, firings, labels, note } = open;
  const attempts = 1 + segments.filter((segment) => segment.kind === "recovery").length;
  const known = {
    id,
    bootId,
    kind,
    rule,
    priority,
    startNs,
    endNs,
    outcome,
    attempts,
    firings,
    segments,
    labels,
    note,
  };
  return { ...known, ...UNSAID, isInterrupted: false, completeness: [] };
}

/** Tiles the window; a cut of no length is no segment, and recoveries are numbered as they remain. */
function segmentsOf(cuts: readonly Cut[], endNs: bigint): Segment[] {
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

function cut(cuts: readonly Cut[], kind: Segment["kind"], atNs: bigint): readonly Cut[] {
  const last = cuts.at(-1);
  return [...cuts, { kind, startNs: last === undefined ? atNs : latest(last.startNs, atNs) }];
}

function firingOf({ rule, detector, topic, atNs, values }: RuleEvent & { kind: "firing" }): EpisodeFiring {
  return { rule, ruleVersion: undefined, detector, topic, atNs, values };
}

function manualFiring(input: ManualCapture): EpisodeFiring {
  return { rule: MANUAL_RULE, ruleVersion: undefined, detector: undefined, topic: "", atNs: input.atNs, values: {} };
}

function manualPolicy({ preRollMs, postRollMs, labels }: ManualCapture): CapturePolicy {
  return {
    ...{ rule: MANUAL_RULE, version: "", isDryRun: false, topics: ALL_TOPICS },
    kind: "manual",
    ...{ preRollMs, postRollMs, maxMs: preRollMs + postRollMs, labels },
    onOverlap: "extend",
    recoversWhen: "never",
    ...{ recoveredAfterClearMs: 0, recoveryTimeoutMs: 0, priority: 50, onDemand: ALL_TOPICS },
  };
}

const changed = (open: OpenEpisode): MachineCommand => ({
  kind: "changed",
  episode: toEpisode(open, expectedEndNs(open)),
});
const hold = ({ id, startNs, endNsMax }: OpenEpisode): MachineCommand => ({
  kind: "hold",
  ...{ id, startNs, endNs: endNsMax },
});
const isPending = (open: OpenEpisode): boolean => open.rules.some((joined) => joined.isPending);
const attemptCount = (open: OpenEpisode): number => open.cuts.filter(({ kind }) => kind === "recovery").length;
const expectedEndNs = (open: OpenEpisode): bigint => earliest(open.keepUntilNs, open.endNsMax);
const onDemandOf = (open: OpenEpisode): string[] => [...new Set(open.rules.flatMap((rule) => rule.policy.onDemand))];

/** Something is wrong and has not been decided yet. */
function isTroubled(open: OpenEpisode): boolean {
  const kind = open.cuts.at(-1)?.kind;
  return kind === "failure" || kind === "recovery" || isPending(open);
}

/** Since when no joined condition holds any more. */
function quietSinceNs(open: OpenEpisode): bigint | undefined {
  let quietNs: bigint | undefined;
  for (const { clearedNs, policy } of open.rules) {
    if (policy.kind !== "failure") continue;
    if (clearedNs === undefined) return undefined;
    quietNs = quietNs === undefined ? clearedNs : latest(quietNs, clearedNs);
  }
  return quietNs;
}

function replaceRule(open: OpenEpisode, joined: JoinedRule): OpenEpisode {
  return { ...open, rules: open.rules.map((rule) => (rule.policy.rule === joined.policy.rule ? joined : rule)) };
}
