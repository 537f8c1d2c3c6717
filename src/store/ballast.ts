/**
 * A file of real blocks that a full disk can be relieved of, so that SQLite finds the few pages it opens with: without
 * them the daemon could not start, and a robot whose disk somebody else has filled would go unrecorded.
 *
 * It is given up only where opening meets a full disk, and made again in steps as far as there is room, so that the
 * next start finds some of it too. Its bytes are random: no file system can compress them away. What a crash leaves
 * is a shorter file, which grows again.
 */
import { randomBytes } from "node:crypto";
import { rmSync, statfsSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../std/fault.ts";
import { waitMs } from "../std/wait.ts";

const BALLAST_FILE = "ballast";
const MIB = 1024 * 1024;
/** A start takes less than a quarter of a megabyte: index and log of two databases. */
const BALLAST_BYTES = 8 * MIB;
const STEP_BYTES = MIB / 2;
/** Left to who is at work: retention writes before it frees. */
const LEFT_FREE_BYTES = MIB;
const FILL_REST_MS = 60_000;

/** Says once what changed. */
type BallastLog = { warn(sentence: string, fields?: Readonly<Record<string, unknown>>): void };

export class Ballast {
  readonly #folder: string;
  readonly #path: string;
  readonly #log: BallastLog;

  constructor(folder: string, log: BallastLog) {
    this.#folder = folder;
    this.#path = join(folder, BALLAST_FILE);
    this.#log = log;
  }

  /** Opens what writes while it opens; on a full disk again without the ballast. Throws `Fault("disk_full")`. */
  async openWith<T>(openAll: () => Promise<T>): Promise<T> {
    try {
      return await openAll();
    } catch (error) {
      if (!this.#isDiskFull(error)) throw error;
      if (!this.#giveUp())
        throw new Fault(
          "disk_full",
          `The disk of ${this.#folder} is full: not even the recorder's own start fits on it.`,
          "Free a few megabytes there (df, du), or set ring.folder to another disk; then it starts by itself.",
          error,
        );
      this.#log.warn("The disk is full: its ballast was given up, so that recording can start.");
      return this.openWith(openAll);
    }
  }

  /** Makes it, and makes it again, until the signal; looks once a minute. */
  async run(signal: AbortSignal): Promise<void> {
    let isRefused = false;
    do {
      try {
        await this.#fill();
        isRefused = false;
      } catch (error) {
        if (codeOf(error) === "") throw error;
        if (!isRefused)
          this.#log.warn("The ballast could not be written; it is tried again.", { reason: String(error) });
        isRefused = true;
      }
    } while (await waitMs(FILL_REST_MS, signal));
  }

  async #fill(): Promise<void> {
    const file = await open(this.#path, "a", 0o640);
    try {
      let { size } = await file.stat();
      const before = size;
      for (; size < BALLAST_BYTES && this.#freeBytes() >= LEFT_FREE_BYTES + STEP_BYTES; size += STEP_BYTES)
        await file.write(randomBytes(STEP_BYTES));
      if (size > before) await file.sync();
    } finally {
      await file.close();
    }
  }

  /** False: there was none, or an empty one. */
  #giveUp(): boolean {
    const before = this.#freeBytes();
    rmSync(this.#path, { force: true });
    return this.#freeBytes() > before;
  }

  /** SQLite says "disk I/O error" where it cannot grow the file that its connections share. */
  #isDiskFull(error: unknown): boolean {
    const code = codeOf(error);
    if (/^(ENOSPC|EDQUOT|SQLITE_FULL)$/.test(code)) return true;
    if (/^SQLITE_(IOERR|CANTOPEN)/.test(code)) return this.#freeBytes() < LEFT_FREE_BYTES;
    return error instanceof Error && error.cause !== undefined && this.#isDiskFull(error.cause);
  }

  #freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#folder);
    return bavail * bsize;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
