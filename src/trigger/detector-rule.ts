/** A rule with a detector: it is offered every channel, and each thing that it watches has an edge of its own. */
import type { Channel } from "../model/channel.ts";
import { assert } from "../std/assert.ts";
import type { BoundRule, RuleDeps } from "./bound-rule.ts";
import type { Detector, Subject } from "./detector.ts";
import { Edge } from "./edge.ts";
import { FollowUps } from "./follow-ups.ts";
import type { Rule } from "./rule.ts";
import { RuleExpressions } from "./rule-expressions.ts";
import { RuleReport, type RuleStatus } from "./rule-report.ts";

type Watch = { readonly subject: Subject; readonly edge: Edge };

export class DetectorRule implements BoundRule {
  readonly rule: Rule;
  readonly #deps: RuleDeps;
  readonly #detector: Detector;
  readonly #needs: string;
  readonly #watches: Watch[] = [];
  readonly #report: RuleReport;
  readonly #expressions: RuleExpressions;
  readonly #followUps: FollowUps;
  #atNs = 0n;

  constructor(rule: Rule, deps: RuleDeps) {
    assert(rule.condition.kind === "detector", "a detector rule has a detector");
    this.rule = rule;
    this.#deps = deps;
    this.#report = new RuleReport(rule, deps);
    this.#expressions = new RuleExpressions(rule.inputs, deps, this.#report, (atNs) => this.#evaluate(atNs));
    this.#followUps = new FollowUps(rule, this.#expressions, this.#report);
    this.#needs = rule.condition.detector.needs;
    this.#detector = rule.condition.detector.open(rule.condition.parameters, {
      fields: deps.fields,
      topicOf: (role) => rule.inputs.get(role)?.topic,
      watch: (topic, name) => this.#watch(topic, name),
      signal: (signal) => this.#report.tell(signal, this.#atNs),
    });
  }

  addChannel(channel: Channel): void {
    this.#expressions.addChannel(channel);
    const listen = this.#detector.bind(channel);
    if (listen === undefined) return;
    this.#report.noteInput(channel);
    const feed = this.#deps.feedOf(channel);
    feed.attach(this, {
      // Signals come out while the detector listens, before conditions are looked at.
      before: (atNs) => {
        this.#atNs = atNs;
      },
      listen,
      evaluate: (atNs) => this.#evaluate(atNs),
    });
  }

  onTick(atNs: bigint): void {
    this.#atNs = atNs;
    this.#detector.onTick?.(this.#deps.clock.nowMs);
    this.#evaluate(atNs);
  }

  onLongSilence(): void {
    this.#detector.onLongSilence?.();
    this.#expressions.onLongSilence();
  }

  status(): RuleStatus {
    const boundTo = this.#detector.describe();
    const [state, reason] = boundTo.length > 0 ? (["bound"] as const) : (["waiting", `needs ${this.#needs}`] as const);
    return this.#report.status(state, boundTo, reason, this.#expressions.waiting());
  }

  #watch(topic: string, name: string): Subject {
    const subject: Subject = { topic, name, condition: undefined, values: () => ({}) };
    this.#watches.push({ subject, edge: new Edge(this.rule.edge) });
    return subject;
  }

  #evaluate(atNs: bigint): void {
    const nowMs = this.#deps.clock.nowMs;
    for (const { subject, edge } of this.#watches) {
      const step = edge.step(subject.condition, nowMs);
      if (step === "fired") {
        this.#followUps.open();
        this.#report.fire(subject.topic, atNs, subject.values());
      } else if (step === "cleared" && !this.#watches.some((watch) => watch.edge.isHigh))
        this.#report.tell("cleared", atNs);
    }
    this.#followUps.step(nowMs, atNs);
  }
}
