/** What a rule says: its events, and its status for a person. */
import type { Channel } from "../model/channel.ts";
import type { FiringValue, RuleEvent } from "../model/rule-event.ts";
import type { Rule } from "./rule.ts";

export type RuleStatus = {
  readonly rule: string;
  readonly place: string;
  readonly kind: string;
  readonly detector: string | undefined;
  readonly state: "disabled" | "waiting" | "bound";
  /** What it watches: topics, joints, names. */
  readonly boundTo: readonly string[];
  /** Why it is not bound. */
  readonly reason: string | undefined;
  readonly firings: number;
  readonly lastFiringNs: bigint | undefined;
};

/**
 * Counts firings and says them on. What fired of a rule that reads a `local` topic is not said: values and topic of a
 * firing go into the manifest, and so would leave the robot.
 */
export class RuleReport {
  readonly #rule: Rule;
  readonly #onEvent: (event: RuleEvent) => void;
  firings = 0;
  lastFiringNs: bigint | undefined;
  #isPrivate = false;

  constructor(rule: Rule, onEvent: (event: RuleEvent) => void) {
    this.#rule = rule;
    this.#onEvent = onEvent;
  }

  /** The rule reads this channel from now on. */
  noteInput({ isLocal }: Channel): void {
    this.#isPrivate ||= isLocal;
  }

  fire(topic: string, atNs: bigint, values: Readonly<Record<string, FiringValue>>): void {
    const { condition, name } = this.#rule;
    const detector = condition.kind === "detector" ? condition.detector.name : undefined;
    this.firings += 1;
    this.lastFiringNs = atNs;
    const what = this.#isPrivate ? { topic: "", values: {} } : { topic, values };
    this.#onEvent({ kind: "firing", rule: name, detector, atNs, ...what });
  }

  tell(kind: Exclude<RuleEvent["kind"], "firing">, atNs: bigint): void {
    if (this.#rule.policy.isDryRun) return; // it says nothing about the episodes of others
    this.#onEvent({ kind, rule: this.#rule.name, atNs });
  }

  status(state: RuleStatus["state"], boundTo: readonly string[], reason: string | undefined): RuleStatus {
    const { name, place, policy, condition } = this.#rule;
    const detector = condition.kind === "detector" ? condition.detector.name : undefined;
    const { firings, lastFiringNs } = this;
    return { rule: name, place, kind: policy.kind, detector, state, boundTo, reason, firings, lastFiringNs };
  }
}

export function disabledStatus(rule: Rule): RuleStatus {
  return new RuleReport(rule, () => {}).status("disabled", [], "switched off");
}
