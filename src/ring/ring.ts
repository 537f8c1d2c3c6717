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
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Channel } from "../model/channel.ts";
import type { BootAnchor, RawChunk } from "../model/chunk.ts";
import type { TopicClass } from "../model/topic-class.ts";
import type { Native } from "../native/addon.ts";
import { assert } from "../std/assert.ts";
import type { Clock } from "../std/clock.ts";
import { describeError, Fault } from "../std/fault.ts";
import { latest, nsOfMs } from "../std/nanoseconds.ts";
import { type Db, openDatabase } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import { ChunkTable, type PendingChunk } from "./chunk-table.ts";
import { DiskSpace } from "./disk-space.ts";
import { Holds } from "./holds.ts";
import { Latched } from "./latched.ts";
import { MemoryTier } from "./memory-tier.ts";
import { accountedBytes, accountedCount, ChunkPacker, ownPayload, type PackedChunk } from "./packed-chunk.ts";
import { Retention } from "./retention.ts";
import type { CountChange, RingLedger } from "./ring-ledger.ts";
import type { ClassStatus, CommitResult, RingStatus } from "./ring-status.ts";
import { SegmentFiles } from "./segment-files.ts";
import { realSegmentIo, type SegmentIo } from "./segment-io.ts";
import {
  CHUNK_SPAN_NS_MAX,
  createRingTables,
  openBoot,
  RING_FILE,
  readBoots,
  readChannels,
  SEGMENTS_FOLDER,
  writeChannel,
} from "./tables.ts";

export type RingOptions = {
  readonly folder: string;
  readonly classes: readonly TopicClass[];
  /** Of segment files and database together. */
  readonly bytesMax: number;
  /** Left free on the file system for the robot. */
  readonly reserveBytes: number;
  /** Stored chunks up to this size lie in their row; 64 KiB unless told. */
  readonly inlineBytesMax?: number;
  /** Unless told: 1 % of the ring, within 16 and 64 MiB. */
  readonly segmentBytes?: number;
  /** What may wait in memory for a full disk, beyond the memory tier's budgets; 64 MiB unless told. */
  readonly backlogBytesMax?: number;
};

export type RingDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly ledger: RingLedger;
  readonly anchor: BootAnchor;
  readonly native?: Native | undefined;
  /** Replaced by tests that break the disk. */
  readonly io?: SegmentIo;
};

const MIB = 1024 * 1024;
/** Uncommitted inline bytes that make `append` commit by itself. */
const PENDING_BYTES_MAX = 8 * MIB;
/** What a commit tries to write of what is owed after the disk refused. */
const RETRY_BYTES_MAX = 64 * MIB;
/** Chunks not yet committed began at most so long before the newest committed one. */
const COMMIT_LAG_NS = 1_000_000_000n;
/** Numbers above the committed ones that a killed process may have given to messages: a second's baseline copies. */
const SEQUENCE_SLACK = 100_000;

/** A chunk in memory that is on its way to the disk: the most valuable first, then the nearest to the failure. */
type Owed = { readonly chunk: PackedChunk; readonly rank: number; readonly distanceNs: bigint };

/** Of a range: all of it, or on its way, or held up by a disk that refuses. */
export type Durability = "durable" | "waiting" | "refused";

type Promotion = { readonly atNs: bigint; isLightDue: boolean };

export class Ring {
  readonly #options: Required<RingOptions>;
  readonly #deps: RingDeps;
  readonly #db: Db;
  readonly #openedNs: bigint;
  readonly #boot: number;
  readonly #chunks: ChunkTable;
  readonly #segments: SegmentFiles;
  readonly #space: DiskSpace;
  readonly #openedUsedBytes: number;
  readonly #retention: Retention;
  readonly #classes: ReadonlyMap<string, TopicClass>;
  readonly #channels = new Map<number, Channel>();
  readonly #memory: MemoryTier;
  readonly #holds = new Holds();
  readonly #latched = new Latched();
  readonly #packer = new ChunkPacker();
  readonly #lastSequences: ReadonlyMap<number, number>;
  #newChannels: Channel[] = [];
  #pending: PendingChunk[] = [];
  #pendingBytes = 0;
  #owed: Owed[] = [];
  #owedBytes = 0;
  #newestNs = 0n;
  #lastStoredNs: bigint | undefined;
  #isFullRate = false;
  /** Why the disk takes no more, while it does not. */
  #refusal: string | undefined;
  #promotion: Promotion | undefined;
  #lightLagMs: number | undefined;
  #heavyLagMs: number | undefined;

