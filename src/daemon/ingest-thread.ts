/**
 * The ingest thread: source, decode, trigger and chunk building, and nothing that waits for a disk.
 *
 * Bounded by the buffer pool: what is on its way to the store thread and not yet back. When it is full, messages
 * are dropped (least valuable classes first) and counted.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { Config } from "../config/schema.ts";
import { compileTopicPlan } from "../config/topic-plan.ts";
import { ChannelReader } from "../decode/channel-reader.ts";
import { ChannelRegistry } from "../decode/channel-registry.ts";
import { Definitions } from "../decode/definitions.ts";
import type { Channel } from "../model/channel.ts";
import { type BootAnchor, logTimeNs } from "../model/chunk.ts";
import type { RuleEvent } from "../model/rule-event.ts";
import type { TopicPlan } from "../model/topic-class.ts";
import { BufferPool } from "../ring/buffer-pool.ts";
import { ChunkBuilder } from "../ring/chunk-builder.ts";
import { RosbridgeSource } from "../source/rosbridge-source.ts";
import type { ConnectionState, TopicStatus } from "../source/source.ts";
import { assert } from "../std/assert.ts";
import { systemClock } from "../std/clock.ts";
import { compileGlobs } from "../std/glob.ts";
import { openLog } from "../telemetry/log.ts";
import { type RuleStatus, Trigger } from "../trigger/trigger.ts";
import type { DecisionDelayStatus } from "./decision-delay.ts";
import { Ingest } from "./ingest.ts";
import { LoopDelay, type LoopDelayStatus } from "./loop-delay.ts";
import { MotionMeter } from "./motion-meter.ts";
import { OnDemand } from "./on-demand.ts";
import { type IngestToStore, type StoreToIngest, transferOf } from "./ports.ts";
import { RateMeter, type TopicRate } from "./rate-meter.ts";
import { RateWatch } from "./rate-watch.ts";
import { RobotWords } from "./robot-words.ts";
import { parseRuleFiles, type RuleFile, ruleLimits } from "./rule-files.ts";
import { serveCalls } from "./thread-call.ts";

export type IngestThreadData = {
  readonly config: Config;
  readonly anchor: BootAnchor;
  readonly channels: readonly Channel[];
  readonly freeChannelIds: ReadonlySet<number>;
  readonly lastSequences: ReadonlyMap<number, number>;
  readonly recordedUntilNs: bigint | undefined;
  readonly ruleFiles: readonly RuleFile[];
  readonly storePort: MessagePort;
};

export type IngestStatus = {
  readonly connection: ConnectionState | undefined;
  readonly topics: readonly TopicStatus[];
  readonly rates: readonly TopicRate[];
  readonly rules: readonly RuleStatus[];
  readonly jsonNulls: number;
  readonly loopDelay: LoopDelayStatus;
  readonly decisionDelay: DecisionDelayStatus;
};

const METER_MS = 1000;
/** Flushing more often than this makes more rows than it saves time. */
const FLUSH_MS_MIN = 50;

const {
  config,
  anchor,
  channels,
  freeChannelIds,
  lastSequences,
  recordedUntilNs,
  ruleFiles,
  storePort,
}: IngestThreadData = workerData;
assert(parentPort !== null, "the ingest thread runs in a worker");
const log = openLog(config.telemetry.log_level, "ingest");
const registry = ChannelRegistry.open(channels, freeChannelIds);
const definitions = Definitions.open({ folders: config.topics.msg_folders });
const reader = new ChannelReader();
const pool = new BufferPool(config.ring.in_flight_bytes_max);
const topicPlan = compileTopicPlan(config.topics);
const words = new RobotWords(config.robot.label_topics, reader.fieldAccess);
const motion = new MotionMeter(reader.fieldAccess);
const stopping = new AbortController();

const send = (note: IngestToStore, transfer: ArrayBuffer[] = []) => storePort.postMessage(note, transfer);
const nowNs = () => logTimeNs(anchor, systemClock.monotonicNs());

const builder = new ChunkBuilder({
  pool,
  lastSequences,
  onChunk: (chunk) => send({ kind: "chunk", chunk }, transferOf(chunk.buffer)),
  onDrop: (channelId, reason, count, bytes, startNs, endNs) =>
    send({ kind: "loss", loss: { topic: ingest.topicOf(channelId), reason, count, bytes, startNs, endNs } }),
});

function planTopic(topic: string, schemaName: string): TopicPlan | undefined {
  words.noteTopic(topic, schemaName);
  return topicPlan(topic, schemaName);
}

/** What the trigger said of the message at hand; sent when it has returned, so that a failure there is not a rule's. */
const events: RuleEvent[] = [];

/** The chunks with the firing's own messages are with the store before the firing is; topics on demand wait for nobody. */
function deliverEvents(): void {
  if (events.length === 0) return;
  for (const event of events.splice(0)) {
    if (event.kind === "firing") {
      onDemand.onFiring(onDemandOf(event.rule));
      subscribeOnDemand();
      tellSaid();
      builder.flushAll();
    }
    send({ kind: "event", event });
  }
}

