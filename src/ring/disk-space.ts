/**
 * How much disk the ring has, uses and may use: segment files and database together, under its own bound and above
 * the file system's reserve. Free segment files and free database pages are the ring's to fill again, so they do
 * not count as used; they do count where the file system itself is short.
 */
import { statfsSync } from "node:fs";
import type { Db } from "../store/database.ts";
import type { SegmentFiles } from "./segment-files.ts";

/** Pages a vacuum step gives back: a megabyte. */
const VACUUM_PAGES = 1024;
/** A ring that is filled less says little about what its rows and files cost beside the chunks. */
const TELLING_SHARE = 0.1;

export type DiskSpaceOptions = {
  readonly folder: string;
  readonly bytesMax: number;
  readonly reserveBytes: number;
  readonly segmentBytes: number;
};

export class DiskSpace {
  readonly #options: DiskSpaceOptions;
  readonly #db: Db;
  readonly #segments: SegmentFiles;
  readonly #pageBytes: number;

  constructor(options: DiskSpaceOptions, db: Db, segments: SegmentFiles) {
    this.#options = options;
    this.#db = db;
    this.#segments = segments;
    this.#pageBytes = this.#pragma("page_size");
  }

  get usedBytes(): number {
    const pages = this.#pragma("page_count") - this.#pragma("freelist_count");
    return this.#segments.allocatedBytes - this.#segments.freeBytes + pages * this.#pageBytes;
  }

  get fileBytes(): number {
    return this.#segments.allocatedBytes + this.#pragma("page_count") * this.#pageBytes;
  }

  /** What others may still write on this file system. */
  get freeOnDiskBytes(): number {
    const { bavail, bsize } = statfsSync(this.#options.folder);
    return bavail * bsize;
  }

  get freePageBytes(): number {
    return this.#pragma("freelist_count") * this.#pageBytes;
  }

  /** What retention keeps ready, so that an append seldom has to wait for it. */
  get headroomBytes(): number {
    return this.#segments.freeBytes > 0 ? 0 : this.#options.segmentBytes;
  }

  /** Over its bound by more than this the ring is not by its own doing. */
  get farBytes(): number {
    return 4 * this.#options.segmentBytes;
  }

  /** What the ring may use as things are: its bound, or less where others fill the file system. */
  get capacityBytes(): number {
    return this.usedBytes - this.excess(0);
  }

  /** Of that, for the bytes of chunks: without the segment kept ready, and what rows and half-filled files cost today. */
  capacityFor(chunkBytes: number): number {
    const { capacityBytes, usedBytes } = this;
    const isTelling = chunkBytes > TELLING_SHARE * capacityBytes;
    return Math.max(0, capacityBytes - this.#options.segmentBytes) * (isTelling ? chunkBytes / usedBytes : 1);
  }

  /**
   * By how much the ring with `bytes` more would be over its bound, or the disk under its reserve; negative: so much is
   * left. Bytes that go into the ring's own files do not make the disk fuller.
   */
  excess(bytes: number, isNewFile = true): number {
    const { bytesMax, reserveBytes } = this.#options;
    const overBound = this.usedBytes + bytes - bytesMax;
    return isNewFile ? Math.max(overBound, reserveBytes + bytes - this.freeOnDiskBytes) : overBound;
  }

  isFileTooLarge(bytes: number): boolean {
    const { bytesMax, reserveBytes } = this.#options;
    return this.fileBytes + bytes > bytesMax || this.freeOnDiskBytes < reserveBytes + bytes;
  }

  /** Gives a free segment file or some free pages back to the file system. False: there are none. */
  giveBack(): boolean {
    if (this.#segments.shrink()) return true;
    if (this.#pragma("freelist_count") === 0) return false;
    this.#db.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
    return true;
  }

  #pragma(name: "page_count" | "freelist_count" | "page_size"): number {
    return Number(this.#db.pragma(name, { simple: true }));
  }
}
