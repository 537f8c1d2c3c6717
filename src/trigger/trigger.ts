/**
 * The trigger: messages in, rule events out.
 *
 * Promises: pure over messages and their log time, so that live and back-test agree exactly; a message on a channel
 * that no rule looks at costs one map lookup; a detector or an expression that breaks on a message is set aside with
 * its channel and said once, never the daemon. Events come out synchronously, in the order of log time.
 */
import type { Channel } from "../model/channel.ts";
import type { CapturePolicy, RuleEvent } from "../model/rule-event.ts";
import type { Log } from "../telemetry/log.ts";
import { type BoundRule, openRule } from "./bound-rule.ts";
import { Feed } from "./feed.ts";
import type { Rule } from "./rule.ts";
import { RuleClock } from "./rule-clock.ts";
import { disabledStatus, type RuleStatus } from "./rule-report.ts";
import type { FieldAccess } from "./seams.ts";

export type { RuleStatus } from "./rule-report.ts";

export type TriggerDeps = {
  readonly fields: FieldAccess;
  readonly log: Log;
  onEvent(event: RuleEvent): void;
};

export class Trigger {
  readonly #rules: readonly Rule[];
  readonly #deps: TriggerDeps;
  #bound: readonly BoundRule[];
  readonly #feeds = new Map<number, Feed>();
  readonly #broken = new Set<number>();
  readonly #clock: RuleClock;

  private constructor(rules: readonly Rule[], deps: TriggerDeps) {
    this.#rules = rules;
    this.#deps = deps;
    this.#clock = new RuleClock({
      onTick: (atNs) => this.#tick(atNs),
      onLongSilence: () => this.#forgetRhythm(),
    });
    const ruleDeps = {
      clock: this.#clock,
      fields: deps.fields,
      log: deps.log,
      feedOf: (channel: Channel) => this.#feedOf(channel),
      onEvent: (event: RuleEvent) => deps.onEvent(event),
    };
    this.#bound = rules
      .filter((rule) => rule.isEnabled && rule.condition.kind !== "none")
      .map((rule) => openRule(rule, ruleDeps));
  }

  static open(rules: readonly Rule[], deps: TriggerDeps): Trigger {
    return new Trigger(rules, deps);
  }

  /** Before the channel's first message. */
  addChannel(channel: Channel): void {
    for (const bound of this.#bound) bound.addChannel(channel);
  }

  /** `bytes` is borrowed for the call. Log times that go back count at the time already reached. */
  onMessage(channel: Channel, bytes: Uint8Array, logTimeNs: bigint): void {
    const feed = this.#feeds.get(channel.id);
    const sinceMs = this.#clock.tickTo(logTimeNs);
    if (feed === undefined) return;
    this.#clock.moveTo(sinceMs);
    try {
      feed.receive(bytes, this.#clock.nowMs, logTimeNs);
    } catch (error) {
      this.#setAside(feed, error);
    }
  }

  /** A gap in the connection is a silence of everything, however short. */
  onConnection(isConnected: boolean): void {
    if (isConnected) this.#forgetRhythm();
  }

  policies(): CapturePolicy[] {
    return this.#rules.map((rule) => rule.policy);
  }

  status(): RuleStatus[] {
    return this.#rules.map(
      (rule) => this.#bound.find((bound) => bound.rule === rule)?.status() ?? disabledStatus(rule),
    );
  }

  #feedOf(channel: Channel): Feed {
    const known = this.#feeds.get(channel.id);
    if (known !== undefined) return known;
    const feed = new Feed(channel, this.#deps.fields);
    this.#feeds.set(channel.id, feed);
    return feed;
  }

  #tick(atNs: bigint): void {
    for (const feed of this.#feeds.values()) feed.age(this.#clock.nowMs);
    for (const bound of this.#bound) {
      try {
        bound.onTick(atNs);
      } catch (error) {
        this.#bound = this.#bound.filter((other) => other !== bound);
        this.#deps.log.error("A rule broke and is switched off.", { rule: bound.rule.name, cause: error });
      }
    }
  }

  #forgetRhythm(): void {
    for (const feed of this.#feeds.values()) feed.forgetRhythm();
    for (const bound of this.#bound) bound.onLongSilence();
  }

  #setAside(feed: Feed, error: unknown): void {
    const { id, topic } = feed.channel;
    this.#feeds.delete(id);
    if (this.#broken.has(id)) return;
    this.#broken.add(id);
    this.#deps.log.error("A rule broke on a message; its topic is no longer watched.", { topic, cause: error });
  }
}
