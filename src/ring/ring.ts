/**
 * The ring: the bounded history of chunks, in memory and on disk. It lives in the store thread.
 *
 * `append` compresses and checksums. A light chunk becomes a row with its bytes inline, or, over
 * `inlineBytesMax`, bytes in a segment file and a row; a heavy one (`tier: memory`, full) stays in the memory tier
 * unless an episode wants it. Order of writes in `commit`: segment bytes → fdatasync → one transaction (FULL) with
 * channels, rows, segments, class totals, latched messages and the counters of exactly these chunks. A `kill -9`
 * between any two lines loses what was not committed and nothing else.
 *
 * What the disk refuses (full, read-only, broken) is owed: it waits in memory, bounded by the memory tier's budgets
 * and `backlogBytesMax`; beyond that the least valuable goes, counted as `disk_full`. Every commit tries again.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { BootClock } from "../model/boot-clock.ts";
import type { Channel } from "../model/channel.ts";
import { type BootAnchor, powerOnNs, type RawChunk } from "../model/chunk.ts";
import type { Amount } from "../model/count-change.ts";
import type { TopicClass } from "../model/topic-class.ts";
import type { Native } from "../native/addon.ts";
import { assert } from "../std/assert.ts";
import type { Clock } from "../std/clock.ts";
import { failpoint } from "../std/failpoint.ts";
import { describeError } from "../std/fault.ts";
import { earliest, latest, nsOfMs } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import { Accounts } from "./accounts.ts";
import { Backlog } from "./backlog.ts";
import { Boot } from "./boot.ts";
import { shiftsToPresent } from "./boot-ages.ts";
import { BootClocks } from "./boot-clocks.ts";
import { copyChannels, readChannelCopy } from "./channel-copy.ts";
import { ChunkTable } from "./chunk-table.ts";
import { DiskRefusal, isRingFull } from "./disk-refusal.ts";
import { DiskSpace } from "./disk-space.ts";
import { forecastReach } from "./forecast.ts";
import { freeChannels } from "./free-channels.ts";
import { Holds } from "./holds.ts";
import { Intake } from "./intake.ts";
import { KeyFrames } from "./key-frames.ts";
import { Latched } from "./latched.ts";
import { chunkKey, headerOfChunk, type MemoryList } from "./memory-stream.ts";
import { MemoryTier } from "./memory-tier.ts";
import { Pace } from "./pace.ts";
import { ChunkPacker, type PackedChunk } from "./packed-chunk.ts";
import { PayloadMemory } from "./payload-memory.ts";
import { beginRebuild, Rebuild } from "./rebuild.ts";
import { Retention } from "./retention.ts";
import { inJournal, isDamage, isDamageAtOpening, openRingFile, setAsideRingFile } from "./ring-file.ts";
import type { RingLedger } from "./ring-ledger.ts";
import type { ClassStatus, CommitResult, RingStatus } from "./ring-status.ts";
import { SegmentFiles } from "./segment-files.ts";
import { realSegmentIo, type SegmentIo } from "./segment-io.ts";
import { CHUNK_SPAN_NS_MAX, readChannels, SEGMENTS_FOLDER, writeChannel } from "./tables.ts";
import { Uncommitted } from "./uncommitted.ts";
import { LIGHT_RANK, LIGHT_SHARE_OF_BACKLOG } from "./value.ts";

export type RingOptions = {
  readonly folder: string;
  readonly classes: readonly TopicClass[];
  /** Of segment files and database together. */
  readonly bytesMax: number;
  /** Left free on the file system for the robot. */
  readonly reserveBytes: number;
  /** Stored chunks up to this size lie in their row; 8 KiB unless told: slots of 4 KiB waste much on less. */
  readonly inlineBytesMax?: number;
  /** Unless told: 1 % of the ring, within 1 and 64 MiB. */
  readonly segmentBytes?: number;
  /** What may wait in memory for a full disk, beyond the memory tier's budgets; 64 MiB unless told. */
  readonly backlogBytesMax?: number;
};

export type RingDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly ledger: RingLedger;
  /** `journal.db`, which keeps what a damaged `ring.db` must not cost. */
  readonly journal: Db;
  readonly anchor: BootAnchor;
  readonly native?: Native | undefined;
  /** Replaced by tests that break the disk. */
  readonly io?: SegmentIo;
};

