/**
 * Joins the source with decode, ring and trigger, inside the ingest thread: the way of every message.
 *
 * A message's bytes are copied once, from the socket's frame into the chunk that gathers its channel's messages.
 * A message that came as JSON is encoded as its channel's ROS encoding first, wherever the schema is known, so
 * that everything later copies stored chunks unchanged. Nothing here waits.
 */
import type { ChannelReader } from "../decode/channel-reader.ts";
import type { ChannelRegistry } from "../decode/channel-registry.ts";
import type { Definitions } from "../decode/definitions.ts";
import { compileEncoder } from "../decode/encoder.ts";
import { packMessage } from "../decode/msgpack.ts";
import { SequenceGaps } from "../decode/sequence-gaps.ts";
import type { SequenceReader, StampReader } from "../decode/stamp.ts";
import type { FrameReader } from "../decode/video-frame.ts";
import type { Channel, Schema } from "../model/channel.ts";
import { type BootAnchor, logTimeNs } from "../model/chunk.ts";
import type { Loss, LossReason } from "../model/loss.ts";
import type { TopicPlan } from "../model/topic-class.ts";
import type { ChunkBuilder } from "../ring/chunk-builder.ts";
import type { ConnectionState, SourceSink, TopicAnnouncement } from "../source/source.ts";
import { systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import { earliest } from "../std/nanoseconds.ts";
import type { Log } from "../telemetry/log.ts";
import type { Trigger } from "../trigger/trigger.ts";
import { DecisionDelay } from "./decision-delay.ts";
import type { MessageListener } from "./message-listener.ts";
import type { IngestToStore } from "./ports.ts";

export type IngestDeps = {
  readonly anchor: BootAnchor;
  readonly registry: ChannelRegistry;
  readonly definitions: Definitions;
  readonly reader: ChannelReader;
  readonly builder: ChunkBuilder;
  readonly trigger: Trigger;
  readonly log: Log;
  planTopic(topic: string, schemaName: string): TopicPlan | undefined;
  /** Who looks at a channel's messages beside the rules. */
  listenersOf?(channel: Channel): readonly MessageListener[];
  /** To the store thread. */
  send(note: IngestToStore): void;
  /** Sends on what the trigger said of the last message. */
  deliverEvents(): void;
  /** log_time up to which an earlier process recorded this robot: what came since, until the bridge is there, is missing. */
  readonly recordedUntilNs: bigint | undefined;
};

/** One announced topic: its channels come into being with its first message, raw or JSON. */
type OpenTopic = {
  readonly announcement: TopicAnnouncement;
  readonly plan: TopicPlan;
  readonly schema: Schema;
  raw: Lane | undefined;
  json: JsonLane | undefined;
  readonly gaps: SequenceGaps;
  messages: number;
  bytes: number;
};

type Lane = {
  readonly channel: Channel;
  readonly stampOf: StampReader | undefined;
  readonly sequenceOf: SequenceReader | undefined;
  readonly frameOf: FrameReader | undefined;
  readonly listeners: readonly MessageListener[];
};
type JsonLane = Lane & { readonly encode: (json: unknown) => { readonly bytes: Uint8Array; readonly nulls: number } };

/** Since the start. */
export type TopicTraffic = {
  readonly topic: string;
  readonly className: string;
  readonly isLocal: boolean;
  readonly messages: number;
  readonly bytes: number;
};

/** A frame that builds on others shows nothing alone; parameter sets are small and the next key frame needs them. */
const BASELINE_OF_FRAME = { key: "when_due", parameters: "always", delta: "never", other: "when_due" } as const;

/** Two rounds of discovery and the definitions of what they found. */
const SUBSCRIBED_WITHIN_NS = 5_000_000_000n;

/** Kinds of drops told apart between two calls of `tellDrops`. */
const DROP_KINDS_MAX = 1000;

export class Ingest implements SourceSink {
  readonly #deps: IngestDeps;
  readonly #topics: OpenTopic[] = [];
  readonly #handles = new Map<string, number>();
  /** Of topics that are forgotten. */
  readonly #freeHandles: number[] = [];
  readonly #topicsByChannel = new Map<number, string>();
  /** Drops since the last `tellDrops`, by topic and reason. */
  #drops = new Map<string, Loss>();
  #connection: ConnectionState | undefined;
  #gapStartNs: bigint | undefined;
  /** From when on a gap ends with the next message; undefined: not connected, or no gap. */
  #resumedNs: bigint | undefined;
  /** Nulls in float fields of JSON messages that became NaN. */
  nullCount = 0;
  readonly decisionDelay = new DecisionDelay();

  constructor(deps: IngestDeps) {
    this.#deps = deps;
    const { recordedUntilNs } = deps;
    this.#gapStartNs = recordedUntilNs === undefined ? undefined : earliest(recordedUntilNs, this.#nowNs());
  }

  openTopic(announcement: TopicAnnouncement): number {
    const { definitions, planTopic } = this.#deps;
    const plan = planTopic(announcement.topic, announcement.schemaName);
    if (plan === undefined) throw new Error(`${announcement.topic} is not to be recorded`);
    const schema = definitions.schema(announcement.schemaName, announcement.ros, announcement.schemaText);
    const known = this.#handles.get(announcement.topic);
    const handle = known ?? this.#freeHandles.pop() ?? this.#topics.length;
    const earlier = known === undefined ? undefined : this.#topics[known];
    const { messages = 0, bytes = 0, gaps = new SequenceGaps() } = earlier ?? {};
    this.#topics[handle] = { announcement, plan, schema, raw: undefined, json: undefined, gaps, messages, bytes };
    this.#handles.set(announcement.topic, handle);
    return handle;
  }

  closeTopic(topic: string): void {
    const handle = this.#handles.get(topic);
    if (handle !== undefined) this.#freeHandles.push(handle);
    this.#handles.delete(topic);
  }

  onBytes(handle: number, bytes: Uint8Array, arrivalNs: bigint): void {
    const topic = this.#topics[handle];
    if (topic === undefined) return;
    topic.raw ??= this.#openRawLane(topic);
    this.#record(topic, topic.raw, bytes, arrivalNs);
  }

  onJson(handle: number, message: unknown, wireBytes: number, arrivalNs: bigint): void {
    const topic = this.#topics[handle];
    if (topic === undefined) return;
    topic.json ??= this.#openJsonLane(topic);
    try {
      const { bytes, nulls } = topic.json.encode(message);
      this.nullCount += nulls;
      this.#record(topic, topic.json, bytes, arrivalNs);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.onDrop(topic.announcement.topic, "undecodable_json", 1, wireBytes);
    }
  }

  onDrop(topic: string, reason: LossReason, count: number, bytes: number): void {
    const endNs = this.#nowNs();
    this.#topics[this.#handles.get(topic) ?? -1]?.gaps.excuse(count);
    // Topics that a broken frame seems to name are anybody's words: beyond a bound they are not told apart.
    const name = this.#drops.size < DROP_KINDS_MAX || this.#handles.has(topic) ? topic : "";
    const key = `${reason} ${name}`;
    const earlier = this.#drops.get(key);
    const totals = { count: (earlier?.count ?? 0) + count, bytes: (earlier?.bytes ?? 0) + bytes };
    this.#drops.set(key, { topic: name, reason, startNs: earlier?.startNs ?? endNs, endNs, ...totals });
  }

  /** A flood of bad frames is one note a topic, reason and call. Called every second or so. */
  tellDrops(): void {
    if (this.#resumedNs !== undefined && this.#nowNs() - this.#resumedNs > SUBSCRIBED_WITHIN_NS)
      this.#endGap(this.#resumedNs + SUBSCRIBED_WITHIN_NS);
    for (const loss of this.#drops.values()) this.#deps.send({ kind: "loss", loss });
    this.#drops.clear();
  }

  /** At the end: what is missing up to now is said. */
  close(): void {
    this.#endGap(this.#nowNs());
    this.tellDrops();
  }

  /**
   * A gap is a ledger row once it has ended, with both its ends. It ends with the first message, since a bridge that
   * is there again has still to be asked for its topics; or where nothing is sent, when all must be subscribed.
   */
  onConnection(state: ConnectionState): void {
    const atNs = logTimeNs(this.#deps.anchor, state.atNs);
    this.#connection = state;
    this.#deps.trigger.onConnection(state.kind === "connected");
    if (state.kind === "disconnected") {
      this.#gapStartNs ??= this.#topics.length > 0 ? atNs : undefined;
      this.#resumedNs = undefined;
    } else if (this.#gapStartNs !== undefined) this.#resumedNs = atNs;
  }

  #endGap(atNs: bigint): void {
    if (this.#gapStartNs === undefined) return;
    const gap = {
      topic: "",
      reason: "connection_gap",
      startNs: this.#gapStartNs,
      endNs: atNs,
      count: undefined,
      bytes: undefined,
    } as const;
    this.#deps.send({ kind: "loss", loss: gap });
    this.#gapStartNs = undefined;
    this.#resumedNs = undefined;
  }

  get connection(): ConnectionState | undefined {
    return this.#connection;
  }

  /** As the bridge's topics say it; undefined before the first. */
  get ros(): 1 | 2 | undefined {
    return this.#topics.at(-1)?.announcement.ros;
  }

  topicOf(channelId: number): string {
    return this.#topicsByChannel.get(channelId) ?? "";
  }

  traffic(): TopicTraffic[] {
    return this.#topics.map(({ announcement, plan, messages, bytes }) => ({
      topic: announcement.topic,
      className: plan.topicClass.name,
      isLocal: plan.isLocal,
      messages,
      bytes,
    }));
  }

  #record(topic: OpenTopic, lane: Lane, bytes: Uint8Array, arrivalNs: bigint): void {
    const atNs = logTimeNs(this.#deps.anchor, arrivalNs);
    if (this.#resumedNs !== undefined) this.#endGap(atNs);
    const stampNs = lane.stampOf?.(bytes) ?? 0n;
    topic.messages += 1;
    topic.bytes += bytes.length;
    // Stored first: a firing closes the chunks at once, and its own message must be among them.
    const frame = lane.frameOf?.(bytes) ?? "other";
    this.#deps.builder.append(lane.channel.id, atNs, stampNs > 0n ? stampNs : atNs, bytes, BASELINE_OF_FRAME[frame]);
    if (lane.sequenceOf !== undefined) this.#watchSequence(topic, lane.sequenceOf(bytes), atNs);
    if (frame === "key") this.#deps.send({ kind: "key_frame", channelId: lane.channel.id, atNs });
    for (const listen of lane.listeners) listen(bytes, atNs);
    this.#deps.trigger.onMessage(lane.channel, bytes, atNs);
    this.decisionDelay.note(arrivalNs);
    this.#deps.deliverEvents();
  }

  /** What the publisher numbered and the bridge did not deliver is a row; nothing was received. */
  #watchSequence(topic: OpenTopic, sequence: number, atNs: bigint): void {
    const gap = topic.gaps.note(sequence, atNs);
    if (gap === undefined) return;
    const loss = { topic: topic.announcement.topic, reason: "sequence_gap", bytes: undefined, ...gap } as const;
    this.#deps.send({ kind: "loss", loss });
  }

  #nowNs(): bigint {
    return logTimeNs(this.#deps.anchor, systemClock.monotonicNs());
  }

  #openRawLane(topic: OpenTopic): Lane {
    const channel = this.#declare(topic, topic.schema, wireEncoding(topic));
    const { reader } = this.#deps;
    const parsed = reader.parse(topic.schema);
    if ("problem" in parsed) this.#noteUndecodable(topic, parsed.problem);
    return { channel, ...this.#readersOf(channel) };
  }

  #openJsonLane(topic: OpenTopic): JsonLane {
    const encoding = wireEncoding(topic);
    const { reader } = this.#deps;
    const parsed = reader.parse(topic.schema);
    const encode = "problem" in parsed ? parsed : compileEncoder(parsed, encoding);
    if ("problem" in encode) {
      this.#noteUndecodable(topic, encode.problem);
      const channel = this.#declare(topic, { name: topic.schema.name, encoding: "", text: "" }, "msgpack");
      return {
        channel,
        ...this.#readersOf(channel),
        encode: (message) => ({ bytes: packMessage(message), nulls: 0 }),
      };
    }
    const channel = this.#declare(topic, topic.schema, encoding);
    return { channel, ...this.#readersOf(channel), encode };
  }

  #noteUndecodable(topic: OpenTopic, problem: string): void {
    const { topic: name } = topic.announcement;
    this.#deps.log.warn("A topic is recorded as it is, but no rule can read it.", {
      topic: name,
      type: topic.schema.name,
      problem,
    });
  }

  #readersOf(channel: Channel): Omit<Lane, "channel"> {
    const { reader, listenersOf } = this.#deps;
    const [stampOf, sequenceOf] = [reader.stamp(channel), reader.sequence(channel)];
    return { stampOf, sequenceOf, frameOf: reader.videoFrames(channel), listeners: listenersOf?.(channel) ?? [] };
  }

  #declare(topic: OpenTopic, schema: Schema, messageEncoding: Channel["messageEncoding"]): Channel {
    const { topicClass, isLocal } = topic.plan;
    const channel = this.#deps.registry.declare({
      topic: topic.announcement.topic,
      schema,
      messageEncoding,
      className: topicClass.name,
      isLocal,
      isLatched: topic.announcement.isLatched,
    });
    this.#topicsByChannel.set(channel.id, channel.topic);
    this.#deps.send({ kind: "channel", channel });
    this.#deps.builder.addChannel(channel, topicClass);
    this.#deps.trigger.addChannel(channel);
    return channel;
  }
}

function wireEncoding({ announcement }: OpenTopic): "ros1" | "cdr" {
  return announcement.ros === 1 ? "ros1" : "cdr";
}
