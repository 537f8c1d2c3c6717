/** A source under test: with short gaps, a sink that keeps what it was given, and waits that have a deadline. */
import type { LossReason } from "../../src/model/loss.ts";
import type { TopicPlan } from "../../src/model/topic-class.ts";
import { type RosbridgeOptions, RosbridgeSource } from "../../src/source/rosbridge-source.ts";
import type {
  ConnectionState,
  SourceDeps,
  SourceSink,
  TopicAnnouncement,
  TopicStatus,
} from "../../src/source/source.ts";
import { systemClock } from "../../src/std/clock.ts";
import { seededRandom } from "../../src/std/random.ts";
import { waitMs } from "../../src/std/wait.ts";
import { silentLog } from "../../src/telemetry/log.ts";

export const PLAN: TopicPlan = {
  topicClass: {
    name: "light",
    rank: 0,
    tier: "disk",
    baselineHz: 0,
    memoryMs: 0,
    memoryBytesMax: 0,
    diskMsMax: 0,
    diskBytesMax: 0,
    diskShareMax: 1,
    queueLength: 150,
  },
  isOnDemand: false,
  isLocal: false,
};

export type Received = { readonly topic: string; readonly bytes: Buffer; readonly arrivalNs: bigint };
export type ReceivedJson = { readonly topic: string; readonly message: unknown; readonly wireBytes: number };
export type Drop = {
  readonly topic: string;
  readonly reason: LossReason;
  readonly count: number;
  readonly bytes: number;
};

export class KeepingSink implements SourceSink {
  readonly announcements: TopicAnnouncement[] = [];
  readonly closed: string[] = [];
  readonly raw: Received[] = [];
  readonly json: ReceivedJson[] = [];
  readonly drops: Drop[] = [];
  readonly states: ConnectionState[] = [];

  openTopic(announcement: TopicAnnouncement): number {
    return this.announcements.push(announcement) - 1;
  }

  closeTopic(topic: string): void {
    this.closed.push(topic);
  }

  onBytes(handle: number, bytes: Uint8Array, arrivalNs: bigint): void {
    this.raw.push({ topic: this.#topicOf(handle), bytes: Buffer.from(bytes), arrivalNs });
  }

  onJson(handle: number, message: unknown, wireBytes: number): void {
    this.json.push({ topic: this.#topicOf(handle), message, wireBytes });
  }

  onDrop(topic: string, reason: LossReason, count: number, bytes: number): void {
    this.drops.push({ topic, reason, count, bytes });
  }

  onConnection(state: ConnectionState): void {
    this.states.push(state);
  }

  #topicOf(handle: number): string {
    const announcement = this.announcements[handle];
    if (announcement === undefined) throw new Error(`handle ${handle} was never given out`);
    return announcement.topic;
  }
}

/** Hundredths of the real waits. */
export const FAST: Omit<RosbridgeOptions, "url"> = {
  frameBytesMax: 64 << 10,
  socketBytesMax: 1 << 20,
  openTimeoutMs: 2000,
  pingMs: 100,
  closeTimeoutMs: 200,
  silenceMs: 150,
  silenceMsMax: 600,
  retryRawMs: 200,
  retryRawMsMax: 5000,
  discoveryMs: 50,
  stepMs: 15,
  callTimeoutMs: 300,
  reconnectMs: 10,
  reconnectMsMax: 50,
  namesMax: 10_000,
};

export class RunningSource {
  readonly source: RosbridgeSource;
  readonly sink: KeepingSink;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  constructor(
    url: string,
    options: Partial<RosbridgeOptions> = {},
    deps: Partial<SourceDeps> = {},
    sink = new KeepingSink(),
  ) {
    this.sink = sink;
    const all = { clock: systemClock, random: seededRandom(1), log: silentLog, planTopic: () => PLAN };
    const whole = { ...FAST, ...options, url };
    this.source = RosbridgeSource.open(whole, { ...all, configuredTypes: new Map(), ...deps }, this.sink);
    this.#ended = this.source.run(this.#stop.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  status(topic: string): TopicStatus | undefined {
    return this.source.topics().find((status) => status.topic === topic);
  }
}

/** Resolves as soon as the condition holds; throws with its text after the deadline. */
export async function until(condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await waitMs(5);
  }
}
