/**
 * The ring: the bounded history of chunks, in memory and on disk. It lives in the store thread.
 *
 * `append` compresses and checksums. A light chunk becomes a row with its bytes inline, or, over
 * `inlineBytesMax`, bytes in a segment file and a row; a heavy one (`tier: memory`, full) stays in the memory tier
 * unless an episode wants it. `commit` makes durable what was appended, in the order that disk-tier.ts tells: a
 * `kill -9` between any two lines loses what was not committed and nothing else.
 *
 * What the disk refuses (full, read-only, broken) is owed: it waits in memory, bounded as ring-memory.ts tells. Every
 * commit tries again.
 */
import type { Channel } from "../model/channel.ts";
import { logTimeNs, powerOnNs, type RawChunk } from "../model/chunk.ts";
import type { Amount } from "../model/count-change.ts";
import type { TopicClass } from "../model/topic-class.ts";
import { assert } from "../std/assert.ts";
import { failpoint } from "../std/failpoint.ts";
import { describeError } from "../std/fault.ts";
import { earliest, latest, msOfNs, nsOfMs } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import { Accounts } from "./accounts.ts";
import { DiskRefusal, isRingFull } from "./disk-refusal.ts";
import { DiskTier, openRingFolder } from "./disk-tier.ts";
import { Holds } from "./holds.ts";
import { Intake } from "./intake.ts";
import { KeyFrames } from "./key-frames.ts";
import { Latched } from "./latched.ts";
import { headerOfChunk, type MemoryList } from "./memory-stream.ts";
import { ChunkPacker, type PackedChunk } from "./packed-chunk.ts";
import { PromotionLag } from "./promotion-lag.ts";
import { RingChannels } from "./ring-channels.ts";
import { isDamage } from "./ring-file.ts";
import { type Placing, RingMemory } from "./ring-memory.ts";
import { type RingDeps, type RingOptions, withDefaults } from "./ring-options.ts";
import { type CommitResult, classStatuses, type RingStatus } from "./ring-status.ts";
import { CHUNK_SPAN_NS_MAX } from "./tables.ts";
import { LIGHT_RANK } from "./value.ts";

/** What a commit tries to write of what is owed after the disk refused. */
const RETRY_BYTES_MAX = 64 * 1024 * 1024;
/** Of a lost index as much is rebuilt before the first message; the rest while recording goes on. */
const REBUILD_MS_AT_OPENING = 1000;

/** Of a range: all of it, or on its way, or held up by a disk that refuses, or by a ring in which nothing may go. */
export type Durability = "durable" | "waiting" | "refused" | "ring_full";

export class Ring {
  readonly #options: Required<RingOptions>;
  readonly #deps: RingDeps;
  readonly #classes: ReadonlyMap<string, TopicClass>;
  readonly #channels: RingChannels;
  readonly #accounts: Accounts;
  readonly #memory: RingMemory;
  readonly #intake = new Intake();
  readonly #holds: Holds;
  readonly #keyFrames = new KeyFrames();
  readonly #latched = new Latched();
  readonly #refusal: DiskRefusal;
  readonly #packer = new ChunkPacker();
  readonly #promotionLag = new PromotionLag();
  #disk: DiskTier;
  /** Ids that may be given to channels again: only near the end of all ids are there any. */
  readonly freeChannelIds: ReadonlySet<number>;
  /** Where the daemon restarts within a boot: numbers up to these may have been given to messages already. */
  readonly lastSequences: ReadonlyMap<number, number>;
  #newestNs = 0n;
  #isFullRate = false;

