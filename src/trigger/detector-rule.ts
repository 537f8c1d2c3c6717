/** A rule with a detector: it is offered every channel, and each thing that it watches has an edge of its own. */
import type { Channel } from "../model/channel.ts";
import { assert } from "../std/assert.ts";
import type { BoundRule, RuleDeps } from "./bound-rule.ts";
import type { Detector, Subject } from "./detector.ts";
import { Edge } from "./edge.ts";
import { FollowUps } from "./follow-ups.ts";
import type { Rule } from "./rule.ts";
import type { RuleBudget } from "./rule-budget.ts";
import { RuleExpressions } from "./rule-expressions.ts";
import { RuleReport, type RuleStatus } from "./rule-report.ts";
import type { Standing } from "./standing.ts";

type Watch = { readonly subject: Subject; readonly edge: Edge };

export class DetectorRule implements BoundRule {
  readonly rule: Rule;
  readonly budget: RuleBudget;
  readonly #before: Standing;
  readonly #deps: RuleDeps;
  readonly #detector: Detector;
  readonly #needs: string;
  readonly #watches: Watch[] = [];
  readonly #report: RuleReport;
  readonly #expressions: RuleExpressions;
  readonly #followUps: FollowUps;
  readonly #offered = new Set<number>();
  /** Topics that the detector listens to, and those that the rule names and it has no use for. */
  readonly #heard = new Set<string>();
  readonly #useless = new Map<string, string>();
  #atNs = 0n;

  constructor(rule: Rule, deps: RuleDeps, before: Standing) {
    assert(rule.condition.kind === "detector", "a detector rule has a detector");
    this.rule = rule;
    this.budget = deps.budget;
    this.#before = before;
    this.#deps = deps;
    this.#report = new RuleReport(rule, deps, before);
    this.#expressions = new RuleExpressions(rule.inputs, deps, this.#report, this.#evaluate);
    this.#followUps = new FollowUps(rule, this.#expressions, this.#report, before.openUntilMs);
    this.#needs = rule.condition.detector.needs;
    this.#detector = rule.condition.detector.open(rule.condition.parameters, {
      fields: deps.fields,
      topicOf: (role) => rule.inputs.get(role)?.topic,
      watch: (topic, name) => this.#watch(topic, name),
      signal: (signal, values) => this.#report.tell(signal, this.#atNs, values),
    });
  }

  addChannel(channel: Channel): void {
    this.#expressions.addChannel(channel);
    if (this.#offered.has(channel.id)) return; // a topic that came back: the detector still listens
    this.#offered.add(channel.id);
    const listen = this.#detector.bind(channel);
    if (listen === undefined) {
      this.#useless.set(channel.topic, channel.schema.name);
      return;
    }
    this.#heard.add(channel.topic);
    this.#report.noteInput(channel);
    const feed = this.#deps.feedOf(channel);
    feed.attach(this, {
      listen: (nowMs, atNs, message) => {
        this.#atNs = atNs; // of signals, which come out while the detector listens
        listen(message, nowMs, atNs);
      },
      ...(this.#detector.isJudgedAtTicks === true ? {} : { evaluate: this.#evaluate }),
    });
  }

  onTick(nowMs: number, atNs: bigint): void {
    this.#atNs = atNs;
    this.#detector.onTick?.(nowMs);
    this.#evaluate(nowMs, atNs);
  }

  onLongSilence(): void {
    this.#detector.onLongSilence?.();
    this.#expressions.onLongSilence();
  }

  onRest(): void {
    for (const { edge } of this.#watches) edge.forget();
    this.onLongSilence();
  }

  standing(): Standing {
    const highs = this.#watches.filter(({ edge }) => edge.isHigh).map(({ subject }) => keyOf(subject));
    return { highs: new Set(highs), openUntilMs: this.#followUps.openUntilMs };
  }

  status(): RuleStatus {
    const boundTo = this.#detector.describe();
    const [state, reason] = boundTo.length > 0 ? (["bound"] as const) : (["waiting", this.#whyWaiting()] as const);
    return this.#report.status(state, boundTo, reason, this.#expressions.waiting());
  }

  #whyWaiting(): string {
    const needs = `needs ${this.#needs}`;
    const named = [...this.rule.inputs].flatMap(([role, { topic }]) => {
      if (topic === undefined || this.#heard.has(topic)) return [];
      const type = this.#useless.get(topic);
      return [`${role}: ${topic} ${type === undefined ? "is not there yet" : `is a ${type}, which it has no use for`}`];
    });
    const heard =
      this.#heard.size === 0 ? [] : [`hears ${listed([...this.#heard])} and found nothing to watch there yet`];
    return [...named, ...heard, needs].join("; ");
  }

  #watch(topic: string, name: string): Subject {
    const subject: Subject = { topic, name, condition: undefined, values: () => ({}) };
    this.#watches.push({ subject, edge: new Edge(this.rule.edge, this.#before.highs.has(keyOf(subject))) });
    return subject;
  }

  readonly #evaluate = (nowMs: number, atNs: bigint): void => {
    for (const { subject, edge } of this.#watches) {
      const step = edge.step(subject.condition, nowMs);
      if (step === "fired") {
        if (this.#report.fire(subject.topic, atNs, subject.values())) this.#followUps.open(nowMs);
      } else if (step === "cleared" && !this.#watches.some((watch) => watch.edge.isHigh)) {
        this.#report.tell("cleared", atNs);
        this.#followUps.onCleared(nowMs);
      }
    }
    this.#followUps.step(nowMs, atNs);
  };
}

function keyOf({ topic, name }: { readonly topic: string; readonly name: string }): string {
  return JSON.stringify([topic, name]);
}

const NAMES_MAX = 3;

function listed(names: readonly string[]): string {
  const more = names.length - NAMES_MAX;
  return `${names.slice(0, NAMES_MAX).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
