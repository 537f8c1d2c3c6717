/**
 * A rosbridge v2 server that behaves like rosbridge_suite, for recordings, for the demo robot, and for tests.
 *
 * Kept as they are in the real one: a bad request is answered with silence (no `status`); throttle and queue are
 * integers, anything else is refused silently; raw and other clients exclude each other per topic; latched topics
 * reach late subscribers; frames over `max_message_size` never arrive; rosapi tells topics, types and definitions.
 * Not kept: fragments, png, parameters, actions, services of robots; a message that a client publishes must be complete.
 *
 * Every message is counted per topic (`TopicCounts`), so that what a client received has something to be held against.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { compileEncoder, type Encoder } from "../decode/encoder.ts";
import { parseSchema } from "../decode/parsed-schema.ts";
import { type Clock, systemClock } from "../std/clock.ts";
import { describeError, Fault } from "../std/fault.ts";
import { type Log, silentLog } from "../telemetry/log.ts";
import { BridgeClient } from "./bridge-client.ts";
import { BridgeTopic, FrameCache, type Publisher, type TopicCounts } from "./bridge-topic.ts";
import type { RecordedChannel } from "./recording.ts";
import { answerRosapi, type Graph } from "./rosapi.ts";

export type RosbridgeServerOptions = {
  readonly ros: 1 | 2;
  /** 0 takes a free one. */
  readonly port: number;
  readonly host?: string;
  /** The node that `/rosapi/publishers` names. */
  readonly node?: string;
  /** rosbridge's `max_message_size`: 10 MB on ROS 2 by default, none on ROS 1. */
  readonly frameBytesMax?: number;
  /** Called after each accepted subscription, with what it asked for. */
  readonly onSubscribe?: (topic: string, compression: string) => void;
  /** Subscriptions that the bridge accepts in silence and never serves, as a real one does with types it lacks. */
  readonly isRefused?: (topic: string, compression: string) => boolean;
};

export type RosbridgeServerDeps = {
  readonly clock?: Clock;
  readonly log?: Log;
  /** The definition of a type that a client advertises; without it clients cannot publish new topics. */
  readonly findDefinition?: (typeName: string, ros: 1 | 2) => string | undefined;
};

type Op = Readonly<Record<string, unknown>>;
/** What one client advertised, by topic. */
type Advertised = Map<string, { readonly publisher: Publisher; readonly encode: Encoder }>;

const BRIDGE_NODE = "/rosbridge_websocket";
const ROS2_FRAME_BYTES_MAX = 10_000_000;
const INCOMING_BYTES_MAX = 10_000_000; // tornado's websocket_max_message_size in rosbridge
const CLOSE_DEADLINE_MS = 2_000;

export class RosbridgeServer {
  readonly #options: RosbridgeServerOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #findDefinition: (typeName: string, ros: 1 | 2) => string | undefined;
  readonly #http: Server;
  readonly #sockets: WebSocketServer;
  readonly #clients = new Set<BridgeClient>();
  readonly #topics = new Map<string, BridgeTopic>();
  readonly #waiters = new Set<() => void>();
  #subscribeCount = 0;

