/**
 * Opens `journal.db` as the first of its users, and mends it if it is damaged: the rows that can still be read are
 * copied into a new file, batch files whose rows are gone are known again from their manifests, the damaged file stays
 * as `journal.db.damaged`, and the ledger says so.
 *
 * The new file gets its name when it is whole: a crash before that leaves the damaged one, to be mended again.
 */
import { existsSync, linkSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { BatchStore } from "../batch/batch-store.ts";
import { readLeftBatches } from "../batch/left-batches.ts";
import { EpisodeTable } from "../capture/episode-table.ts";
import { Ledger } from "../ledger/ledger.ts";
import { syncFolder } from "../std/durable-file.ts";
import { uuidV7 } from "../std/uuid.ts";
import { DamagedDatabase, isUnreadable } from "../store/damaged-database.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import { batchFolder, columnsOf, JOURNAL_FILE, journalColumns, openJournal } from "./journal.ts";

const MENDED_FILE = "journal.db.mended";
const DAMAGED_FILE = "journal.db.damaged";
/** Checked whole at every start, in some milliseconds a megabyte; a larger one is believed until a page fails. */
const CHECKED_BYTES_MAX = 64 * 1024 * 1024;

/** `nowNs`: the wall. Throws what is not the file's own damage. */
export function openSoundJournal(folder: string, log: Log, nowNs: bigint): Db {
  const sound = openIfSound(folder);
  if (sound !== undefined) return sound;
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(folder, MENDED_FILE + suffix), { force: true });
  const { isWhole, orphans } = makeMended(folder, log, nowNs);
  exchange(folder);
  log.error("journal.db is damaged: what can be read of it was copied, and it is set aside.", {
    is_whole: isWhole,
    kept_as: DAMAGED_FILE,
    files_without_rows: orphans,
  });
  return openJournal(folder);
}

function openIfSound(folder: string): Db | undefined {
  let journal: Db | undefined;
  try {
    journal = openJournal(folder);
    const isLarge = statSync(join(folder, JOURNAL_FILE)).size > CHECKED_BYTES_MAX;
    const isSound = isLarge || journal.pragma("quick_check(1)", { simple: true }) === "ok";
    if (isSound && hasAllColumns(columnsOf(journal))) return journal;
  } catch (error) {
    if (!isUnreadable(error)) throw error;
  }
  journal?.close();
  return undefined;
}

/** SQLite believes the names in a file's list of tables, whatever damage made of them. */
function hasAllColumns(columns: readonly string[]): boolean {
  const there = new Set(columns);
  return journalColumns().every((column) => there.has(column));
}

function makeMended(folder: string, log: Log, nowNs: bigint): { readonly isWhole: boolean; readonly orphans: number } {
  const journal = openJournal(folder, MENDED_FILE);
  try {
    const isWhole = copyRows(join(folder, JOURNAL_FILE), journal);
    const orphans = adoptBatches(journal, batchFolder(folder), log, nowNs);
    const ledger = new Ledger(journal, { log });
    const unknown = { topic: "", count: undefined, bytes: undefined };
    if (!isWhole) ledger.addLoss({ ...unknown, reason: "damaged_journal", startNs: 0n, endNs: nowNs });
    ledger.saveLosses();
    return { isWhole, orphans };
  } finally {
    journal.close();
  }
}

/** True: all of them. */
function copyRows(path: string, journal: Db): boolean {
  using damaged = DamagedDatabase.open(path);
  const tables = journal
    .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .pluck()
    .all();
  const isWhole = tables.map((table) => damaged?.copyTable(journal, table) === true);
  const lacking = columnsOf(journal).filter((column) => {
    const [table = "", name = ""] = column.split(".");
    return damaged?.hasColumn(table, name) !== true;
  });
  return !isWhole.includes(false) && lacking.length === 0;
}

function adoptBatches(journal: Db, folder: string, log: Log, nowNs: bigint): number {
  const store = BatchStore.open(journal, folder, log);
  const newId = () => uuidV7(Number(nowNs / 1_000_000n));
  const { episodes, batches } = readLeftBatches(folder, (name) => store.hasFile(name), { newId, nowNs });
  const table = new EpisodeTable(journal);
  for (const episode of episodes) {
    table.write(episode, "batched"); // its files are whole: nobody may write them again
    table.releaseHold(episode.id);
  }
  for (const batch of batches) store.adopt(batch);
  return batches.length;
}

/** The log of the damaged file goes with it. */
function exchange(folder: string): void {
  const path = (name: string) => join(folder, name);
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path(DAMAGED_FILE + suffix), { force: true });
  rmSync(path(`${JOURNAL_FILE}-shm`), { force: true });
  if (existsSync(path(`${JOURNAL_FILE}-wal`))) renameSync(path(`${JOURNAL_FILE}-wal`), path(`${DAMAGED_FILE}-wal`));
  linkSync(path(JOURNAL_FILE), path(DAMAGED_FILE));
  renameSync(path(MENDED_FILE), path(JOURNAL_FILE));
  syncFolder(folder);
}
