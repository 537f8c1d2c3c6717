/**
 * The store thread: the ring, the ledger and capture's bookkeeping; every write that waits for the disk.
 *
 * It works at the disk's own pace. What comes from ingest is bounded there by the buffers in flight; a buffer goes
 * back as soon as its chunk is compressed. A firing commits at once, everything else about twice a second.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { BatchStore } from "../batch/batch-store.ts";
import { Capture } from "../capture/capture.ts";
import type { EpisodeEdit } from "../capture/episode-table.ts";
import type { Config } from "../config/schema.ts";
import { topicClasses } from "../config/topic-plan.ts";
import { Ledger } from "../ledger/ledger.ts";
import { OperatingHours } from "../ledger/operating-hours.ts";
import { type SplitCounts, sumCounts, type TopicCounts } from "../model/accounting.ts";
import type { Batch } from "../model/batch.ts";
import type { Channel } from "../model/channel.ts";
import { type BootAnchor, logTimeNs, type RawChunk } from "../model/chunk.ts";
import type { Episode } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import type { HoursRow } from "../model/operating-hours.ts";
import type { CapturePolicy } from "../model/rule-event.ts";
import { loadNative } from "../native/addon.ts";
import { Ring } from "../ring/ring.ts";
import type { RingStatus } from "../ring/ring-status.ts";
import { assert, unreachable } from "../std/assert.ts";
import { systemClock } from "../std/clock.ts";
import { compileGlobs } from "../std/glob.ts";
import { uuidV7 } from "../std/uuid.ts";
import { waitMs } from "../std/wait.ts";
import { openLog } from "../telemetry/log.ts";
import { batchFolder, openJournal } from "./journal.ts";
import type { MemoryQuery } from "./memory-read.ts";
import { describeOperation, siteOf } from "./operation.ts";
import { type IngestToStore, type StoreNote, type StoreToIngest, transferOf } from "./ports.ts";
import { NOTHING_SAID } from "./robot-words.ts";
import { serveCalls } from "./thread-call.ts";

export type OpenedStore = {
  readonly channels: readonly Channel[];
  readonly freeChannelIds: ReadonlySet<number>;
  readonly lastSequences: ReadonlyMap<number, number>;
  /** log_time from which on this boot is not recorded yet. */
  readonly recordedUntilNs: bigint | undefined;
  /** Up to where the ring has earlier processes' messages of each boot. */
  readonly lastStoredByBoot: ReadonlyMap<string, bigint>;
};

export type StoreStatus = {
  readonly ring: RingStatus;
  readonly openEpisode: Episode | undefined;
  /** By rules that say so while an episode is open. */
  readonly ignoredFirings: number;
  /** Of this boot. */
  readonly counts: readonly TopicCounts[];
  readonly boots: readonly (SplitCounts & { readonly bootId: string })[];
  readonly losses: readonly Loss[];
  readonly hours: readonly HoursRow[];
  /** The present in log_time. */
  readonly nowNs: bigint;
};

export type StorePulse = { readonly isDiskRefusing: boolean; readonly openRule: string | undefined };

export type StoreThreadData = {
  readonly config: Config;
  readonly anchor: BootAnchor;
  readonly policies: readonly CapturePolicy[];
  readonly ingestPort: MessagePort;
};

/** Between messages from ingest, this much of every `TICK_MS` may go into paced work. */
const STEP_BUDGET_MS = 20;
const TICK_MS = 50;
const END_DEADLINE_MS = 5000;
/** A power cut costs so much of the operating hours. */
const HOURS_SAVE_MS = 60_000;
const STATUS_LOSSES_MAX = 100;
const EVER_NS = 2n ** 63n - 1n;
/** What ingest sent is a moment away, or behind the buffers that a slow disk takes seconds for. */
const ARRIVAL_MS_MAX = 5000;
/** A few milliseconds of copying. */
const MEMORY_BYTES_PER_CALL = 4 * 1024 * 1024;

