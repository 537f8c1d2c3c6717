/**
 * The trigger: messages in, rule events out.
 *
 * Promises: pure over messages and their log time, so that live and back-test agree exactly (but for a rule that costs
 * more than its ceiling, which only live is measured and throttled); a message on a channel that no rule looks at costs
 * one map lookup; a rule that breaks on a message is switched off and said once, the others and the daemon go on.
 * Rules may be exchanged between two messages: those that mean the same keep what they have learnt. Events come out
 * synchronously, in the order of log time.
 */
import type { Channel } from "../model/channel.ts";
import type { CapturePolicy, RuleEvent } from "../model/rule-event.ts";
import { describeError } from "../std/fault.ts";
import type { Log } from "../telemetry/log.ts";
import { type BoundRule, openRule } from "./bound-rule.ts";
import { Feed } from "./feed.ts";
import type { Rule } from "./rule.ts";
import { RULE_LIMITS, RuleBudget, type RuleLimits } from "./rule-budget.ts";
import { RuleClock } from "./rule-clock.ts";
import { disabledStatus, type RuleStatus } from "./rule-report.ts";
import type { FieldAccess } from "./seams.ts";
import { AT_REST, type Standing } from "./standing.ts";

export type { RuleStatus } from "./rule-report.ts";

export type TriggerDeps = {
  readonly fields: FieldAccess;
  readonly log: Log;
  readonly limits?: RuleLimits;
  /** Real time in ms, to measure by what rules cost; without it they are not measured. */
  readonly clockMs?: () => number;
  onEvent(event: RuleEvent): void;
};

/** A wall clock that is only slewed stays with log_time. */
const WALL_STEP_NS_MIN = 500_000_000n;

/** Costs of ticks are measured on each so many. */
const TICK_STRIDE = 16;

export class Trigger {
  readonly #deps: TriggerDeps;
  #rules: readonly Rule[] = [];
  #bound: readonly BoundRule[] = [];
  readonly #brokenBy = new Map<Rule, string>();
  readonly #channels = new Map<number, Channel>();
  readonly #feeds = new Map<number, Feed>();
  readonly #clock: RuleClock;
  #ticks = 0;
  #wallOffsetNs = 0n;

