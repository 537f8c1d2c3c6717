/**
 * One connected client: its socket, how full that is, and its subscriptions.
 *
 * Frames of one turn of the event loop leave in one write, up to `CORK_BYTES`. A socket that holds more than
 * `SOCKET_BYTES_MAX` is full: what comes then waits in the subscriptions' queues.
 */
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { BridgeTopic, Frame } from "./bridge-topic.ts";
import { Subscription } from "./subscription.ts";

const SOCKET_BYTES_MAX = 1 << 20;
const CORK_BYTES = 64 << 10;

export class BridgeClient {
  readonly socket: WebSocket;
  readonly #tcp: Socket;
  readonly #onRoom: () => void;
  readonly #subscriptions = new Map<string, Subscription>();
  #isCorked = false;
  #corkedBytes = 0;
  /** Larger frames never leave: they would have to be cut in pieces, which no client puts together. */
  frameBytesMax: number;

  constructor(socket: WebSocket, tcp: Socket, frameBytesMax: number, onRoom: () => void) {
    this.socket = socket;
    this.#tcp = tcp;
    this.frameBytesMax = frameBytesMax;
    this.#onRoom = onRoom;
  }

  get isOpen(): boolean {
    return this.socket.readyState === this.socket.OPEN;
  }

  /** While it is not, no queue holds anything: a publisher that can wait for that loses nothing. */
  get isSocketFull(): boolean {
    return this.socket.bufferedAmount > SOCKET_BYTES_MAX;
  }

  /** Nothing of it is left in this process; what waits for a throttle aside. */
  get isDrained(): boolean {
    return this.socket.bufferedAmount === 0 && [...this.#subscriptions.values()].every((one) => one.waitingCount === 0);
  }

  subscription(topic: string): Subscription | undefined {
    return this.#subscriptions.get(topic);
  }

  addSubscription(topic: BridgeTopic): Subscription {
    const subscription = new Subscription(topic, this);
    this.#subscriptions.set(topic.name, subscription);
    return subscription;
  }

  removeSubscription(topic: string): void {
    this.#subscriptions.get(topic)?.close();
    this.#subscriptions.delete(topic);
  }

  send(frame: Frame): void {
    this.#cork(frame.bytes.byteLength);
    this.socket.send(frame.bytes, { binary: frame.isBinary }, this.#onSent);
  }

  sendJson(value: unknown): void {
    this.socket.send(JSON.stringify(value), this.#onSent);
  }

  #cork(sizeBytes: number): void {
    this.#corkedBytes += sizeBytes;
    if (this.#isCorked) {
      if (this.#corkedBytes > CORK_BYTES) this.#uncork();
      return;
    }
    if (sizeBytes > CORK_BYTES) return;
    this.#isCorked = true;
    this.#tcp.cork();
    setImmediate(this.#uncork);
  }

  readonly #uncork = (): void => {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#corkedBytes = 0;
    this.#tcp.uncork();
  };

  readonly #onSent = (): void => {
    if (this.isSocketFull) return;
    for (const subscription of this.#subscriptions.values()) subscription.flush();
    this.#onRoom();
  };

  close(): void {
    for (const topic of [...this.#subscriptions.keys()]) this.removeSubscription(topic);
    this.#onRoom();
  }
}
