/**
 * What a rule's expressions say of the time after its firing: the robot tries again, made it, gave up, or a person took
 * over. Each rise after the firing counts once; the first that decides ends the listening until the next firing.
 */
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
  #isOpen: boolean;

  constructor(rule: Rule, expressions: RuleExpressions, report: RuleReport, isOpen: boolean) {
    this.#report = report;
    this.#isOpen = isOpen;
    this.#all = rule.followUps.map(({ signal, key, expression }) => {
      return { signal, part: expressions.add(key, expression), edge: new Edge(AT_ONCE) };
    });
  }

  /** There is never anything to step. */
  get isNothing(): boolean {
    return this.#all.length === 0;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The rule has fired. */
  open(): void {
    this.#isOpen = true;
  }

  /** Stepped even while nothing is open, so that only a rise after the firing counts. */
  step(nowMs: number, atNs: bigint): void {
    for (const { signal, part, edge } of this.#all) {
      const truth = this.#isOpen ? part.truth(nowMs) : part.peek();
      if (edge.step(truth, nowMs) !== "fired" || !this.#isOpen) continue;
      this.#report.tell(signal, atNs, part.values());
      if (signal !== "attempt") this.#isOpen = false;
    }
  }
}