const { config, anchor, policies, ingestPort }: StoreThreadData = workerData;
assert(parentPort !== null, "the store thread runs in a worker");
const mainPort = parentPort;
const log = openLog(config.telemetry.log_level, "store");
const folder = config.ring.folder;
const tell = (note: StoreNote) => mainPort.postMessage(note);
const toIngest = (note: StoreToIngest, transfer: ArrayBuffer[] = []) => ingestPort.postMessage(note, transfer);
const nowNs = () => logTimeNs(anchor, systemClock.monotonicNs());

const native = loadNative();
if ("problem" in native) log.info(native.problem);
const journal = openJournal(folder);
const ledger = new Ledger(journal, { log });
const ring = Ring.open(
  {
    folder,
    classes: [...topicClasses(config.topics).values()],
    bytesMax: config.ring.bytes_max,
    reserveBytes: config.ring.free_bytes_min,
  },
  { clock: systemClock, log, ledger, journal, anchor, native: "problem" in native ? undefined : native },
);
const batches = BatchStore.open(journal, batchFolder(folder), log);
batches.reconcile();
/** What the robot says of itself. */
let said = NOTHING_SAID;
const hours = new OperatingHours(
  journal,
  { robot: config.robot.id, site: config.robot.site },
  { bootId: anchor.bootId, log },
);
const capture = Capture.open(journal, policies, {
  ring,
  log,
  surroundings: () => ({ operation: describeOperation(config.robot, said), labels: said.labels }),
  count: (...episode) => hours.countEpisode(...episode),
  bootId: anchor.bootId,
  newId: (atNs) => uuidV7(Number(atNs / 1_000_000n)),
  lastStoredNs: (bootId) => ring.lastStoredNs(bootId),
  onDemand: (globs) => {
    onDemand = globs;
    tellOnDemand();
  },
  onSealed: (episode) => {
    countHours(true); // its manifest has them
    tell({ kind: "sealed", episode });
  },
});

/** What the open episode wants, and how many firings that answers. */
let onDemand: readonly string[] = [];
let firingCount = 0;
const tellOnDemand = () => toIngest({ kind: "on_demand", globs: onDemand, firingCount });

let lastCommitMs = performance.now();
let timer: NodeJS.Timeout | undefined;
/** Everything ingest received until then is here. */
let arrivedNs = 0n;
const ended = Promise.withResolvers<void>();

ingestPort.on("message", (note: IngestToStore) => {
  switch (note.kind) {
    case "channel":
      return ring.declareChannel(note.channel);
    case "chunk":
      return ring.receive(note.chunk) ? giveBack(note.chunk) : appendSoon();
    case "key_frame":
      return ring.noteKeyFrame(note.channelId, note.atNs);
    case "event":
      firingCount += Number(note.event.kind === "firing");
      capture.onEvent(note.event); // heavy chunks that came before it and wait find its hold
      if (note.event.kind === "firing") tellOnDemand();
      tell({ kind: "event", event: note.event, episode: capture.openEpisode() });
      return commit();
    case "policies":
      return capture.setPolicies(note.policies);
    case "loss":
      return ledger.drop(note.loss);
    case "said":
      if (config.robot.physics === "physical" && said.signs.length === 0 && note.said.signs.length > 0)
        log.warn("The robot is configured as physical, and its data shows a simulator.", { signs: note.said.signs });
      said = note.said;
      return hours.moveTo(siteOf(config.robot, said.labels));
    case "times":
      hours.addTime("connected_ms", note.connectedMs);
      hours.addTime("watched_ms", note.watchedMs);
      return hours.addTime("moving_ms", note.movingMs);
    case "flushed":
      arrivedNs = note.atNs;
      return commit();
    case "end":
      while (appendNext()) {}
      return ended.resolve();
    default:
      return unreachable(note);
  }
});

let isAppending = false;

/** One heavy chunk a turn of the event loop: what comes meanwhile is received first, and light ones overtake. */
function appendSoon(): void {
  if (isAppending) return;
  isAppending = true;
  setImmediate(() => {
    isAppending = false;
    if (appendNext()) appendSoon();
  });
}

/** False: none has come. */
function appendNext(): boolean {
  const chunk = ring.appendNext();
  if (chunk !== undefined) giveBack(chunk);
  return chunk !== undefined;
}

function giveBack({ buffer }: RawChunk): void {
  toIngest({ kind: "buffer", buffer }, transferOf(buffer));
}

