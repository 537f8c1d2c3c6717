/**
 * One client's subscription to one topic, as rosbridge's `subscription_modifiers.py` does it.
 *
 * Several requests of one client on one topic count together: the least throttle and queue, cbor-raw before cbor
 * before png before none. With a queue, a message waits while the client's socket is behind or its throttle time has
 * not passed, and a full queue drops its oldest.
 */
import type { BridgeClient } from "./bridge-client.ts";
import type { BridgeTopic, Frame, FrameCache } from "./bridge-topic.ts";

export type SubscribeRequest = {
  readonly throttleMs: number;
  readonly queueLength: number;
  readonly compression: string;
};

/** Of a stalled client that asked for no queue: what the bridge's own ROS subscriber holds (`depth=10`). */
const UNASKED_QUEUE_LENGTH = 10;
const COMPRESSIONS = ["cbor-raw", "cbor", "png"];

export class Subscription {
  readonly topic: BridgeTopic;
  readonly #client: BridgeClient;
  readonly #requests = new Map<string | undefined, SubscribeRequest>();
  readonly #queue: Frame[] = [];
  #settings: SubscribeRequest = { throttleMs: 0, queueLength: 0, compression: "none" };
  #lastSentMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(topic: BridgeTopic, client: BridgeClient) {
    this.topic = topic;
    this.#client = client;
  }

  get isRaw(): boolean {
    return this.#settings.compression === "cbor-raw";
  }

  /** Frames that wait for the socket alone, not for their throttle time. */
  get waitingCount(): number {
    return this.#settings.throttleMs > 0 ? 0 : this.#queue.length;
  }

  request(id: string | undefined, request: SubscribeRequest): void {
    this.#requests.set(id, request);
    this.#combine();
  }

  /** Returns whether nobody is left. Without an id all requests go. */
  withdraw(id: string | undefined): boolean {
    if (id === undefined) this.#requests.clear();
    else this.#requests.delete(id);
    this.#combine();
    return this.#requests.size === 0;
  }

  #combine(): void {
    const all = [...this.#requests.values()];
    if (all.length === 0) return;
    this.#settings = {
      throttleMs: Math.min(...all.map((request) => request.throttleMs)),
      queueLength: Math.min(...all.map((request) => request.queueLength)),
      compression: COMPRESSIONS.find((name) => all.some((request) => request.compression === name)) ?? "none",
    };
  }

  offer(frames: FrameCache): void {
    if (this.isRaw !== this.topic.isRaw) return;
    const { counts } = this.topic;
    const { queueLength, compression } = this.#settings;
    const isEarly = this.#remainingMs() > 0;
    if (isEarly && queueLength === 0) {
      counts.throttled += 1;
      return;
    }
    const frame = frames.get(compression);
    if (frame === undefined) return;
    if (frame.bytes.byteLength > this.#client.frameBytesMax) {
      counts.oversized += 1;
      return;
    }
    if (!isEarly && this.#queue.length === 0 && !this.#client.isSocketFull) this.#send(frame);
    else this.#enqueue(frame, queueLength === 0 ? UNASKED_QUEUE_LENGTH : queueLength);
  }

  #enqueue(frame: Frame, lengthMax: number): void {
    this.#queue.push(frame);
    while (this.#queue.length > lengthMax) {
      this.#queue.shift();
      this.topic.counts.dropped += 1;
    }
    this.#armThrottle();
  }

  /** Sends what may go now; the client calls it when its socket has room. */
  flush(): void {
    while (this.#queue.length > 0 && !this.#client.isSocketFull && this.#remainingMs() === 0) {
      const frame = this.#queue.shift();
      if (frame !== undefined) this.#send(frame);
    }
    this.#armThrottle();
  }

  #armThrottle(): void {
    const remainingMs = this.#remainingMs();
    if (this.#queue.length === 0 || remainingMs === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, remainingMs);
  }

  #remainingMs(): number {
    const { throttleMs } = this.#settings;
    return throttleMs === 0 ? 0 : Math.max(0, Math.ceil(this.#lastSentMs + throttleMs - performance.now()));
  }

  #send(frame: Frame): void {
    if (!this.#client.isOpen) {
      this.topic.counts.dropped += 1;
      return;
    }
    if (this.#settings.throttleMs > 0) this.#lastSentMs = performance.now();
    this.topic.counts.sent += 1;
    this.topic.counts.sentBytes += frame.payloadBytes;
    this.#client.send(frame);
  }

  /** The client went or left the topic: what waited for it is dropped, and counted. */
  close(): void {
    clearTimeout(this.#timer);
    this.topic.counts.dropped += this.#queue.length;
    this.#queue.length = 0;
    this.topic.detach(this);
  }
}
