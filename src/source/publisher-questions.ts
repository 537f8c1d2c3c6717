/** Asks rosapi who publishes the silent topics: a few at a time, for each topic with growing gaps. */
import type { Rosapi } from "./rosapi.ts";
import type { TopicSubscription } from "./topic-subscription.ts";

/** rosapi answers one after the other, and for ROS 2 asks every node for each answer. */
const OPEN_MAX = 4;
/** Longest gap, in first gaps: a publisher that comes late is noticed within two minutes. */
const GAP_FACTOR_MAX = 24;

export class PublisherQuestions {
  readonly #rosapi: Rosapi;
  readonly #firstGapMs: number;
  readonly #dueByTopic = new Map<string, { readonly atMs: number; readonly gapMs: number }>();

  constructor(rosapi: Rosapi, firstGapMs: number) {
    this.#rosapi = rosapi;
    this.#firstGapMs = firstGapMs;
  }

  async ask(subscriptions: readonly TopicSubscription[], nowMs: number): Promise<void> {
    const silent = subscriptions.filter((subscription) => subscription.isSilent());
    const names = new Set(silent.map(({ topic }) => topic));
    for (const topic of this.#dueByTopic.keys()) if (!names.has(topic)) this.#dueByTopic.delete(topic);
    const due = silent.filter(({ topic }) => (this.#dueByTopic.get(topic)?.atMs ?? 0) <= nowMs);
    await Promise.all(due.slice(0, OPEN_MAX).map((subscription) => this.#askOne(subscription, nowMs)));
  }

  async #askOne(subscription: TopicSubscription, nowMs: number): Promise<void> {
    const { topic } = subscription;
    const before = this.#dueByTopic.get(topic);
    const gapMs =
      before === undefined ? this.#firstGapMs : Math.min(2 * before.gapMs, GAP_FACTOR_MAX * this.#firstGapMs);
    this.#dueByTopic.set(topic, { atMs: nowMs + gapMs, gapMs });
    subscription.setPublishers(await this.#rosapi.listPublishers(topic));
  }
}