  private constructor(options: Required<RingOptions>, deps: RingDeps, db: Db) {
    this.#options = options;
    this.#deps = deps;
    this.#db = db;
    this.#classes = new Map(options.classes.map((topicClass) => [topicClass.name, topicClass]));
    this.#memory = new MemoryTier(options.classes);
    this.#openedNs = this.#nowNs();
    for (const channel of readChannels(db)) this.#channels.set(channel.id, channel);
    for (const channel of this.#channels.values()) this.#latched.watch(channel, this.#openedNs);
    this.#boot = this.#reopen();
    this.#lastSequences = this.#continueSequences();
    this.#chunks = ChunkTable.open(db, this.#boot);
    this.#segments = SegmentFiles.open(db, {
      folder: join(options.folder, SEGMENTS_FOLDER),
      segmentBytes: options.segmentBytes,
      io: deps.io ?? realSegmentIo(deps.native),
      mayGrow: (bytes) => this.#retention.makeRoomFor(bytes),
    });
    this.#space = new DiskSpace(options, db, this.#segments);
    this.#openedUsedBytes = this.#space.usedBytes;
    this.#retention = new Retention({
      ...{ chunks: this.#chunks, segments: this.#segments, holds: this.#holds, space: this.#space },
      ...{ db, classes: options.classes, nowNs: () => this.#nowNs() },
      countEvicted: (bootId, channelId, count) =>
        deps.ledger.write(bootId, this.#topicOf(channelId), { evicted: count }),
    });
  }

