/**
 * One connection to one bridge, from open to close: subscriptions and service calls that end with it.
 *
 * A link never reconnects: its owner opens another one after `ended`, so that nothing of a dead connection (listeners,
 * queued operations, calls in flight) reaches into the next. Service calls carry their type, which ros2-web-bridge
 * needs and rosbridge_suite ignores, have a deadline, and are answered when the link ends.
 */
import { randomUUID } from "node:crypto";
import { Ros, type RosbridgeMessage, Topic } from "roslib";
import type { Clock } from "../std/clock.ts";
import { BridgeTransport, type FrameDrop, type TransportOptions } from "./bridge-transport.ts";

export type CallResult =
  | { readonly kind: "ok"; readonly values: unknown }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "unanswered"; readonly reason: string };

export type SubscribeRequest = {
  readonly topic: string;
  readonly type: string;
  readonly compression: "cbor-raw" | "none";
  readonly queueLength: number;
  /** Borrowed for the call. */
  readonly onBytes: (bytes: Uint8Array, frameBytes: number, arrivalNs: bigint) => void;
  readonly onMessage: (message: unknown, frameBytes: number, arrivalNs: bigint) => void;
  /** ros2-web-bridge tells errors of an operation; rosbridge_suite never does. */
  readonly onRefused: (text: string) => void;
};

export type LinkEnd = { readonly reason: string; readonly lastHeardNs: bigint };

/** Open calls at a time; rosapi answers one after the other, and each holds a thread of the bridge. */
const CALLS_OPEN_MAX = 16;

export class BridgeLink {
  readonly ended: Promise<LinkEnd>;
  /** It sends JSON whatever is asked for, and has no rosapi: ros2-web-bridge. */
  isJsonOnly = false;
  readonly #ros: Ros;
  readonly #transport: BridgeTransport;
  readonly #pendingById = new Map<string, (result: CallResult) => void>();

  private constructor(ros: Ros, transport: BridgeTransport) {
    this.#ros = ros;
    this.#transport = transport;
    this.ended = new Promise((resolve) => {
      ros.once("close", () => {
        for (const settle of [...this.#pendingById.values()]) settle(failed("the connection ended"));
        resolve({ reason: transport.endReason, lastHeardNs: transport.lastHeardNs });
      });
    });
  }

  /** A link that is open, or the end of one that never was. */
  static async open(
    url: string,
    options: TransportOptions,
    clock: Clock,
    onDrop: (drop: FrameDrop) => void,
    signal: AbortSignal,
  ): Promise<BridgeLink | LinkEnd> {
    const transport = new BridgeTransport(url, options, clock, onDrop);
    const ros = new Ros({ transportFactory: async () => transport });
    const isOpen = new Promise<boolean>((resolve) => {
      ros.once("connection", () => resolve(true));
      ros.once("close", () => resolve(false));
    });
    const link = new BridgeLink(ros, transport);
    await ros.connect(url);
    const stop = () => transport.close();
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    const hasOpened = await isOpen;
    signal.removeEventListener("abort", stop);
    return hasOpened ? link : link.ended;
  }

  /** Ends the subscription when the returned function is called. One subscription per topic name and link. */
  subscribe(request: SubscribeRequest): () => void {
    const { topic, type, compression, queueLength } = request;
    const subscription = new Topic<unknown>({
      ros: this.#ros,
      name: topic,
      messageType: type,
      compression,
      queue_length: queueLength,
      // A link is never reconnected.
      reconnect_on_close: false,
    });
    const transport = this.#transport;
    subscription.subscribe((message) => request.onMessage(message, transport.frameBytes, transport.frameArrivalNs));
    const onRaw = (bytes: Uint8Array) => request.onBytes(bytes, transport.frameBytes, transport.frameArrivalNs);
    transport.rawListeners.set(topic, onRaw);
    const statusEvent = `status:${subscription.subscribeId ?? ""}`;
    const onStatus = (status: RosbridgeMessage) => this.#onStatus(status, request.onRefused);
    this.#ros.on(statusEvent, onStatus);
    return () => {
      this.#ros.off(statusEvent, onStatus);
      if (transport.rawListeners.get(topic) === onRaw) transport.rawListeners.delete(topic);
      subscription.unsubscribe();
    };
  }

  call(service: string, type: string, args: object, timeoutMs: number): Promise<CallResult> {
    if (!this.#transport.isOpen()) return Promise.resolve(failed("there is no connection"));
    if (this.#pendingById.size >= CALLS_OPEN_MAX) return Promise.resolve(failed("too many calls are open"));
    const id = `call_service:${service}:${randomUUID()}`;
    return new Promise((resolve) => {
      const settle = (result: CallResult) => {
        clearTimeout(timer);
        this.#ros.removeAllListeners(id).removeAllListeners(`status:${id}`);
        this.#pendingById.delete(id);
        resolve(result);
      };
      const unanswered = { kind: "unanswered", reason: `no answer within ${timeoutMs} ms` } as const;
      const timer = setTimeout(() => settle(unanswered), timeoutMs);
      this.#pendingById.set(id, settle);
      this.#ros.on(id, (answer) => settle(toResult(answer)));
      this.#ros.on(`status:${id}`, (status) => this.#onStatus(status, (text) => settle(failed(text))));
      this.#transport.send(callOperation(id, service, type, args));
    });
  }

  close(reason: string): void {
    this.#transport.closeBecause(reason);
  }

  #onStatus(status: RosbridgeMessage, onError: (text: string) => void): void {
    // rosbridge_suite never sends a status.
    this.isJsonOnly = true;
    if (status.op === "status" && (status.level === "error" || status.level === "warning")) onError(status.msg);
  }
}

function failed(reason: string): CallResult {
  return { kind: "failed", reason };
}

function toResult(answer: RosbridgeMessage): CallResult {
  if (answer.op !== "service_response") return failed("the answer is of another operation");
  if (answer.result) return { kind: "ok", values: answer.values };
  return failed(typeof answer.values === "string" ? answer.values : "the service failed");
}

/** `type` is no part of roslib's operation. */
function callOperation(id: string, service: string, type: string, args: object): RosbridgeMessage {
  const operation = { op: "call_service" as const, id, service, type, args };
  return operation;
}
