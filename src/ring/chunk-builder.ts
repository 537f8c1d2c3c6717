/**
 * Packs messages into raw chunks, in the ingest thread.
 *
 * A chunk holds one busy channel, or several quiet ones of a class (and locality) together: a hundred quiet topics
 * must not become a hundred tiny rows a second, and lz4 needs length to work on. Of a class with `tier: memory`
 * the messages due at the baseline rate go into the class's baseline chunk, all others into full ones.
 *
 * A chunk ends when its buffer is full, when it spans a second of log time, or at `flushAll`. Its
 * buffer belongs to whoever `onChunk` hands it to, until it comes back to the pool. What the full pool refuses is
 * dropped, and told once per flush and channel.
 */
import type { Channel } from "../model/channel.ts";
import type { ChunkChannel, RawChunk } from "../model/chunk.ts";
import type { LossReason } from "../model/loss.ts";
import type { TopicClass } from "../model/topic-class.ts";
import { copyBytes } from "../std/copy-bytes.ts";
import { BUFFER_BYTES_MAX, BUFFER_BYTES_MIN, type BufferPool } from "./buffer-pool.ts";
import { RECORD_HEADER_BYTES, writeRecordHeader } from "./message-record.ts";

/** Above this a channel gets chunks of its own; below half of it, it goes back to its class's shared chunk. */
const BUSY_BYTES_PER_S = 64 * 1024;
/** Over less a chunk's rate says little. */
const RATE_SECONDS_MIN = 0.5;
/** Of log time, while one chunk fills. */
const FILLING_NS_MAX = 1_000_000_000n;

export type ChunkBuilderOptions = {
  readonly pool: BufferPool;
  readonly onChunk: (chunk: RawChunk) => void;
  readonly onDrop: (
    channelId: number,
    reason: LossReason,
    count: number,
    bytes: number,
    startNs: bigint,
    endNs: bigint,
  ) => void;
  /** The last sequence of each channel earlier in this boot (`Ring.lastSequences`), so that none is used twice. */
  readonly lastSequences?: ReadonlyMap<number, number>;
};

/** `always`: beside the rate, and without using up a place of it. */
export type BaselineChoice = "when_due" | "always" | "never";

/** Where a run of messages gathers: a channel's own, or a class's shared chunk. */
type Group = {
  readonly topicClass: TopicClass;
  readonly isLocal: boolean;
  readonly kind: "full" | "baseline";
  bytes: Uint8Array;
  view: DataView;
  sizeBytes: number;
  /** What the last chunk needed: the next buffer's size. */
  expectedBytes: number;
  startNs: bigint;
  endNs: bigint;
  spanEndNs: bigint;
  readonly tallies: Tally[];
};

/** One channel's part of the chunk that gathers in a group. */
type Tally = { readonly channelId: number; count: number; bytes: number };

type Track = {
  readonly channel: Channel;
  readonly baselinePeriodNs: bigint;
  readonly baselineGroup: Group | undefined;
  readonly sharedGroup: Group;
  group: Group;
  readonly tally: Tally;
  readonly baselineTally: Tally;
  sequence: number;
  baselineDueNs: bigint;
  drop: { count: number; bytes: number; startNs: bigint; endNs: bigint } | undefined;
};

const NO_BYTES = new Uint8Array(0);
const NO_VIEW = new DataView(new ArrayBuffer(0));

export class ChunkBuilder {
  readonly #options: ChunkBuilderOptions;
  readonly #pool: BufferPool;
  readonly #tracks = new Map<number, Track>();
  readonly #groups = new Map<string, Group>();

  constructor(options: ChunkBuilderOptions) {
    this.#options = options;
    this.#pool = options.pool;
  }

