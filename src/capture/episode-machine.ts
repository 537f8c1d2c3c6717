/**
 * Decides what belongs to an episode and how it ended.
 *
 * Promises: pure (all instants are the log_time of its inputs, and deadlines fall due at their own instant
 * however coarse the ticks are, so live and back-test agree exactly); at most one episode is open; every firing is in
 * exactly one episode, with its whole pre-roll, or ignored by its rule; segments tile the window; an episode never
 * outlasts the longest `maxMs` of its rules. Only where one rule's own pre-roll and post-roll are longer, rules fire
 * at one instant, or a person asks for more, it is as long as they ask.
 *
 * Meaning:
 * - A firing opens an episode, with its pre-roll. A later firing of any rule joins it; `split` closes the open one
 *   at the firing and opens the next, and so does a firing with which the window would outlast `maxMs`, one of a rule
 *   that sees recovery when the loop before it is decided, and the next task after one that ended (never a person's
 *   firing); `ignore` only counts it.
 * - Each joined failure that can tell recovery is *pending* until it does. A `recovered` event settles its own rule and
 *   those that can only infer (`recoversWhen: "cleared"`); the last settlement decides `recovered`. One rule that
 *   waits `recoveryTimeoutMs` since the last failure or attempt, or that sees the robot give up, decides `failed`; a
 *   person decides at once. Of a rule that is gone nobody knows. Every decision is kept with its evidence.
 * - A span (a task) is pending until its own end, whatever fails and is decided meanwhile: its success (`recovered`)
 *   decides `succeeded`, its failure (`gave_up`) `failed`; an end alone leaves the outcome of what failed in it, or
 *   `unknown`.
 * - The episode closes one post-roll after the deciding moment, and one after the last firing or clearing.
 * - Two rules may report the same physical attempt: recovery n starts when any one rule has reported n of them.
 *   Rules without `recovered_when` report none; there a firing again after clearing says that the robot tried in
 *   between, and so does a clearing that lasts.
 * - A failure whose rule fired in an episode that ended less than `SAME_FAILURE_NS` before is linked to that one; what
 *   cut another off, to the one it cut.
 */
import {
  type Episode,
  type EpisodeFiring,
  type EpisodeLink,
  type EvidenceKind,
  type Outcome,
  type OutcomeEvidence,
  UNSAID,
} from "../model/episode.ts";
import type { CapturePolicy, RuleEvent } from "../model/rule-event.ts";
import { unreachable } from "../std/assert.ts";
import { earliest, latest, msOfNs, nsOfMs } from "../std/nanoseconds.ts";
import {
  attemptCount,
  endNsMaxOf,
  expectedEndNs,
  findRule,
  isPending,
  isTroubled,
  isWithinSpan,
  type JoinedRule,
  lastSegmentKind,
  lengthNsOf,
  type OpenEpisode,
  onDemandOf,
  quietSinceNs,
  replaceRule,
  toEpisode,
} from "./open-episode.ts";
import { type Cut, cut } from "./segments.ts";

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
  /** Topic globs to be subscribed from now on, whenever they change; none: nothing that is open wants any. */
  | { readonly kind: "on_demand"; readonly globs: readonly string[] }
  | { readonly kind: "closed"; readonly episode: Episode }
  | { readonly kind: "ignored"; readonly rule: string; readonly atNs: bigint };

export type MachineContext = {
  /** The policy of a rule that fires; throws on a rule it never heard of. */
  policyOf(rule: string): CapturePolicy;
  newId(atNs: bigint): string;
  readonly bootId: string;
};

/** The last closed episode in which each rule fired. */
type PastFirings = ReadonlyMap<string, Pick<Episode, "id" | "endNs">>;

export type MachineState = { readonly open: OpenEpisode | undefined; readonly past: PastFirings };
export type MachineStep = { readonly state: MachineState; readonly commands: readonly MachineCommand[] };

export const idleMachine: MachineState = { open: undefined, past: new Map() };

const MANUAL_RULE = "manual";
/** A person wants to see everything: whatever the configuration marks as on demand. */
const ALL_TOPICS = ["**"];

/** What fails again so soon is one trouble to a person: a cup that drops in each of three tasks in a row. */
const SAME_FAILURE_NS = 600_000_000_000n;

