/**
 * The file `ring.db` itself: opened with the tables of the ring and of the ledger's counters, or, when it is no
 * database any more, set aside as `ring.db.damaged` with its log. One damaged file is kept for an engineer.
 */
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { type Db, openDatabase } from "../store/database.ts";
import { toRingFormat2 } from "./format-2.ts";
import type { RingLedger } from "./ring-ledger.ts";
import { countedRows, createRingTables, RING_FILE } from "./tables.ts";

export function openRingFile(folder: string, ledger: RingLedger): Db {
  const createTables = (db: Db) => {
    createRingTables(db);
    ledger.createTables(db);
  };
  const toFormat2 = (db: Db) => {
    toRingFormat2(db);
    ledger.toFormat2(db, countedRows(db));
  };
  return openDatabase(join(folder, RING_FILE), [createTables, toFormat2], { canShrink: true });
}

export function setAsideRingFile(folder: string): void {
  for (const suffix of ["", "-wal", "-shm"]) {
    const path = join(folder, RING_FILE + suffix);
    if (existsSync(path)) renameSync(path, join(folder, `${RING_FILE}.damaged${suffix}`));
  }
}

/** The error says that the file is damaged, not that the disk refuses or the program is wrong. */
export function isDamage(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return code === "corrupt_ring" || /^SQLITE_(CORRUPT|NOTADB)/.test(code);
}
