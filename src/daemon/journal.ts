/**
 * `journal.db`: episodes, holds, batches, attempts, receipts and the loss ledger, apart from `ring.db`, so that damage
 * to the big file never costs the small one. Each table belongs to one folder, which makes it; several threads
 * open it, each with a connection of its own.
 */
import { join } from "node:path";
import { createBatchTables } from "../batch/batch-store.ts";
import { createCaptureTables } from "../capture/episode-table.ts";
import { createLossTable } from "../ledger/ledger.ts";
import { type Db, openDatabase } from "../store/database.ts";
import { createUploadTables } from "../upload/receipt-store.ts";

export function openJournal(folder: string): Db {
  return openDatabase(join(folder, "journal.db"), [
    (db) => {
      createLossTable(db);
      createCaptureTables(db);
      createBatchTables(db);
      createUploadTables(db);
    },
  ]);
}

export function batchFolder(folder: string): string {
  return join(folder, "batches");
}
