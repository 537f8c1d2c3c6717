/**
 * Retention: what goes from the disk tier, in the order of `value.ts`.
 *
 * 1. A class over its own bound in bytes or age gives its oldest chunks.
 * 2. The ring over its bound, or the file system under its reserve: the class worth least that has anything evictable
 *    gives its oldest chunks, for what is worth no less; free segment files go back to the file system.
 * A chunk that touches a held range is never touched. Each step is one small transaction: rows, totals, segments
 * and counters go together.
 */
import type { ChunkChannel } from "../model/chunk.ts";
import type { TopicClass } from "../model/topic-class.ts";
import { failpoint } from "../std/failpoint.ts";
import { Fault } from "../std/fault.ts";
import { nsOfMs } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import type { ChunkPlace, ChunkRow, ChunkTable } from "./chunk-table.ts";
import type { DiskSpace } from "./disk-space.ts";
import type { Holds, Range } from "./holds.ts";
import type { SegmentFiles } from "./segment-files.ts";
import { type ClassOnDisk, LIGHT_RANK, LIGHT_SHARE_OF_RING, leavingOrder, type Newcomer } from "./value.ts";

/** Chunks a transaction deletes at most: a few milliseconds. */
const CHUNKS_PER_STEP = 64;
/** After a look that found nothing due. */
const REST_NS = 1_000_000_000n;

export type RetentionDeps = {
  readonly db: Db;
  readonly chunks: ChunkTable;
  readonly segments: SegmentFiles;
  readonly holds: Holds;
  readonly space: DiskSpace;
  readonly classes: readonly TopicClass[];
  /** Log time now. */
  readonly nowNs: () => bigint;
  /** By the boots' numbers: what brings log_time of that boot to the present one's, or later. */
  readonly shifts: () => ReadonlyMap<number, bigint>;
  /** Inside the transaction. */
  readonly countEvicted: (bootId: string, channels: readonly ChunkChannel[]) => void;
};

/** The bound itself. */
const ANYTHING: Newcomer = { rank: LIGHT_RANK, isHeld: true };
/** Who will want the room that is kept ready. */
const SOMETHING_HEAVY: Newcomer = { rank: LIGHT_RANK + 1, isHeld: false };