  private constructor(options: RosbridgeServerOptions, deps: RosbridgeServerDeps) {
    this.#options = options;
    this.#clock = deps.clock ?? systemClock;
    this.#log = deps.log ?? silentLog;
    this.#findDefinition = deps.findDefinition ?? (() => undefined);
    this.#http = createServer((_request, response) => response.writeHead(426).end("This is a rosbridge server.\n"));
    this.#sockets = new WebSocketServer({
      server: this.#http,
      perMessageDeflate: false,
      maxPayload: INCOMING_BYTES_MAX,
    });
    this.#sockets.on("connection", (socket, request) => this.#accept(socket, request));
  }

  /** Listens. Throws `Fault("port_taken")` or what the system says. */
  static async open(options: RosbridgeServerOptions, deps: RosbridgeServerDeps = {}): Promise<RosbridgeServer> {
    const server = new RosbridgeServer(options, deps);
    await server.#listen();
    return server;
  }

  #listen(): Promise<void> {
    const { port, host = "127.0.0.1" } = this.#options;
    return new Promise((resolve, reject) => {
      this.#sockets.once("error", (cause) => {
        const text = `Cannot serve on ${host}:${port}: ${describeError(cause)}.`;
        reject(new Fault("port_taken", text, "Choose another --port, or stop what listens there.", cause));
      });
      this.#http.listen(port, host, () => resolve());
    });
  }

  get ros(): 1 | 2 {
    return this.#options.ros;
  }

  get port(): number {
    const address = this.#http.address();
    return typeof address === "object" && address !== null ? (address satisfies AddressInfo).port : 0;
  }

  get url(): string {
    return `ws://${this.#options.host ?? "127.0.0.1"}:${this.port}`;
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  /** Accepted subscriptions since the start; it only grows. */
  get subscribeCount(): number {
    return this.#subscribeCount;
  }

  subscriberCount(topic: string): number {
    return this.#topics.get(topic)?.subscriptions.size ?? 0;
  }

  /** The publisher's ledger, per topic that was ever advertised or asked for. */
  sentCounts(): Map<string, Readonly<TopicCounts>> {
    return new Map([...this.#topics].map(([name, topic]) => [name, { ...topic.counts }]));
  }

  /** Adds a publisher. Throws `Fault("topic_conflict")` if the topic exists with another type. */
  advertise(channel: RecordedChannel, node = this.#options.node ?? "/robot"): Publisher {
    const topic = this.#topic(channel.topic);
    if (topic.schemaName !== "" && topic.publishers.size > 0 && topic.schemaName !== channel.schemaName)
      throw new Fault(
        "topic_conflict",
        `${channel.topic} is ${topic.schemaName} already and cannot be ${channel.schemaName} too.`,
        "Serve the two one after the other.",
      );
    topic.schemaName = channel.schemaName;
    const publisher: Publisher = { channel, node, latched: undefined };
    topic.publishers.add(publisher);
    return publisher;
  }

  unadvertise(publisher: Publisher): void {
    this.#topics.get(publisher.channel.topic)?.publishers.delete(publisher);
  }

  /** Encodes or copies at once: `bytes` may be reused on return. Never waits; see `isBehind`. */
  publish(publisher: Publisher, bytes: Uint8Array): void {
    const { channel } = publisher;
    const topic = this.#topic(channel.topic);
    topic.counts.published += 1;
    topic.counts.publishedBytes += bytes.byteLength;
    if (channel.isLatched) publisher.latched = new Uint8Array(bytes);
    if (topic.subscriptions.size > 0) topic.deliver(channel, bytes, this.#wallNs);
  }

  /** A client's socket is full: more would fill the queues, whose oldest go first. */
  get isBehind(): boolean {
    for (const client of this.#clients) if (client.isSocketFull) return true;
    return false;
  }

  /** Resolves when no client is behind, or the signal fires. */
  whenReady(signal?: AbortSignal): Promise<void> {
    return this.#waitFor(() => !this.isBehind, signal);
  }

  /** Resolves when all that was published is in the kernel's hands, or the signal fires. */
  whenDrained(signal?: AbortSignal): Promise<void> {
    return this.#waitFor(() => [...this.#clients].every((client) => client.isDrained), signal);
  }

  async #waitFor(isReached: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    while (!isReached() && signal?.aborted !== true) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiters.delete(wake);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiters.add(wake);
        signal?.addEventListener("abort", wake);
      });
    }
  }

  /** Cuts every connection, as a bridge that dies does. */
  disconnectAll(): void {
    for (const client of this.#clients) client.socket.terminate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = [...this.#clients].map((client) => closeSocket(client.socket));
    this.#sockets.close();
    await Promise.all(closed);
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
  }

  readonly #wallNs = (): bigint => this.#clock.wallNs();

  readonly #wakeWaiters = (): void => {
    for (const wake of [...this.#waiters]) wake();
  };

  #topic(name: string): BridgeTopic {
    const known = this.#topics.get(name);
    if (known !== undefined) return known;
    const topic = new BridgeTopic(name);
    this.#topics.set(name, topic);
    return topic;
  }

  #accept(socket: WebSocket, request: IncomingMessage): void {
    const unlimited = this.ros === 1 ? Number.POSITIVE_INFINITY : ROS2_FRAME_BYTES_MAX;
    const frameBytesMax = this.#options.frameBytesMax ?? unlimited;
    request.socket.setNoDelay(true);
    const client = new BridgeClient(socket, request.socket, frameBytesMax, this.#wakeWaiters);
    const advertised: Advertised = new Map();
    this.#clients.add(client);
    socket.on("message", (raw) => this.#receive(client, advertised, raw.toString()));
    socket.on("error", (cause) => this.#log.debug("A client's connection failed.", { cause }));
    socket.on("close", () => {
      this.#clients.delete(client);
      client.close();
      for (const { publisher } of advertised.values()) this.unadvertise(publisher);
    });
  }

  /** The real bridge logs what it refuses and tells the client nothing. */
  #receive(client: BridgeClient, advertised: Advertised, text: string): void {
    try {
      this.#perform(client, advertised, parseOp(text));
    } catch (error) {
      this.#log.debug("A request was refused.", { reason: describeError(error), request: text.slice(0, 200) });
    }
  }

  #perform(client: BridgeClient, advertised: Advertised, op: Op): void {
    // It sticks to the connection, whatever operation brought it.
    if (typeof op.fragment_size === "number") client.frameBytesMax = op.fragment_size;
    const operations: Readonly<Record<string, () => void>> = {
      subscribe: () => this.#subscribe(client, op),
      unsubscribe: () => unsubscribe(client, op),
      call_service: () => this.#callService(client, op),
      advertise: () => this.#advertiseForClient(advertised, op),
      unadvertise: () => this.#unadvertiseForClient(advertised, op),
      publish: () => this.#publishForClient(advertised, op),
    };
    const name = textOf(op, "op");
    if (!Object.hasOwn(operations, name)) throw new Error(`unknown operation ${name}`);
    operations[name]?.();
  }

  #subscribe(client: BridgeClient, op: Op): void {
    const name = textOf(op, "topic");
    const compression = optionalText(op, "compression") ?? "none";
    const throttleMs = integerOf(op, "throttle_rate");
    const queueLength = integerOf(op, "queue_length");
    const topic = this.#topic(name);
    this.#checkType(topic, optionalText(op, "type"), compression === "cbor-raw");
    if (this.#options.isRefused?.(name, compression) === true) throw new Error(`no type support for ${name}`);
    const subscription = client.subscription(name) ?? client.addSubscription(topic);
    subscription.request(optionalText(op, "id"), { throttleMs, queueLength, compression });
    topic.attach(subscription);
    this.#subscribeCount += 1;
    for (const { latched, channel } of topic.publishers)
      if (latched !== undefined) subscription.offer(new FrameCache(topic, channel, latched, this.#wallNs));
    this.#options.onSubscribe?.(name, compression);
  }

  /** In ROS 1 a raw subscriber takes any type, even of a topic that is not there yet. */
  #checkType(topic: BridgeTopic, asked: string | undefined, isRaw: boolean): void {
    if (this.ros === 1 && isRaw) return;
    const established = topic.publishers.size > 0 || topic.subscriptions.size > 0 ? topic.schemaName : "";
    const type = asked === undefined ? established : fullTypeName(asked, this.ros);
    if (type === "") throw new Error(`${topic.name} is not established`);
    if (established !== "" && type !== established) throw new Error(`${topic.name} is ${established}, not ${type}`);
    topic.schemaName = type;
  }

  #callService(client: BridgeClient, op: Op): void {
    const service = textOf(op, "service");
    const args = isRecord(op.args) ? op.args : {};
    const values = answerRosapi(service, args, this.#graph());
    client.sendJson({
      op: "service_response",
      service,
      values: values ?? `Service ${service} does not exist`,
      result: values !== undefined,
      ...(op.id === undefined ? {} : { id: op.id }),
    });
  }

  /** A topic exists while somebody publishes it or the bridge itself is subscribed to it. */
  #graph(): Graph {
    const present = [...this.#topics.values()].filter(
      (topic) => topic.schemaName !== "" && (topic.publishers.size > 0 || topic.subscriptions.size > 0),
    );
    return {
      ros: this.ros,
      nowNs: this.#clock.wallNs(),
      topics: present.map((topic) => ({
        name: topic.name,
        schemaName: topic.schemaName,
        schemaText: this.#textOf(topic),
        publisherNodes: [...new Set([...topic.publishers].map((publisher) => publisher.node))],
        subscriberNodes: topic.subscriptions.size > 0 ? [BRIDGE_NODE] : [],
      })),
    };
  }

  #textOf(topic: BridgeTopic): string {
    const published = [...topic.publishers].find((publisher) => publisher.channel.schemaText !== undefined);
    return published?.channel.schemaText ?? this.#findDefinition(topic.schemaName, this.ros) ?? "";
  }

  #advertiseForClient(advertised: Advertised, op: Op): void {
    const topic = textOf(op, "topic");
    const schemaName = fullTypeName(textOf(op, "type"), this.ros);
    const schemaText = this.#findDefinition(schemaName, this.ros);
    if (advertised.has(topic)) return;
    const encoding = this.ros === 1 ? "ros1" : "cdr";
    this.#addAdvertised(advertised, { topic, schemaName, schemaText, encoding, isLatched: op.latch === true });
  }

  /** A bridge can publish only what it has the type of. */
  #addAdvertised(advertised: Advertised, channel: RecordedChannel): void {
    const { schemaName: name, schemaText: text = "", encoding } = channel;
    const schema = parseSchema({ name, encoding: encoding === "ros1" ? "ros1msg" : "ros2msg", text });
    const encode = "problem" in schema ? schema : compileEncoder(schema, encoding);
    if ("problem" in encode) throw new Error(encode.problem);
    advertised.set(channel.topic, { publisher: this.advertise(channel, BRIDGE_NODE), encode });
  }

  #unadvertiseForClient(advertised: Advertised, op: Op): void {
    const topic = textOf(op, "topic");
    const own = advertised.get(topic);
    if (own === undefined) return;
    advertised.delete(topic);
    this.unadvertise(own.publisher);
  }

  /** Without an advertisement of its own the client publishes with the type that the topic has. */
  #publishForClient(advertised: Advertised, op: Op): void {
    const name = textOf(op, "topic");
    if (!advertised.has(name)) {
      const [established] = this.#topic(name).publishers;
      if (established === undefined) throw new Error(`${name} is not established`);
      this.#addAdvertised(advertised, { ...established.channel, isLatched: false });
    }
    const own = advertised.get(name);
    if (own !== undefined) this.publish(own.publisher, own.encode(op.msg ?? {}).bytes);
  }
}

