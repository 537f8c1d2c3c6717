/** A rule at work, as the trigger sees it: its inputs found, its conditions compiled, its edges stepped. */
import type { Channel } from "../model/channel.ts";
import type { RuleEvent } from "../model/rule-event.ts";
import { DetectorRule } from "./detector-rule.ts";
import { ExpressionRule } from "./expression-rule.ts";
import type { Feed } from "./feed.ts";
import type { Rule } from "./rule.ts";
import type { RuleClock } from "./rule-clock.ts";
import type { RuleStatus } from "./rule-report.ts";
import type { FieldAccess } from "./seams.ts";

export type RuleDeps = {
  readonly clock: RuleClock;
  readonly fields: FieldAccess;
  feedOf(channel: Channel): Feed;
  onEvent(event: RuleEvent): void;
};

/** What the trigger asks of a rule, whatever its condition is. */
export interface BoundRule {
  readonly rule: Rule;
  addChannel(channel: Channel): void;
  onTick(atNs: bigint): void;
  onLongSilence(): void;
  status(): RuleStatus;
}

export function openRule(rule: Rule, deps: RuleDeps): BoundRule {
  return rule.condition.kind === "detector" ? new DetectorRule(rule, deps) : new ExpressionRule(rule, deps);
}
