/**
 * What one rule may take from the robot: firings, attempts, and a share of a processor core.
 *
 * Promises: however a rule is written, it opens no flood of episodes and takes no more of the ingest thread than its
 * share, and somebody is told. Firings are counted in rule time, so that live and back-test agree: as many as an hour
 * allows may come at once, and from then on one each `hour / firingsPerHourMax`; those beyond are passed over and
 * counted. Attempts that it reports have the same ceiling, for themselves. Cost is measured where a clock is given,
 * which a back-test does not: a rule may use up `BURST_MS` of its share at once, and then rests until half of that is
 * there again. A resting rule is not judged and its windows begin anew, since messages went by that it has not seen.
 */
import type { Log } from "../telemetry/log.ts";

export type RuleLimits = { readonly firingsPerHourMax: number; readonly cpuPercentMax: number };

export const RULE_LIMITS: RuleLimits = { firingsPerHourMax: 120, cpuPercentMax: 5 };

const HOUR_MS = 3_600_000;
const BURST_MS = 1000; // of processor time
const REST_MS_MAX = 600_000;

export type BudgetDeps = {
  readonly limits: RuleLimits;
  readonly log: Log;
  /** The rule begins to rest, or goes on. */
  onRest(isResting: boolean): void;
};

export class RuleBudget {
  readonly #rule: string;
  readonly #deps: BudgetDeps;
  readonly #ceilings: Readonly<Record<"firing" | "attempt", Ceiling>>;
  /** Processor time that is left, in ms; below 0 the rule rests. */
  #costLeftMs = BURST_MS;
  #costAtMs = Number.NaN;
  #restUntilMs = Number.NaN;
  #costMs = 0;
  rests = 0;

  constructor(rule: string, deps: BudgetDeps) {
    this.#rule = rule;
    this.#deps = deps;
    const max = deps.limits.firingsPerHourMax;
    this.#ceilings = { firing: new Ceiling(max), attempt: new Ceiling(max) };
  }

  get isResting(): boolean {
    return !Number.isNaN(this.#restUntilMs);
  }

  /** Whether one more may be said at `nowMs` of rule time. */
  take(what: "firing" | "attempt", nowMs: number): boolean {
    const verdict = this.#ceilings[what].take(nowMs);
    if (verdict === "flood")
      this.#deps.log.warn("A rule fires or reports attempts too often; what is beyond its ceiling is passed over.", {
        rule: this.#rule,
        what,
        per_hour_max: this.#deps.limits.firingsPerHourMax,
      });
    return verdict === "taken";
  }

  /** `tookMs` of processor time were spent on the rule up to `clockMs`, which is real time. */
  charge(tookMs: number, clockMs: number): void {
    const share = this.#deps.limits.cpuPercentMax / 100;
    const passedMs = Number.isNaN(this.#costAtMs) ? 0 : clockMs - this.#costAtMs;
    this.#costAtMs = clockMs;
    this.#costMs += tookMs;
    this.#costLeftMs = Math.min(BURST_MS, this.#costLeftMs + passedMs * share) - tookMs;
    if (this.#costLeftMs >= 0 || this.isResting) return;
    const restMs = Math.min((BURST_MS / 2 - this.#costLeftMs) / share, REST_MS_MAX);
    this.#restUntilMs = clockMs + restMs;
    this.rests += 1;
    this.#deps.log.warn("A rule costs too much and rests.", {
      rule: this.#rule,
      cpu_percent_max: this.#deps.limits.cpuPercentMax,
      rest_s: Math.round(restMs / 1000),
    });
    this.#deps.onRest(true);
  }

  /** To be called now and then. */
  wake(clockMs: number): void {
    if (!(clockMs >= this.#restUntilMs)) return;
    this.#restUntilMs = Number.NaN;
    this.#costLeftMs = BURST_MS / 2;
    this.#costAtMs = clockMs;
    this.#deps.log.info("A rule that cost too much goes on.", { rule: this.#rule });
    this.#deps.onRest(false);
  }

  /** Processor time spent on the rule, in ms, by samples. */
  get costMs(): number {
    return this.#costMs;
  }

  /** What a person must know: which ceiling the rule has reached; undefined: none. */
  throttled(): string | undefined {
    const { firingsPerHourMax, cpuPercentMax } = this.#deps.limits;
    const said: string[] = [];
    for (const [what, { passedOver }] of Object.entries(this.#ceilings))
      if (passedOver > 0)
        said.push(`too many ${what}s: ${passedOver} ${what}s beyond ${firingsPerHourMax} an hour were passed over`);
    if (this.isResting) said.push(`costs too much: rests, since it took more than ${cpuPercentMax} % of a core`);
    else if (this.rests > 0)
      said.push(`costs too much: rested ${this.rests} times, at more than ${cpuPercentMax} % of a core`);
    return said.length === 0 ? undefined : said.join("; ");
  }
}

/** So many an hour of rule time, all at once if need be. */
class Ceiling {
  readonly #max: number;
  #left: number;
  #atMs = 0;
  #isFlooding = false;
  passedOver = 0;

  constructor(max: number) {
    this.#max = max;
    this.#left = max;
  }

  /** `flood`: passed over, the first for a while. */
  take(nowMs: number): "taken" | "flood" | "passed_over" {
    this.#left = Math.min(this.#max, this.#left + ((nowMs - this.#atMs) * this.#max) / HOUR_MS);
    this.#atMs = nowMs;
    if (this.#left >= this.#max / 2) this.#isFlooding = false;
    if (this.#left >= 1) {
      this.#left -= 1;
      return "taken";
    }
    this.passedOver += 1;
    const isFirst = !this.#isFlooding;
    this.#isFlooding = true;
    return isFirst ? "flood" : "passed_over";
  }
}
