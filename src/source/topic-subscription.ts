/**
 * One topic of one robot, across connections: subscribes it, hands its messages on, and knows why it is silent.
 *
 * Attached to a link it holds exactly one subscription; detached it keeps its handle and its counts.
 */
import type { TopicPlan } from "../model/topic-class.ts";
import type { Clock } from "../std/clock.ts";
import { describeError } from "../std/fault.ts";
import { latest } from "../std/nanoseconds.ts";
import type { Log } from "../telemetry/log.ts";
import type { BridgeLink } from "./bridge-link.ts";
import { type Compression, DeliveryMode, type DeliveryOptions } from "./delivery-mode.ts";
import { explainSilence } from "./silence.ts";
import type { SourceSink, TopicStatus } from "./source.ts";

export type SubscriptionDeps = { readonly clock: Clock; readonly log: Log; readonly sink: SourceSink };

export class TopicSubscription {
  readonly topic: string;
  readonly schemaName: string;
  readonly plan: TopicPlan;
  readonly #deps: SubscriptionDeps;
  readonly #options: DeliveryOptions;
  #handle: number;
  #attached: { readonly link: BridgeLink; readonly mode: DeliveryMode } | undefined;
  #attachedNs = 0n;
  #unsubscribe: () => void = () => {};
  #received = 0;
  #lastMessageNs: bigint | undefined;
  #isLastRaw: boolean | undefined;
  #publishers: PublisherAnswer = { isAsked: false };
  #refusal: string | undefined;
  #silentReason: string | undefined;
  #isThrowing = false;
  /** Messages on this connection. */
  #delivered = 0;

  constructor(
    topic: string,
    schemaName: string,
    plan: TopicPlan,
    handle: number,
    options: DeliveryOptions,
    deps: SubscriptionDeps,
  ) {
    this.topic = topic;
    this.schemaName = schemaName;
    this.plan = plan;
    this.#handle = handle;
    this.#options = options;
    this.#deps = deps;
  }

  get isAttached(): boolean {
    return this.#attached !== undefined;
  }

  attach(link: BridgeLink): void {
    this.detach();
    this.#attachedNs = this.#deps.clock.monotonicNs();
    this.#attached = { link, mode: new DeliveryMode(this.#options, toMs(this.#attachedNs)) };
    this.#publishers = { isAsked: false };
    this.#silentReason = undefined;
    this.#delivered = 0;
    this.#subscribe();
  }

  /** Also right for a link that has ended: an unsubscription then goes nowhere. */
  detach(): void {
    this.#unsubscribe();
    this.#unsubscribe = () => {};
    this.#attached = undefined;
  }

  /** Its definition has become known: messages from now on come under this handle. */
  reopen(handle: number): void {
    this.#handle = handle;
  }