/** An episode opens with what was said before its firing. */
function tellSaid(): void {
  const said = words.take();
  if (said !== undefined) send({ kind: "said", said });
}

const onDemand = new OnDemand();

function onDemandOf(name: string): readonly string[] {
  const policy = trigger.policies().find(({ rule }) => rule === name);
  return policy === undefined || policy.isDryRun ? [] : policy.onDemand;
}

function subscribeOnDemand(): void {
  source.subscribeOnDemand(compileGlobs(onDemand.globs));
}

const rules = parseRuleFiles(ruleFiles, config.rules.disable);
const trigger = Trigger.open(rules, {
  fields: reader.fieldAccess,
  log,
  limits: ruleLimits(config.rules),
  clockMs: () => performance.now(),
  onEvent: (event) => events.push(event),
});
const ingest = new Ingest({
  ...{ anchor, registry, definitions, reader, builder, trigger, log, planTopic, send, deliverEvents },
  listenersOf: (channel) => [...words.listenersOf(channel), ...motion.listenersOf(channel)],
  recordedUntilNs,
});

const [sourceConfig] = config.sources;
assert(sourceConfig !== undefined, "the configuration has a source");
const source = RosbridgeSource.open(
  {
    url: sourceConfig.url,
    pingMs: sourceConfig.ping_interval_ms,
    frameBytesMax: sourceConfig.frame_bytes_max,
    ros: sourceConfig.bridge === "ros2-web-bridge" ? 2 : undefined,
  },
  {
    clock: systemClock,
    random: Math.random,
    log,
    planTopic,
    configuredTypes: new Map(Object.entries(sourceConfig.types)),
  },
  ingest,
);

storePort.on("message", (note: StoreToIngest) => {
  if (note.kind === "buffer") return pool.give(note.buffer);
  onDemand.onAnswer(note.globs, note.firingCount);
  subscribeOnDemand();
});

const loopDelay = new LoopDelay();
const meter = new RateMeter(() => ingest.traffic());
const watch = new RateWatch();
let watchedConnection: ConnectionState | undefined;
let meteredMs = performance.now();
const meterTimer = setInterval(() => {
  const passedMs = performance.now() - meteredMs;
  meteredMs += passedMs;
  meter.step(meteredMs);
  tellTimes(passedMs);
  words.reviewTopics(source.topics(), systemClock.monotonicNs());
  tellSaid();
  void askRobot();
  trigger.setWallOffset(systemClock.wallNs() - nowNs());
  const isUndisturbed = ingest.connection === watchedConnection && watchedConnection?.kind === "connected";
  watchedConnection = ingest.connection;
  for (const loss of watch.step(nowNs(), ingest.traffic(), isUndisturbed)) send({ kind: "loss", loss });
}, METER_MS);

function tellTimes(passedMs: number): void {
  const { isWatched, hasMoved } = motion.take();
  const connectedMs = ingest.connection?.kind === "connected" ? passedMs : 0;
  const times = { connectedMs, watchedMs: isWatched ? passedMs : 0, movingMs: hasMoved ? passedMs : 0 };
  if (connectedMs + times.watchedMs > 0) send({ kind: "times", ...times });
}

let askedConnection: ConnectionState | undefined;

/** Once a connection, when it is known which ROS there is. */
async function askRobot(): Promise<void> {
  const { ros, connection } = ingest;
  if (ros === undefined || connection?.kind !== "connected" || connection === askedConnection) return;
  askedConnection = connection;
  if (sourceConfig?.bridge !== "ros2-web-bridge")
    await words.ask(ros, (service, type, args) => source.callService(service, type, args));
}

/** All chunks close together and are committed together: nothing waits twice, and a commit's pages serve them all. */
function flush(): bigint {
  builder.flushAll();
  ingest.tellDrops();
  const atNs = nowNs();
  send({ kind: "flushed", atNs });
  return atNs;
}
const flushTimer = setInterval(flush, Math.max(config.ring.commit_ms, FLUSH_MS_MIN));
const running = source.run(stopping.signal);

serveCalls(parentPort, {
  status: (): IngestStatus => ({
    connection: ingest.connection,
    topics: source.topics(),
    rates: meter.rates(),
    rules: trigger.status(),
    jsonNulls: ingest.nullCount,
    loopDelay: loopDelay.status(),
    decisionDelay: ingest.decisionDelay.status(),
  }),
  /** They were checked. Between two messages: none is lost, and no firing finds the policy of another's version. */
  setRules: (request: { readonly files: readonly RuleFile[]; readonly disabled: readonly string[] }) => {
    trigger.setRules(parseRuleFiles(request.files, request.disabled));
    deliverEvents();
    send({ kind: "policies", policies: trigger.policies() });
  },
  /** The chunks that gather go to the store; returns up to when everything has. */
  flush,
  stop: async () => {
    stopping.abort(new Error("stopping"));
    await running;
    clearInterval(flushTimer);
    clearInterval(meterTimer);
    loopDelay[Symbol.dispose]();
    builder.flushAll();
    ingest.close();
    send({ kind: "end" });
  },
});