/** Inputs come in the order of log_time; one that comes late counts at the time already reached. */
export function stepMachine(state: MachineState, input: MachineInput, context: MachineContext): MachineStep {
  const commands: MachineCommand[] = [];
  const open = state.open === undefined ? undefined : advance(state.open, input.atNs, commands);
  const next = apply(open, input, { ...context, past: remember(state.past, commands) }, commands);
  const globs = onDemandOf(next);
  if (globs.join() !== onDemandOf(state.open).join()) commands.push({ kind: "on_demand", globs });
  return { state: { open: next, past: remember(state.past, commands) }, commands };
}

/** A machine that knows what was closed before its time, oldest first. */
export function machineAfter(episodes: readonly Episode[]): MachineState {
  const closed = episodes.map((episode) => ({ kind: "closed", episode }) as const);
  return { open: undefined, past: remember(idleMachine.past, closed) };
}

/** The open episode as far as it is known. */
export function openEpisodeOf(state: MachineState): Episode | undefined {
  return state.open === undefined ? undefined : toEpisode(state.open, expectedEndNs(state.open));
}

function remember(past: PastFirings, commands: readonly MachineCommand[]): PastFirings {
  const closed = commands.flatMap((command) => (command.kind === "closed" ? [command.episode] : []));
  if (closed.length === 0) return past;
  const fired = closed.flatMap(({ id, endNs, firings }) => firings.map(({ rule }) => [rule, { id, endNs }] as const));
  return new Map([...past, ...fired]);
}

type StepContext = MachineContext & { readonly past: PastFirings };

