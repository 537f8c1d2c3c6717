/**
 * One process at a time on a data folder: a second daemon would seal the first one's open episode as interrupted,
 * remove batch files that are being written, and give out the same chunk ids.
 *
 * The lock is SQLite's own, on an empty database `lock.db`: the kernel lets go of it when the process ends, so that a
 * `kill -9` leaves nothing to clean up.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { Fault } from "../std/fault.ts";
import { isUnreadable } from "./damaged-database.ts";
import type { Db } from "./database.ts";

export class FolderLock {
  readonly #db: Db;

  private constructor(db: Db) {
    this.#db = db;
  }

  /** The folder exists. Throws `Fault("already_running")` if another process, or another lock of this one, has it. */
  static open(folder: string): FolderLock {
    try {
      return FolderLock.#open(folder);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      rmSync(join(folder, "lock.db")); // nothing is in it, and who held it would be asked first
      return FolderLock.#open(folder);
    }
  }

  static #open(folder: string): FolderLock {
    const db = new Database(join(folder, "lock.db"), { timeout: 0 });
    try {
      db.pragma("journal_mode = MEMORY"); // nothing is ever written: a full disk must not keep the daemon from starting
      db.exec("BEGIN EXCLUSIVE");
      return new FolderLock(db);
    } catch (error) {
      db.close();
      if (!isTaken(error)) throw error;
      throw new Fault(
        "already_running",
        `Another Lode daemon works in ${folder}.`,
        "Stop it first (systemctl stop lode), or set ring.folder.",
        error,
      );
    }
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof Error && "code" in error && String(error.code).startsWith("SQLITE_BUSY");
}