  private constructor(options: Required<RingOptions>, deps: RingDeps, db: Db) {
    this.#options = options;
    this.#deps = deps;
    this.#refusal = new DiskRefusal(deps.log);
    this.#classes = new Map(options.classes.map((topicClass) => [topicClass.name, topicClass]));
    this.#channels = new RingChannels(deps.journal);
    this.#holds = new Holds(deps.anchor.bootId);
    this.#accounts = new Accounts(deps.ledger, this.#channels.byId);
    const shared = { ...options, holds: this.#holds, keyFrames: this.#keyFrames, accounts: this.#accounts };
    this.#memory = new RingMemory({ ...shared, rankOf: this.#rankOf });
    const parts = { channels: this.#channels, latched: this.#latched, holds: this.#holds, accounts: this.#accounts };
    this.#disk = new DiskTier({ options, deps, ...parts, nowNs: this.#nowNs }, db);
    for (const channel of this.channels) this.#latched.watch(channel, this.#nowNs());
    this.freeChannelIds = this.#disk.isWhole ? this.#channels.free(db, this.#disk.chunks.nextId) : new Set();
    this.lastSequences = this.#accounts.lastSequences(this.#disk.boot);
  }

  /**
   * Opens or makes the folder. After an unclean end the ledger gets a row for what the last commit did not have.
   * A damaged `ring.db` is set aside and rebuilt from the segment files, as is one that is gone.
   */
  static open(options: RingOptions, deps: RingDeps): Ring {
    return openRingFolder(options.folder, deps, (db) => {
      const ring = new Ring(withDefaults(options), deps, db);
      ring.#rebuild(REBUILD_MS_AT_OPENING);
      return ring;
    });
  }

  /** All that were ever declared, but for those that gave their ids free. */
  get channels(): readonly Channel[] {
    return [...this.#channels.byId.values()];
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
    this.#channels.declare(channel);
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
    this.#accounts.count(chunk, "received");
    const isForDisk = topicClass.tier === "disk" || chunk.kind === "baseline" || this.#isFullRate;
    if (isForDisk || this.#holds.holds(chunk)) this.#store(chunk);
    else this.#memory.remember(chunk);
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
    this.#memory.promote(startNs, endNs, focusNs);
    this.#promotionLag.begin(this.#deps.clock.monotonicNs(), focusNs);
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
      if (!wrote && !this.#rebuild(0) && !this.#unlessRefused(() => this.#disk.retentionStep())) return false;
    } while (clock.monotonicNs() < untilNs);
    return true;
  }

  /** Makes everything appended so far durable, as far as the disk takes it. */
  commit(): CommitResult {
    return this.#mending(() => this.#commit());
  }

  #commit(): CommitResult {
    const { clock, ledger } = this.#deps;
    const startNs = clock.monotonicNs();
    if (this.#refusal.isOn) this.#writeOwed(RETRY_BYTES_MAX);
    const rows = this.#disk.uncommitted.length;
    const isCommitted = !this.#disk.isDirty || this.#tryCommit();
    ledger.saveLosses();
    const isOwing = this.#memory.backlog.length > 0;
    const isDurable = isCommitted && !(this.#refusal.isOn && isOwing);
    if (isDurable) {
      this.#refusal.end();
      this.#promotionLag.noteDurable(clock.monotonicNs(), isOwing, this.#intake.oldestNs);
    }
    const ms = msOfNs(clock.monotonicNs() - startNs);
    return { isDurable, rows: isCommitted ? rows : 0, ms, reason: this.#refusal.reason };
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
    const headers = this.#memory
      .within(startNs, endNs)
      .filter(({ channels }) => channels.some(({ channelId }) => wanted.has(channelId)))
      .toSorted((a, b) => Number(a.startNs - b.startNs))
      .map((chunk, index) => headerOfChunk(chunk, index + 1, bootId));
    const untilNs = this.appendedUntilNs(arrivedNs);
    return { headers, completeUntilNs: earliest(untilNs, this.#disk.uncommitted.oldestNs ?? untilNs) };
  }

  /** The stored bytes of chunks in memory, as many in their order as `bytesMax` allows; undefined: it left. */
  readMemory(keys: readonly string[], startNs: bigint, endNs: bigint, bytesMax: number): (Uint8Array | undefined)[] {
    const read = this.#memory.read(keys, startNs, endNs, bytesMax);
    if (read.includes(undefined)) this.commit(); // it may be on its way to the disk
    return read;
  }

  /** How far the range has got on its way to the disk, with every word about what is missing from it. */
  durabilityOf(startNs: bigint, endNs: bigint, bootId = this.#deps.anchor.bootId): Durability {
    if (!this.#disk.isWhole) return "waiting"; // what the index lacks is still being looked for
    const isOwn = bootId === this.#deps.anchor.bootId; // of an earlier boot nothing is on its way any more
    const fromNs = this.#keyFrames.windowStart(startNs);
    const isOnItsWay = this.#memory.backlog.touches(fromNs, endNs) || this.#disk.uncommitted.touches(fromNs, endNs);
    if (isOwn && isOnItsWay) return this.#refusal.durability;
    if (isOwn && this.#intake.touches(fromNs, endNs)) return "waiting";
    return this.#deps.ledger.saveLosses() ? "durable" : "waiting";
  }

  /** What is still on its way to the disk of the range is dropped, counted as `disk_full`. */
  giveUp(startNs: bigint, endNs: bigint): void {
    const fromNs = this.#keyFrames.windowStart(startNs);
    this.#memory.giveUp(fromNs, endNs);
    for (const chunk of this.#disk.uncommitted.takeWithin(fromNs, endNs)) this.#accounts.count(chunk, "droppedStored");
  }

  /** Sets a chunk aside that a reader found damaged: no reader gets it again, the ledger has rows, the rest goes on. */
  quarantine(chunkId: number, reason: string): void {
    if (!this.#mending(() => this.#disk.quarantine(chunkId, reason))) return;
    this.#deps.log.error("A damaged chunk was set aside.", { chunk_id: chunkId, reason });
  }

  /** A reader came upon damage in `ring.db`. Nothing happens while it is being rebuilt anyway. */
  mend(reason: string): void {
    if (!this.#disk.isWhole) return;
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
    const { classes: topicClasses, bytesMax } = this.#options;
    const classes = this.#mending(() => classStatuses(topicClasses, this.#disk, this.#memory.tier));
    return {
      classes,
      chunks: classes.reduce((sum, { chunks }) => sum + chunks, 0),
      diskBytes: this.#disk.space.fileBytes,
      diskBytesMax: bytesMax,
      freeBytes: this.#disk.space.freeOnDiskBytes,
      measuredMs: this.#disk.pace.measuredMs,
      memoryBytes: this.#memory.bytes,
      backlogBytes: this.#memory.backlog.bytes,
      holds: this.#holds.size,
      isFullRate: this.#isFullRate,
      isDiskRefusing: this.#refusal.isOn,
      ...this.#promotionLag.status,
    };
  }

  /** Writes what is owed and commits; the memory tier goes with the process and is counted as reduced. */
  [Symbol.dispose](): void {
    while (this.appendNext() !== undefined) {}
    this.#writeOwed(Number.POSITIVE_INFINITY);
    const { isDurable } = this.commit();
    failpoint("ring.closing");
    if (isDurable) this.#disk.boot.close();
    this.#disk[Symbol.dispose]();
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

  /** Nothing that is in memory is lost. */
  #replaceFile(): void {
    this.#unlessRefused(() => this.#disk.sync());
    this.#oweInline();
    this.#disk = this.#disk.replace();
    this.#writeOwed(RETRY_BYTES_MAX);
    this.#commit();
  }

  // Disk

  #store(chunk: PackedChunk): void {
    const placing = this.#refusal.isOn ? "refused" : this.#place(chunk);
    if (placing === "placed") this.#accounts.count(chunk, "stored");
    else if (placing === "refused") this.#memory.oweNew(chunk);
    else {
      this.#accounts.count(chunk, "remembered");
      this.#accounts.count(chunk, "droppedOwed");
    }
  }

  #place(chunk: PackedChunk): Placing {
    try {
      this.#mending(() => this.#disk.uncommitted.place(chunk));
      return "placed";
    } catch (error) {
      const isHeavy = this.#rankOf(chunk.className) > LIGHT_RANK;
      if (isHeavy && !this.#holds.holds(chunk) && isRingFull(error)) return "unwanted";
      this.#refusal.note(error);
      return "refused";
    }
  }

  /** Writes what is owed, at least one chunk if there is any. Returns how many; after a refusal only rows go on. */
  #writeOwed(bytesMax: number): number {
    let isRefused = false;
    return this.#memory.offer(bytesMax, (chunk) => {
      const placing = isRefused && !this.#disk.uncommitted.isInline(chunk) ? "refused" : this.#place(chunk);
      isRefused ||= placing === "refused";
      return placing;
    });
  }

  /** True: more remains. */
  #rebuild(budgetMs: number): boolean {
    const { clock } = this.#deps;
    const untilNs = clock.monotonicNs() + nsOfMs(budgetMs);
    while (this.#unlessRefused(() => this.#disk.rebuildStep())) if (clock.monotonicNs() > untilNs) return true;
    return false;
  }

  /** False where the disk refuses, too: a full one may refuse even the transaction that would free some of it. */
  #unlessRefused(work: () => boolean): boolean {
    try {
      return work();
    } catch (error) {
      this.#refusal.note(error);
      return false;
    }
  }

  /** False: the disk refuses. */
  #tryCommit(): boolean {
    if (!this.#unlessRefused(() => this.#disk.sync())) return false;
    failpoint("ring.segments_synced");
    try {
      this.#disk.commit({
        takenUntilNs: this.appendedUntilNs(this.#newestNs),
        isCapturing: this.#isFullRate || this.#memory.backlog.length > 0,
        owedNs: this.#memory.backlog.oldestNs,
      });
      return true;
    } catch (error) {
      this.#oweInline();
      this.#refusal.note(error);
      return false;
    }
  }

  /** After a failed transaction: bytes that are in memory only fall under its bound; written ones wait as they are. */
  #oweInline(): void {
    for (const chunk of this.#disk.uncommitted.takeInline()) this.#memory.takeBack(chunk);
  }

  readonly #rankOf = (className: string): number => this.#classes.get(className)?.rank ?? LIGHT_RANK;

  readonly #nowNs = (): bigint => logTimeNs(this.#deps.anchor, this.#deps.clock.monotonicNs());
}