function apply(
  open: OpenEpisode | undefined,
  input: MachineInput,
  context: StepContext,
  commands: MachineCommand[],
): OpenEpisode | undefined {
  switch (input.kind) {
    case "tick":
      return open;
    case "firing": {
      const policy = context.policyOf(input.rule);
      if (policy.isDryRun) return open;
      return fire(open, firingOf(input, policy), policy, input.note ?? "", context, commands);
    }
    case "manual":
      return fire(open, manualFiring(input), manualPolicy(input), input.note, context, commands);
    case "cleared":
    case "attempt":
    case "recovered":
    case "gave_up":
    case "took_over":
    case "gone":
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
      return recover(open, input);
    case "gave_up":
      return giveUp(open, input);
    case "took_over":
      return isTroubled(open) ? decide(open, evidence("took_over", "operator_took_over", input)) : open;
    case "gone":
      return lose(open, input);
    case "outcome": {
      const decided = decide(open, evidence("operator", input.outcome, { rule: "", atNs: input.atNs }));
      return { ...decided, isOutcomeByPerson: true, outcome: input.outcome };
    }
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
  context: StepContext,
  commands: MachineCommand[],
): OpenEpisode {
  if (open !== undefined && policy.onOverlap === "ignore") {
    commands.push({ kind: "ignored", rule: firing.rule, atNs: firing.atNs });
    const joined = findRule(open, firing.rule);
    // No firing of this episode, but its condition holds again.
    return joined === undefined ? open : replaceRule(open, { ...joined, clearedNs: undefined });
  }
  const extended = open && join(open, firing, policy, note);
  if (open !== undefined && extended !== undefined && !mustSplit(open, extended, firing, policy)) {
    commands.push(changed(extended));
    if (extended.startNs < open.startNs || endNsMaxOf(extended) !== endNsMaxOf(open)) commands.push(hold(extended));
    return extended;
  }
  const cutOff = open && closing(open, firing.atNs, "split");
  if (cutOff !== undefined) commands.push({ kind: "closed", episode: cutOff });
  const linkedTo = linkOf(firing, policy, remember(context.past, commands), cutOff);
  const fresh = join({ ...blank(firing, policy, context), linkedTo }, firing, policy, note);
  commands.push({ kind: "opened", episode: toEpisode(fresh, expectedEndNs(fresh)) }, hold(fresh));
  return fresh;
}

/** `extended`: the open one with the firing. Firings of one instant belong together whatever the policy. */
function mustSplit(open: OpenEpisode, extended: OpenEpisode, firing: EpisodeFiring, policy: CapturePolicy): boolean {
  const lastFiringNs = open.firings.at(-1)?.atNs;
  if (policy.kind === "manual" || lastFiringNs === undefined || firing.atNs <= lastFiringNs) return false;
  if (policy.onOverlap === "split") return true;
  if (policy.kind === "span" && open.rules.some((other) => other.policy.kind === "span" && !other.isPending))
    return true;
  if (policy.recoversWhen === "explicit" && isOver(open)) return true;
  return extended.rollUntilNs > extended.startNs + latest(open.lengthNsMax, lengthNsOf(policy));
}

/** A rule that sees recovery has said how the loop ended: what fails next is a loop of its own, however soon it comes. */
function isOver(open: OpenEpisode): boolean {
  const isDecided = open.outcome === "recovered" || open.outcome === "failed";
  return isDecided && !isWithinSpan(open) && open.rules.some(({ policy }) => policy.recoversWhen === "explicit");
}

function linkOf(
  firing: EpisodeFiring,
  policy: CapturePolicy,
  past: PastFirings,
  cutOff: Episode | undefined,
): EpisodeLink | undefined {
  const earlier = policy.kind === "failure" ? past.get(firing.rule) : undefined;
  const isSame = earlier !== undefined && firing.atNs - earlier.endNs <= SAME_FAILURE_NS;
  const other = isSame ? earlier : cutOff;
  if (other === undefined) return undefined;
  const afterMs = Math.max(0, msOfNs(firing.atNs - other.endNs));
  return { id: other.id, kind: isSame ? "same_failure" : "continues", afterMs };
}

function blank({ atNs, rule }: EpisodeFiring, policy: CapturePolicy, context: MachineContext): OpenEpisode {
  const startNs = atNs - nsOfMs(policy.preRollMs);
  return {
    ...UNSAID,
    id: context.newId(atNs),
    bootId: context.bootId,
    kind: policy.kind,
    rule,
    priority: policy.priority,
    startNs,
    lengthNsMax: 0n,
    ...{ rollUntilNs: atNs, keepUntilNs: atNs, activeNs: atNs, failedNs: undefined },
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
  const { atNs } = firing;
  const startNs = earliest(open.startNs, atNs - nsOfMs(policy.preRollMs));
  const rollUntilNs = latest(open.rollUntilNs, atNs + nsOfMs(policy.postRollMs));
  const cuts = open.cuts.map((cut, index) => (index === 0 ? { ...cut, startNs } : cut));
  const isFailure = policy.kind === "failure";
  return {
    ...open,
    startNs,
    lengthNsMax: [open.lengthNsMax, lengthNsOf(policy), rollUntilNs - startNs].reduce(latest),
    rollUntilNs,
    kind: isFailure ? "failure" : open.kind,
    priority: Math.max(open.priority, policy.priority),
    keepUntilNs: latest(open.keepUntilNs, rollUntilNs),
    activeNs: isFailure ? latest(open.activeNs, atNs) : open.activeNs,
    failedNs: open.failedNs ?? (isFailure ? atNs : undefined),
    outcome: policy.recoversWhen === "never" || open.isOutcomeByPerson ? open.outcome : "unknown",
    firings: [...open.firings, firing],
    rules: joinRule(open, policy),
    cuts: cutAtFiring({ ...open, cuts }, firing, policy),
    labels: { ...policy.labels, ...open.labels },
    note: [open.note, note].filter((text) => text !== "").join("\n"),
  };
}

function joinRule(open: OpenEpisode, policy: CapturePolicy): JoinedRule[] {
  const known = findRule(open, policy.rule);
  const isPending = policy.kind === "span" || (policy.kind === "failure" && policy.recoversWhen !== "never");
  const attempts = known?.attempts ?? attemptCount(open);
  const joined = { policy, isPending, clearedNs: undefined, attempts };
  return [...open.rules.filter((other) => other !== known), joined];
}

function cutAtFiring(open: OpenEpisode, firing: EpisodeFiring, policy: CapturePolicy): readonly Cut[] {
  const last = lastSegmentKind(open);
  if (policy.kind === "span") return open.cuts;
  if (policy.kind !== "failure") return last === "before" ? cut(open.cuts, "after", firing.atNs) : open.cuts;
  if (last !== "failure") return cut(open.cuts, "failure", firing.atNs);
  const isAgain = findRule(open, firing.rule) !== undefined;
  return isAgain ? cut(cutInferredAttempt(open), "failure", firing.atNs) : open.cuts;
}

/** Where nobody reports attempts, what follows the clearing of every condition was one. */
function cutInferredAttempt(open: OpenEpisode): readonly Cut[] {
  const quietNs = quietSinceNs(open);
  const isReported = open.rules.some(({ policy }) => policy.kind === "failure" && policy.recoversWhen === "explicit");
  const isFailing = lastSegmentKind(open) === "failure";
  return quietNs === undefined || isReported || !isFailing ? open.cuts : cut(open.cuts, "recovery", quietNs);
}

// --- what follows a firing -------------------------------------------------------------------------------------

function clear(open: OpenEpisode, rule: string, atNs: bigint): OpenEpisode {
  const joined = findRule(open, rule);
  if (joined === undefined || joined.clearedNs !== undefined) return open;
  const { kind, recoversWhen, postRollMs } = joined.policy;
  const cleared = replaceRule(open, { ...joined, clearedNs: atNs });
  if (kind === "span" && joined.isPending) return resolve(cleared, evidence("end_seen", open.outcome, { rule, atNs }));
  const keepUntilNs = latest(open.keepUntilNs, atNs + nsOfMs(postRollMs));
  return recoversWhen === "never" ? { ...cleared, keepUntilNs } : cleared;
}

function attempt(open: OpenEpisode, rule: string, atNs: bigint): OpenEpisode {
  const joined = findRule(open, rule);
  if (joined === undefined || !isTroubled(open)) return open;
  const reported = replaceRule(
    { ...open, activeNs: latest(open.activeNs, atNs) },
    { ...joined, attempts: joined.attempts + 1 },
  );
  return joined.attempts + 1 > attemptCount(open) ? { ...reported, cuts: cut(open.cuts, "recovery", atNs) } : reported;
}

function recover(open: OpenEpisode, event: Witness): OpenEpisode {
  const joined = findRule(open, event.rule);
  if (joined?.policy.kind === "span") {
    const outcome = open.outcome === "operator_took_over" ? open.outcome : "succeeded";
    return endSpan(open, joined, evidence("end_seen", outcome, event));
  }
  if (joined?.isPending !== true) return open;
  const rules = open.rules.map((other) =>
    other.policy.recoversWhen === "cleared" && other.policy.kind === "failure" ? { ...other, isPending: false } : other,
  );
  return resolve({ ...open, rules }, evidence("recovery_seen", "recovered", event));
}

function giveUp(open: OpenEpisode, event: Witness): OpenEpisode {
  const joined = findRule(open, event.rule);
  if (joined?.policy.kind === "span") return endSpan(open, joined, evidence("end_seen", "failed", event));
  return joined?.isPending === true ? decide(open, evidence("gave_up", "failed", event)) : open;
}

/** Nobody looks how it ends, so nobody knows; what failed in a task that nobody follows any more keeps its outcome. */
function lose(open: OpenEpisode, event: Witness): OpenEpisode {
  const joined = findRule(open, event.rule);
  if (joined?.isPending !== true) return open;
  return resolve(open, evidence("cannot_tell", joined.policy.kind === "span" ? open.outcome : "unknown", event));
}

/** With a task what failed in it is decided. How it went may be seen a little after its end. */
function endSpan(open: OpenEpisode, span: JoinedRule, said: OutcomeEvidence): OpenEpisode {
  if (!span.isPending && open.outcome !== "unknown") return open;
  return decide(replaceRule(open, { ...span, isPending: false }), said);
}

/** One rule knows how it ended; the last failure to know decides, and a task's end when no failure waits. */
function resolve(open: OpenEpisode, said: OutcomeEvidence, nowNs = said.atNs): OpenEpisode {
  const rules = open.rules.map((other) => (other.policy.rule === said.rule ? { ...other, isPending: false } : other));
  if (rules.some(({ policy, isPending }) => isPending && policy.kind === "failure")) return { ...open, rules };
  const cuts = said.outcome === "recovered" ? cutInferredAttempt(open) : open.cuts;
  return decide({ ...open, rules, cuts }, said, nowNs);
}

/** Every failure is decided; a task that has not ended goes on. */
function decide(open: OpenEpisode, said: OutcomeEvidence, nowNs = said.atNs): OpenEpisode {
  const { failedNs, isOutcomeByPerson } = open;
  const postRollMs = Math.max(...open.rules.map(({ policy }) => policy.postRollMs));
  const isRecovery = said.outcome === "recovered" && failedNs !== undefined;
  return {
    ...open,
    outcome: isOutcomeByPerson ? open.outcome : said.outcome,
    evidence: isOutcomeByPerson ? open.evidence : [...open.evidence, said],
    timeToRecoverMs: isRecovery ? msOfNs(said.atNs - failedNs) : open.timeToRecoverMs,
    failedNs: undefined,
    rules: open.rules.map((joined) => (joined.policy.kind === "span" ? joined : { ...joined, isPending: false })),
    keepUntilNs: latest(open.keepUntilNs, nowNs + nsOfMs(postRollMs)),
    cuts: cut(open.cuts, "after", nowNs),
  };
}

/** Who says it, when, and by what. */
type Witness = {
  readonly rule: string;
  readonly atNs: bigint;
  readonly values?: OutcomeEvidence["values"];
};

function evidence(kind: EvidenceKind, outcome: Outcome, { rule, atNs, values = {} }: Witness): OutcomeEvidence {
  return { kind, outcome, rule, atNs, values };
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
      commands.push({ kind: "closed", episode: closing(open, due.atNs, "max_ms") });
      return undefined;
    }
    open = next;
    commands.push(changed(open));
  }
}

