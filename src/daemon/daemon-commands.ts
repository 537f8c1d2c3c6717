/** Answers what people ask of a running daemon, from what its threads say of themselves. */
import { z } from "zod";
import type { BatchStore } from "../batch/batch-store.ts";
import { EpisodeTable, type StoredEpisode } from "../capture/episode-table.ts";
import type { Config } from "../config/schema.ts";
import type {
  BatchesAnswer,
  BatchSummary,
  CaptureAnswer,
  ClockAnswer,
  EpisodeAnswer,
  EpisodeState,
  EpisodeSummary,
  EpisodesAnswer,
  HoursAnswer,
  PauseAnswer,
  StatusAnswer,
  TopicAnswer,
  TopicsAnswer,
} from "../control/answers.ts";
import type { Commands } from "../control/commands.ts";
import { NO_COUNTS, sumCounts } from "../model/accounting.ts";
import type { Batch } from "../model/batch.ts";
import { type BootClock, clockWords, trueTimeNs } from "../model/boot-clock.ts";
import { type BootAnchor, logTimeNs } from "../model/chunk.ts";
import type { Episode } from "../model/episode.ts";
import { isHint } from "../model/loss.ts";
import { sumHours } from "../model/operating-hours.ts";
import { BootClocks } from "../ring/boot-clocks.ts";
import { systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import type { Db } from "../store/database.ts";
import type { FlashWear } from "../store/flash-wear.ts";
import type { Uploader } from "../upload/uploader.ts";
import type { IngestStatus } from "./ingest-thread.ts";
import { assertSameRing, memoryRequest, readMemory } from "./memory-read.ts";
import type { WriteBatchesRequest } from "./reader-thread.ts";
import type { StorePulse, StoreStatus } from "./store-thread.ts";
import type { Thread } from "./thread-call.ts";
import { VERSION } from "./version.ts";

const EPISODES_MAX = 500;
const BATCHES_MAX = 1000;
const CLOCKS_MAX = 20;
const MS_MAX = 3_600_000;

const captureRequest = z.strictObject({
  pre_roll_ms: z.number().min(0).max(MS_MAX).default(30_000),
  post_roll_ms: z.number().min(0).max(MS_MAX).default(10_000),
  labels: z.record(z.string(), z.string()).default({}),
  note: z.string().max(10_000).default(""),
});
const labelRequest = z.strictObject({
  labels: z.record(z.string().min(1).max(100), z.string().max(1000)).default({}),
  note: z.string().max(10_000).optional(),
  outcome: z.enum(["recovered", "failed", "operator_took_over", "succeeded", "unknown"]).optional(),
  author: z.string().max(100).default(""),
});
const pauseRequest = z.strictObject({ for_ms: z.number().positive().optional() });

export type CommandParts = {
  readonly store: Thread;
  readonly ingest: Thread;
  readonly journal: Db;
  readonly batches: BatchStore;
  readonly uploader: Uploader;
  readonly wear: FlashWear;
};

export class DaemonCommands implements Commands {
  readonly #config: Config;
  readonly #anchor: BootAnchor;
  readonly #parts: CommandParts;
  readonly #startedNs: bigint;
  readonly #clocks: BootClocks;
  /** Why new rules were refused; undefined: those of the files are in force. */
  rulesProblem: string | undefined;

  constructor(config: Config, anchor: BootAnchor, parts: CommandParts) {
    this.#config = config;
    this.#anchor = anchor;
    this.#parts = parts;
    this.#clocks = new BootClocks(parts.journal);
    this.#startedNs = logTimeNs(anchor, systemClock.monotonicNs());
  }

  async status(): Promise<StatusAnswer> {
    const [store, ingest] = await this.#ask();
    const { robot, ring } = this.#config;
    return {
      version: VERSION,
      robot: robot.id,
      site: robot.site,
      startedNs: this.#startedNs,
      nowNs: store.nowNs,
      clocks: this.#clocks.list().slice(-CLOCKS_MAX).map(clockAnswer),
      source: sourceStatus(ingest, this.#config.sources[0]?.url ?? ""),
      ring: {
        folder: ring.folder,
        sizeBytes: store.ring.diskBytes,
        sizeBytesMax: store.ring.diskBytesMax,
        memoryBytes: store.ring.memoryBytes,
        measuredMs: store.ring.measuredMs,
        state: ringState(store.ring),
        classes: store.ring.classes,
      },
      wear: this.#parts.wear.status(),
      capture: {
        open:
          store.openEpisode === undefined
            ? undefined
            : summarize(store.openEpisode, this.#trueStarts()(store.openEpisode), "open", 0),
        rules: ingest.rules,
        rulesProblem: this.rulesProblem,
        ignoredFirings: store.ignoredFirings,
        lastLightLagMs: store.ring.lightLagMs,
        lastHeavyLagMs: store.ring.heavyLagMs,
      },
      upload: this.#uploadStatus(),
      accounting: sumCounts(store.counts),
      topics: store.counts,
      boots: store.boots,
      losses: store.losses.map((loss) => ({ ...loss, isHint: isHint(loss) })),
      hours: sumHours(store.hours),
    };
  }

  async hours(): Promise<HoursAnswer> {
    const { hours } = await this.#parts.store.call<StoreStatus>("status");
    const clocks = new Map(this.#clocks.list().map((clock) => [clock.bootId, clockAnswer(clock)]));
    const boots = [...Map.groupBy(hours, ({ bootId }) => bootId)].flatMap(([bootId, rows]) => {
      const { startNs, trueStartNs } = clocks.get(bootId) ?? {};
      return sumHours(rows).map((sum) => ({ ...sum, bootId, startNs, trueStartNs }));
    });
    return { totals: sumHours(hours), boots };
  }

  /** In a line. Every thread that must not hang has answered. */
  async pulse(): Promise<string> {
    const [{ openRule, ...store }, ingest] = await Promise.all([
      this.#parts.store.call<StorePulse>("pulse"),
      this.#parts.ingest.call<IngestStatus>("status"),
    ]);
    const source = sourceStatus(ingest, this.#config.sources[0]?.url ?? "");
    const words = source.isConnected ? `recording ${source.topicCount} topics` : `waiting for ${source.url}`;
    return `${words}, ring ${ringState(store)}${openRule === undefined ? "" : `, episode open (${openRule})`}`;
  }

  async topics(): Promise<TopicsAnswer> {
    const [store, ingest] = await this.#ask();
    const counts = new Map(store.counts.map((entry) => [entry.topic, entry]));
    const rates = new Map(ingest.rates.map((entry) => [entry.topic, entry]));
    const topics = ingest.topics.map((status): TopicAnswer => {
      const rate = rates.get(status.topic);
      return {
        topic: status.topic,
        type: status.schemaName,
        className: rate?.className ?? "",
        mode: status.mode,
        rateHz: rate?.rateHz ?? 0,
        bytesPerS: rate?.bytesPerS ?? 0,
        isLocal: rate?.isLocal ?? false,
        silentReason: status.silentReason ?? "",
        lastMessageNs: status.lastMessageNs === undefined ? undefined : logTimeNs(this.#anchor, status.lastMessageNs),
        accounting: counts.get(status.topic) ?? NO_COUNTS,
      };
    });
    return { topics: topics.sort((a, b) => (a.topic < b.topic ? -1 : 1)) };
  }

  /** What an episode says is missing and the ledger cannot: topics left out, and a gap that goes on while it is written. */
  async missingNow(): Promise<Omit<WriteBatchesRequest, "episode">> {
    const { topics, connection } = await this.#parts.ingest.call<IngestStatus>("status");
    const notRecorded = topics.filter(({ mode }) => mode === "not_recorded").map(({ topic }) => topic);
    const onDemand = topics.filter(({ isOnDemand }) => isOnDemand).map(({ topic }) => topic);
    if (connection?.kind !== "disconnected") return { notRecorded, onDemand, openGap: undefined };
    const startNs = logTimeNs(this.#anchor, connection.atNs);
    const endNs = logTimeNs(this.#anchor, systemClock.monotonicNs());
    const openGap = {
      topic: "",
      reason: "connection_gap",
      startNs,
      endNs,
      count: undefined,
      bytes: undefined,
    } as const;
    return { notRecorded, onDemand, openGap };
  }

  async episodes(): Promise<EpisodesAnswer> {
    const stored = new EpisodeTable(this.#parts.journal).list(EPISODES_MAX);
    const trueStarts = this.#trueStarts();
    return {
      episodes: stored.map((entry) => {
        const batches = this.#parts.batches.ofEpisode(entry.episode.id);
        const bytes = batches.reduce((total, batch) => total + batch.sizeBytes, 0);
        return summarize(entry.episode, trueStarts(entry.episode), stateOf(entry, batches), bytes);
      }),
    };
  }

  async episode(id: string): Promise<EpisodeAnswer> {
    const stored = new EpisodeTable(this.#parts.journal).find(id);
    const batches = this.#parts.batches.ofEpisode(stored.episode.id);
    return {
      episode: stored.episode,
      trueStartNs: this.#trueStarts()(stored.episode),
      state: stateOf(stored, batches),
      batches: batches.map((batch) => this.#summarizeBatch(batch)),
    };
  }

  async label(id: string, request: unknown): Promise<EpisodeAnswer> {
    const { author, ...edit } = parseRequest(labelRequest, request);
    const { episode } = new EpisodeTable(this.#parts.journal).find(id);
    await this.#parts.store.call("annotate", { id: episode.id, edit, author });
    return this.episode(episode.id);
  }

  async batches(): Promise<BatchesAnswer> {
    return { batches: this.#parts.batches.list(BATCHES_MAX).map((batch) => this.#summarizeBatch(batch)) };
  }

  async capture(request: unknown): Promise<CaptureAnswer> {
    const { pre_roll_ms, post_roll_ms, labels, note } = parseRequest(captureRequest, request);
    const argument = { preRollMs: pre_roll_ms, postRollMs: post_roll_ms, labels, note };
    await this.#parts.ingest.call("flush"); // so that what gathers there is durable with the firing, and not after it
    return { episodeId: await this.#parts.store.call<string>("capture", argument) };
  }

  memory(request: unknown): AsyncIterable<Uint8Array> {
    const { folder, start_ns, end_ns, topics } = parseRequest(memoryRequest, request);
    assertSameRing(folder, this.#config.ring.folder);
    return readMemory({ startNs: start_ns, endNs: end_ns, topics }, this.#parts.store, this.#parts.ingest);
  }

  async pauseUpload(request: unknown): Promise<PauseAnswer> {
    const { for_ms } = parseRequest(pauseRequest, request);
    const untilNs = for_ms === undefined ? undefined : systemClock.wallNs() + BigInt(Math.round(for_ms * 1e6));
    this.#parts.uploader.pause(untilNs);
    return { isPaused: true, untilNs };
  }

  async resumeUpload(): Promise<PauseAnswer> {
    this.#parts.uploader.resume();
    return { isPaused: false, untilNs: undefined };
  }

  /** Of episodes whose boot's true time is known. */
  #trueStarts(): (episode: Episode) => bigint | undefined {
    const clocks = new Map(this.#clocks.list().map((clock) => [clock.bootId, clock]));
    return ({ bootId, startNs }) => {
      const clock = clocks.get(bootId);
      return clock?.truth === undefined ? undefined : trueTimeNs(clock, startNs);
    };
  }

  #ask(): Promise<[StoreStatus, IngestStatus]> {
    return Promise.all([
      this.#parts.store.call<StoreStatus>("status"),
      this.#parts.ingest.call<IngestStatus>("status"),
    ]);
  }

  #uploadStatus(): StatusAnswer["upload"] {
    const { receiver, gate, link, alarm, lastResult, sentBytesToday, retryInMs } = this.#parts.uploader.status();
    const { queuedCount, queuedBytes, oldestQueuedNs, quarantinedCount } = this.#parts.batches.totals();
    return {
      ...{ receiver, link, isOpen: gate.isOpen, reasons: gate.reasons, alarm, lastResult, sentBytesToday, retryInMs },
      ...{ queuedBatches: queuedCount, queuedBytes, oldestQueuedNs, quarantinedBatches: quarantinedCount },
    };
  }

  #summarizeBatch(batch: Batch): BatchSummary {
    const {
      state,
      quarantineReason,
      priority: _,
      bootId: __,
      mediaType: ___,
      startNs: ____,
      endNs: _____,
      ...rest
    } = batch;
    return { ...rest, state, reason: quarantineReason ?? "", attempts: this.#parts.uploader.attemptsOf(batch.id) };
  }
}

/** Throws `Fault("bad_usage")`. */
function parseRequest<T>(schema: z.ZodType<T>, request: unknown): T {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new Fault(
    "bad_usage",
    `The request is not understood: ${problems.join("; ")}.`,
    "Use the command line of the same version.",
  );
}

function ringState({ isDiskRefusing }: { readonly isDiskRefusing: boolean }): string {
  return isDiskRefusing ? "the disk takes no more; capture goes on in memory" : "ok";
}

function sourceStatus(ingest: IngestStatus, url: string): StatusAnswer["source"] {
  const recorded = ingest.topics.filter(({ mode }) => mode !== "not_recorded");
  return {
    url,
    isConnected: ingest.connection?.kind === "connected",
    reason: ingest.connection?.reason ?? "not tried yet",
    topicCount: recorded.length,
    silentCount: recorded.filter(({ silentReason }) => silentReason !== undefined).length,
    jsonNulls: ingest.jsonNulls,
    ingestDelay: ingest.loopDelay,
    decisionDelay: ingest.decisionDelay,
  };
}

/** What is known of its journey: receipted once every batch is home. */
function stateOf({ state }: StoredEpisode, batches: readonly Batch[]): EpisodeState {
  if (state !== "batched" || batches.length === 0) return state;
  if (batches.some((batch) => batch.state === "quarantined")) return "quarantined";
  return batches.every((batch) => batch.state !== "queued") ? "receipted" : "batched";
}

function summarize(
  episode: Episode,
  trueStartNs: bigint | undefined,
  state: EpisodeState,
  bytes: number,
): EpisodeSummary {
  const { id, bootId, kind, rule, startNs, endNs, outcome, attempts, firings } = episode;
  const times = { startNs, endNs, trueStartNs };
  const { operation, isComplete } = episode;
  const words = { taskType: operation?.taskType ?? "", isComplete };
  return { id, bootId, state, kind, rule, ...times, outcome, attempts, firingCount: firings.length, bytes, ...words };
}

function clockAnswer(clock: BootClock): ClockAnswer {
  const { wallNs, truth } = clock;
  const trueStartNs = truth === undefined ? undefined : trueTimeNs(clock, wallNs);
  return { ...clockWords(clock), startNs: wallNs, trueStartNs };
}
