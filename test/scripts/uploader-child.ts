/** An uploader with the real batch store in a process of its own, to be killed: `uploader-child.ts FOLDER URL PUBLIC_KEY`. */
import { join } from "node:path";
import { BatchStore, createBatchTables } from "../../src/batch/batch-store.ts";
import { systemClock } from "../../src/std/clock.ts";
import { openDatabase } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { createUploadTables } from "../../src/upload/receipt-store.ts";
import { UPLOADER_DEFAULTS, Uploader } from "../../src/upload/uploader.ts";

const [, , folder = "", url = "", publicKey = ""] = process.argv;
const tables = (journal: Parameters<typeof createUploadTables>[0]) => {
  createBatchTables(journal);
  createUploadTables(journal);
};
const db = openDatabase(join(folder, "journal.db"), [tables]);
const batches = BatchStore.open(db, join(folder, "batches"), silentLog);
batches.reconcile();
const uploader = Uploader.open(
  {
    ...UPLOADER_DEFAULTS,
    robot: "arm-7",
    receivers: [{ url, tokenFile: join(folder, "token"), publicKeys: [publicKey] }],
    gate: { dailyBytesMax: { free: 0, metered: 0 }, linkSettledMs: 0 },
    ...{ windows: [], meteredInterfaces: [], backOff: { baseMs: 2, maxMs: 20 } },
  },
  { batches, db, clock: systemClock, random: Math.random, log: silentLog },
);
process.stdout.write("ready\n");
await uploader.run(new AbortController().signal);