function deadlines(open: OpenEpisode): Deadline[] {
  const closeNs = isPending(open) ? endNsMaxOf(open) : expectedEndNs(open);
  return [
    ...open.rules.filter((joined) => joined.isPending).flatMap((joined) => ruleDeadline(open, joined)),
    { atNs: closeNs, next: () => "close" },
  ];
}

function ruleDeadline(open: OpenEpisode, { policy, clearedNs }: JoinedRule): Deadline[] {
  const { rule, kind, recoversWhen, recoveredAfterClearMs, recoveryTimeoutMs } = policy;
  if (kind === "span") return [];
  if (recoversWhen === "cleared" && clearedNs !== undefined) {
    const atNs = clearedNs + nsOfMs(recoveredAfterClearMs);
    const witness = { rule, atNs: quietSinceNs(open) ?? clearedNs, values: { clear_ms: recoveredAfterClearMs } };
    return [{ atNs, next: (now) => resolve(now, evidence("stayed_clear", "recovered", witness), atNs) }];
  }
  const atNs = open.activeNs + nsOfMs(recoveryTimeoutMs);
  const witness = { rule, atNs, values: { recovery_timeout_ms: recoveryTimeoutMs } };
  return [{ atNs, next: (now) => decide(now, evidence("recovery_timeout", "failed", witness)) }];
}