const MIB = 1024 * 1024;
/** What a commit tries to write of what is owed after the disk refused. */
const RETRY_BYTES_MAX = 64 * MIB;
/** Of a lost index as much is rebuilt before the first message; the rest while recording goes on. */
const REBUILD_MS_AT_OPENING = 1000;

/** Of a range: all of it, or on its way, or held up by a disk that refuses, or by a ring in which nothing may go. */
export type Durability = "durable" | "waiting" | "refused" | "ring_full";

/** All that works on one open `ring.db`. */
type Disk = {
  readonly db: Db;
  readonly boot: Boot;
  readonly chunks: ChunkTable;
  readonly segments: SegmentFiles;
  readonly space: DiskSpace;
  readonly retention: Retention;
  readonly uncommitted: Uncommitted;
  readonly pace: Pace;
  /** undefined: the index is whole. */
  rebuild: Rebuild | undefined;
};

/** By class, and by the boots' numbers. */
type Known = { readonly forecast: ReadonlyMap<string, number>; readonly shifts: ReadonlyMap<number, bigint> };

type Promotion = { readonly atNs: bigint; readonly focusNs: bigint; isLightDue: boolean };

export class Ring {
  readonly #options: Required<RingOptions>;
  readonly #deps: RingDeps;
  readonly #openedNs: bigint;
  readonly #firstChunkId: number;
  /** Ids that may be given to channels again: only near the end of all ids are there any. */
  readonly freeChannelIds: ReadonlySet<number>;
  #disk: Disk;
  readonly #classes: ReadonlyMap<string, TopicClass>;
  readonly #clocks: BootClocks;
  readonly #channels = new Map<number, Channel>();
  readonly #accounts: Accounts;
  readonly #memory: MemoryTier;
  readonly #backlog = new Backlog();
  readonly #intake = new Intake();
  readonly #holds: Holds;
  readonly #keyFrames = new KeyFrames();
  readonly #latched = new Latched();
  readonly #refusal: DiskRefusal;
  readonly #packer = new ChunkPacker();
  readonly #payloads = new PayloadMemory();
  readonly #lastSequences: ReadonlyMap<number, number>;
  #newChannels: Channel[] = [];
  /** What had no row when the index was lost is counted as lost, but not saved: found now it would count twice. */
  #isPresumptionDue = false;
  #newestNs = 0n;
  #isFullRate = false;
  /** Of the last promotion: frames near it are worth most. */
  #focusNs = 0n;
  #promotion: Promotion | undefined;
  #lightLagMs: number | undefined;
  #heavyLagMs: number | undefined;

