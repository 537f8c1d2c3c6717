/**
 * The disk tier: all that works on one open `ring.db` and the segment files beside it.
 *
 * Order of writes in `sync` and `commit`: segment bytes → fdatasync → the channels' copy in `journal.db` → one
 * transaction (FULL) with channels, rows, segments, class totals, latched messages and the counters of exactly these
 * chunks. A damaged file is set aside and another one takes its place, to be rebuilt from the segment files
 * (rebuild.ts): at opening, or by `replace` while recording goes on.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { failpoint } from "../std/failpoint.ts";
import { describeError } from "../std/fault.ts";
import { msOfNs } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import type { Accounts } from "./accounts.ts";
import { Boot } from "./boot.ts";
import { shiftsToPresent } from "./boot-ages.ts";
import { BootClocks } from "./boot-clocks.ts";
import { ChunkTable } from "./chunk-table.ts";
import { DiskSpace } from "./disk-space.ts";
import type { Holds } from "./holds.ts";
import type { Latched } from "./latched.ts";
import { Pace } from "./pace.ts";
import { beginRebuild, Rebuild } from "./rebuild.ts";
import { Retention } from "./retention.ts";
import type { RingChannels } from "./ring-channels.ts";
import { inJournal, isDamageAtOpening, openRingFile, setAsideRingFile } from "./ring-file.ts";
import type { RingDeps, RingOptions } from "./ring-options.ts";
import { SegmentFiles } from "./segment-files.ts";
import { realSegmentIo } from "./segment-io.ts";
import { SEGMENTS_FOLDER } from "./tables.ts";
import { Uncommitted } from "./uncommitted.ts";

/** What outlives the file. */
type Given = {
  readonly options: Required<RingOptions>;
  readonly deps: RingDeps;
  readonly channels: RingChannels;
  readonly latched: Latched;
  readonly holds: Holds;
  readonly accounts: Accounts;
  /** Log time now. */
  readonly nowNs: () => bigint;
};

/** How far the ring has got, for the next opening to know. */
type Reached = {
  readonly takenUntilNs: bigint;
  readonly isCapturing: boolean;
  readonly owedNs: bigint | undefined;
};

/** `work` has the folder's `ring.db`; where either finds damage, another takes its place, and `work` is done with that. */
export function openRingFolder<T>(folder: string, deps: RingDeps, work: (db: Db) => T): T {
  mkdirSync(join(folder, SEGMENTS_FOLDER), { recursive: true });
  const open = () => {
    const db = openRingFile(folder, deps.ledger);
    try {
      beginRebuild({ ...deps, folder, db }, undefined);
      return work(db);
    } catch (error) {
      db.close();
      throw error;
    }
  };
  try {
    return open();
  } catch (error) {
    if (!isDamageAtOpening(error)) throw error;
    deps.log.error("ring.db is damaged and set aside.", { reason: describeError(error) });
    setAsideRingFile(folder);
    return open();
  }
}

export class DiskTier {
  readonly #given: Given;
  readonly db: Db;
  readonly boot: Boot;
  readonly chunks: ChunkTable;
  readonly segments: SegmentFiles;
  readonly space: DiskSpace;
  readonly uncommitted: Uncommitted;
  readonly pace: Pace;
  readonly #retention: Retention;
  /** undefined: the index is whole. */
  #rebuild: Rebuild | undefined;
  /** What had no row when the index was lost is counted as lost, but not saved: found now it would count twice. */
  #isPresumptionDue = false;

  constructor(given: Given, db: Db) {
    const { options, deps, channels, holds, accounts, nowNs } = given;
    const { folder, classes, segmentBytes, inlineBytesMax } = options;
    const { anchor, io = realSegmentIo(deps.native) } = deps;
    this.#given = given;
    this.db = db;
    channels.read(db);
    this.boot = Boot.open(db, deps.ledger, anchor, nowNs());
    this.chunks = ChunkTable.open(db, this.boot.id);
    this.chunks.skipTo(this.boot.firstChunkId);
    this.segments = SegmentFiles.open(db, {
      ...{ folder: join(folder, SEGMENTS_FOLDER), segmentBytes, io },
      makeRoom: (bytes, chunk, isNewFile) => this.#retention.requireRoomFor(bytes, chunk, isNewFile),
    });
    this.space = new DiskSpace(options, db, this.segments);
    const files = { chunks: this.chunks, segments: this.segments, space: this.space };
    const retention = new Retention({
      ...{ ...files, db, holds, classes, nowNs, shifts: () => this.shiftsToPresent() },
      countEvicted: (bootId, evicted) => accounts.evicted(bootId, evicted),
    });
    this.#retention = retention;
    this.uncommitted = new Uncommitted({ ...files, retention, bootId: anchor.bootId, inlineBytesMax });
    this.pace = Pace.open(db);
    this.#rebuild = Rebuild.open({ ...deps, folder, db }, { ...files, retention }, channels.byId, classes);
  }

