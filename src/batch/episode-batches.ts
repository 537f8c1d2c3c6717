/**
 * Turns a sealed episode into its batches, one immutable file each, in the reader thread.
 *
 * `<episode>-light.mcap` (everything but the heavy classes, and the episode's story), `<episode>-heavy-1.mcap` …
 * (the heavy classes in files of about 32 MB, outward from the firing), `<episode>-meta.json` (manifest with the
 * hashes of the others, and previews). Stored chunks are copied as they lie. Local topics never go in, nor do those that
 * the episode's rules do not keep.
 *
 * Every file is durable under its name before the next one begins, and all of them before this returns; their rows
 * come after that, in one transaction. A crash before the rows leaves files that nobody refers to: another run writes
 * the same names again, and the batch store removes what is left over.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { FileAccounting } from "../model/accounting.ts";
import type { Batch, BatchKind } from "../model/batch.ts";
import { type ClockWords, clockMetadata, clockMetadataName } from "../model/boot-clock.ts";
import type { Channel } from "../model/channel.ts";
import type { Episode } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import type { OperatingHours } from "../model/operating-hours.ts";
import { TOPIC_ROLES, type TopicRole, topicRole } from "../model/operation.ts";
import {
  formatManifest,
  MANIFEST_NAME,
  type Manifest,
  type ManifestBatch,
  type ManifestChannel,
  type ManifestRobot,
} from "../protocol/manifest.ts";
import { McapFile, profileOf } from "../ring/mcap-file.ts";
import { readRecord, viewOf } from "../ring/message-record.ts";
import type { VideoFrames } from "../ring/video-window.ts";
import { bodyOf, type ChunkSource, type WindowChunk, windowChunks } from "../ring/window.ts";
import { writeFileDurably } from "../std/durable-file.ts";
import { compileGlobs } from "../std/glob.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import { formatTimeNs } from "../std/wire.ts";
import { computeCompleteness } from "./completeness.ts";
import { episodeChannel, episodeEventChunk } from "./episode-events.ts";
import { type DecodeMessage, makePreviews } from "./previews.ts";
import { StampSteps } from "./stamp-steps.ts";

export type EpisodeBatchesOptions = {
  /** Where the files go; it exists. */
  readonly folder: string;
  readonly robot: ManifestRobot;
  readonly lodeVersion: string;
  /** Classes that go into `heavy` files, by whole chunks. */
  readonly heavyClasses: ReadonlySet<string>;
  /** What is known of the clock of the episode's boot. */
  readonly clock?: ClockWords | undefined;
  /** Rows of the loss ledger that touch the window. */
  readonly losses: readonly Loss[];
  /** Of each topic in the episode's boot, so far. */
  readonly counters?: FileAccounting["counters"];
  /** Operating hours so far; the manifest gets those of the episode's robot and site. */
  readonly hours?: readonly OperatingHours[];
  /** Topics that the configuration leaves out. */
  readonly notRecorded: readonly string[];
  /** Topics that the configuration marks as on demand. */
  readonly onDemand?: readonly string[];
  /** What a topic is, by its name and type; by convention unless told. */
  readonly roleOf?: (topic: string, schemaName: string) => TopicRole;
  readonly decode: DecodeMessage;
  /** Tells key frames; unless given, no channel is taken to carry inter-coded video. */
  readonly videoFrames?: VideoFrames;
  readonly newId: () => string;
  readonly nowNs: bigint;
  /** Uncompressed; 32 MB unless told. */
  readonly heavyBytesMax?: number;
  readonly signal?: AbortSignal;
};

export type EpisodeBatchesResult = {
  readonly batches: readonly Batch[];
  /** With its completeness. */
  readonly episode: Episode;
  /** Chunks that could not be read and are not in the files. */
  readonly damaged: readonly { readonly chunkId: number; readonly reason: string }[];
};

const HEAVY_BYTES_MAX = 32_000_000;

