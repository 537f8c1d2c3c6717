/**
 * A rule of kind `manual` without a condition: every message on its inputs is a firing. The text of a message that has
 * one in a field `data`, as std_msgs/String does, is the note.
 */
import type { Channel } from "../model/channel.ts";
import type { BoundRule, RuleDeps } from "./bound-rule.ts";
import type { Rule } from "./rule.ts";
import type { RuleBudget } from "./rule-budget.ts";
import { describeInput, matches } from "./rule-expressions.ts";
import { RuleReport, type RuleStatus } from "./rule-report.ts";
import { AT_REST, type Standing } from "./standing.ts";

export class MessageRule implements BoundRule {
  readonly rule: Rule;
  readonly budget: RuleBudget;
  readonly #deps: RuleDeps;
  readonly #report: RuleReport;
  readonly #topics = new Set<string>();

  constructor(rule: Rule, deps: RuleDeps) {
    this.rule = rule;
    this.budget = deps.budget;
    this.#deps = deps;
    this.#report = new RuleReport(rule, deps);
  }

  addChannel(channel: Channel): void {
    if (![...this.rule.inputs.values()].some((spec) => matches(spec, channel))) return;
    this.#report.noteInput(channel);
    this.#topics.add(channel.topic);
    const feed = this.#deps.feedOf(channel);
    const text = feed.slot("data", feed.freshness(Number.POSITIVE_INFINITY), this);
    feed.detach(this); // a topic that came back
    feed.attach(this, {
      evaluate: (_nowMs, atNs) => {
        const note = "value" in text && typeof text.value === "string" ? text.value : "";
        this.#report.fire(channel.topic, atNs, {}, note);
      },
    });
  }

  onTick(): void {}

  onLongSilence(): void {}

  onRest(): void {}

  standing(): Standing {
    return AT_REST;
  }

  status(): RuleStatus {
    if (this.#topics.size > 0) return this.#report.status("bound", [...this.#topics]);
    const wanted = [...this.rule.inputs.values()].map(describeInput);
    return this.#report.status("waiting", [], `no such topic yet: ${wanted.join(", ")}`);
  }
}