  /** Must come before the channel's first message; again for the same id it does nothing. */
  addChannel(channel: Channel, topicClass: TopicClass): void {
    if (this.#tracks.has(channel.id)) return;
    const hasBaseline = topicClass.tier === "memory" && topicClass.baselineHz > 0;
    const sharedGroup = this.#group("shared", topicClass, channel.isLocal, "full");
    this.#tracks.set(channel.id, {
      channel,
      baselinePeriodNs: hasBaseline ? BigInt(Math.round(1e9 / topicClass.baselineHz)) : 0n,
      baselineGroup: hasBaseline ? this.#group("shared", topicClass, channel.isLocal, "baseline") : undefined,
      sharedGroup,
      group: sharedGroup,
      tally: { channelId: channel.id, count: 0, bytes: 0 },
      baselineTally: { channelId: channel.id, count: 0, bytes: 0 },
      sequence: this.#options.lastSequences?.get(channel.id) ?? 0,
      baselineDueNs: 0n,
      drop: undefined,
    });
  }

  /**
   * Copies the bytes. "dropped": the pool is full for the channel's class; counted, and told at the next flush.
   * `choice` says of a frame of inter-coded video whether the baseline takes it: alone it must show a picture.
   */
  append(
    channelId: number,
    logTimeNs: bigint,
    publishTimeNs: bigint,
    bytes: Uint8Array,
    choice: BaselineChoice = "when_due",
  ): "stored" | "dropped" {
    const track = this.#tracks.get(channelId);
    // No assertion: its text would be made for every message.
    if (track === undefined) throw new Error(`channel ${channelId} was not added to the chunk builder`);
    const recordBytes = bytes.length + RECORD_HEADER_BYTES;
    const isDue = choice === "always" || (choice === "when_due" && logTimeNs >= track.baselineDueNs);
    const baselineGroup = isDue ? track.baselineGroup : undefined;
    // Closing may move the channel to another group, whose chunk may be full as well.
    if (baselineGroup === undefined && !hasRoom(track.group, recordBytes, logTimeNs)) this.#cut(track.group, logTimeNs);
    const group = baselineGroup ?? track.group;
    if (!this.#reserve(group, recordBytes, logTimeNs)) {
      noteDrop(track, bytes.length, logTimeNs);
      return "dropped";
    }
    track.sequence += 1;
    const tally = baselineGroup === undefined ? track.tally : track.baselineTally;
    put(group, tally, track.sequence, logTimeNs, publishTimeNs, bytes);
    if (baselineGroup !== undefined && choice === "when_due") planBaseline(track, logTimeNs);
    return "stored";
  }

  /** Closes everything, and tells the drops: at every commit, at the end, when a firing must find all there is. */
  flushAll(): void {
    for (const group of this.#groups.values()) this.#close(group);
    for (const track of this.#tracks.values()) this.#tellDrop(track);
  }

  /** Makes room for a record in the group's chunk, closing the present one if it must. */
  #reserve(group: Group, recordBytes: number, logTimeNs: bigint): boolean {
    if (group.sizeBytes > 0 && hasRoom(group, recordBytes, logTimeNs)) return true;
    this.#cut(group, logTimeNs);
    const buffer = this.#pool.take(Math.max(recordBytes, group.expectedBytes), group.topicClass.rank);
    if (buffer === undefined) return false;
    group.bytes = new Uint8Array(buffer);
    group.view = new DataView(buffer);
    group.startNs = logTimeNs;
    group.endNs = logTimeNs;
    group.spanEndNs = logTimeNs + FILLING_NS_MAX;
    return true;
  }

  /** Closes a chunk that has no room. If its buffer was too small for its second, the next one is larger. */
  #cut(group: Group, logTimeNs: bigint): void {
    const capacity = logTimeNs < group.spanEndNs ? group.bytes.length : 0;
    this.#close(group);
    group.expectedBytes = Math.max(group.expectedBytes, Math.min(capacity * 2, BUFFER_BYTES_MAX));
  }

  #close(group: Group): void {
    if (group.sizeBytes === 0) return;
    const channels = group.tallies.map((tally): ChunkChannel => ({ ...tally, baselineCount: 0 }));
    const { topicClass, isLocal, kind, sizeBytes, startNs, endNs } = group;
    const buffer = group.bytes.buffer;
    if (kind === "full") this.#regroup(group);
    for (const tally of group.tallies) {
      tally.count = 0;
      tally.bytes = 0;
    }
    group.tallies.length = 0;
    group.bytes = NO_BYTES;
    group.view = NO_VIEW;
    group.sizeBytes = 0;
    // What a flush cuts short says little of the next chunk: it would be given too small a buffer and be cut in two.
    group.expectedBytes = Math.min(Math.max(sizeBytes * 1.25, group.expectedBytes * 0.9), BUFFER_BYTES_MAX);
    this.#options.onChunk({ buffer, sizeBytes, className: topicClass.name, isLocal, kind, startNs, endNs, channels });
  }

  /** Gives busy channels chunks of their own, and takes quiet ones back. */
  #regroup(closed: Group): void {
    const seconds = Math.max(Number(closed.endNs - closed.startNs) / 1e9, RATE_SECONDS_MIN);
    for (const { channelId, bytes } of closed.tallies) {
      const track = this.#tracks.get(channelId);
      if (track === undefined) continue;
      const { topicClass, isLocal } = closed;
      if (closed === track.sharedGroup) {
        if (bytes / seconds <= BUSY_BYTES_PER_S) continue;
        track.group = this.#group(`channel ${channelId}`, topicClass, isLocal, "full");
        track.group.expectedBytes = Math.min(bytes * 1.25, BUFFER_BYTES_MAX);
      } else if (bytes / seconds < BUSY_BYTES_PER_S / 2) track.group = track.sharedGroup;
    }
  }

  #group(name: string, topicClass: TopicClass, isLocal: boolean, kind: Group["kind"]): Group {
    const key = `${name}|${topicClass.name}|${isLocal}|${kind}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const group: Group = {
      ...{ topicClass, isLocal, kind, bytes: NO_BYTES, view: NO_VIEW, sizeBytes: 0 },
      ...{ expectedBytes: BUFFER_BYTES_MIN, startNs: 0n, endNs: 0n, spanEndNs: 0n, tallies: [] },
    };
    this.#groups.set(key, group);
    return group;
  }

  #tellDrop(track: Track): void {
    if (track.drop === undefined) return;
    const { count, bytes, startNs, endNs } = track.drop;
    track.drop = undefined;
    this.#options.onDrop(track.channel.id, "queue_full", count, bytes, startNs, endNs);
  }
}

/** An empty group takes anything: its buffer comes with the first record. */
function hasRoom(group: Group, recordBytes: number, logTimeNs: bigint): boolean {
  if (group.sizeBytes === 0) return true;
  const isInSpan = logTimeNs < group.spanEndNs && logTimeNs >= group.startNs;
  return isInSpan && group.sizeBytes + recordBytes <= group.bytes.length;
}

/** Writes a record into room that `#reserve` made. */
function put(
  group: Group,
  tally: Tally,
  sequence: number,
  logTimeNs: bigint,
  publishTimeNs: bigint,
  bytes: Uint8Array,
): void {
  writeRecordHeader(group.view, group.sizeBytes, tally.channelId, sequence, logTimeNs, publishTimeNs, bytes.length);
  copyBytes(bytes, group.bytes, group.sizeBytes + RECORD_HEADER_BYTES);
  group.sizeBytes += RECORD_HEADER_BYTES + bytes.length;
  if (logTimeNs > group.endNs) group.endNs = logTimeNs;
  if (tally.count === 0) group.tallies.push(tally);
  tally.count += 1;
  tally.bytes += bytes.length;
}

/** A topic slower than the baseline rate is in baseline chunks only. */
function planBaseline(track: Track, logTimeNs: bigint): void {
  const dueNs = track.baselineDueNs + track.baselinePeriodNs;
  track.baselineDueNs = dueNs > logTimeNs ? dueNs : logTimeNs + track.baselinePeriodNs;
}

function noteDrop(track: Track, bytes: number, atNs: bigint): void {
  const drop = track.drop;
  if (drop === undefined) {
    track.drop = { count: 1, bytes, startNs: atNs, endNs: atNs };
    return;
  }
  drop.count += 1;
  drop.bytes += bytes;
  drop.endNs = atNs;
}