export async function writeEpisodeBatches(
  episode: Episode,
  source: ChunkSource,
  options: EpisodeBatchesOptions,
): Promise<EpisodeBatchesResult> {
  const isHeavy = (className: string): boolean => options.heavyClasses.has(className);
  const damaged: { chunkId: number; reason: string }[] = [];
  const channels = new Map(source.channels());
  const keepsTopic = compileGlobs(episode.topics);
  const isKept = ({ topic, isLocal, isLatched }: Channel) => !isLocal && (isLatched || keepsTopic(topic));
  const known = new Map([...channels.values()].map((channel) => [channel.topic, isKept(channel)]));
  const isAsked = (topic: string): boolean => topic === "" || (known.get(topic) ?? keepsTopic(topic));
  const losses = options.losses.filter(({ topic }) => isAsked(topic));
  const query = {
    ...{ startNs: episode.startNs, endNs: episode.endNs, bootId: episode.bootId },
    wants: isKept,
    isCut: (className: string) => !isHeavy(className),
    videoFrames: options.videoFrames,
  };
  const undecodable = new Map<number, Loss>();
  const onUndecodable = (channelId: number, atNs: bigint, sizeBytes: number): void => {
    const { startNs, count = 0, bytes = 0 } = undecodable.get(channelId) ?? { startNs: atNs };
    const { topic = "" } = channels.get(channelId) ?? {};
    const counted = { count: count + 1, bytes: bytes + sizeBytes };
    undecodable.set(channelId, {
      topic,
      reason: "no_key_frame",
      bootId: episode.bootId,
      startNs,
      endNs: atNs,
      ...counted,
    });
  };
  const stampSteps = new StampSteps();
  const onChunk = (chunk: WindowChunk) => stampSteps.note(chunk);
  const chunks = await collect(
    source,
    { ...query, onUndecodable },
    options.signal,
    onChunk,
    (chunkId, reason, lost) => {
      damaged.push({ chunkId, reason });
      losses.push(...lost.filter(({ topic }) => isAsked(topic)));
    },
  );
  losses.push(...undecodable.values());
  const { heavyClasses, notRecorded, onDemand = [], roleOf = topicRole } = options;
  const complete = {
    ...episode,
    ...computeCompleteness({
      ...{ episode, chunks, channels, losses, heavyClasses, roleOf, stampSteps },
      notRecorded: notRecorded.filter(keepsTopic),
      onDemand: onDemand.filter(compileGlobs(episode.onDemand)).filter(keepsTopic),
    }),
  };
  const story = episodeChannel(channels);
  channels.set(story.id, story);
  const light = chunks.filter(({ className }) => !isHeavy(className));
  const heavy = splitOutward(
    chunks.filter(({ className }) => isHeavy(className)),
    episode.firings[0]?.atNs ?? episode.startNs,
    options.heavyBytesMax ?? HEAVY_BYTES_MAX,
  );
  const writer = new BatchWriter(complete, channels, episodeEventChunk(episode, story), {
    ...{ ...options, losses, unreadable: damaged.map(({ reason }) => reason) },
    counters: (options.counters ?? []).filter(({ topic }) => isAsked(topic)),
  });
  await writer.writeMcap("light", 0, light);
  for (const [index, group] of heavy.entries()) await writer.writeMcap("heavy", index + 1, group);
  const read = (chunk: WindowChunk, offset: number): Uint8Array =>
    readRecord(viewOf(bodyOf(chunk)), offset, episode.bootId).bytes;
  writer.writeMeta(await makePreviews(episode, chunks, channels, read, options.decode));
  return { batches: writer.batches, episode: complete, damaged };
}

type OnDamaged = (chunkId: number, reason: string, losses: readonly Loss[]) => void;