  private constructor(options: Required<RingOptions>, deps: RingDeps, db: Db) {
    this.#options = options;
    this.#deps = deps;
    this.#refusal = new DiskRefusal(deps.log);
    this.#classes = new Map(options.classes.map((topicClass) => [topicClass.name, topicClass]));
    this.#clocks = new BootClocks(deps.journal);
    this.#holds = new Holds(deps.anchor.bootId);
    this.#memory = new MemoryTier(options.classes);
    this.#openedNs = this.#nowNs();
    this.#readChannels(db);
    for (const channel of this.#channels.values()) this.#latched.watch(channel, this.#openedNs);
    const boot = Boot.open(db, deps.ledger, deps.anchor, this.#openedNs);
    this.#accounts = new Accounts(deps.ledger, this.#channels);
    this.#disk = this.#diskOn(db, boot);
    const free = this.#disk.rebuild === undefined ? freeChannels(db, deps.journal, this.#channels) : [];
    this.#newChannels = this.#newChannels.filter(({ id }) => this.#channels.has(id));
    this.freeChannelIds = new Set(free);
    this.#firstChunkId = this.#disk.chunks.nextId;
    this.#lastSequences = this.#accounts.lastSequences(boot);
  }

  /**
   * Opens or makes the folder. After an unclean end the ledger gets a row for what the last commit did not have.
   * A damaged `ring.db` is set aside and rebuilt from the segment files, as is one that is gone.
   */
  static open(options: RingOptions, deps: RingDeps): Ring {
    mkdirSync(join(options.folder, SEGMENTS_FOLDER), { recursive: true });
    try {
      return Ring.#openFolder(options, deps);
    } catch (error) {
      if (!isDamageAtOpening(error)) throw error;
      deps.log.error("ring.db is damaged and set aside.", { reason: describeError(error) });
      setAsideRingFile(options.folder);
      return Ring.#openFolder(options, deps);
    }
  }

  static #openFolder(options: RingOptions, deps: RingDeps): Ring {
    const db = openRingFile(options.folder, deps.ledger);
    try {
      beginRebuild({ ...deps, folder: options.folder, db }, undefined);
      const segmentBytes = Math.min(Math.max(Math.floor(options.bytesMax / 100), MIB), 64 * MIB);
      const defaults = { inlineBytesMax: 8 * 1024, segmentBytes, backlogBytesMax: 64 * MIB };
      const ring = new Ring({ ...defaults, ...options }, deps, db);
      ring.#rebuild(REBUILD_MS_AT_OPENING);
      return ring;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** The copy has the last word; what either lacks, or has otherwise, is written with the next commit. */
  #readChannels(db: Db): void {
    const own = new Map(readChannels(db).map((channel) => [channel.id, channel]));
    const copied = new Map(readChannelCopy(this.#deps.journal).map((channel) => [channel.id, channel]));
    for (const channel of new Map([...own, ...copied]).values()) {
      this.#channels.set(channel.id, channel);
      const isSame = isDeepStrictEqual(own.get(channel.id), copied.get(channel.id));
      if (!isSame) this.#newChannels.push(channel);
    }
  }

  #diskOn(db: Db, boot: Boot): Disk {
    const { classes, folder, segmentBytes, inlineBytesMax } = this.#options;
    const { native, io = realSegmentIo(native), anchor } = this.#deps;
    const chunks = ChunkTable.open(db, boot.id);
    chunks.skipTo(boot.firstChunkId);
    const segments = SegmentFiles.open(db, {
      ...{ folder: join(folder, SEGMENTS_FOLDER), segmentBytes, io },
      makeRoom: (bytes, chunk, isNewFile) => this.#disk.retention.requireRoomFor(bytes, chunk, isNewFile),
    });
    const files = { chunks, segments, space: new DiskSpace(this.#options, db, segments) };
    const retention = new Retention({
      ...{ ...files, db, holds: this.#holds, classes, nowNs: () => this.#nowNs() },
      shifts: () => shiftsToPresent(db, this.#bootClocks()),
      countEvicted: (bootId, channels) => this.#accounts.evicted(bootId, channels),
    });
    const uncommitted = new Uncommitted({ ...files, retention, bootId: anchor.bootId, inlineBytesMax });
    const given = { ...this.#deps, folder, db };
    const rebuild = Rebuild.open(given, { chunks, segments, retention }, this.#channels, classes);
    return { ...files, db, boot, retention, uncommitted, pace: Pace.open(db), rebuild };
  }

  /** Ids given free mean another channel from the first chunk of this opening on. */
  readonly #sinceChunk = (id: number): number => (this.freeChannelIds.has(id) ? this.#firstChunkId : 0);

  /** All that were ever declared, but for those that gave their ids free. */
  get channels(): readonly Channel[] {
    return [...this.#channels.values()];
  }

  /** Where the daemon restarts within a boot: numbers up to these may have been given to messages already. */
  get lastSequences(): ReadonlyMap<number, number> {
    return this.#lastSequences;
  }

  /** Up to where earlier processes had committed, each boot in its own log_time. */
  get lastStoredByBoot(): ReadonlyMap<string, bigint> {
    return this.#disk.boot.lastStoredByBoot;
  }

  /** The same of one boot; undefined: the index that knew it is lost, or has never known the boot. */
  lastStoredNs(bootId: string): bigint | undefined {
    return this.#disk.boot.lastStoredNs(bootId);
  }

  /** From when on this boot is not recorded until its first message; undefined in a fresh ring. */
  get recordedUntilNs(): bigint | undefined {
    const { anchor } = this.#deps;
    const known = this.lastStoredByBoot;
    return known.size === 0 ? undefined : (known.get(anchor.bootId) ?? powerOnNs(anchor));
  }

  /** Its row is committed with, or before, the first chunk that refers to it. */
  declareChannel(channel: Channel): void {
    this.#channels.set(channel.id, channel);
    this.#newChannels.push(channel);
    this.#latched.watch(channel, this.#nowNs());
  }

  /** Appends a light chunk at once (true); a heavy one keeps its buffer and waits for `appendNext`. */
  receive(raw: RawChunk): boolean {
    const rank = this.#rankOf(raw.className);
    if (rank <= LIGHT_RANK) this.append(raw);
    else this.#intake.add(raw, rank);
    return rank <= LIGHT_RANK;
  }

  /** Appends the most urgent of the chunks that wait, and returns it: its buffer may be used again. */
  appendNext(): RawChunk | undefined {
    const raw = this.#intake.take();
    if (raw !== undefined) this.append(raw);
    return raw;
  }

  /** Takes the chunk's content; its buffer may be used again on return. Counted from now on, durable at `commit`. */
  append(raw: RawChunk): void {
    const topicClass = this.#classes.get(raw.className);
    assert(topicClass !== undefined, `class ${raw.className} is not one of the ring's`);
    assert(raw.endNs - raw.startNs <= CHUNK_SPAN_NS_MAX, "a chunk spans more than a reader looks back");
    this.#latched.note(raw);
    const chunk = this.#packer.pack(raw);
    this.#newestNs = latest(this.#newestNs, chunk.endNs);
    this.#accounts.received(chunk);
    const isForDisk = topicClass.tier === "disk" || chunk.kind === "baseline" || this.#isFullRate;
    if (isForDisk || this.#holds.holds(chunk)) this.#store(chunk);
    else this.#remember(this.#payloads.keep(chunk));
    if (this.#disk.uncommitted.isFull) this.commit();
  }

  /** A frame of inter-coded video at which decoding can begin; in order of time. */
  noteKeyFrame(channelId: number, atNs: bigint): void {
    this.#keyFrames.note(channelId, atNs);
  }

  /**
   * Retention never deletes what touches the range (of this boot, unless told), or lies between it and the key frames
   * from which the video in it is decoded. The same id again replaces its range, but for an earlier start.
   */
  hold(id: string, startNs: bigint, endNs: bigint, bootId = this.#deps.anchor.bootId): void {
    this.#holds.set(id, this.#keyFrames.windowStart(startNs), endNs, bootId);
  }

  release(id: string): void {
    this.#holds.delete(id);
  }

  /** While it is on, the full-rate chunks of heavy topics go straight to disk. */
  setFullRate(isOn: boolean): void {
    this.#isFullRate = isOn;
  }

  /**
   * Moves the memory tier's window to the disk tier: by rank, then outward from the focus. Light topics are in the
   * disk tier already and durable with the next commit; the heavy ones are written by `step`.
   */
  promote(startNs: bigint, endNs: bigint, focusNs: bigint): void {
    const before = this.#memory.take(this.#keyFrames.windowStart(startNs), startNs, this.#isVideo);
    this.#focusNs = focusNs;
    for (const chunk of [...before, ...this.#memory.take(startNs, endNs)]) this.#owe(chunk, true);
    this.#promotion = { atNs: this.#deps.clock.monotonicNs(), focusNs, isLightDue: true };
  }

  /** Does paced work for about `budgetMs`: promotion first, then retention. True: more remains. */
  step(budgetMs: number): boolean {
    return this.#mending(() => this.#step(budgetMs));
  }

  #step(budgetMs: number): boolean {
    const { clock } = this.#deps;
    const untilNs = clock.monotonicNs() + nsOfMs(budgetMs);
    do {
      const wrote = !this.#refusal.isOn && this.#writeOwed(1) > 0;
      if (!wrote && !this.#rebuild(0) && !this.#retain()) return false;
    } while (clock.monotonicNs() < untilNs);
    return true;
  }

  /** Makes everything appended so far durable, as far as the disk takes it. */
  commit(): CommitResult {
    return this.#mending(() => this.#commit());
  }

  #commit(): CommitResult {
    const startNs = this.#deps.clock.monotonicNs();
    if (this.#refusal.isOn) this.#writeOwed(RETRY_BYTES_MAX);
    const rows = this.#disk.uncommitted.length;
    const problem = this.#isDirty() ? this.#tryCommit() : undefined;
    this.#deps.ledger.saveLosses();
    const isDurable = problem === undefined && !(this.#refusal.isOn && this.#backlog.length > 0);
    if (isDurable) this.#noteDurable();
    const { reason } = this.#refusal;
    return { isDurable, rows: problem === undefined ? rows : 0, ms: this.#msSince(startNs), reason };
  }

  /** Up to when everything is appended, if all until `arrivedNs` has come. */
  appendedUntilNs(arrivedNs: bigint): bigint {
    return earliest(arrivedNs, this.#intake.oldestNs ?? arrivedNs);
  }

  /**
   * What of the range is in memory only, and up to when nothing is missing from that and the disk together, if all
   * until `arrivedNs` has come: what still waits to be appended, or is half written to a failing disk, nobody can read.
   */
  listMemory(startNs: bigint, endNs: bigint, isWanted: (channel: Channel) => boolean, arrivedNs: bigint): MemoryList {
    this.commit();
    const wanted = new Set(this.channels.filter(isWanted).map(({ id }) => id));
    const { bootId } = this.#deps.anchor;
    const headers = this.#inMemory(startNs, endNs)
      .filter(({ channels }) => channels.some(({ channelId }) => wanted.has(channelId)))
      .toSorted((a, b) => Number(a.startNs - b.startNs))
      .map((chunk, index) => headerOfChunk(chunk, index + 1, bootId));
    const untilNs = this.appendedUntilNs(arrivedNs);
    return { headers, completeUntilNs: earliest(untilNs, this.#disk.uncommitted.oldestNs ?? untilNs) };
  }

  /** The stored bytes of chunks in memory, as many in their order as `bytesMax` allows; undefined: it left. */
  readMemory(keys: readonly string[], startNs: bigint, endNs: bigint, bytesMax: number): (Uint8Array | undefined)[] {
    const chunks = new Map(this.#inMemory(startNs, endNs).map((chunk) => [chunkKey(chunk), chunk.payload]));
    const read: (Uint8Array | undefined)[] = [];
    let bytes = 0;
    for (const key of keys) {
      const payload = chunks.get(key);
      bytes += payload?.length ?? 0;
      if (read.length > 0 && bytes > bytesMax) break;
      read.push(payload === undefined ? undefined : new Uint8Array(payload));
    }
    if (read.includes(undefined)) this.commit(); // it may be on its way to the disk
    return read;
  }

  /** How far the range has got on its way to the disk, with every word about what is missing from it. */
  durabilityOf(startNs: bigint, endNs: bigint, bootId = this.#deps.anchor.bootId): Durability {
    if (this.#disk.rebuild !== undefined) return "waiting"; // what the index lacks is still being looked for
    const isOwn = bootId === this.#deps.anchor.bootId; // of an earlier boot nothing is on its way any more
    const fromNs = this.#keyFrames.windowStart(startNs);
    const isOnItsWay = this.#backlog.touches(fromNs, endNs) || this.#disk.uncommitted.touches(fromNs, endNs);
    if (isOwn && isOnItsWay) return this.#refusal.durability;
    if (isOwn && this.#intake.touches(fromNs, endNs)) return "waiting";
    return this.#deps.ledger.saveLosses() ? "durable" : "waiting";
  }

  /** What is still on its way to the disk of the range is dropped, counted as `disk_full`. */
  giveUp(startNs: bigint, endNs: bigint): void {
    const fromNs = this.#keyFrames.windowStart(startNs);
    for (const chunk of this.#backlog.takeWithin(fromNs, endNs)) this.#dropOwed(chunk);
    for (const chunk of this.#disk.uncommitted.takeWithin(fromNs, endNs)) this.#accounts.droppedStored(chunk);
  }

  /** Sets a chunk aside that a reader found damaged: no reader gets it again, the ledger has rows, the rest goes on. */
  quarantine(chunkId: number, reason: string): void {
    const setAside = () => {
      const chunk = this.#disk.chunks.quarantine(chunkId, reason);
      if (chunk !== undefined) this.#accounts.damaged(chunk.bootId, chunk);
      return chunk !== undefined;
    };
    if (!this.#mending(() => this.#disk.db.transaction(setAside).immediate())) return;
    this.#deps.log.error("A damaged chunk was set aside.", { chunk_id: chunkId, reason });
  }

  /** A reader came upon damage in `ring.db`. Nothing happens while it is being rebuilt anyway. */
  mend(reason: string): void {
    if (this.#disk.rebuild !== undefined) return;
    this.#deps.log.error("ring.db is damaged, as a reader found: it is set aside, and recording goes on.", { reason });
    this.#replaceFile();
  }

  /** Of a boot's stored messages, per topic, what a hold protects. */
  heldAmounts(bootId = this.#deps.anchor.bootId): ReadonlyMap<string, Amount> {
    const held = this.#holds.merged(bootId);
    return this.#mending(() => this.#accounts.amountByTopic(this.#disk.chunks.channelsWithin(held, bootId)));
  }

  /** The disk is full or broken; capture goes on in memory. */
  get isDiskRefusing(): boolean {
    return this.#refusal.isOn;
  }

  status(): RingStatus {
    const classes = this.#mending(() => {
      const known = { forecast: this.#forecast(), shifts: shiftsToPresent(this.#disk.db, this.#bootClocks()) };
      return this.#options.classes.map((topicClass) => this.#classStatus(topicClass, known));
    });
    return {
      classes,
      chunks: classes.reduce((sum, { chunks }) => sum + chunks, 0),
      diskBytes: this.#disk.space.fileBytes,
      diskBytesMax: this.#options.bytesMax,
      freeBytes: this.#disk.space.freeOnDiskBytes,
      measuredMs: this.#disk.pace.measuredMs,
      memoryBytes: this.#memory.bytes + this.#backlog.bytes,
      backlogBytes: this.#backlog.bytes,
      holds: this.#holds.size,
      isFullRate: this.#isFullRate,
      isDiskRefusing: this.#refusal.isOn,
      lightLagMs: this.#lightLagMs,
      heavyLagMs: this.#heavyLagMs,
    };
  }

  /** Writes what is owed and commits; the memory tier goes with the process and is counted as reduced. */
  [Symbol.dispose](): void {
    while (this.appendNext() !== undefined) {}
    this.#writeOwed(Number.POSITIVE_INFINITY);
    const { isDurable } = this.commit();
    failpoint("ring.closing");
    if (isDurable) this.#disk.boot.close();
    this.#disk.rebuild?.[Symbol.dispose]();
    this.#disk.segments[Symbol.dispose]();
    this.#disk.db.close();
  }

  // Damage

  /** Where work finds `ring.db` damaged, another takes its place, and the work is done with that. */
  #mending<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#deps.log.error("ring.db is damaged: it is set aside, and recording goes on.", {
        reason: describeError(error),
      });
      this.#replaceFile();
      return work();
    }
  }

  /** Nothing that is in memory is lost; what lies in segment files without a row is found again by the rebuild. */
  #replaceFile(): void {
    const { folder } = this.#options;
    const { db: damaged, segments, uncommitted, rebuild } = this.#disk;
    try {
      segments.sync();
    } catch (error) {
      this.#loseUnsynced();
      this.#refusal.note(error);
    }
    this.#oweInline();
    for (const chunk of uncommitted.takeWritten()) {
      this.#accounts.unindexed(chunk);
      this.#isPresumptionDue = true;
    }
    rebuild?.[Symbol.dispose]();
    segments[Symbol.dispose]();
    damaged.close();
    setAsideRingFile(folder);
    const { anchor, ledger } = this.#deps;
    const db = openRingFile(folder, ledger);
    beginRebuild({ ...this.#deps, folder, db }, anchor.bootId);
    this.#readChannels(db);
    this.#disk = this.#diskOn(db, Boot.open(db, ledger, anchor, this.#nowNs()));
    this.#writeOwed(RETRY_BYTES_MAX);
    this.#commit();
  }

  // Memory

  readonly #isVideo = ({ channels }: PackedChunk): boolean =>
    channels.some(({ channelId }) => this.#keyFrames.has(channelId));

  #inMemory(startNs: bigint, endNs: bigint): PackedChunk[] {
    const fromNs = this.#keyFrames.windowStart(startNs);
    return [...this.#memory.within(fromNs, endNs), ...this.#backlog.within(fromNs, endNs)].filter(
      (chunk) => chunk.endNs >= startNs || this.#isVideo(chunk),
    );
  }

  /** Adds to the memory tier. What expires for it is reduced to its baseline, or owed if somebody holds it. */
  #remember(chunk: PackedChunk): void {
    this.#accounts.remembered(chunk);
    for (const expired of this.#memory.add(chunk)) {
      if (this.#holds.holds(expired)) this.#owe(expired);
      else this.#reduce(expired);
    }
  }

  #dropOwed(chunk: PackedChunk): void {
    this.#accounts.droppedOwed(chunk);
    this.#payloads.give(chunk);
  }

  #reduce(chunk: PackedChunk): void {
    this.#accounts.reduced(chunk);
    this.#payloads.give(chunk);
  }

  /** The chunk is counted in memory already. */
  #owe(chunk: PackedChunk, isWanted = this.#holds.holds(chunk)): void {
    const focusNs = isWanted ? this.#focusNs : undefined;
    this.#backlog.add(chunk, this.#rankOf(chunk.className), focusNs);
    while (this.#shed()) {}
  }

  /** Takes one chunk of too much away: the least valuable, and full rate in memory before anything light. */
  #shed(): boolean {
    const { backlogBytesMax } = this.#options;
    const overBytes = this.#backlog.bytes + this.#memory.bytes - this.#memory.bytesMax - backlogBytesMax;
    const isHeavyOver = overBytes - this.#backlog.lightBytes + backlogBytesMax * LIGHT_SHARE_OF_BACKLOG > 0;
    if (!isHeavyOver && overBytes <= 0) return false;
    const least = this.#backlog.least((chunk) => this.#holds.holds(chunk), isHeavyOver);
    const unheld =
      least === undefined || least.isHeld || least.rank <= LIGHT_RANK ? this.#memory.takeLeast() : undefined;
    if (unheld !== undefined) this.#reduce(unheld);
    else if (least !== undefined) {
      this.#backlog.remove(least.chunk);
      this.#dropOwed(least.chunk);
    }
    return unheld !== undefined || least !== undefined;
  }

  #rankOf(className: string): number {
    return this.#classes.get(className)?.rank ?? LIGHT_RANK;
  }

  // Disk

  #store(chunk: PackedChunk): void {
    const isPlaced = !this.#refusal.isOn && this.#place(chunk);
    if (isPlaced === true) this.#accounts.stored(chunk);
    else this.#accounts.remembered(chunk);
    if (isPlaced === "unwanted") this.#accounts.droppedOwed(chunk);
    else if (!isPlaced) this.#owe(this.#payloads.keep(chunk));
  }

  /** False: the disk refuses. "unwanted": the ring is full of what is worth more. */
  #place(chunk: PackedChunk): boolean | "unwanted" {
    try {
      this.#mending(() => this.#disk.uncommitted.place(chunk));
      return true;
    } catch (error) {
      const isHeavy = this.#rankOf(chunk.className) > LIGHT_RANK;
      if (isHeavy && !this.#holds.holds(chunk) && isRingFull(error)) return "unwanted";
      this.#refusal.note(error);
      return false;
    }
  }

  /** Writes what is owed, at least one chunk if there is any. Returns how many; after a refusal only rows go on. */
  #writeOwed(bytesMax: number): number {
    let isRefused = false;
    return this.#backlog.offer(bytesMax, (chunk) => {
      if (isRefused && !this.#disk.uncommitted.isInline(chunk)) return false;
      const isPlaced = this.#place(chunk);
      if (isPlaced === true) this.#accounts.written(chunk);
      else if (isPlaced === "unwanted") this.#accounts.droppedOwed(chunk);
      else isRefused = true;
      if (isPlaced !== false) this.#payloads.give(chunk);
      return isPlaced !== false;
    });
  }

  /** True: more remains. A full disk may refuse; then it goes on when there is room. */
  #rebuild(budgetMs: number): boolean {
    if (this.#isPresumptionDue) return false;
    const { clock } = this.#deps;
    const untilNs = clock.monotonicNs() + nsOfMs(budgetMs);
    try {
      while (this.#disk.rebuild?.step() === true) if (clock.monotonicNs() > untilNs) return true;
      if (this.#disk.rebuild?.isDone === true) this.#disk.rebuild = undefined;
    } catch (error) {
      this.#refusal.note(error);
    }
    return false;
  }

  /** A full disk may refuse even the transaction that would free some of it. */
  #retain(): boolean {
    if (this.#disk.rebuild?.isFound === false) return false; // it must know what it chooses from
    try {
      return this.#disk.retention.step();
    } catch (error) {
      this.#refusal.note(error);
      return false;
    }
  }

  #isDirty(): boolean {
    const { ledger } = this.#deps;
    return this.#disk.uncommitted.length > 0 || this.#newChannels.length > 0 || this.#latched.isDirty || ledger.isDirty;
  }

  /** Returns why it failed. */
  #tryCommit(): string | undefined {
    try {
      this.#disk.segments.sync();
    } catch (error) {
      this.#loseUnsynced();
      return this.#refusal.note(error);
    }
    failpoint("ring.segments_synced");
    try {
      if (this.#newChannels.length > 0) copyChannels(this.#deps.journal, this.#newChannels, this.#sinceChunk);
      this.#disk.db.transaction(() => this.#saveAll()).immediate();
    } catch (error) {
      this.#oweInline();
      return this.#refusal.note(error);
    }
    failpoint("ring.committed");
    this.#disk.pace.add(this.#disk.uncommitted.entries, this.#monotonicMs());
    this.#disk.uncommitted.saved();
    this.#deps.ledger.saved();
    this.#isPresumptionDue = false;
    this.#latched.saved();
    this.#newChannels = [];
    return undefined;
  }

  #saveAll(): void {
    for (const channel of this.#newChannels) writeChannel(this.#disk.db, channel);
    failpoint("ring.commit.channels");
    this.#disk.uncommitted.save();
    failpoint("ring.commit.chunks");
    this.#latched.save(this.#disk.db, this.#disk.boot.id);
    this.#deps.ledger.save();
    failpoint("ring.commit.counts");
    this.#disk.pace.save(this.#monotonicMs());
    const isCapturing = this.#isFullRate || this.#backlog.length > 0;
    this.#disk.boot.save(this.#takenUntilNs(), isCapturing, this.#backlog.oldestNs);
  }

  /** After a failed sync nobody knows what the disk has of these bytes, and they are nowhere else. */
  #loseUnsynced(): void {
    for (const chunk of this.#disk.uncommitted.takeFrom(this.#disk.segments.abandon()))
      this.#accounts.droppedStored(chunk);
  }

  /** After a failed transaction: bytes that are in memory only fall under its bound; written ones wait as they are. */
  #oweInline(): void {
    for (const chunk of this.#disk.uncommitted.takeInline()) {
      this.#accounts.takenBack(chunk);
      this.#owe(chunk);
    }
  }

  // Notes

  #noteDurable(): void {
    this.#refusal.end();
    const promotion = this.#promotion;
    if (promotion === undefined) return;
    const lagMs = this.#msSince(promotion.atNs);
    if (promotion.isLightDue) this.#lightLagMs = lagMs;
    promotion.isLightDue = false;
    // What has come since the firing waits all the time while an episode is open.
    const { oldestNs = promotion.focusNs + 1n } = this.#intake;
    if (this.#backlog.length > 0 || oldestNs <= promotion.focusNs) return;
    this.#heavyLagMs = lagMs;
    this.#promotion = undefined;
  }

  #forecast(): ReadonlyMap<string, number> {
    const { space, pace } = this.#disk;
    const classes = this.#options.classes.map(({ name, rank, diskBytesMax, diskMsMax, diskShareMax }) => ({
      ...{ name, rank, bytesPerS: pace.of(name).bytesPerS ?? 0 },
      ...{ bytesMax: diskBytesMax, msMax: diskMsMax, shareMax: diskShareMax },
    }));
    const chunkBytes = [...this.#disk.chunks.totals.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    return forecastReach(classes, space.capacityFor(chunkBytes));
  }

  #classStatus(topicClass: TopicClass, { forecast, shifts }: Known): ClassStatus {
    const { name, rank, tier } = topicClass;
    const { chunks, bytes } = this.#disk.chunks.totals.get(name) ?? { chunks: 0, bytes: 0 };
    const [oldestNs, newestNs] = [true, false].map((isOldest) => this.#edgeOf(name, isOldest, shifts));
    const memory = { memoryBytes: this.#memory.bytesOf(name), memoryOldestNs: this.#memory.oldestNsOf(name) };
    return {
      className: name,
      rank,
      tier,
      chunks,
      diskBytes: bytes,
      oldestNs,
      newestNs,
      ...memory,
      ...this.#disk.pace.of(name),
      forecastMs: forecast.get(name),
    };
  }

  /** The start of a class's oldest or newest chunk on disk, in the present boot's log_time. */
  #edgeOf(className: string, isOldest: boolean, shifts: ReadonlyMap<number, bigint>): bigint | undefined {
    const edge = this.#disk.chunks.edgeOf(className, isOldest);
    return edge === undefined ? undefined : edge.startNs + (shifts.get(edge.boot) ?? 0n);
  }

  /** Everything up to here has been appended, but for what gathers in ingest. */
  #takenUntilNs(): bigint {
    return earliest(this.#newestNs, this.#intake.oldestNs ?? this.#newestNs);
  }

  /** Log time now: it never jumps within a boot. */
  #nowNs(): bigint {
    const { clock, anchor } = this.#deps;
    return anchor.wallNs + clock.monotonicNs() - anchor.monotonicNs;
  }

  #bootClocks(): readonly BootClock[] {
    return inJournal(() => this.#clocks.list());
  }

  #monotonicMs(): number {
    return Number(this.#deps.clock.monotonicNs()) / 1e6;
  }

  #msSince(monotonicNs: bigint): number {
    return Number(this.#deps.clock.monotonicNs() - monotonicNs) / 1e6;
  }
}