function unsubscribe(client: BridgeClient, op: Op): void {
  const topic = textOf(op, "topic");
  if (client.subscription(topic)?.withdraw(optionalText(op, "id")) === true) client.removeSubscription(topic);
}

async function closeSocket(socket: WebSocket): Promise<void> {
  await new Promise<void>((resolve) => {
    const deadline = setTimeout(() => socket.terminate(), CLOSE_DEADLINE_MS);
    socket.once("close", () => {
      clearTimeout(deadline);
      resolve();
    });
    socket.close(1001);
  });
}

function parseOp(text: string): Op {
  const op: unknown = JSON.parse(text);
  if (!isRecord(op)) throw new Error("not an object");
  return op;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(op: Op, key: string): string {
  const value = op[key];
  if (typeof value !== "string") throw new Error(`expected a ${key}`);
  return value;
}

function optionalText(op: Op, key: string): string | undefined {
  return op[key] === undefined ? undefined : textOf(op, key);
}

function integerOf(op: Op, key: string): number {
  const value = op[key] ?? 0;
  if (!Number.isInteger(value)) throw new Error(`${key} must be an integer`);
  return Number(value);
}

/** ROS 2 accepts `pkg/Name` for `pkg/msg/Name`. */
function fullTypeName(type: string, ros: 1 | 2): string {
  return ros === 2 ? type.replace(/^([^/]+)\/([^/]+)$/, "$1/msg/$2") : type;
}