/** All chunks of the window, without their bytes. Lets the thread answer others in between. */
async function collect(
  source: ChunkSource,
  query: Omit<Parameters<typeof windowChunks>[1], "onDamaged">,
  signal: AbortSignal | undefined,
  onChunk: (chunk: WindowChunk) => void,
  onDamaged: OnDamaged,
): Promise<WindowChunk[]> {
  const channels = source.channels();
  const chunks: WindowChunk[] = [];
  const pieces = windowChunks(source, {
    ...query,
    onDamaged: ({ id, channels: contained, startNs, endNs }, { message }) => {
      const lost = contained.map(({ channelId, count, bytes }): Loss => {
        const topic = channels.get(channelId)?.topic ?? "";
        return { topic, reason: "corrupt_chunk", startNs, endNs, count, bytes };
      });
      onDamaged(id, message, lost);
    },
  });
  for (const chunk of pieces) {
    chunks.push(chunk);
    onChunk(chunk);
    await nextTurn();
    signal?.throwIfAborted();
  }
  return chunks;
}

/** Groups of at most `bytesMax` (or one chunk), nearest to the focus first; each ordered by time. */
function splitOutward(chunks: readonly WindowChunk[], focusNs: bigint, bytesMax: number): WindowChunk[][] {
  const distance = ({ startNs, endNs, origin }: WindowChunk): bigint => {
    if (origin === "latched" || (startNs <= focusNs && focusNs <= endNs)) return 0n;
    return startNs > focusNs ? startNs - focusNs : focusNs - endNs;
  };
  const groups: WindowChunk[][] = [];
  let sizeBytes = 0;
  for (const chunk of chunks.toSorted((a, b) => Number(distance(a) - distance(b)))) {
    const last = groups.at(-1);
    if (last === undefined || sizeBytes + chunk.bodySize > bytesMax) {
      groups.push([chunk]);
      sizeBytes = 0;
    } else last.push(chunk);
    sizeBytes += chunk.bodySize;
  }
  return groups.map((group) => group.toSorted((a, b) => Number(a.startNs - b.startNs)));
}

/** `unreadable`: why chunks of the window are not in the files. */
type WriterOptions = EpisodeBatchesOptions & FileAccounting & { readonly unreadable: readonly string[] };

class BatchWriter {
  readonly batches: Batch[] = [];
  readonly #manifests: ManifestBatch[] = [];
  readonly #episode: Episode;
  readonly #channels: ReadonlyMap<number, Channel>;
  readonly #story: WindowChunk;
  readonly #options: WriterOptions;

  constructor(episode: Episode, channels: ReadonlyMap<number, Channel>, story: WindowChunk, options: WriterOptions) {
    this.#episode = episode;
    this.#channels = channels;
    this.#story = story;
    this.#options = options;
  }