  /** Nothing has come for long enough that somebody should ask who publishes it. */
  isSilent(): boolean {
    if (this.#attached === undefined) return false;
    // The silence of this connection began at its start, or with the last message.
    const sinceNs = latest(this.#attachedNs, this.#lastMessageNs ?? 0n);
    return toMs(this.#deps.clock.monotonicNs() - sinceNs) >= this.#options.silenceMs;
  }

  /** What was found out about its publishers; undefined: nobody could say, and what was known stands. */
  setPublishers(names: readonly string[] | undefined): void {
    this.#publishers = { isAsked: true, names: names ?? this.#publishers.names };
  }

  /** Changes the form of delivery where that is due, and says once why a topic is silent. */
  step(): void {
    if (this.#attached === undefined) return;
    const { link, mode } = this.#attached;
    // Without rosapi nobody knows whether it is published; a bridge that only has JSON sends that whatever is asked for.
    const isPublished = this.#publishers.isAsked ? this.#publishers.names?.length !== 0 : undefined;
    const hasChanged = !link.isJsonOnly && mode.step(toMs(this.#deps.clock.monotonicNs()), isPublished);
    if (hasChanged) this.#resubscribe(mode.compression);
    const lostCount = mode.takeLostCount();
    if (lostCount > 0) this.#deps.sink.onDrop(this.topic, "connection_gap", lostCount, 0);
    this.#explain();
  }

  status(): TopicStatus {
    return {
      topic: this.topic,
      schemaName: this.schemaName,
      mode: this.#mode(),
      isOnDemand: this.plan.isOnDemand,
      received: this.#received,
      lastMessageNs: this.#lastMessageNs,
      publishers: this.#publishers.names,
      silentReason: this.#silentReason,
    };
  }

  #mode(): TopicStatus["mode"] {
    if (this.#attached === undefined && this.plan.isOnDemand) return "on_demand";
    if (this.#isLastRaw !== undefined && !this.isSilent()) return this.#isLastRaw ? "cbor-raw" : "none";
    return this.#attached?.mode.compression ?? "cbor-raw";
  }

  #subscribe(): void {
    if (this.#attached === undefined) return;
    const { link, mode } = this.#attached;
    this.#refusal = undefined;
    this.#unsubscribe = link.subscribe({
      topic: this.topic,
      type: this.schemaName,
      compression: mode.compression,
      // 0 would be unbounded: one stalled client then stops the topic for everybody. Servers refuse what is no integer.
      queueLength: Math.max(1, Math.round(this.plan.topicClass.queueLength)),
      onBytes: (bytes, frameBytes, arrivalNs) => this.#receive(bytes, undefined, frameBytes, arrivalNs),
      onMessage: (message, frameBytes, arrivalNs) => this.#receive(rawBytesOf(message), message, frameBytes, arrivalNs),
      onRefused: (text) => this.#onRefused(text),
    });
  }

  #resubscribe(compression: Compression): void {
    this.#deps.log.info("A topic is asked for in another form.", { topic: this.topic, compression });
    this.#unsubscribe();
    this.#subscribe();
  }

  #receive(raw: Uint8Array | undefined, message: unknown, frameBytes: number, arrivalNs: bigint): void {
    this.#note(raw !== undefined, arrivalNs);
    try {
      if (raw !== undefined) this.#deps.sink.onBytes(this.#handle, raw, arrivalNs);
      else this.#deps.sink.onJson(this.#handle, message, frameBytes, arrivalNs);
      this.#isThrowing = false;
    } catch (error) {
      this.#onSinkFailure(error, frameBytes);
    }
  }

  #note(isRaw: boolean, arrivalNs: bigint): void {
    this.#received += 1;
    this.#delivered += 1;
    this.#lastMessageNs = arrivalNs;
    this.#isLastRaw = isRaw;
    if (this.#attached === undefined) return;
    const { link, mode } = this.#attached;
    if (!isRaw && mode.compression === "cbor-raw" && !mode.hasTriedBoth) link.isJsonOnly = true;
    if (!isRaw || !mode.isRawSettled) mode.onMessage(isRaw, toMs(arrivalNs));
  }

  /** The frame is lost; its topic, and the connection, go on. */
  #onSinkFailure(error: unknown, frameBytes: number): void {
    this.#deps.sink.onDrop(this.topic, "malformed_frame", 1, frameBytes);
    if (this.#isThrowing) return;
    this.#isThrowing = true;
    this.#deps.log.error("A message could not be taken in.", { topic: this.topic, cause: describeError(error) });
  }

  #onRefused(text: string): void {
    this.#refusal = text;
    this.#deps.log.warn("The bridge refused a subscription.", { topic: this.topic, reason: text });
  }

  #explain(): void {
    const isFresh = this.#attached?.mode.isFresh(toMs(this.#deps.clock.monotonicNs())) ?? true;
    // Too early to say: publishers are being asked for, or another form has just been.
    if (this.isSilent() && (isFresh || !this.#publishers.isAsked)) return;
    const before = this.#silentReason;
    this.#silentReason = this.isSilent() ? this.#reason() : undefined;
    if (before === this.#silentReason) return;
    const { log } = this.#deps;
    if (this.#silentReason === undefined) log.info("A silent topic is in order again.", { topic: this.topic });
    else log.warn("A topic is silent.", { topic: this.topic, reason: this.#silentReason });
  }

  #reason(): string | undefined {
    return explainSilence({
      schemaName: this.schemaName,
      publishers: this.#publishers.names,
      refusal: this.#refusal,
      hasReceived: this.#received > 0,
      hasDelivered: this.#delivered > 0,
    });
  }
}

type PublisherAnswer = { readonly isAsked: boolean; readonly names?: readonly string[] | undefined };

function toMs(ns: bigint): number {
  return Number(ns / 1_000_000n);
}

/** cbor-raw alone carries a byte array: JSON has none. */
function rawBytesOf(message: unknown): Uint8Array | undefined {
  if (typeof message !== "object" || message === null || !("bytes" in message)) return undefined;
  return message.bytes instanceof Uint8Array ? message.bytes : undefined;
}