function commit(): void {
  ring.commit();
  lastCommitMs = performance.now();
}

let [hoursMs, savedMs] = [performance.now(), performance.now()];

function countHours(isToSave = false): void {
  const nowMs = performance.now();
  hours.addTime("on_ms", nowMs - hoursMs);
  hoursMs = nowMs;
  if (nowMs - savedMs < HOURS_SAVE_MS && !isToSave) return;
  savedMs = nowMs;
  hours.save();
}

function tick(): void {
  countHours();
  capture.tick(nowNs(), arrivedNs);
  ring.step(STEP_BUDGET_MS);
  // A silent ingest thread must not keep from the disk what it sent before.
  if (performance.now() - lastCommitMs >= 2 * config.ring.commit_ms) commit();
}

const countsOf = (bootId: string) => ledger.snapshot(ring.heldAmounts(bootId), bootId);

serveCalls(parentPort, {
  opened: (): OpenedStore => ({
    channels: ring.channels,
    freeChannelIds: ring.freeChannelIds,
    lastSequences: ring.lastSequences,
    recordedUntilNs: ring.recordedUntilNs,
    lastStoredByBoot: ring.lastStoredByBoot,
  }),
  /** The main thread listens: deadlines fall due, and what waited for its batches is told. */
  start: () => {
    timer = setInterval(tick, TICK_MS);
  },
  status: (): StoreStatus => ({
    ring: ring.status(),
    openEpisode: capture.openEpisode(),
    ignoredFirings: capture.ignoredFirings,
    counts: countsOf(anchor.bootId),
    boots: ledger.bootIds().map((bootId) => ({ bootId, ...sumCounts(countsOf(bootId)) })),
    losses: ledger.losses(0n, EVER_NS).slice(-STATUS_LOSSES_MAX),
    hours: hours.rows(),
    nowNs: nowNs(),
  }),
  /** What the watchdog wants, often: nothing that is read from the disk. */
  pulse: (): StorePulse => ({ isDiskRefusing: ring.isDiskRefusing, openRule: capture.openEpisode()?.rule }),
  /** A person's firing; the chunks that gathered in ingest have been sent. */
  capture: (request: {
    preRollMs: number;
    postRollMs: number;
    labels: Readonly<Record<string, string>>;
    note: string;
  }) => {
    const id = capture.capture({ ...request, atNs: nowNs() });
    commit();
    return id;
  },
  listMemory: async ({ startNs, endNs, topics, flushedNs }: MemoryQuery & { readonly flushedNs: bigint }) => {
    const isThere = () => ring.appendedUntilNs(arrivedNs) >= flushedNs;
    for (let waitedMs = 0; !isThere() && waitedMs < ARRIVAL_MS_MAX; waitedMs += TICK_MS) await waitMs(TICK_MS);
    const wantsTopic = compileGlobs(topics);
    return ring.listMemory(startNs, endNs, ({ topic }) => wantsTopic(topic), arrivedNs);
  },
  readMemory: ({ startNs, endNs, keys }: MemoryQuery & { readonly keys: readonly string[] }) =>
    ring.readMemory(keys, startNs, endNs, MEMORY_BYTES_PER_CALL),
  annotate: ({ id, edit, author }: { id: string; edit: EpisodeEdit; author: string }) => {
    capture.annotate(id, edit, author, nowNs());
  },
  /** A reader found `ring.db` damaged. */
  mendRing: (reason: string) => ring.mend(reason),
  batched: ({
    episode,
    made,
    damaged,
  }: {
    episode: Episode;
    made: readonly Batch[];
    damaged: readonly { chunkId: number; reason: string }[];
  }) => {
    for (const { chunkId, reason } of damaged) ring.quarantine(chunkId, reason);
    capture.markBatched(episode, () => {
      assert(batches.add(made), "an episode gets its batches once");
    });
  },
  /** Ingest has ended and said so; whatever it sent before is taken first. */
  stop: async () => {
    const deadline = setTimeout(() => ended.resolve(), END_DEADLINE_MS);
    await ended.promise;
    clearTimeout(deadline);
    clearInterval(timer);
    countHours(true);
    commit();
    ring[Symbol.dispose]();
    journal.close();
  },
});
