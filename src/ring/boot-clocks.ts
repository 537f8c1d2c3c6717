/**
 * The clock of every boot, in `journal.db`: table `boot` with the one reading of both clocks that its log_time starts
 * from, and table `clock_step` with every step of the wall that was seen.
 *
 * log_time = `wall_ns` + (monotonic − `monotonic_ns`). True time = log_time + `correction_ns`, once that is known
 * (`truth` says from what). `offset_ns` is the wall − log_time when last looked at.
 */
import type { Db } from "../store/database.ts";

export function createBootTables(db: Db): void {
  db.exec(`
    CREATE TABLE boot (
      id INTEGER PRIMARY KEY,
      boot_id TEXT NOT NULL UNIQUE,
      monotonic_ns INTEGER NOT NULL,
      wall_ns INTEGER NOT NULL,
      offset_ns INTEGER NOT NULL,
      correction_ns INTEGER,
      truth TEXT CHECK (truth IN ('synchronised', 'set'))
    ) STRICT;
    CREATE TABLE clock_step (
      id INTEGER PRIMARY KEY,
      boot_id TEXT NOT NULL,
      at_ns INTEGER NOT NULL,
      step_ns INTEGER NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('set', 'suspend'))
    ) STRICT;
    CREATE INDEX clock_step_by_boot ON clock_step (boot_id);
  `);
}