// --- the end ---------------------------------------------------------------------------------------------------

/** `why` it ends now, should nothing have decided it. */
function closing(open: OpenEpisode, endNs: bigint, why: "max_ms" | "split"): Episode {
  const isUndecided = isPending(open) && !open.isOutcomeByPerson;
  // Nobody could tell how it ended, but the condition did end.
  const quietNs = lastSegmentKind(open) === "failure" && !isPending(open) ? quietSinceNs(open) : undefined;
  const cuts = quietNs === undefined ? open.cuts : cut(open.cuts, "after", quietNs);
  const last = lastEvidence(open, endNs, isUndecided ? why : "cannot_tell");
  const outcome = isUndecided ? "unknown" : open.outcome;
  return toEpisode({ ...open, outcome, cuts, evidence: [...open.evidence, ...last] }, endNs);
}

/** Why there is no outcome. What only keeps a window (a sample, a person's firing) has none to tell. */
function lastEvidence(open: OpenEpisode, atNs: bigint, kind: EvidenceKind): OutcomeEvidence[] {
  const pending = open.rules.find((joined) => joined.isPending);
  const failure = open.rules.find(({ policy }) => policy.kind === "failure");
  const rule = (pending ?? failure)?.policy.rule;
  const isTold = kind === "cannot_tell" && open.evidence.length > 0;
  return rule === undefined || isTold ? [] : [evidence(kind, "unknown", { rule, atNs })];
}

function firingOf(event: RuleEvent & { kind: "firing" }, { version }: CapturePolicy): EpisodeFiring {
  const { rule, detector, topic, atNs, values } = event;
  return { rule, ruleVersion: version, detector, topic, atNs, values };
}

function manualFiring({ atNs }: ManualCapture): EpisodeFiring {
  return { rule: MANUAL_RULE, ruleVersion: undefined, detector: undefined, topic: "", atNs, values: {} };
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
const hold = (open: OpenEpisode): MachineCommand => ({
  kind: "hold",
  ...{ id: open.id, startNs: open.startNs, endNs: endNsMaxOf(open) },
});
