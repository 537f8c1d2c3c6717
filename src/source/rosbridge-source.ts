/**
 * A robot behind rosbridge: rosbridge_suite for ROS 1 or ROS 2, or ros2-web-bridge.
 *
 * Keeps one connection at a time, finds the robot's topics through rosapi or in the configuration, subscribes those
 * that the plan wants, and delivers their messages. Whatever the bridge does ends as a connection state, a counted
 * drop or a topic's silent reason; reconnecting (full jitter), the form of delivery and asking for publishers all
 * have growing gaps.
 */
import type { Matcher } from "../std/glob.ts";
import { fullJitterMs } from "../std/random.ts";
import { waitMs } from "../std/wait.ts";
import { BridgeDefinitions } from "./bridge-definitions.ts";
import { BridgeLink, type CallResult, type LinkEnd } from "./bridge-link.ts";
import type { FrameDrop, TransportOptions } from "./bridge-transport.ts";
import type { DeliveryOptions } from "./delivery-mode.ts";
import { PublisherQuestions } from "./publisher-questions.ts";
import { type DiscoveredTopic, Rosapi } from "./rosapi.ts";
import type { Source, SourceDeps, SourceSink, TopicStatus } from "./source.ts";
import { TopicSubscription } from "./topic-subscription.ts";
import { isLatchedTopic } from "./well-known-topics.ts";

export type RosbridgeOptions = TransportOptions &
  DeliveryOptions & {
    readonly url: string;
    /** Where the bridge cannot be asked (no rosapi) and the types do not tell. */
    readonly ros?: 1 | 2 | undefined;
    /** New and vanished topics are looked for this often. */
    readonly discoveryMs: number;
    /** Silence and forms of delivery are looked at this often. */
    readonly stepMs: number;
    readonly callTimeoutMs: number;
    readonly reconnectMs: number;
    readonly reconnectMsMax: number;
    /** Names kept of topics that come and go; beyond it those that vanished are forgotten, the oldest first. */
    readonly namesMax: number;
  };

const ROSBRIDGE_DEFAULTS: Omit<RosbridgeOptions, "url"> = {
  frameBytesMax: 64 << 20,
  socketBytesMax: 256 << 20,
  openTimeoutMs: 10_000,
  pingMs: 5000,
  closeTimeoutMs: 2000,
  silenceMs: 10_000,
  silenceMsMax: 600_000,
  retryRawMs: 60_000,
  retryRawMsMax: 3_600_000,
  discoveryMs: 2000,
  stepMs: 1000,
  callTimeoutMs: 10_000,
  reconnectMs: 500,
  reconnectMsMax: 5000,
  namesMax: 10_000,
};

/** A connection that lived this long was a good one: the next back-off starts from the beginning. */
const STABLE_MS = 10_000;
const TOLD_DROPS_MAX = 1000;

export class RosbridgeSource implements Source {
  readonly #options: RosbridgeOptions;
  readonly #deps: SourceDeps;
  readonly #sink: SourceSink;
  readonly #subscriptions = new Map<string, TopicSubscription>();
  /** Topics that the plan leaves out, by name → type. */
  readonly #notRecorded = new Map<string, string>();
  readonly #definitions: BridgeDefinitions;
  /** Topics that were announced with their definition. */
  readonly #definedTopics = new Set<string>();
  /** Of the drops already told in the log: a counter tells the rest. */
  readonly #toldDrops = new Set<string>();
  #link: BridgeLink | undefined;
  #isConnected: boolean | undefined;
  #isRosapiAnswering: boolean | undefined;
  #wantedOnDemand: Matcher = () => false;

  private constructor(options: RosbridgeOptions, deps: SourceDeps, sink: SourceSink) {
    this.#options = options;
    this.#deps = deps;
    this.#sink = sink;
    this.#definitions = new BridgeDefinitions(options.discoveryMs, deps.log);
  }

  static open(
    options: Partial<RosbridgeOptions> & { readonly url: string },
    deps: SourceDeps,
    sink: SourceSink,
  ): RosbridgeSource {
    return new RosbridgeSource({ ...ROSBRIDGE_DEFAULTS, ...options }, deps, sink);
  }