  /**
   * Opens or makes the folder. After an unclean end the ledger gets a row for what the last commit did not have.
   * A `ring.db` that is no database any more is set aside as `ring.db.damaged`, and a new ring begins.
   */
  static open(options: RingOptions, deps: RingDeps): Ring {
    mkdirSync(join(options.folder, SEGMENTS_FOLDER), { recursive: true });
    try {
      return Ring.#openFolder(options, deps);
    } catch (error) {
      if (!isDamage(error)) throw error;
      setAside(options.folder);
      const ring = Ring.#openFolder(options, deps);
      const unknown = { topic: "", count: undefined, bytes: undefined };
      deps.ledger.addLoss({ ...unknown, reason: "corrupt_chunk", startNs: 0n, endNs: ring.#openedNs });
      deps.log.error("ring.db was damaged and set aside; a new ring begins.", { reason: describeError(error) });
      return ring;
    }
  }

  static #openFolder(options: RingOptions, deps: RingDeps): Ring {
    const createTables = (db: Db) => {
      createRingTables(db);
      deps.ledger.createTables(db);
    };
    const db = openDatabase(join(options.folder, RING_FILE), [createTables], { canShrink: true });
    try {
      const segmentBytes = Math.min(Math.max(Math.floor(options.bytesMax / 100), 16 * MIB), 64 * MIB);
      const defaults = { inlineBytesMax: 64 * 1024, segmentBytes, backlogBytesMax: 64 * MIB };
      return new Ring({ ...defaults, ...options }, deps, db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** All that were ever declared. */
  get channels(): readonly Channel[] {
    return [...this.#channels.values()];
  }

  /** Where the daemon restarts within a boot: numbers up to these may have been given to messages already. */
  get lastSequences(): ReadonlyMap<number, number> {
    return this.#lastSequences;
  }

  /** Its row is committed with, or before, the first chunk that refers to it. */
  declareChannel(channel: Channel): void {
    this.#channels.set(channel.id, channel);
    this.#newChannels.push(channel);
    this.#latched.watch(channel, this.#nowNs());
  }

  /** Takes the chunk's content; its buffer may be used again on return. Counted from now on, durable at `commit`. */
  append(raw: RawChunk): void {
    const topicClass = this.#classes.get(raw.className);
    assert(topicClass !== undefined, `class ${raw.className} is not one of the ring's`);
    assert(raw.endNs - raw.startNs <= CHUNK_SPAN_NS_MAX, "a chunk spans more than a reader looks back");
    if (raw.kind === "full") this.#latched.note(raw);
    const chunk = this.#packer.pack(raw);
    this.#newestNs = latest(this.#newestNs, chunk.endNs);
    this.#countReceived(chunk);
    const isForDisk = topicClass.tier === "disk" || chunk.kind === "baseline" || this.#isFullRate;
    if (isForDisk || this.#holds.heldUntil(chunk.startNs, chunk.endNs) !== undefined) this.#store(chunk, 0n);
    else this.#remember(ownPayload(chunk));
    if (this.#pendingBytes > PENDING_BYTES_MAX) this.commit();
  }

  /** Retention never deletes what touches the range. The same id again replaces its range. */
  hold(id: string, startNs: bigint, endNs: bigint): void {
    this.#holds.set(id, startNs, endNs);
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
    for (const chunk of this.#memory.take(startNs, endNs)) this.#owe(chunk, distanceNs(chunk, focusNs));
    this.#promotion = { atNs: this.#deps.clock.monotonicNs(), isLightDue: true };
  }

  /** Does paced work for about `budgetMs`: promotion first, then retention. True: more remains. */
  step(budgetMs: number): boolean {
    const { clock } = this.#deps;
    const untilNs = clock.monotonicNs() + nsOfMs(budgetMs);
    do {
      const wrote = this.#refusal === undefined && this.#writeOwed(1) > 0;
      if (!wrote && !this.#retain()) return false;
    } while (clock.monotonicNs() < untilNs);
    return true;
  }

  /** Makes everything appended so far durable, as far as the disk takes it. */
  commit(): CommitResult {
    const startNs = this.#deps.clock.monotonicNs();
    if (this.#refusal !== undefined) this.#writeOwed(RETRY_BYTES_MAX);
    const rows = this.#pending.length;
    const problem = this.#isDirty() ? this.#tryCommit() : undefined;
    this.#deps.ledger.saveLosses();
    const isDurable = problem === undefined && !(this.#refusal !== undefined && this.#owed.length > 0);
    const reason = isDurable ? undefined : this.#refusal;
    if (isDurable) this.#noteDurable();
    return { isDurable, rows: problem === undefined ? rows : 0, ms: this.#msSince(startNs), reason };
  }

  /** How far the range has got on its way to the disk, with every word about what is missing from it. */
  durabilityOf(startNs: bigint, endNs: bigint): Durability {
    const isOnItsWay = this.#owed.some(within(startNs, endNs)) || this.#pending.some(within(startNs, endNs));
    if (isOnItsWay) return this.#refusal === undefined ? "waiting" : "refused";
    return this.#deps.ledger.saveLosses() ? "durable" : "waiting";
  }

  /** What is still on its way to the disk of the range is dropped, counted as `disk_full`. */
  giveUp(startNs: bigint, endNs: bigint): void {
    const [owed, stillOwed] = split(this.#owed, within(startNs, endNs));
    const [pending, stillPending] = split(this.#pending, within(startNs, endNs));
    this.#owed = stillOwed;
    this.#pending = stillPending;
    for (const { chunk } of owed) this.#dropOwed(chunk);
    for (const { chunk, location, storedSize } of pending) {
      if (location === undefined) this.#pendingBytes -= storedSize;
      else this.#segments.forget(location);
      this.#dropStored(chunk);
    }
  }

  /** Sets a chunk aside that a reader found damaged: no reader gets it again, the ledger has rows, the rest goes on. */
  quarantine(chunkId: number, reason: string): void {
    const chunk = this.#chunks.quarantine(chunkId, reason);
    if (chunk === undefined) return;
    for (const { channelId, count, bytes } of chunk.channels) {
      const { startNs, endNs } = chunk;
      this.#deps.ledger.addLoss({
        topic: this.#topicOf(channelId),
        reason: "corrupt_chunk",
        startNs,
        endNs,
        count,
        bytes,
      });
    }
    this.#deps.log.error("A damaged chunk was set aside.", { chunk_id: chunkId, reason });
  }

  /** Of this boot's stored messages, per topic, how many a hold protects. */
  heldCounts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const channel of this.#chunks.channelsWithin(this.#holds.merged())) {
      const topic = this.#topicOf(channel.channelId);
      counts.set(topic, (counts.get(topic) ?? 0) + accountedCount(channel));
    }
    return counts;
  }

  status(): RingStatus {
    const classes = this.#options.classes.map((topicClass) => this.#classStatus(topicClass));
    return {
      classes,
      chunks: classes.reduce((sum, { chunks }) => sum + chunks, 0),
      diskBytes: this.#space.fileBytes,
      diskBytesMax: this.#options.bytesMax,
      freeBytes: this.#space.freeOnDiskBytes,
      hoursLeft: this.#hoursLeft(),
      memoryBytes: this.#memory.bytes + this.#owedBytes,
      backlogBytes: this.#owedBytes,
      holds: this.#holds.size,
      isFullRate: this.#isFullRate,
      isDiskRefusing: this.#refusal !== undefined,
      lightLagMs: this.#lightLagMs,
      heavyLagMs: this.#heavyLagMs,
    };
  }

  /** Writes what is owed and commits; the memory tier goes with the process and is counted as reduced. */
  [Symbol.dispose](): void {
    this.#writeOwed(Number.POSITIVE_INFINITY);
    const { isDurable } = this.commit();
    if (isDurable) this.#closeBoot();
    this.#segments[Symbol.dispose]();
    this.#db.close();
  }

  // Opening

  /** Up to where an earlier process had committed; undefined in a fresh ring. */
  get lastStoredNs(): bigint | undefined {
    return this.#lastStoredNs;
  }

  /** Opens the boot's row; what an earlier process left open is settled first. Returns the boot's number. */
  #reopen(): number {
    const { ledger, anchor } = this.#deps;
    const boots = readBoots(this.#db);
    const open = boots.filter((boot) => !boot.isClosed);
    this.#lastStoredNs = boots.map(({ lastCommitNs }) => lastCommitNs).reduce<bigint | undefined>(laterOf, undefined);
    ledger.attach(this.#db, anchor.bootId);
    for (const { lastCommitNs } of open) {
      const known = { topic: "", reason: "crash", count: undefined, bytes: undefined } as const;
      const endNs = latest(lastCommitNs, this.#openedNs);
      ledger.addLoss({ ...known, startNs: lastCommitNs - COMMIT_LAG_NS, endNs });
    }
    ledger.saveLosses();
    return this.#db
      .transaction(() => {
        for (const boot of open) {
          ledger.forgetMemory(boot.bootId, boot.isCapturing);
          this.#db.prepare("UPDATE boot SET is_closed = 1 WHERE id = ?").run(boot.id);
        }
        return openBoot(this.#db, anchor, this.#openedNs);
      })
      .immediate();
  }

  #continueSequences(): Map<number, number> {
    const received = this.#deps.ledger.receivedByTopic();
    const last = new Map<number, number>();
    for (const { id, topic } of this.#channels.values()) {
      const count = received.get(topic);
      if (count !== undefined) last.set(id, count + SEQUENCE_SLACK);
    }
    return last;
  }

  #closeBoot(): void {
    this.#db.transaction(() => {
      this.#deps.ledger.forgetMemory(this.#deps.anchor.bootId, false);
      this.#db.prepare("UPDATE boot SET is_closed = 1 WHERE id = ?").run(this.#boot);
    })();
  }

  // Memory

  /** Adds to the memory tier. What expires for it is reduced to its baseline, or owed if somebody holds it. */
  #remember(chunk: PackedChunk): void {
    this.#count(chunk, (n) => ({ inMemory: n }));
    for (const expired of this.#memory.add(chunk)) {
      if (this.#holds.heldUntil(expired.startNs, expired.endNs) !== undefined) this.#owe(expired, 0n);
      else this.#count(expired, (n) => ({ inMemory: -n, reduced: n }));
    }
  }

  /** The chunk is counted in memory already. */
  #owe(chunk: PackedChunk, distance: bigint): void {
    const rank = this.#classes.get(chunk.className)?.rank ?? 0;
    const entry = { chunk, rank, distanceNs: distance };
    const index = this.#owed.findLastIndex((other) => !isWorthMore(entry, other));
    this.#owed.splice(index + 1, 0, entry);
    this.#owedBytes += chunk.payload.length;
    this.#shed();
  }

  /** The bound of what waits in memory; the least valuable goes first. */
  #shed(): void {
    const budget = this.#memory.bytesMax;
    while (this.#owedBytes + this.#memory.bytes > budget + this.#options.backlogBytesMax) {
      const least = this.#owed.pop();
      if (least === undefined) return;
      this.#dropOwed(least.chunk);
    }
  }

  /** Taken out of what is owed already. */
  #dropOwed(chunk: PackedChunk): void {
    this.#owedBytes -= chunk.payload.length;
    this.#drop(chunk, (n) => ({ inMemory: -n, dropped: { reason: "disk_full", count: n } }));
  }

  // Disk

  #store(chunk: PackedChunk, distance: bigint): void {
    if (this.#refusal === undefined && this.#place(chunk)) {
      this.#count(chunk, (n, bytes) => ({ stored: n, storedBytes: bytes }));
      return;
    }
    this.#count(chunk, (n) => ({ inMemory: n }));
    this.#owe(ownPayload(chunk), distance);
  }

  /** Puts the bytes where they belong; the row follows at the commit. False: the disk refuses. */
  #place(chunk: PackedChunk): boolean {
    try {
      this.#pending.push(this.#isInline(chunk) ? this.#placeInline(chunk) : this.#placeInSegment(chunk));
      return true;
    } catch (error) {
      this.#noteRefusal(error);
      return false;
    }
  }

  #isInline(chunk: PackedChunk): boolean {
    return chunk.payload.length <= this.#options.inlineBytesMax;
  }

  #placeInline(chunk: PackedChunk): PendingChunk {
    const size = chunk.payload.length;
    const growth = this.#space.freePageBytes >= this.#pendingBytes + size ? 0 : size;
    if (growth > 0 && !this.#retention.makeRoomFor(growth))
      throw new Fault(
        "ring_full",
        "Nothing in the ring may go for new data.",
        "Raise ring.bytes_max or free the disk.",
      );
    this.#pendingBytes += size;
    return { id: this.#chunks.takeId(), chunk: ownPayload(chunk), storedSize: size, location: undefined };
  }

  #placeInSegment(chunk: PackedChunk): PendingChunk {
    const id = this.#chunks.takeId();
    const sequence = chunk.isLocal ? `${chunk.className}:local` : chunk.className;
    const location = this.#segments.append(sequence, chunk, id, this.#deps.anchor.bootId);
    return { id, chunk: { ...chunk, payload: NO_BYTES }, storedSize: chunk.payload.length, location };
  }

  /** Writes what is owed, at least one chunk if there is any. Returns how many; after a refusal only rows go on. */
  #writeOwed(bytesMax: number): number {
    const left: Owed[] = [];
    let bytes = 0;
    let count = 0;
    let isRefused = false;
    for (const entry of this.#owed) {
      const isTried: boolean = bytes < bytesMax && !(isRefused && !this.#isInline(entry.chunk));
      if (isTried && this.#place(entry.chunk)) {
        this.#count(entry.chunk, (n, size) => ({ inMemory: -n, stored: n, storedBytes: size }));
        bytes += entry.chunk.payload.length;
        count += 1;
      } else {
        isRefused ||= isTried;
        left.push(entry);
      }
    }
    this.#owed = left;
    this.#owedBytes -= bytes;
    return count;
  }

  /** A full disk may refuse even the transaction that would free some of it. */
  #retain(): boolean {
    try {
      return this.#retention.step();
    } catch (error) {
      this.#noteRefusal(error);
      return false;
    }
  }

  #isDirty(): boolean {
    const { ledger } = this.#deps;
    return this.#pending.length > 0 || this.#newChannels.length > 0 || this.#latched.isDirty || ledger.isDirty;
  }

  /** Returns why it failed. */
  #tryCommit(): string | undefined {
    try {
      this.#segments.sync();
    } catch (error) {
      this.#loseUnsynced();
      return this.#noteRefusal(error);
    }
    try {
      this.#db.transaction(() => this.#saveAll()).immediate();
    } catch (error) {
      this.#oweInline();
      return this.#noteRefusal(error);
    }
    this.#segments.committed();
    this.#chunks.added(this.#pending);
    this.#deps.ledger.saved();
    this.#latched.saved();
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#newChannels = [];
    return undefined;
  }