  async writeMcap(kind: "light" | "heavy", index: number, chunks: readonly WindowChunk[]): Promise<void> {
    const path = this.#path(kind === "light" ? "light.mcap" : `heavy-${index}.mcap`);
    using file = McapFile.create(path, profileOf(this.#channels));
    for (const chunk of [this.#story, ...chunks]) {
      file.addChunk(chunk, this.#channels);
      await nextTurn();
      this.#options.signal?.throwIfAborted();
    }
    const described = this.#describe(kind, index, "application/mcap", chunks, file.counts);
    const manifest = Buffer.from(formatManifest(this.#manifest([described], [])));
    file.addAttachment(MANIFEST_NAME, "application/json", manifest, this.#options.nowNs);
    file.addMetadata("lode:episode", episodeMetadata(this.#episode, this.#options.robot));
    const { clock, unreadable } = this.#options;
    file.addAccounting(this.#options, unreadable);
    if (clock !== undefined) file.addMetadata(clockMetadataName(clock.bootId), clockMetadata(clock, false));
    this.#add(path, { ...described, ...file.finish() });
  }

  writeMeta(previews: Manifest["previews"]): void {
    const path = this.#path("meta.json");
    const content = Buffer.from(formatManifest(this.#manifest(this.#manifests, previews)));
    writeFileDurably(path, content);
    const sha256 = createHash("sha256").update(content).digest("hex");
    const described = this.#describe("meta", 0, "application/json", [], new Map());
    this.#add(path, { ...described, sizeBytes: content.length, sha256 });
  }

  #describe(
    kind: BatchKind,
    index: number,
    mediaType: string,
    chunks: readonly WindowChunk[],
    counts: ReadonlyMap<number, bigint>,
  ): ManifestBatch {
    const { startNs, endNs } = this.#episode;
    const [first, ...rest] = chunks.filter(({ origin }) => origin !== "latched");
    return {
      ...{ id: this.#options.newId(), kind, index, mediaType, sizeBytes: undefined, sha256: undefined },
      startNs:
        first === undefined ? startNs : rest.reduce((least, chunk) => earliest(least, chunk.startNs), first.startNs),
      endNs: first === undefined ? endNs : rest.reduce((most, chunk) => latest(most, chunk.endNs), first.endNs),
      channels: [...counts].flatMap(([id, count]) => manifestChannel(this.#channels.get(id), count)),
    };
  }

  #manifest(batches: readonly ManifestBatch[], previews: Manifest["previews"]): Manifest {
    const { robot, lodeVersion, nowNs, clock, counters } = this.#options;
    const hours = this.#options.hours?.find((sum) => sum.robot === robot.id && sum.site === robot.site);
    const known = { clock, counters, hours };
    return { robot, lodeVersion, createdNs: nowNs, episode: this.#episode, ...known, batches, previews };
  }

  #add(path: string, written: ManifestBatch & { readonly sizeBytes: number; readonly sha256: string }): void {
    const { id: episodeId, bootId } = this.#episode;
    const { channels: _, ...described } = written;
    this.#manifests.push(written);
    this.batches.push({
      ...{ ...described, episodeId, bootId, path },
      priority: batchPriority(this.#episode, written.kind, written.index),
      createdNs: this.#options.nowNs,
      state: "queued",
      quarantineReason: undefined,
    });
  }

  #path(name: string): string {
    return join(this.#options.folder, `${this.#episode.id}-${name}`);
  }
}

/**
 * Manifests first; then the light topics of failures, then their frames, nearest first; then the rest. Within each,
 * the episode's own priority.
 */
export function batchPriority(episode: Pick<Episode, "kind" | "priority">, kind: BatchKind, index: number): number {
  const isFailure = episode.kind === "failure";
  const own = Math.min(Math.max(Math.round(episode.priority), 0), 999);
  if (kind === "meta") return (isFailure ? 6000 : 5000) + own;
  // Frames of one episode go out in their order before those of an equal one: the index weighs less than a step.
  if (kind === "light") return (isFailure ? 4000 : 2000) + own;
  return (isFailure ? 3000 : 1000) + own - Math.min(index, 999) / 1000;
}

function manifestChannel(channel: Channel | undefined, count: bigint): ManifestChannel[] {
  if (channel === undefined) return [];
  const { topic, schema, messageEncoding } = channel;
  return [{ topic, schemaName: schema.name, messageEncoding, messages: Number(count) }];
}

function episodeMetadata(episode: Episode, robot: ManifestRobot): Map<string, string> {
  return new Map([
    ["id", episode.id],
    ["boot", episode.bootId],
    ["robot", robot.id],
    ["site", robot.site],
    ["embodiment", robot.embodiment],
    ["kind", episode.kind],
    ["rule", episode.rule],
    ["outcome", episode.outcome],
    ["attempts", String(episode.attempts)],
    ["start_time", formatTimeNs(episode.startNs)],
    ["end_time", formatTimeNs(episode.endNs)],
    ["is_interrupted", String(episode.isInterrupted)],
    ["note", episode.note],
    ["rule_version", episode.firings[0]?.ruleVersion ?? ""],
    ["task_type", episode.operation?.taskType ?? ""],
    ["physics", episode.operation?.physics.kind ?? ""],
    ["is_complete", String(episode.isComplete ?? "")],
    ...TOPIC_ROLES.map((role): [string, string] => [`topics.${role}`, JSON.stringify(topicsOf(episode, role))]),
    ...Object.entries(episode.labels).map(([key, value]): [string, string] => [`label.${key}`, value]),
  ]);
}

/** Of which there are messages. */
function topicsOf({ completeness }: Episode, role: TopicRole): string[] {
  return completeness.filter((topic) => topic.role === role && topic.messages > 0).map(({ topic }) => topic);
}
