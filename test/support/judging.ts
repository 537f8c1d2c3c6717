/**
 * Judges rules by a truth that is known: what they found, what they missed, what they made up.
 *
 * A rule tells a *kind* of failure, its label `failure`. It is *raised* from its firing until it clears. An event of the
 * truth is found if a rule of one of its kinds is raised within the event's stretch of time; an *instant* takes a firing
 * of its own. A firing of kind `failure` that lies in no event's stretch, or is of another kind, is false. Nothing else
 * is asked: not by which rule, not how.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { backtestRecording, type RecordingVerdict } from "../../src/daemon/backtest.ts";
import { Definitions } from "../../src/decode/definitions.ts";
import { type SimulatedRun, type SimulationOptions, START_NS, simulate } from "../../src/demo/headless.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import { type RecordedMessage, type Recording, readings } from "../../src/replay/recording.ts";
import { compileGlobs } from "../../src/std/glob.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { combineRules, parseRules, type Rule } from "../../src/trigger/rule.ts";

const ROOT = resolve(import.meta.dirname, "../..");
export const RECORDINGS = join(ROOT, "test/data/recordings");
const RULES = join(ROOT, "config/rules");

/** Times in seconds since the recording's first message. */
export type TruthEvent = {
  readonly name: string;
  /** A rule of any of these kinds finds it. */
  readonly kinds: readonly string[];
  /** What else may be said of it without being false. */
  readonly alsoKinds?: readonly string[];
  /** Found by what is raised between these two. */
  readonly fromS: number;
  readonly toS: number;
  /** Up to when what is said of it is true; `toS` without. */
  readonly untilS?: number;
  /** Needs a firing of its own. */
  readonly isInstant?: boolean;
};

export type Raised = {
  readonly rule: string;
  readonly kind: string;
  readonly topic: string;
  readonly fromS: number;
  readonly toS: number;
};

export type Judgement = {
  readonly raised: readonly Raised[];
  /** With the seconds from the event's begin to the firing; below zero if it was raised before. */
  readonly found: readonly { readonly event: TruthEvent; readonly lagS: number }[];
  readonly missed: readonly TruthEvent[];
  readonly false: readonly Raised[];
};

/** The shipped rule files by name, `default` first. */
export function ruleSets(): readonly string[] {
  const names = readdirSync(RULES)
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => name.replace(".yaml", ""));
  return ["default", ...names.filter((name) => name !== "default")];
}

export function shippedRules(sets: readonly string[]): Rule[] {
  return combineRules(
    sets.map((name) => parseRules(`${name}.yaml`, readFileSync(join(RULES, `${name}.yaml`), "utf8"))),
  );
}

const definitions = Definitions.open({ folders: [] });

/** What `lode demo` arms. */
export const DEMO_SETS = ["default", "manipulator"];

/** A recording of test/data. */
export function openShared(name: string): Promise<Recording> {
  return openRecording(join(RECORDINGS, name), { findDefinition: (type, ros) => definitions.find(type, ros) });
}

/** A run of the demo robot as a recording that is made while it is read, once. */
export async function openSimulated(
  options: Omit<SimulationOptions, "cameras">,
): Promise<{ readonly recording: Recording; readonly run: SimulatedRun }> {
  const run = await simulate({ ...options, cameras: false });
  const indices = new Map(run.topics.map(({ topic }, index) => [topic, index]));
  async function* batches(): AsyncGenerator<readonly RecordedMessage[]> {
    for await (const slice of run.messages)
      yield slice.map(({ topic, bytes, stampNs }) => {
        return { channelIndex: indices.get(topic) ?? 0, logTimeNs: stampNs, publishTimeNs: stampNs, bytes };
      });
  }
  const recording: Recording = {
    path: `seed ${options.seed}`,
    ros: 2,
    channels: run.topics.map((topic) => ({ ...topic, encoding: "cdr" })),
    startNs: START_NS,
    endNs: START_NS + BigInt(Math.round(options.seconds * 1e9)),
    messageCount: 0,
    problem: undefined,
    ...readings("the demo robot", batches),
    [Symbol.asyncDispose]: async () => {},
  };
  return { recording, run };
}

export function backtest(
  recording: Recording,
  rules: readonly Rule[],
  exclude: readonly string[] = [],
): Promise<RecordingVerdict> {
  return backtestRecording(recording, { rules, isExcluded: compileGlobs(exclude), log: silentLog });
}

/** `also`: what may be told and need not. */
export function judge(
  verdict: RecordingVerdict,
  rules: readonly Rule[],
  truth: readonly TruthEvent[],
  also: readonly TruthEvent[] = [],
): Judgement {
  const raised = raisedIn(verdict, rules);
  const used = new Set<Raised>();
  const found: { event: TruthEvent; lagS: number }[] = [];
  const missed: TruthEvent[] = [];
  for (const event of truth) {
    const match = raised.find((each) => !used.has(each) && isTold(event, each));
    if (match === undefined) missed.push(event);
    else {
      found.push({ event, lagS: match.fromS - event.fromS });
      if (event.isInstant === true) used.add(match);
    }
  }
  const isTrue = (each: Raised): boolean => used.has(each) || [...truth, ...also].some((event) => isAt(event, each));
  return { raised, found, missed, false: raised.filter((each) => !isTrue(each)) };
}

/** Raised by a fitting rule within the stretch; an instant asks for the firing itself. */
function isTold(event: TruthEvent, { kind, fromS, toS }: Raised): boolean {
  if (!event.kinds.includes(kind) || fromS > event.toS) return false;
  return event.isInstant === true ? fromS >= event.fromS : toS >= event.fromS;
}

/** Whether the firing is about the event; a second one for an instant is one too many. */
export function isAt(
  { kinds, alsoKinds = [], fromS, toS, untilS = toS, isInstant }: TruthEvent,
  each: Raised,
): boolean {
  const allowed = isInstant === true ? alsoKinds : [...kinds, ...alsoKinds];
  return allowed.includes(each.kind) && each.fromS >= fromS && each.fromS <= untilS;
}

function raisedIn(verdict: RecordingVerdict, rules: readonly Rule[]): Raised[] {
  const at = (ns: bigint): number => Number(ns - verdict.startNs) / 1e9;
  const policies = new Map(rules.map(({ policy }) => [policy.rule, policy]));
  return verdict.events.flatMap((event, index) => {
    const policy = policies.get(event.rule);
    if (event.kind !== "firing" || policy?.kind !== "failure" || policy.isDryRun) return [];
    const end = verdict.events.slice(index + 1).find(({ kind, rule }) => kind === "cleared" && rule === event.rule);
    const kind = policy.labels.failure ?? event.rule;
    return [{ rule: event.rule, kind, topic: event.topic, fromS: at(event.atNs), toS: at(end?.atNs ?? verdict.endNs) }];
  });
}
