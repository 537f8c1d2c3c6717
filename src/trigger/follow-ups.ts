/**
 * What a rule's expressions say of the time after its firing: the robot tries again, made it, gave up, or a person took
 * over. Each rise after the firing counts once; the first that decides ends the listening until the next firing. So does
 * what decides without a word: the condition's end, once it has lasted, unless the rule sees recovery itself, or the end
 * of the longest episode.
 */
import type { CapturePolicy } from "../model/rule-event.ts";
import { Edge } from "./edge.ts";
import type { Rule } from "./rule.ts";
import type { BoundExpression, RuleExpressions } from "./rule-expressions.ts";
import type { RuleReport } from "./rule-report.ts";

type FollowUp = {
  readonly signal: "attempt" | "recovered" | "gave_up" | "took_over";
  readonly part: BoundExpression;
  readonly edge: Edge;
};

const AT_ONCE = { holdMs: 0, clearMs: 0, coolDownMs: 0 };

export class FollowUps {
  readonly #report: RuleReport;
  readonly #all: readonly FollowUp[];
  readonly #policy: CapturePolicy;
  #openUntilMs: number;

  constructor(rule: Rule, expressions: RuleExpressions, report: RuleReport, openUntilMs: number) {
    this.#report = report;
    this.#policy = rule.policy;
    this.#openUntilMs = openUntilMs;
    this.#all = rule.followUps.map(({ signal, key, expression }) => {
      return { signal, part: expressions.add(key, expression), edge: new Edge(AT_ONCE) };
    });
  }

  /** There is never anything to step. */
  get isNothing(): boolean {
    return this.#all.length === 0;
  }

  /** Rule time in ms. */
  get openUntilMs(): number {
    return this.#openUntilMs;
  }

  /** The rule has said a firing. */
  open(nowMs: number): void {
    const { maxMs, postRollMs } = this.#policy;
    this.#openUntilMs = nowMs + Math.max(maxMs, postRollMs);
  }

  /** Its condition ended. */
  onCleared(nowMs: number): void {
    const { recoversWhen, recoveredAfterClearMs, postRollMs } = this.#policy;
    if (recoversWhen === "explicit") return;
    this.#openUntilMs = Math.min(this.#openUntilMs, nowMs + Math.max(recoveredAfterClearMs, postRollMs));
  }

  /** Stepped even while nothing is open, so that only a rise after the firing counts. */
  step(nowMs: number, atNs: bigint): void {
    for (const { signal, part, edge } of this.#all) {
      const isOpen = nowMs < this.#openUntilMs;
      const truth = isOpen ? part.truth(nowMs) : part.peek();
      if (edge.step(truth, nowMs) !== "fired" || !isOpen) continue;
      this.#report.tell(signal, atNs, part.values());
      if (signal !== "attempt") this.#openUntilMs = Number.NEGATIVE_INFINITY;
    }
  }
}