export class Retention {
  readonly #deps: RetentionDeps;
  readonly #classesByName: ReadonlyMap<string, TopicClass>;
  #lookedNs = -REST_NS;

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
    this.#classesByName = new Map(deps.classes.map((topicClass) => [topicClass.name, topicClass]));
  }

  /** Does one step if anything is due, looking once a second. True: it did, and there may be more. */
  step(): boolean {
    const nowNs = this.#deps.nowNs();
    if (nowNs - this.#lookedNs < REST_NS) return false;
    if (this.#evictDue()) return true;
    this.#lookedNs = nowNs;
    return false;
  }

  #evictDue(): boolean {
    for (const topicClass of this.#deps.classes) {
      const { name, diskMsMax, diskBytesMax } = topicClass;
      const excess = diskBytesMax > 0 ? this.#bytesOf(name) - diskBytesMax : 0;
      if (excess > 0 && this.#evict(this.#oldest(name, excess))) return true;
      if (diskMsMax > 0 && this.#evict(this.#expired(name, diskMsMax))) return true;
    }
    if (this.#makeRoom(0, ANYTHING, true)) return true;
    // In strides: neighbours that go together share their pages, and each transaction costs the disk some of its own.
    const { space } = this.#deps;
    return space.excess(space.headroomBytes / 8) > 0 && this.#makeRoom(space.headroomBytes, SOMETHING_HEAVY, true);
  }

  /**
   * Evicts until the chunk has so many bytes. False: nothing is left that may go for it. Of a ring that is far over its
   * bound (it was lowered, or others filled the disk) one step's worth goes at a time, and the chunk comes in.
   */
  makeRoomFor(bytes: number, chunk: Range & { readonly className: string }, isNewFile: boolean): boolean {
    const newcomer = { rank: this.#rankOf(chunk.className), isHeld: this.#deps.holds.holds(chunk) };
    const needed = bytes + this.#keptFrom(newcomer);
    const { space } = this.#deps;
    const isFar = space.excess(needed, isNewFile) > needed + space.farBytes;
    while (space.excess(needed, isNewFile) > 0) {
      if (!this.#makeRoom(needed, newcomer, isNewFile)) return false;
      if (isFar) break;
    }
    return true;
  }

  /**
   * The same, or throws a `Fault`: `ring_full` where the ring's own bound refuses, `disk_reserve` where others fill the
   * file system.
   */
  requireRoomFor(bytes: number, chunk: Range & { readonly className: string }, isNewFile: boolean): void {
    if (this.makeRoomFor(bytes, chunk, isNewFile)) return;
    const kept = this.#keptFrom({ rank: this.#rankOf(chunk.className) });
    if (this.#deps.space.excess(bytes + kept, false) > 0)
      throw new Fault("ring_full", "Nothing in the ring may go for new data.", "Raise ring.bytes_max.");
    throw new Fault("disk_reserve", "The file system is at its reserve.", "Free the disk, or see ring.free_bytes_min.");
  }

  /** What must stay free of the newcomer, for light data. */
  #keptFrom({ rank }: { readonly rank: number }): number {
    return rank <= LIGHT_RANK ? 0 : this.#deps.space.capacityBytes * LIGHT_SHARE_OF_RING;
  }

  #makeRoom(bytes: number, newcomer: Newcomer, isNewFile: boolean): boolean {
    const { space } = this.#deps;
    if (isNewFile && space.isFileTooLarge(bytes) && space.giveBack()) return true;
    const excess = space.excess(bytes, isNewFile);
    if (excess <= 0) return false;
    const leaving = leavingOrder(this.#classesOnDisk(), newcomer, space.capacityBytes);
    return leaving.some(({ name }) => this.#evict(this.#oldest(name, excess)));
  }

  #classesOnDisk(): ClassOnDisk[] {
    return [...this.#deps.chunks.totals].map(([name, { bytes }]) => {
      const shareMax = this.#classesByName.get(name)?.diskShareMax ?? 1;
      return { name, rank: this.#rankOf(name), bytes, shareMax };
    });
  }

  /** A class that the configuration no longer knows is worth nothing. */
  #rankOf(name: string): number {
    return this.#classesByName.get(name)?.rank ?? Number.POSITIVE_INFINITY;
  }

  #bytesOf(name: string): number {
    return this.#deps.chunks.totals.get(name)?.bytes ?? 0;
  }

  /** The oldest chunks of a class that nobody holds, until `bytes` are together. */
  #oldest(name: string, bytes: number): ChunkRow[] {
    const victims: ChunkRow[] = [];
    let sum = 0;
    for (const victim of this.#unheld(name)) {
      victims.push(victim);
      sum += victim.size;
      if (sum >= bytes || victims.length >= CHUNKS_PER_STEP) break;
    }
    return victims;
  }

  #expired(name: string, msMax: number): ChunkRow[] {
    const limitNs = this.#deps.nowNs() - nsOfMs(msMax);
    const shifts = this.#deps.shifts();
    const victims: ChunkRow[] = [];
    for (const victim of this.#unheld(name)) {
      if (victim.endNs + (shifts.get(victim.boot) ?? 0n) >= limitNs || victims.length >= CHUNKS_PER_STEP) break;
      victims.push(victim);
    }
    return victims;
  }

  /** Oldest first; what is held is jumped over by its range. Of more rows of one instant than a page, some come later. */
  *#unheld(name: string): Generator<ChunkRow> {
    let after: ChunkPlace = { boot: 0, startNs: 0n };
    for (;;) {
      const page = this.#deps.chunks.page(name, after, CHUNKS_PER_STEP);
      let next: ChunkPlace | undefined = page.at(-1);
      for (const victim of page) {
        const heldUntil = this.#deps.holds.heldUntil(victim.startNs, victim.endNs, victim.bootId);
        if (heldUntil === undefined) yield victim;
        else if (heldUntil > victim.startNs) {
          next = { boot: victim.boot, startNs: heldUntil };
          break;
        }
      }
      if (next === undefined) return;
      after = next;
    }
  }

  #evict(victims: readonly ChunkRow[]): boolean {
    if (victims.length === 0) return false;
    const { db, chunks, segments, countEvicted } = this.#deps;
    const perSegment = new Map<number, number>();
    for (const { segment } of victims)
      if (segment !== undefined) perSegment.set(segment, (perSegment.get(segment) ?? 0) + 1);
    db.transaction(() => {
      chunks.delete(victims);
      segments.saveRemoval(perSegment);
      failpoint("retention.removing");
      for (const { bootId, channels } of victims) countEvicted(bootId, channels);
    }).immediate();
    failpoint("retention.removed");
    chunks.removed(victims);
    segments.removed(perSegment);
    return true;
  }
}
