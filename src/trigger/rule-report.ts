/** What a rule says: its events, and its status for a person. */
import type { Channel } from "../model/channel.ts";
import type { FiringValue, RuleEvent } from "../model/rule-event.ts";
import { type Log, silentLog } from "../telemetry/log.ts";
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
  /** What of it cannot be told, each reason once: a part that waits for its topic, a field that is NaN. */
  readonly problems: readonly string[];
  readonly firings: number;
  readonly lastFiringNs: bigint | undefined;
};

export type ReportDeps = { readonly log: Log; onEvent(event: RuleEvent): void };

/**
 * Counts firings and says them on. What fired of a rule that reads a `local` topic is not said: values and topic of a
 * firing go into the manifest, and so would leave the robot.
 */
export class RuleReport {
  readonly #rule: Rule;
  readonly #deps: ReportDeps;
  readonly #unknowns = new Set<string>();
  firings = 0;
  lastFiringNs: bigint | undefined;
  #isPrivate = false;

  constructor(rule: Rule, deps: ReportDeps) {
    this.#rule = rule;
    this.#deps = deps;
  }

  /** The rule reads this channel from now on. */
  noteInput({ isLocal }: Channel): void {
    this.#isPrivate ||= isLocal;
  }

  fire(topic: string, atNs: bigint, values: Readonly<Record<string, FiringValue>>, note = ""): void {
    const { condition, name } = this.#rule;
    const detector = condition.kind === "detector" ? condition.detector.name : undefined;
    this.firings += 1;
    this.lastFiringNs = atNs;
    const what = this.#isPrivate ? { topic: "", values: {} } : { topic, values, ...(note === "" ? {} : { note }) };
    this.#deps.onEvent({ kind: "firing", rule: name, detector, atNs, ...what });
  }

  /** `values`: what it was seen by. */
  tell(kind: Exclude<RuleEvent["kind"], "firing">, atNs: bigint, values?: Readonly<Record<string, FiringValue>>): void {
    if (this.#rule.policy.isDryRun) return; // it says nothing about the episodes of others
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
    const { name, place, policy, condition } = this.#rule;
    const detector = condition.kind === "detector" ? condition.detector.name : undefined;
    const { firings, lastFiringNs } = this;
    const problems = [...waiting, ...this.#unknowns];
    return { rule: name, place, kind: policy.kind, detector, state, boundTo, reason, problems, firings, lastFiringNs };
  }
}

export function disabledStatus(rule: Rule): RuleStatus {
  return new RuleReport(rule, { log: silentLog, onEvent: () => {} }).status("disabled", [], "switched off");
}