  /** All that can be found has its rows. */
  get isWhole(): boolean {
    return this.#rebuild === undefined;
  }

  get isDirty(): boolean {
    const { channels, latched, deps } = this.#given;
    return this.uncommitted.length > 0 || channels.isDirty || latched.isDirty || deps.ledger.isDirty;
  }

  /** By the boots' numbers: boot-ages.ts. */
  shiftsToPresent(): ReadonlyMap<number, bigint> {
    const clocks = new BootClocks(this.#given.deps.journal);
    return shiftsToPresent(
      this.db,
      inJournal(() => clocks.list()),
    );
  }

  /** Throws what the disk says; then nobody knows what it has of these bytes, and they are nowhere else: they are dropped. */
  sync(): true {
    try {
      this.segments.sync();
      return true;
    } catch (error) {
      const lost = this.uncommitted.takeFrom(this.segments.abandon());
      for (const chunk of lost) this.#given.accounts.count(chunk, "droppedStored");
      throw error;
    }
  }

  /** After `sync`. Throws what the disk says; then no row of it is there. */
  commit(reached: Reached): void {
    const { channels, latched, deps } = this.#given;
    const nowMs = msOfNs(deps.clock.monotonicNs());
    channels.copy();
    this.db.transaction(() => this.#save(reached, nowMs)).immediate();
    failpoint("ring.committed");
    this.pace.add(this.uncommitted.entries, nowMs);
    for (const saved of [this.uncommitted, deps.ledger, latched, channels]) saved.saved();
    this.#isPresumptionDue = false;
  }

  #save({ takenUntilNs, isCapturing, owedNs }: Reached, nowMs: number): void {
    const { channels, latched, deps } = this.#given;
    channels.save(this.db);
    failpoint("ring.commit.channels");
    this.uncommitted.save();
    failpoint("ring.commit.chunks");
    latched.save(this.db, this.boot.id);
    deps.ledger.save();
    failpoint("ring.commit.counts");
    this.pace.save(nowMs);
    this.boot.save(takenUntilNs, isCapturing, owedNs);
  }

  /** One step of the rebuilding. False: there is none, for now. Throws what the disk says. */
  rebuildStep(): boolean {
    if (this.#isPresumptionDue) return false;
    if (this.#rebuild?.step() === true) return true;
    if (this.#rebuild?.isDone === true) this.#rebuild = undefined;
    return false;
  }

  /** One step of retention, which must know what it chooses from. Throws what the disk says. */
  retentionStep(): boolean {
    return this.#rebuild?.isFound !== false && this.#retention.step();
  }

  /** Sets a chunk aside; false: there is none. */
  quarantine(chunkId: number, reason: string): boolean {
    const setAside = () => {
      const chunk = this.chunks.quarantine(chunkId, reason);
      if (chunk !== undefined) this.#given.accounts.damaged(chunk.bootId, chunk);
      return chunk !== undefined;
    };
    return this.db.transaction(setAside).immediate();
  }

  /** The tier with another file. What lies in segment files without a row is found again by the rebuild. */
  replace(): DiskTier {
    const { options, deps, accounts } = this.#given;
    const written = this.uncommitted.takeWritten();
    for (const chunk of written) accounts.count(chunk, "unindexed");
    this[Symbol.dispose]();
    setAsideRingFile(options.folder);
    const db = openRingFile(options.folder, deps.ledger);
    beginRebuild({ ...deps, folder: options.folder, db }, deps.anchor.bootId);
    const next = new DiskTier(this.#given, db);
    next.#isPresumptionDue = this.#isPresumptionDue || written.length > 0;
    return next;
  }

  [Symbol.dispose](): void {
    this.#rebuild?.[Symbol.dispose]();
    this.segments[Symbol.dispose]();
    this.db.close();
  }
}
