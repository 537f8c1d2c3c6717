/**
 * How much disk the ring has, uses and may use: segment files and database together, under its own bound and above
 * the file system's reserve. Free segment files and free database pages are the ring's to fill again, so they do
 * not count as used; they do count where the file system itself is short.
 */
import { statfsSync } from "node:fs";
import type { Db } from "../store/database.ts";
import type { SegmentFiles } from "./segment-files.ts";

/** Pages a vacuum step gives back: a megabyte. */
const VACUUM_PAGES = 256;

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
  readonly #openedUsedBytes: number;

  constructor(options: DiskSpaceOptions, db: Db, segments: SegmentFiles) {
    this.#options = options;
    this.#db = db;
    this.#segments = segments;
    this.#pageBytes = this.#pragma("page_size");
    this.#openedUsedBytes = this.usedBytes;
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

  /** Until the bound is reached at the rate since opening, `hours` ago; undefined: full, or too early to say. */
  hoursLeft(hours: number): number | undefined {
    const perHour = (this.usedBytes - this.#openedUsedBytes) / hours;
    const left = this.#options.bytesMax - this.usedBytes;
    return hours > 1 / 60 && perHour > 0 && left > 0 ? left / perHour : undefined;
  }

  /** By how much the ring with `bytes` more would be over its bound, or the disk under its reserve. */
  excess(bytes: number): number {
    const { bytesMax, reserveBytes } = this.#options;
    return Math.max(this.usedBytes + bytes - bytesMax, reserveBytes + bytes - this.freeOnDiskBytes);
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