  #saveAll(): void {
    for (const channel of this.#newChannels) writeChannel(this.#db, channel);
    this.#chunks.save(this.#pending);
    this.#segments.saveRows();
    this.#latched.save(this.#db, this.#boot);
    this.#deps.ledger.save();
    const isCapturing = this.#isFullRate || this.#owed.length > 0;
    this.#db
      .prepare("UPDATE boot SET last_commit_ns = max(last_commit_ns, ?), is_capturing = ? WHERE id = ?")
      .run(this.#newestNs, Number(isCapturing), this.#boot);
  }

  /** After a failed sync nobody knows what the disk has of these bytes, and they are nowhere else. */
  #loseUnsynced(): void {
    const abandoned = this.#segments.abandon();
    const isLost = ({ location }: PendingChunk) => location !== undefined && abandoned.has(location.segment);
    const [lost, left] = split(this.#pending, isLost);
    this.#pending = left;
    for (const { chunk } of lost) this.#dropStored(chunk);
  }

  /** Counted as stored, but no row will refer to it. */
  #dropStored(chunk: PackedChunk): void {
    this.#drop(chunk, (n, bytes) => ({
      stored: -n,
      storedBytes: -bytes,
      dropped: { reason: "disk_full", count: n },
    }));
  }

  /** After a failed transaction: bytes that are in memory only fall under its bound; written ones wait as they are. */
  #oweInline(): void {
    const inline = this.#pending.filter(({ location }) => location === undefined);
    this.#pending = this.#pending.filter(({ location }) => location !== undefined);
    this.#pendingBytes = 0;
    for (const { chunk } of inline) {
      this.#count(chunk, (n, bytes) => ({ inMemory: n, stored: -n, storedBytes: -bytes }));
      this.#owe(chunk, 0n);
    }
  }

  // Notes

  /** Returns the refusal in words. What is no fault of the disk is a fault of the program, and thrown on. */
  #noteRefusal(error: unknown): string {
    if (!isRefusal(error)) throw error;
    const reason = describeError(error);
    if (this.#refusal === undefined)
      this.#deps.log.error("The disk takes no more; capture goes on in memory.", { reason });
    this.#refusal = reason;
    return reason;
  }

  #noteDurable(): void {
    const { log, clock } = this.#deps;
    if (this.#refusal !== undefined) log.info("The disk takes data again.");
    this.#refusal = undefined;
    const promotion = this.#promotion;
    if (promotion === undefined) return;
    const lagMs = Number(clock.monotonicNs() - promotion.atNs) / 1e6;
    if (promotion.isLightDue) this.#lightLagMs = lagMs;
    promotion.isLightDue = false;
    if (this.#owed.length > 0) return;
    this.#heavyLagMs = lagMs;
    this.#promotion = undefined;
  }

  #countReceived(chunk: PackedChunk): void {
    this.#count(chunk, (n, bytes) => ({ received: n, receivedBytes: bytes }));
  }

  #count(chunk: PackedChunk, change: (count: number, bytes: number) => CountChange): void {
    for (const channel of chunk.channels)
      this.#deps.ledger.add(this.#topicOf(channel.channelId), change(accountedCount(channel), accountedBytes(channel)));
  }

  #drop(chunk: PackedChunk, change: (count: number, bytes: number) => CountChange): void {
    this.#count(chunk, change);
    const { startNs, endNs } = chunk;
    for (const channel of chunk.channels)
      this.#deps.ledger.addLoss({
        ...{ topic: this.#topicOf(channel.channelId), reason: "disk_full", startNs, endNs },
        ...{ count: accountedCount(channel), bytes: accountedBytes(channel) },
      });
  }

  #topicOf(channelId: number): string {
    const channel = this.#channels.get(channelId);
    assert(channel !== undefined, `channel ${channelId} was not declared to the ring`);
    return channel.topic;
  }

  #classStatus(topicClass: TopicClass): ClassStatus {
    const { name, rank, tier } = topicClass;
    const { chunks, bytes } = this.#chunks.totals.get(name) ?? { chunks: 0, bytes: 0 };
    const { oldestNs, newestNs } = this.#chunks.spanOf(name);
    const memory = { memoryBytes: this.#memory.bytesOf(name), memoryOldestNs: this.#memory.oldestNsOf(name) };
    return { className: name, rank, tier, chunks, diskBytes: bytes, oldestNs, newestNs, ...memory };
  }

  #hoursLeft(): number | undefined {
    const hours = Number(this.#nowNs() - this.#openedNs) / 3.6e12;
    const perHour = (this.#space.usedBytes - this.#openedUsedBytes) / hours;
    const left = this.#options.bytesMax - this.#space.usedBytes;
    return hours > 1 / 60 && perHour > 0 && left > 0 ? left / perHour : undefined;
  }

  /** Log time now: it never jumps within a boot. */
  #nowNs(): bigint {
    const { clock, anchor } = this.#deps;
    return anchor.wallNs + clock.monotonicNs() - anchor.monotonicNs;
  }

  #msSince(monotonicNs: bigint): number {
    return Number(this.#deps.clock.monotonicNs() - monotonicNs) / 1e6;
  }
}

