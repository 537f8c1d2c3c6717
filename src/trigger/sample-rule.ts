/**
 * A rule of kind `sample`: fires by the wall clock, for coverage, whatever happens.
 *
 * The clock is log_time, so that a back-test samples at the recording's own time; live, a wall clock that was set since
 * the boot counts. An instant that falls into a silence
 * of everything is made up for at the first tick after it, once and within a minute: from a robot that was off there is
 * nothing to sample.
 */
import { assert } from "../std/assert.ts";
import type { BoundRule, RuleDeps } from "./bound-rule.ts";
import type { Rule } from "./rule.ts";
import type { RuleBudget } from "./rule-budget.ts";
import { RuleReport, type RuleStatus } from "./rule-report.ts";
import type { Schedule } from "./schedule.ts";
import { AT_REST, type Standing } from "./standing.ts";

const SECOND_NS = 1_000_000_000n;
const LATE_S_MAX = 60n;

export class SampleRule implements BoundRule {
  readonly rule: Rule;
  readonly budget: RuleBudget;
  readonly #deps: RuleDeps;
  readonly #cron: string;
  readonly #schedule: Schedule;
  readonly #report: RuleReport;
  /** The last whole second that was asked about. */
  #second: bigint | undefined;

  constructor(rule: Rule, deps: RuleDeps) {
    assert(rule.condition.kind === "schedule", "a sample has a schedule");
    this.rule = rule;
    this.budget = deps.budget;
    this.#deps = deps;
    this.#cron = rule.condition.cron;
    this.#schedule = rule.condition.schedule;
    this.#report = new RuleReport(rule, deps);
  }

  addChannel(): void {}

  onTick(_nowMs: number, atNs: bigint): void {
    const second = (atNs + this.#deps.wallOffsetNs()) / SECOND_NS;
    if (second === this.#second) return;
    const askedUntil = this.#second ?? second - 1n;
    this.#second = second; // where the clock stepped back, nothing is asked twice
    for (let due = askedUntil + 1n; due <= second; due += 1n) {
      if (due < second - LATE_S_MAX) due = second - LATE_S_MAX;
      if (!this.#schedule(Number(due) * 1000)) continue;
      this.#report.fire("", atNs, { cron: this.#cron });
      return;
    }
  }

  onLongSilence(): void {}

  onRest(): void {}

  standing(): Standing {
    return AT_REST;
  }

  status(): RuleStatus {
    return this.#report.status("bound", [this.#cron]);
  }
}