  async run(signal: AbortSignal): Promise<void> {
    for (let tries = 0; !signal.aborted; tries++) {
      const startedNs = this.#deps.clock.monotonicNs();
      const end = await this.#connectOnce(signal);
      if (signal.aborted) return; // this side stopped: no fault of the bridge
      this.#setConnected(false, end.reason, end.lastHeardNs);
      if (this.#deps.clock.monotonicNs() - startedNs > BigInt(STABLE_MS) * 1_000_000n) tries = 0;
      const { reconnectMs, reconnectMsMax } = this.#options;
      await waitMs(fullJitterMs(tries, reconnectMs, reconnectMsMax, this.#deps.random), signal);
    }
  }

  subscribeOnDemand(topics: Matcher): void {
    this.#wantedOnDemand = topics;
    this.#arrangeAll();
  }

  /** Any service of the robot; at its deadline, or when the connection ends, it has failed. */
  callService(service: string, type: string, args: object): Promise<CallResult> {
    if (this.#link === undefined) return Promise.resolve({ kind: "failed", reason: "there is no connection" });
    return this.#link.call(service, type, args, this.#options.callTimeoutMs);
  }

  topics(): readonly TopicStatus[] {
    const left = [...this.#notRecorded].map(([topic, schemaName]) => notRecorded(topic, schemaName));
    return [...[...this.#subscriptions.values()].map((subscription) => subscription.status()), ...left];
  }

  async #connectOnce(signal: AbortSignal): Promise<LinkEnd> {
    const { url } = this.#options;
    const link = await BridgeLink.open(url, this.#options, this.#deps.clock, (drop) => this.#onDrop(drop), signal);
    if (!(link instanceof BridgeLink)) return link;
    this.#link = link;
    this.#setConnected(true, "the bridge answered", this.#deps.clock.monotonicNs());
    const stop = new AbortController();
    const close = () => this.#closeLink(link);
    signal.addEventListener("abort", close);
    if (signal.aborted) close();
    const work = this.#tend(link, stop.signal);
    const end = await Promise.race([link.ended, work.then(() => link.ended)]);
    signal.removeEventListener("abort", close);
    stop.abort();
    this.#link = undefined;
    this.#detachAll();
    await work;
    return end;
  }

  /** Unsubscribes first: a bridge may keep a topic's form for as long as anybody holds it. */
  #closeLink(link: BridgeLink): void {
    this.#detachAll();
    link.close("this side stopped");
  }

  #detachAll(): void {
    for (const subscription of this.#subscriptions.values()) subscription.detach();
  }

  async #tend(link: BridgeLink, signal: AbortSignal): Promise<void> {
    const rosapi = new Rosapi(link, this.#options.callTimeoutMs);
    this.#arrangeAll();
    await Promise.all([this.#discover(link, rosapi, signal), this.#watchSilence(rosapi, signal)]);
  }

  async #discover(link: BridgeLink, rosapi: Rosapi, signal: AbortSignal): Promise<void> {
    const version = await rosapi.askVersion();
    while (!signal.aborted) {
      const found = await rosapi.listTopics();
      this.#noteRosapi(found !== undefined, rosapi.failure);
      if (rosapi.isStuck) link.close("rosapi stopped answering, and the bridge may have stopped listening with it");
      const topics = this.#withConfigured(found ?? []);
      if (found !== undefined) await this.#definitions.refresh(this.#newTypes(topics), rosapi, this.#nowMs());
      if (signal.aborted) return;
      const ros = this.#options.ros ?? version ?? guessRos(topics);
      for (const { topic, type } of topics) this.#join(topic, type, ros);
      if (found !== undefined) this.#noteVanished(new Set(found.map(({ topic }) => topic)));
      await waitMs(this.#options.discoveryMs, signal);
    }
  }

  #noteRosapi(isAnswering: boolean, reason: string): void {
    if (this.#isRosapiAnswering === isAnswering || (this.#link === undefined && !isAnswering)) return;
    this.#isRosapiAnswering = isAnswering;
    const configured = this.#deps.configuredTypes.size;
    if (isAnswering) this.#deps.log.info("rosapi lists the topics of the robot.");
    else this.#deps.log.warn("rosapi does not answer: only configured topics are found.", { reason, configured });
  }

  /** A configured type stands in where the bridge does not tell one. */
  #withConfigured(found: readonly DiscoveredTopic[]): readonly DiscoveredTopic[] {
    const names = new Set(found.map(({ topic }) => topic));
    const configured = [...this.#deps.configuredTypes].filter(([topic]) => !names.has(topic));
    return [...found, ...configured.map(([topic, type]) => ({ topic, type }))];
  }

  #newTypes(topics: readonly DiscoveredTopic[]): readonly string[] {
    return topics.filter(({ topic, type }) => this.#isNews(topic, type)).map(({ type }) => type);
  }

  #isNews(topic: string, type: string): boolean {
    return this.#subscriptions.get(topic)?.schemaName !== type && this.#notRecorded.get(topic) !== type;
  }

  #join(topic: string, type: string, ros: 1 | 2): void {
    const known = this.#subscriptions.get(topic);
    const schemaText = this.#definitions.find(type);
    const open = () => {
      const isLatched = isLatchedTopic(topic, type);
      return this.#sink.openTopic({ topic, schemaName: type, schemaText, ros, isLatched });
    };
    if (this.#isNews(topic, type)) this.#take(topic, type, open);
    else if (known !== undefined && schemaText !== undefined && !this.#definedTopics.has(topic)) known.reopen(open());
    if (schemaText !== undefined) this.#definedTopics.add(topic);
  }

  /** A topic that is new, or has another type now. */
  #take(topic: string, type: string, open: () => number): void {
    this.#subscriptions.get(topic)?.detach();
    this.#subscriptions.delete(topic);
    this.#notRecorded.delete(topic);
    this.#definedTopics.delete(topic);
    const plan = this.#deps.planTopic(topic, type);
    if (plan === undefined) {
      this.#notRecorded.set(topic, type);
      return;
    }
    const deps = { clock: this.#deps.clock, log: this.#deps.log, sink: this.#sink };
    const subscription = new TopicSubscription(topic, type, plan, open(), this.#options, deps);
    this.#subscriptions.set(topic, subscription);
    this.#arrange(subscription);
  }

  /** rosapi lists what is published or subscribed: what it does not list has no publisher. */
  #noteVanished(listed: ReadonlySet<string>): void {
    for (const [topic, subscription] of this.#subscriptions) if (!listed.has(topic)) subscription.setPublishers([]);
    for (const topic of this.#notRecorded.keys())
      if (!listed.has(topic) && !this.#deps.configuredTypes.has(topic)) this.#notRecorded.delete(topic);
    const excess = this.#subscriptions.size + this.#notRecorded.size - this.#options.namesMax;
    const names = excess > 0 ? [...this.#notRecorded.keys(), ...this.#subscriptions.keys()] : [];
    const isGone = (topic: string) => !listed.has(topic) && !this.#deps.configuredTypes.has(topic);
    for (const topic of names.filter(isGone).slice(0, excess)) this.#forget(topic);
  }

  #forget(topic: string): void {
    if (this.#subscriptions.has(topic)) this.#sink.closeTopic(topic);
    this.#subscriptions.get(topic)?.detach();
    this.#subscriptions.delete(topic);
    this.#notRecorded.delete(topic);
    this.#definedTopics.delete(topic);
  }

  #arrangeAll(): void {
    for (const subscription of this.#subscriptions.values()) this.#arrange(subscription);
  }

  #arrange(subscription: TopicSubscription): void {
    const isWanted = !subscription.plan.isOnDemand || this.#wantedOnDemand(subscription.topic);
    if (!isWanted) subscription.detach();
    else if (!subscription.isAttached && this.#link !== undefined) subscription.attach(this.#link);
  }

  async #watchSilence(rosapi: Rosapi, signal: AbortSignal): Promise<void> {
    const questions = new PublisherQuestions(rosapi, this.#options.silenceMs / 2);
    while (await waitMs(this.#options.stepMs, signal)) {
      await questions.ask([...this.#subscriptions.values()], this.#nowMs());
      if (signal.aborted) return;
      for (const subscription of this.#subscriptions.values()) subscription.step();
    }
  }

  #setConnected(isConnected: boolean, reason: string, atNs: bigint): void {
    if (this.#isConnected === isConnected) return;
    this.#isConnected = isConnected;
    const { url } = this.#options;
    if (isConnected) this.#deps.log.info("Connected to the bridge.", { url });
    else this.#deps.log.warn("The bridge is not connected.", { url, reason });
    this.#sink.onConnection({ kind: isConnected ? "connected" : "disconnected", url, reason, atNs });
  }

  #onDrop(drop: FrameDrop): void {
    const key = `${drop.reason} ${drop.topic}`;
    if (!this.#toldDrops.has(key) && this.#toldDrops.size < TOLD_DROPS_MAX) {
      this.#toldDrops.add(key);
      this.#deps.log.warn("A frame was dropped; more of its kind are only counted.", drop);
    }
    this.#sink.onDrop(drop.topic, drop.reason, 1, drop.bytes);
  }

  #nowMs(): number {
    return Number(this.#deps.clock.monotonicNs() / 1_000_000n);
  }
}

/** ROS 2 spells its types with `/msg/`. */
function guessRos(topics: readonly DiscoveredTopic[]): 1 | 2 {
  return topics.some(({ type }) => type.includes("/msg/")) ? 2 : 1;
}

function notRecorded(topic: string, schemaName: string): TopicStatus {
  const nothing = {
    isOnDemand: false,
    received: 0,
    lastMessageNs: undefined,
    publishers: undefined,
    silentReason: undefined,
  };
  return { topic, schemaName, mode: "not_recorded", ...nothing };
}
