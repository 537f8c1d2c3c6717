/** A rule at work, as the trigger sees it: its inputs found, its conditions compiled, its edges stepped. */
import type { Channel } from "../model/channel.ts";
import type { RuleEvent } from "../model/rule-event.ts";
import type { Log } from "../telemetry/log.ts";
import { DetectorRule } from "./detector-rule.ts";
import { ExpressionRule } from "./expression-rule.ts";
import type { Feed } from "./feed.ts";
import { MessageRule } from "./message-rule.ts";
import type { Rule } from "./rule.ts";
import type { RuleBudget } from "./rule-budget.ts";
import type { RuleClock } from "./rule-clock.ts";
import type { RuleStatus } from "./rule-report.ts";
import { SampleRule } from "./sample-rule.ts";
import type { FieldAccess } from "./seams.ts";
import type { Standing } from "./standing.ts";

export type RuleDeps = {
  readonly clock: RuleClock;
  readonly fields: FieldAccess;
  feedOf(channel: Channel): Feed;
  readonly log: Log;
  /** What the wall clock says beyond log_time. */
  readonly wallOffsetNs: () => bigint;
  readonly budget: RuleBudget;
  onEvent(event: RuleEvent): void;
};

/** What the trigger asks of a rule, whatever its condition is. */
export interface BoundRule {
  readonly rule: Rule;
  readonly budget: RuleBudget;
  addChannel(channel: Channel): void;
  onTick(nowMs: number, atNs: bigint): void;
  onLongSilence(): void;
  /** It was not judged for a while: no time accrues across that, and what it had learnt of rhythms no longer holds. */
  onRest(): void;
  standing(): Standing;
  status(): RuleStatus;
}

export function openRule(rule: Rule, deps: RuleDeps, before: Standing): BoundRule {
  switch (rule.condition.kind) {
    case "detector":
      return new DetectorRule(rule, deps, before);
    case "schedule":
      return new SampleRule(rule, deps);
    case "message":
      return new MessageRule(rule, deps);
    default:
      return new ExpressionRule(rule, deps, before);
  }
}
