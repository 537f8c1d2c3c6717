/** An uploader over a real journal and real files, with short waits. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/std/clock.ts";
import { seededRandom } from "../../src/std/random.ts";
import { type Db, openDatabase } from "../../src/store/database.ts";
import { type Log, silentLog } from "../../src/telemetry/log.ts";
import { createUploadTables } from "../../src/upload/receipt-store.ts";
import { Uploader, type UploaderOptions } from "../../src/upload/uploader.ts";
import { FileQueue } from "./file-queue.ts";

export type Home = { readonly url: string; readonly token: string; readonly publicKey: string };

export class UploaderFixture {
  readonly folder: string;
  readonly queue: FileQueue;
  readonly db: Db;
  readonly options: UploaderOptions;
  readonly uploader: Uploader;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(home: Home, more: Partial<UploaderOptions> = {}, log: Log = silentLog, folder = temporaryFolder()) {
    this.folder = folder;
    this.queue = new FileQueue(join(folder, "batches"));
    this.db = openDatabase(join(folder, "journal.db"), [createUploadTables]);
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, `${home.token}\n`);
    this.options = {
      robot: "arm-7",
      receivers: [{ url: home.url, tokenFile, publicKeys: [home.publicKey] }],
      gate: { dailyBytesMax: { free: 0, metered: 0 }, linkSettledMs: 0 },
      ...{ windows: [], meteredInterfaces: [], sensorRoot: "/", idleMs: 5_000 },
      backOff: { baseMs: 2, maxMs: 20 },
      ...more,
    };
    const deps = { batches: this.queue, db: this.db, clock: systemClock, random: seededRandom(7), log };
    this.uploader = Uploader.open(this.options, deps);
  }

  start(): void {
    this.#running = this.uploader.run(this.#stop.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Ends the uploader and keeps the folder. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.uploader[Symbol.dispose]();
    this.db.close();
  }

  /** Receipts of the journal: batch → sha256. */
  receipts(): ReadonlyMap<string, string> {
    const rows = this.db
      .prepare<[], { batch_id: string; sha256: string }>("SELECT batch_id, sha256 FROM receipt")
      .all();
    return new Map(rows.map((row) => [row.batch_id, row.sha256]));
  }
}

function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "lode-uploader-"));
}