const NO_BYTES = new Uint8Array(0);

function within(startNs: bigint, endNs: bigint): (entry: { readonly chunk: PackedChunk }) => boolean {
  return ({ chunk }) => chunk.startNs <= endNs && chunk.endNs >= startNs;
}

/** What is chosen, and the rest. */
function split<T>(entries: readonly T[], isChosen: (entry: T) => boolean): [T[], T[]] {
  return [entries.filter(isChosen), entries.filter((entry) => !isChosen(entry))];
}

function isWorthMore(a: Owed, b: Owed): boolean {
  return a.rank === b.rank ? a.distanceNs < b.distanceNs : a.rank < b.rank;
}

/** From the focus to the nearest instant of the chunk. */
function distanceNs(chunk: PackedChunk, focusNs: bigint): bigint {
  if (chunk.startNs > focusNs) return chunk.startNs - focusNs;
  return chunk.endNs < focusNs ? focusNs - chunk.endNs : 0n;
}

/** One damaged database is kept for an engineer; its log belongs to it. */
function setAside(folder: string): void {
  for (const suffix of ["", "-wal", "-shm"]) {
    const path = join(folder, RING_FILE + suffix);
    if (existsSync(path)) renameSync(path, join(folder, `${RING_FILE}.damaged${suffix}`));
  }
}

function isDamage(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return code === "corrupt_ring" || /^SQLITE_(CORRUPT|NOTADB)/.test(code);
}

const REFUSALS = new Set(["ENOSPC", "EDQUOT", "EIO", "EROFS", "EFBIG", "ring_full"]);

function isRefusal(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return REFUSALS.has(code) || /^SQLITE_(FULL|IOERR|READONLY|CANTOPEN)/.test(code);
}

function laterOf(latest: bigint | undefined, ns: bigint): bigint {
  return latest === undefined || ns > latest ? ns : latest;
}
