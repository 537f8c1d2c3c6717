/**
 * `journal.db` from format 1 to format 2. **Not released yet: whoever needs another change of these tables adds it here.**
 */
import { createHoursTable } from "../ledger/operating-hours.ts";
import { createBootTables } from "../ring/boot-clocks.ts";
import { createChannelCopy } from "../ring/ring-channels.ts";
import type { Db } from "../store/database.ts";
import { createWearTables } from "../store/flash-wear.ts";

export function toJournalFormat2(db: Db): void {
  createBootTables(db);
  createWearTables(db);
  createChannelCopy(db);
  createHoursTable(db);
  db.exec("DROP INDEX episode_by_start"); // newest first is the order of creation: start_ns is one boot's clock
}