  private constructor(deps: TriggerDeps) {
    this.#deps = deps;
    this.#clock = new RuleClock({
      onTick: (atNs) => this.#tick(atNs),
      onLongSilence: () => this.#forgetRhythm(),
    });
  }

  static open(rules: readonly Rule[], deps: TriggerDeps): Trigger {
    const trigger = new Trigger(deps);
    trigger.setRules(rules);
    return trigger;
  }

  /**
   * From the next message on, these rules. One that means what the rule of its name meant before goes on as if nothing
   * had happened; a changed one begins anew, and takes over only what has fired and not cleared.
   */
  setRules(rules: readonly Rule[]): void {
    const before = new Map(this.#bound.map((bound) => [bound.rule.name, bound]));
    const working = rules.filter((rule) => rule.isEnabled && rule.condition.kind !== "none");
    const kept = new Set(working.flatMap((rule) => keptOf(before.get(rule.name), rule) ?? []));
    const speaking = new Set(working.filter(({ policy }) => !policy.isDryRun).map(({ name }) => name));
    for (const bound of this.#bound) {
      if (kept.has(bound)) continue;
      this.#drop(bound);
      if (!speaking.has(bound.rule.name)) this.#tellGone(bound);
    }
    this.#rules = rules;
    this.#bound = working.map((rule) => {
      const former = before.get(rule.name);
      return keptOf(former, rule) ?? this.#open(rule, former?.standing() ?? AT_REST);
    });
  }

  /** Before the channel's first message, and when its topic comes back to it. Again for the same, it changes nothing. */
  addChannel(channel: Channel): void {
    const inUse = [...this.#channels.values()].findLast(({ topic }) => topic === channel.topic);
    if (inUse?.id === channel.id) return;
    this.#channels.delete(channel.id); // they stand in the order in which they came into use
    this.#channels.set(channel.id, channel);
    for (const bound of this.#bound) bound.addChannel(channel);
  }

  /** `bytes` is borrowed for the call. Log times that go back count at the time already reached. */
  onMessage(channel: Channel, bytes: Uint8Array, logTimeNs: bigint): void {
    const feed = this.#feeds.get(channel.id);
    const sinceMs = this.#clock.tickTo(logTimeNs);
    if (feed === undefined) return;
    this.#clock.moveTo(sinceMs);
    feed.receive(bytes, this.#clock.nowMs, logTimeNs);
  }

  /** A gap in the connection is a silence of everything, however short. */
  onConnection(isConnected: boolean): void {
    if (isConnected) this.#forgetRhythm();
  }

  /** log_time goes on from the boot's first reading of the wall clock, which may have been set since. */
  setWallOffset(offsetNs: bigint): void {
    this.#wallOffsetNs = offsetNs > -WALL_STEP_NS_MIN && offsetNs < WALL_STEP_NS_MIN ? 0n : offsetNs;
  }

  policies(): CapturePolicy[] {
    return this.#rules.map((rule) => rule.policy);
  }

  status(): RuleStatus[] {
    return this.#rules.map((rule) => {
      const bound = this.#bound.find((working) => working.rule.name === rule.name);
      return bound === undefined
        ? disabledStatus(rule, this.#brokenBy.get(rule))
        : { ...bound.status(), place: rule.place };
    });
  }

  #open(rule: Rule, before: Standing): BoundRule {
    const { fields, log, limits = RULE_LIMITS, onEvent } = this.#deps;
    const budget = new RuleBudget(rule.name, { limits, log, onRest: () => this.#onRest(bound) });
    const feedOf = (channel: Channel) => this.#feedOf(channel, budget);
    const wallOffsetNs = () => this.#wallOffsetNs;
    const deps = { clock: this.#clock, fields, log, budget, feedOf, wallOffsetNs, onEvent };
    const bound = openRule(rule, deps, before);
    for (const channel of this.#channels.values()) bound.addChannel(channel);
    return bound;
  }

  /** It has begun to rest, or goes on. */
  #onRest(bound: BoundRule): void {
    bound.onRest();
    for (const feed of this.#feeds.values()) feed.refresh();
  }

  #drop(bound: BoundRule): void {
    for (const [id, feed] of this.#feeds) {
      feed.forget(bound.budget);
      if (feed.holders.size === 0) this.#feeds.delete(id);
    }
  }

  #break(budget: RuleBudget, error: unknown): void {
    const bound = this.#bound.find((working) => working.budget === budget);
    if (bound === undefined) return;
    this.#bound = this.#bound.filter((other) => other !== bound);
    this.#drop(bound);
    this.#brokenBy.set(bound.rule, `it broke and is switched off: ${describeError(error)}`);
    this.#deps.log.error("A rule broke and is switched off.", { rule: bound.rule.name, cause: error });
    this.#tellGone(bound);
  }

  /** What it fired may wait for its word. */
  #tellGone(bound: BoundRule): void {
    const { highs, openUntilMs } = bound.standing();
    const isAwaited = highs.size > 0 || openUntilMs > this.#clock.nowMs;
    const { name, policy } = bound.rule;
    if (isAwaited && !policy.isDryRun) this.#deps.onEvent({ kind: "gone", rule: name, atNs: this.#clock.reachedNs });
  }

  #feedOf(channel: Channel, budget: RuleBudget): Feed {
    const feed = this.#feeds.get(channel.id) ?? this.#openFeed(channel);
    feed.holders.add(budget);
    return feed;
  }

  #openFeed(channel: Channel): Feed {
    const { fields, clockMs } = this.#deps;
    const onBreak = ({ budget }: { readonly budget: RuleBudget }, error: unknown) => this.#break(budget, error);
    const feed = new Feed(channel, { fields, clockMs, onBreak });
    this.#feeds.set(channel.id, feed);
    return feed;
  }

  #tick(atNs: bigint): void {
    const { nowMs } = this.#clock;
    for (const feed of this.#feeds.values()) feed.age(nowMs);
    this.#ticks += 1;
    const clockMs = this.#ticks % TICK_STRIDE === 0 ? this.#deps.clockMs : undefined;
    for (const bound of this.#bound) {
      if (clockMs !== undefined) bound.budget.wake(clockMs());
      if (bound.budget.isResting) continue;
      const fromMs = clockMs?.() ?? 0;
      try {
        bound.onTick(nowMs, atNs);
      } catch (error) {
        this.#break(bound.budget, error);
      }
      if (clockMs !== undefined) bound.budget.charge((clockMs() - fromMs) * TICK_STRIDE, clockMs());
    }
  }

  #forgetRhythm(): void {
    for (const feed of this.#feeds.values()) feed.forgetRhythm();
    for (const bound of this.#bound) bound.onLongSilence();
  }
}

/** The rule at work, if it means what `rule` means. */
function keptOf(bound: BoundRule | undefined, rule: Rule): BoundRule | undefined {
  return bound?.rule.policy.version === rule.policy.version ? bound : undefined;
}
