/**
 * A scriptable rosbridge server for faults: it behaves like rosbridge_suite as far as a client can see, and every
 * part of that can be bent. What it sent and what it was told is kept, so that tests count on the publisher's side.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

export type Operation = { readonly op: string; readonly [key: string]: unknown };
export type FakeTopic = {
  readonly type: string;
  readonly definition?: string;
  readonly publishers?: readonly string[];
};
/** Answers the arguments of a call; undefined: never answers; throws: the call fails. */
export type FakeService = (args: Readonly<Record<string, unknown>>) => unknown;

type Client = { readonly socket: WebSocket; readonly forms: Map<string, string> };

export class FakeBridge {
  readonly operations: Operation[] = [];
  readonly topics = new Map<string, FakeTopic>();
  readonly services = new Map<string, FakeService>();
  /** Topic → the form another client holds it in: subscriptions in the other form get nothing (issue 610). */
  readonly heldForms = new Map<string, "raw" | "json">();
  connectionCount = 0;
  /** Accepts connections and closes them at once. */
  isRefusing = false;
  readonly #server: WebSocketServer;
  readonly #clients = new Set<Client>();

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (socket) => this.#accept(socket));
    this.#installRosapi();
  }

  static async open(port = 0, options: { readonly autoPong?: boolean } = {}): Promise<FakeBridge> {
    const server = new WebSocketServer({ port, host: "127.0.0.1", autoPong: options.autoPong ?? true });
    await once(server, "listening");
    return new FakeBridge(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dropClients();
    this.#server.close();
    await once(this.#server, "close");
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Publishes one message to whoever may have it; says how many got it. */
  publish(topic: string, payload: Uint8Array, json: unknown = {}): number {
    let sent = 0;
    for (const { socket, forms } of this.#clients) {
      const form = forms.get(topic);
      if (form === undefined || this.#isShutOut(topic, form)) continue;
      socket.send(form === "cbor-raw" ? rawFrame(topic, payload) : JSON.stringify({ op: "publish", topic, msg: json }));
      sent += 1;
    }
    return sent;
  }

  /** Any bytes or text, to every client. */
  sendFrame(frame: Uint8Array | string): void {
    for (const { socket } of this.#clients) socket.send(frame);
  }

  /** Cuts all connections without a closing handshake. */
  dropClients(): void {
    for (const { socket } of this.#clients) socket.terminate();
  }

  /** The network is cut without a word: nothing is read or answered any more. */
  freeze(): void {
    for (const { socket } of this.#clients) socket.pause();
  }

  isSubscribed(topic: string, form?: string): boolean {
    return [...this.#clients].some(
      ({ forms }) => forms.has(topic) && (form === undefined || forms.get(topic) === form),
    );
  }

  told(op: string, topic?: string): Operation[] {
    return this.operations.filter(
      (operation) => operation.op === op && (topic === undefined || operation.topic === topic),
    );
  }

  #isShutOut(topic: string, form: string): boolean {
    const held = this.heldForms.get(topic);
    return held !== undefined && (held === "raw") !== (form === "cbor-raw");
  }

  #accept(socket: WebSocket): void {
    this.connectionCount += 1;
    if (this.isRefusing) {
      socket.close();
      return;
    }
    const client = { socket, forms: new Map<string, string>() };
    this.#clients.add(client);
    socket.on("close", () => this.#clients.delete(client));
    socket.on("error", () => {});
    socket.on("message", (text) => this.#obey(client, JSON.parse(String(text)) as Operation));
  }

  #obey(client: Client, operation: Operation): void {
    this.operations.push(operation);
    if (operation.op === "subscribe") client.forms.set(String(operation.topic), String(operation.compression));
    if (operation.op === "unsubscribe") client.forms.delete(String(operation.topic));
    if (operation.op === "call_service") this.#answer(client, operation);
  }

  #answer(client: Client, { id, service, args }: Operation): void {
    const answer = { op: "service_response", id, service };
    const respond = (values: unknown, result: boolean) =>
      client.socket.send(JSON.stringify({ ...answer, values, result }));
    const serve = this.services.get(String(service));
    if (serve === undefined) {
      respond(`Service ${service} does not exist`, false);
      return;
    }
    try {
      const values = serve((args ?? {}) as Readonly<Record<string, unknown>>);
      if (values !== undefined) respond(values, true);
    } catch (error) {
      respond(String(error), false);
    }
  }

  #installRosapi(): void {
    const list = () => ({ topics: [...this.topics.keys()], types: [...this.topics.values()].map(({ type }) => type) });
    this.services.set("/rosapi/get_ros_version", () => ({ version: 2, distro: "jazzy" }));
    this.services.set("/rosapi/topics", list);
    this.services.set("/rosapi/topics_and_raw_types", () => ({
      ...list(),
      typedefs_full_text: [...this.topics.values()].map(({ definition }) => definition ?? ""),
    }));
    this.services.set("/rosapi/publishers", ({ topic }) => ({
      publishers: this.topics.get(String(topic))?.publishers ?? [],
    }));
  }
}

function text(value: string): Buffer {
  return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
}

/** The shortest CBOR head, as Python's `cbor` writes it. */
function head(major: number, argument: number): Buffer {
  const top = major << 5;
  if (argument < 24) return Buffer.from([top | argument]);
  if (argument < 256) return Buffer.from([top | 24, argument]);
  const wide = Buffer.alloc(argument < 65_536 ? 3 : 5);
  wide[0] = top | (argument < 65_536 ? 25 : 26);
  wide.writeUIntBE(argument, 1, wide.length - 1);
  return wide;
}

/** A cbor-raw frame, byte for byte as rosbridge_suite writes it. */
export function rawFrame(topic: string, payload: Uint8Array, secs = 1_700_000_000, nsecs = 5): Buffer {
  return Buffer.concat([
    Buffer.from([0xa3]),
    ...[text("op"), text("publish"), text("topic"), text(topic), text("msg"), Buffer.from([0xa3])],
    ...[text("secs"), head(0, secs), text("nsecs"), head(0, nsecs), text("bytes"), head(2, payload.length), payload],
  ]);
}
