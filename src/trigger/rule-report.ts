/** What a rule says: its events, and its status for a person. */
import type { Channel } from "../model/channel.ts";
import type { FiringValue, RuleEvent } from "../model/rule-event.ts";
import type { RuleDeps } from "./bound-rule.ts";
import type { Rule } from "./rule.ts";
import { AT_REST, type Standing } from "./standing.ts";

export type RuleStatus = {
  readonly rule: string;
  readonly place: string;
  readonly kind: string;
  /** Of what it means: `Rule.policy.version`. */
  readonly version: string;
  /** It opens no episode. */
  readonly isDryRun: boolean;
  readonly detector: string | undefined;
  readonly state: "disabled" | "waiting" | "bound";
  /** What it watches: topics, joints, names. */
  readonly boundTo: readonly string[];
  /** Why it is not bound. */
  readonly reason: string | undefined;
  /** What of it cannot be told, each reason once: a part that waits for its topic, a field that is NaN. */
  readonly problems: readonly string[];
  /** Which ceiling it has reached, of firings or of cost; undefined: none. */
  readonly throttled: string | undefined;
  readonly firings: number;
  readonly lastFiringNs: bigint | undefined;
};

/**
 * Counts firings and says them on. What fired of a rule that reads a `local` topic is not said: values and topic of a
 * firing go into the manifest, and so would leave the robot.
 */
export class RuleReport {
  readonly #rule: Rule;
  readonly #deps: RuleDeps;
  readonly #unknowns = new Set<string>();
  firings = 0;
  lastFiringNs: bigint | undefined;
  #isPrivate = false;
  /** A firing was said, and its end was not. */
  #isHigh: boolean;

  constructor(rule: Rule, deps: RuleDeps, before: Standing = AT_REST) {
    this.#rule = rule;
    this.#deps = deps;
    this.#isHigh = before.highs.size > 0;
  }

  /** The rule reads this channel from now on. */
  noteInput({ isLocal }: Channel): void {
    this.#isPrivate ||= isLocal;
  }

  /** Whether it was said, and not passed over. */
  fire(topic: string, atNs: bigint, values: Readonly<Record<string, FiringValue>>, note = ""): boolean {
    const { condition, name } = this.#rule;
    const detector = condition.kind === "detector" ? condition.detector.name : undefined;
    this.firings += 1;
    this.lastFiringNs = atNs;
    if (!this.#deps.budget.take("firing", this.#deps.clock.nowMs)) return false;
    this.#isHigh = true;
    const what = this.#isPrivate ? { topic: "", values: {} } : { topic, values, ...(note === "" ? {} : { note }) };
    this.#deps.onEvent({ kind: "firing", rule: name, detector, atNs, ...what });
    return true;
  }

  /** `values`: what it was seen by. */
  tell(
    kind: Exclude<RuleEvent["kind"], "firing" | "gone">,
    atNs: bigint,
    values?: Readonly<Record<string, FiringValue>>,
  ): void {
    if (this.#rule.policy.isDryRun) return; // it says nothing about the episodes of others
    if (kind === "cleared") {
      if (!this.#isHigh) return; // the firing was passed over
      this.#isHigh = false;
    }
    if (kind === "attempt" && !this.#deps.budget.take("attempt", this.#deps.clock.nowMs)) return;
    const isSaid = values !== undefined && !this.#isPrivate;
    this.#deps.onEvent({ kind, rule: this.#rule.name, atNs, ...(isSaid ? { values } : {}) });
  }

  /** Why a condition cannot be told: once a rule and reason. */
  noteUnknown(reason: string): void {
    if (this.#unknowns.has(reason)) return;
    this.#unknowns.add(reason);
    this.#deps.log.warn("A rule cannot be told.", { rule: this.#rule.name, reason });
  }

  status(
    state: RuleStatus["state"],
    boundTo: readonly string[],
    reason?: string,
    waiting: readonly string[] = [],
  ): RuleStatus {
    const { firings, lastFiringNs } = this;
    const problems = [...waiting, ...this.#unknowns];
    const throttled = this.#deps.budget.throttled();
    return { ...statusOf(this.#rule), state, boundTo, reason, problems, throttled, firings, lastFiringNs };
  }
}

/** Of a rule that is not at work. */
export function disabledStatus(rule: Rule, reason = "switched off"): RuleStatus {
  const nothing = { boundTo: [], problems: [], throttled: undefined, firings: 0, lastFiringNs: undefined };
  return { ...statusOf(rule), ...nothing, state: "disabled", reason };
}

function statusOf({ name, place, policy, condition }: Rule) {
  const detector = condition.kind === "detector" ? condition.detector.name : undefined;
  const { kind, version, isDryRun } = policy;
  return { rule: name, place, kind, version, isDryRun, detector };
}
