/**
 * The file `ring.db` itself: opened with the tables of the ring and of the ledger's counters, or, when it is damaged,
 * set aside as `ring.db.damaged` with its log, from which the new one is rebuilt (rebuild.ts).
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { failpoint } from "../std/failpoint.ts";
import { describeError, Fault } from "../std/fault.ts";
import { type Db, openDatabase } from "../store/database.ts";
import { toRingFormat2 } from "./format-2.ts";
import type { RingLedger } from "./ring-ledger.ts";
import { countedRows, createRingTables, RING_FILE } from "./tables.ts";

/** A commit touches a few bytes on each of a dozen pages, and the log gets them whole: small pages wear less. */
const PAGE_BYTES = 1024;

export function openRingFile(folder: string, ledger: RingLedger): Db {
  const createTables = (db: Db) => {
    createRingTables(db);
    ledger.createTables(db);
  };
  const toFormat2 = (db: Db) => {
    toRingFormat2(db);
    ledger.toFormat2(db, countedRows(db));
  };
  return openDatabase(join(folder, RING_FILE), [createTables, toFormat2], { canShrink: true, pageBytes: PAGE_BYTES });
}

export const DAMAGED_FILE = `${RING_FILE}.damaged`;

/** The log first: without its log the file is still a database, with another's it is none. */
export function setAsideRingFile(folder: string): void {
  for (const suffix of ["-wal", "-shm", ""]) {
    const path = join(folder, RING_FILE + suffix);
    const aside = join(folder, DAMAGED_FILE + suffix);
    rmSync(aside, { force: true });
    failpoint("ring_file.setting_aside");
    if (existsSync(path)) renameSync(path, aside);
  }
}

/** Damage to `journal.db` is not `ring.db`'s: it is thrown as the fault `corrupt_journal`, which nothing here mends. */
export function inJournal<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isDamage(error)) throw error;
    const hint = "The daemon mends it at its next start.";
    throw new Fault("corrupt_journal", `journal.db is damaged: ${describeError(error)}.`, hint, error);
  }
}

/** For who only reads: damage to the file as a `Fault` that crosses threads; anything else as it is. */
export function asReadFault(error: unknown): unknown {
  if (!isDamage(error) || error instanceof Fault) return error;
  const hint = "The daemon mends it when it comes upon it or is started; then try again.";
  return new Fault("corrupt_ring", `ring.db is damaged: ${describeError(error)}.`, hint, error);
}

/** At opening, what a file holds that makes no sense is damage too: SQL that does not fit its tables, text that is none. */
export function isDamageAtOpening(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const isSenseless = code === "" && (error instanceof SyntaxError || error instanceof RangeError);
  return isDamage(error) || code === "SQLITE_ERROR" || isSenseless;
}

/** A name in the file's list of tables is not what was written: statements are made when they are first needed. */
const FOREIGN_SCHEMA = /no such (table|column)|has no column named/;

/** The error says that the file is damaged, not that the disk refuses or the program is wrong. */
export function isDamage(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "SQLITE_ERROR") return FOREIGN_SCHEMA.test(describeError(error));
  return code === "corrupt_ring" || /^SQLITE_(CORRUPT|NOTADB)/.test(code);
}
