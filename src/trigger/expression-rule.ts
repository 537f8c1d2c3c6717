/** A rule with an expression: its condition's edge, and what follows a firing. */
import type { Channel } from "../model/channel.ts";
import { assert } from "../std/assert.ts";
import type { BoundRule, RuleDeps } from "./bound-rule.ts";
import { Edge } from "./edge.ts";
import { FollowUps } from "./follow-ups.ts";
import type { Rule } from "./rule.ts";
import type { RuleBudget } from "./rule-budget.ts";
import { type BoundExpression, RuleExpressions } from "./rule-expressions.ts";
import { RuleReport, type RuleStatus } from "./rule-report.ts";
import type { Standing } from "./standing.ts";

export class ExpressionRule implements BoundRule {
  readonly rule: Rule;
  readonly budget: RuleBudget;
  readonly #report: RuleReport;
  readonly #expressions: RuleExpressions;
  readonly #when: BoundExpression;
  readonly #clearWhen: BoundExpression | undefined;
  readonly #followUps: FollowUps;
  readonly #edge: Edge;

  constructor(rule: Rule, deps: RuleDeps, before: Standing) {
    assert(rule.condition.kind === "expression", "an expression rule has an expression");
    const { when, clearWhen } = rule.condition;
    this.rule = rule;
    this.budget = deps.budget;
    this.#report = new RuleReport(rule, deps, before);
    this.#edge = new Edge(rule.edge, before.highs.has(""));
    this.#expressions = new RuleExpressions(rule.inputs, deps, this.#report, this.#evaluate);
    this.#when = this.#expressions.add("when", when);
    this.#clearWhen = clearWhen && this.#expressions.add("clear_when", clearWhen);
    this.#followUps = new FollowUps(rule, this.#expressions, this.#report, before.openUntilMs);
  }

  addChannel(channel: Channel): void {
    this.#expressions.addChannel(channel);
  }

  onTick(nowMs: number, atNs: bigint): void {
    this.#evaluate(nowMs, atNs);
  }

  onLongSilence(): void {
    this.#expressions.onLongSilence();
  }

  onRest(): void {
    this.#edge.forget();
    this.onLongSilence();
  }

  standing(): Standing {
    return { highs: new Set(this.#edge.isHigh ? [""] : []), openUntilMs: this.#followUps.openUntilMs };
  }

  status(): RuleStatus {
    const expressions = this.#expressions;
    const reason = expressions.reasonOf(this.#when);
    const state = reason === undefined ? "bound" : "waiting";
    return this.#report.status(state, expressions.boundTo(), reason, expressions.waiting(this.#when));
  }

  /** A function value: twenty of them are called on every message. */
  readonly #evaluate = (nowMs: number, atNs: bigint): void => {
    const edge = this.#edge;
    const isOn = this.#when.truth(nowMs);
    if (isOn === false && this.#followUps.isNothing && edge.staysLow()) return;
    const isOver = edge.isHigh ? this.#clearWhen?.truth(nowMs) : undefined;
    const step = this.#clearWhen === undefined ? edge.step(isOn, nowMs) : edge.stepBetween(isOn, isOver, nowMs);
    if (step === "fired") {
      const topic = this.#expressions.topicOf(this.#when);
      if (this.#report.fire(topic, atNs, this.#when.values())) this.#followUps.open(nowMs);
    } else if (step === "cleared") {
      this.#report.tell("cleared", atNs);
      this.#followUps.onCleared(nowMs);
    }
    this.#followUps.step(nowMs, atNs);
  };
}
