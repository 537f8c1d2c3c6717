/**
 * `journal.db`: episodes, holds, batches, attempts, receipts and the loss ledger, apart from `ring.db`, so that damage
 * to the big file never costs the small one. Each table belongs to one folder, which makes it; several threads
 * open it, each with a connection of its own.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { createBatchTables } from "../batch/batch-store.ts";
import { createCaptureTables } from "../capture/episode-table.ts";
import { createLossTable } from "../ledger/ledger.ts";
import type { BootClock } from "../model/boot-clock.ts";
import { BootClocks } from "../ring/boot-clocks.ts";
import { describeError, Fault } from "../std/fault.ts";
import { type Db, openDatabase, openDatabaseForReading } from "../store/database.ts";
import { createUploadTables } from "../upload/receipt-store.ts";
import { toJournalFormat2 } from "./journal-format-2.ts";

export const JOURNAL_FILE = "journal.db";
const JOURNAL_FORMAT = 2;

function createJournal(db: Db): void {
  createLossTable(db);
  createCaptureTables(db);
  createBatchTables(db);
  createUploadTables(db);
}

const MIGRATIONS = [createJournal, toJournalFormat2];

export function openJournal(folder: string, name = JOURNAL_FILE): Db {
  return openDatabase(join(folder, name), MIGRATIONS);
}

/** `table.column`, of what an empty journal has. */
export function journalColumns(): string[] {
  const empty = new Database(":memory:");
  for (const migrate of MIGRATIONS) migrate(empty);
  const columns = columnsOf(empty);
  empty.close();
  return columns;
}

export function columnsOf(db: Db): string[] {
  const sql = `SELECT t.name || '.' || c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'`;
  return db.prepare<[], string>(sql).pluck().all();
}

/** Throws `Fault`: an older format that only the daemon may bring up to date, a newer one, no permission. */
export function openJournalForReading(folder: string): Db {
  return openDatabaseForReading(join(folder, JOURNAL_FILE), JOURNAL_FORMAT);
}

/** What is known of the boots' clocks, oldest first; nothing where there is no journal. */
export function readClocks(folder: string): BootClock[] {
  if (!existsSync(join(folder, JOURNAL_FILE))) return [];
  const journal = openJournalForReading(folder);
  try {
    return new BootClocks(journal).list();
  } finally {
    journal.close();
  }
}

/** Episodes of which everything is home and deleted here; their rows are for looking back only. */
const EPISODES_KEPT = 10_000;

/** Of the oldest beyond `kept` the rows go from every table, a hundred at a time. */
export function forgetOldEpisodes(journal: Db, kept = EPISODES_KEPT): void {
  const old = journal
    .prepare<[number], string>(
      `SELECT episode_id FROM batch GROUP BY episode_id HAVING count(*) FILTER (WHERE state <> 'deleted') = 0
         ORDER BY max(created_ns) DESC, episode_id DESC LIMIT 100 OFFSET ?`,
    )
    .pluck()
    .all(kept);
  const ofBatches = "WHERE batch_id IN (SELECT id FROM batch WHERE episode_id = ?)";
  const deletes = [`receipt ${ofBatches}`, "batch WHERE episode_id = ?"];
  const rest = ["episode_edit WHERE episode_id = ?", "hold WHERE episode_id = ?", "episode WHERE id = ?"];
  const statements = [...deletes, ...rest].map((from) => journal.prepare(`DELETE FROM ${from}`));
  journal.transaction(() => {
    for (const id of old) for (const statement of statements) statement.run(id);
  })();
}

/** Makes the folder and what belongs into it. Throws `Fault("no_folder")` where Lode may not write. */
export function makeDataFolder(folder: string): void {
  try {
    mkdirSync(batchFolder(folder), { recursive: true });
  } catch (error) {
    throw new Fault(
      "no_folder",
      `${folder} cannot be used: ${describeError(error)}.`,
      "Give the folder to the user that runs Lode, or set ring.folder.",
      error,
    );
  }
}

export function batchFolder(folder: string): string {
  return join(folder, "batches");
}
