/**
 * One topic of the bridge's graph: its publishers, its type, who subscribed, and the count of what became of its
 * messages. That count is the publisher's own ledger: what a recorder says it received is compared with it.
 */
import { compileValues, type MessageValues } from "./message-values.ts";
import { rawFrame, rawFramePrefix } from "./publish-frame.ts";
import type { RecordedChannel } from "./recording.ts";
import type { Subscription } from "./subscription.ts";

/** Of all subscribers together; `published` counts each message once, `sent` once per subscriber. */
export type TopicCounts = {
  published: number;
  publishedBytes: number;
  sent: number;
  /** Payload only, without frame and envelope. */
  sentBytes: number;
  /** The oldest, from a full queue, or what a client left behind when it went. */
  dropped: number;
  /** Held back as the subscriber's `throttle_rate` asked. */
  throttled: number;
  /** Frames over the bridge's `max_message_size`, or over a `fragment_size` somebody set. */
  oversized: number;
  /** Messages that the asked compression cannot carry, or that do not fit their definition. */
  unencodable: number;
};

export type Frame = { readonly bytes: Buffer; readonly isBinary: boolean; readonly payloadBytes: number };

export type Publisher = {
  readonly channel: RecordedChannel;
  readonly node: string;
  /** Of a latched topic: what a late subscriber gets. */
  latched: Uint8Array | undefined;
};

export class BridgeTopic {
  readonly name: string;
  readonly publishers = new Set<Publisher>();
  readonly subscriptions = new Set<Subscription>();
  readonly counts: TopicCounts = {
    ...{ published: 0, publishedBytes: 0, sent: 0, sentBytes: 0 },
    ...{ dropped: 0, throttled: 0, oversized: 0, unencodable: 0 },
  };
  /** The type it is established with; "" while nobody knows. */
  schemaName = "";
  /**
   * The bridge has one subscriber per topic for all clients, raw or not as the first client asked; the others get
   * nothing, until the last one has left (rosbridge_suite issue 610).
   */
  isRaw: boolean | undefined;
  readonly #rawPrefix: Buffer;
  readonly #valuesByText = new Map<string, MessageValues | undefined>();

  constructor(name: string) {
    this.name = name;
    this.#rawPrefix = rawFramePrefix(name);
  }

  attach(subscription: Subscription): void {
    this.isRaw ??= subscription.isRaw;
    this.subscriptions.add(subscription);
  }

  detach(subscription: Subscription): void {
    this.subscriptions.delete(subscription);
    if (this.subscriptions.size === 0) this.isRaw = undefined;
  }

  deliver(channel: RecordedChannel, payload: Uint8Array, wallNs: () => bigint): void {
    const frames = new FrameCache(this, channel, payload, wallNs);
    for (const subscription of this.subscriptions) subscription.offer(frames);
  }

  buildRaw(payload: Uint8Array, nowNs: bigint): Frame {
    return { bytes: rawFrame(this.#rawPrefix, nowNs, payload), isBinary: true, payloadBytes: payload.byteLength };
  }

  valuesOf(channel: RecordedChannel): MessageValues | undefined {
    const key = channel.schemaText ?? "";
    if (!this.#valuesByText.has(key)) {
      const values = compileValues(channel);
      this.#valuesByText.set(key, "problem" in values ? undefined : values);
    }
    return this.#valuesByText.get(key);
  }
}

/** The frames of one message, each built once however many clients get it, and only if one does. */
export class FrameCache {
  readonly topic: BridgeTopic;
  readonly #channel: RecordedChannel;
  readonly #payload: Uint8Array;
  readonly #wallNs: () => bigint;
  readonly #built = new Map<string, Frame | undefined>();

  constructor(topic: BridgeTopic, channel: RecordedChannel, payload: Uint8Array, wallNs: () => bigint) {
    this.topic = topic;
    this.#channel = channel;
    this.#payload = payload;
    this.#wallNs = wallNs;
  }

  /** `undefined` where the bridge can only fail. */
  get(compression: string): Frame | undefined {
    if (!this.#built.has(compression)) this.#built.set(compression, this.#build(compression));
    const frame = this.#built.get(compression);
    if (frame === undefined) this.topic.counts.unencodable += 1;
    return frame;
  }

  #build(compression: string): Frame | undefined {
    if (compression === "cbor-raw") return this.topic.buildRaw(this.#payload, this.#wallNs());
    const values = this.topic.valuesOf(this.#channel);
    if (values === undefined || compression === "png") return undefined;
    const payloadBytes = this.#payload.byteLength;
    try {
      if (compression === "cbor") return { bytes: values.toCborFrame(this.#payload), isBinary: true, payloadBytes };
      return { bytes: values.toJsonFrame(this.#payload), isBinary: false, payloadBytes };
    } catch {
      return undefined;
    }
  }
}
