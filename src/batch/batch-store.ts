/**
 * The batches on this robot: rows of the table `batch` in journal.db, and the files they name.
 *
 * States: `queued` → `receipted` → `deleting` → `deleted`; `quarantined` with a reason, which nothing but a person
 * ends. A file goes only after its receipt: commit `deleting` → unlink → commit `deleted`, and `reconcile` finishes
 * what a crash left between these lines. A row is never forgotten: a batch that was sent stays known.
 */
import { readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Batch } from "../model/batch.ts";
import { assert } from "../std/assert.ts";
import { syncFolder } from "../std/durable-file.ts";
import { failpoint } from "../std/failpoint.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";

export function createBatchTables(db: Db): void {
  db.exec(`
    CREATE TABLE batch (
      id TEXT PRIMARY KEY,
      episode_id TEXT NOT NULL,
      boot_id TEXT NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('meta', 'light', 'heavy')),
      batch_index INTEGER NOT NULL,
      file_name TEXT NOT NULL,
      size_bytes INTEGER NOT NULL,
      sha256 TEXT NOT NULL,
      media_type TEXT NOT NULL,
      start_ns INTEGER NOT NULL,
      end_ns INTEGER NOT NULL,
      priority REAL NOT NULL,
      created_ns INTEGER NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('queued', 'receipted', 'deleting', 'deleted', 'quarantined')),
      quarantine_reason TEXT,
      UNIQUE (episode_id, kind, batch_index)
    ) STRICT;
    CREATE INDEX batch_queue ON batch (priority DESC, created_ns, batch_index) WHERE state = 'queued';
    CREATE INDEX batch_unfinished ON batch (state) WHERE state IN ('receipted', 'deleting');
  `);
}

export type QueueTotals = {
  readonly queuedCount: number;
  readonly queuedBytes: number;
  readonly oldestQueuedNs: bigint | undefined;
  readonly quarantinedCount: number;
};

export class BatchStore {
  readonly #db: Db;
  readonly #folder: string;
  readonly #log: Log;

  private constructor(db: Db, folder: string, log: Log) {
    this.#db = db;
    this.#folder = folder;
    this.#log = log;
  }

  /** `db` is the opener's. Any number of threads may have a store on the same files. */
  static open(db: Db, folder: string, log: Log): BatchStore {
    return new BatchStore(db, folder, log);
  }

  /**
   * All batches of an episode at once. False, and nothing changes, if the episode has batches already: another run
   * after a crash must not put new hashes to files that may be on their way.
   */
  add(batches: readonly Batch[]): boolean {
    const insert = this.#db.prepare(
      `INSERT INTO batch (id, episode_id, boot_id, kind, batch_index, file_name, size_bytes, sha256, media_type,
         start_ns, end_ns, priority, created_ns, state) VALUES (:id, :episodeId, :bootId, :kind, :index, :fileName,
         :sizeBytes, :sha256, :mediaType, :startNs, :endNs, :priority, :createdNs, 'queued')`,
    );
    return this.#db
      .transaction(() => {
        if (batches.some(({ episodeId }) => this.hasEpisode(episodeId))) return false;
        for (const { state: _, quarantineReason: __, path, ...batch } of batches)
          insert.run({ ...batch, fileName: basename(path) });
        return true;
      })
      .immediate();
  }

  /** A batch whose row is lost, as it is found again; a row that is there stays as it is. */
  adopt({ path, quarantineReason, ...batch }: Batch): void {
    this.#db
      .prepare(
        `INSERT OR IGNORE INTO batch (id, episode_id, boot_id, kind, batch_index, file_name, size_bytes, sha256, media_type,
           start_ns, end_ns, priority, created_ns, state, quarantine_reason) VALUES (:id, :episodeId, :bootId, :kind,
           :index, :fileName, :sizeBytes, :sha256, :mediaType, :startNs, :endNs, :priority, :createdNs, :state, :reason)`,
      )
      .run({ ...batch, fileName: basename(path), reason: quarantineReason ?? null });
  }

  /** A row names the file. */
  hasFile(fileName: string): boolean {
    return this.#db.prepare("SELECT 1 FROM batch WHERE file_name = ?").get(fileName) !== undefined;
  }

  hasEpisode(episodeId: string): boolean {
    return this.#db.prepare("SELECT 1 FROM batch WHERE episode_id = ? LIMIT 1").get(episodeId) !== undefined;
  }

  /** The queued batch that goes next, leaving out those the caller has set aside for now. */
  next(exclude: ReadonlySet<string>): Batch | undefined {
    const queue = this.#db
      .prepare("SELECT * FROM batch WHERE state = 'queued' ORDER BY priority DESC, created_ns, batch_index")
      .safeIntegers()
      .iterate();
    for (const row of queue) {
      const batch = this.#fromRow(row);
      if (!exclude.has(batch.id)) return batch;
    }
    return undefined;
  }

  find(id: string): Batch | undefined {
    const row = this.#db.prepare("SELECT * FROM batch WHERE id = ?").safeIntegers().get(id);
    return row === undefined ? undefined : this.#fromRow(row);
  }

  /** Newest episodes first, in their order of sending. */
  list(limit: number): readonly Batch[] {
    const sql = "SELECT * FROM batch ORDER BY created_ns DESC, priority DESC, batch_index LIMIT ?";
    return this.#rows(sql, limit);
  }

  ofEpisode(episodeId: string): readonly Batch[] {
    return this.#rows("SELECT * FROM batch WHERE episode_id = ? ORDER BY priority DESC, batch_index", episodeId);
  }

  totals(): QueueTotals {
    const row = this.#db
      .prepare(
        `SELECT count(*) FILTER (WHERE state = 'queued') AS queued,
           coalesce(sum(size_bytes) FILTER (WHERE state = 'queued'), 0) AS bytes,
           min(created_ns) FILTER (WHERE state = 'queued') AS oldest,
           count(*) FILTER (WHERE state = 'quarantined') AS quarantined FROM batch`,
      )
      .safeIntegers()
      .get();
    const oldest = column(row, "oldest");
    return {
      queuedCount: Number(column(row, "queued")),
      queuedBytes: Number(column(row, "bytes")),
      oldestQueuedNs: typeof oldest === "bigint" ? oldest : undefined,
      quarantinedCount: Number(column(row, "quarantined")),
    };
  }

  /** Its receipt is committed. */
  recordReceipt(id: string): void {
    this.#change(id, ["queued"], "receipted");
    failpoint("batch.receipted");
  }

  /** Deletes the file of a receipted batch. */
  release(id: string): void {
    this.#change(id, ["receipted"], "deleting");
    failpoint("batch.deleting");
    this.#finishDelete(id);
  }

  quarantine(id: string, reason: string): void {
    this.#db
      .prepare("UPDATE batch SET state = 'quarantined', quarantine_reason = ? WHERE id = ? AND state = 'queued'")
      .run(reason, id);
    this.#log.error("A batch was set aside.", { batch_id: id, reason });
  }

  /**
   * At the start, before anybody writes batches: finishes half-done deletes, releases what has its receipt, removes
   * files that no row names (a crash in the middle of writing an episode's batches), quarantines rows without a file.
   */
  reconcile(): void {
    for (const { id } of this.#rows("SELECT * FROM batch WHERE state = 'deleting'")) this.#finishDelete(id);
    for (const { id } of this.#rows("SELECT * FROM batch WHERE state = 'receipted'")) this.release(id);
    const present = new Set(readdirSync(this.#folder));
    const kept = this.#rows("SELECT * FROM batch WHERE state IN ('queued', 'quarantined')");
    const named = new Set(kept.map(({ path }) => basename(path)));
    for (const name of present) if (!named.has(name)) rmSync(join(this.#folder, name), { force: true });
    syncFolder(this.#folder);
    for (const { id, path, state } of kept)
      if (state === "queued" && !present.has(basename(path))) this.quarantine(id, "Its file is missing.");
  }

  #finishDelete(id: string): void {
    const batch = this.find(id);
    assert(batch !== undefined, `batch ${id} is known`);
    rmSync(batch.path, { force: true });
    failpoint("batch.unlinked");
    syncFolder(this.#folder);
    this.#change(id, ["deleting"], "deleted");
    failpoint("batch.deleted");
  }

  #change(id: string, from: readonly Batch["state"][], to: Batch["state"]): void {
    const states = from.map((state) => `'${state}'`).join(", ");
    const { changes } = this.#db
      .prepare(`UPDATE batch SET state = ? WHERE id = ? AND state IN (${states})`)
      .run(to, id);
    assert(changes === 1, `batch ${id} goes from ${from.join(" or ")} to ${to}`);
  }

  #rows(sql: string, ...values: readonly unknown[]): Batch[] {
    return this.#db
      .prepare(sql)
      .safeIntegers()
      .all(...values)
      .map((row) => this.#fromRow(row));
  }

  #fromRow(row: unknown): Batch {
    const text = (name: string): string => String(column(row, name));
    const ns = (name: string): bigint => BigInt(text(name));
    const reason = column(row, "quarantine_reason");
    return {
      id: text("id"),
      episodeId: text("episode_id"),
      bootId: text("boot_id"),
      kind: oneOf(text("kind"), ["meta", "light", "heavy"]),
      index: Number(column(row, "batch_index")),
      path: join(this.#folder, text("file_name")),
      sizeBytes: Number(column(row, "size_bytes")),
      sha256: text("sha256"),
      mediaType: text("media_type"),
      startNs: ns("start_ns"),
      endNs: ns("end_ns"),
      priority: Number(column(row, "priority")),
      createdNs: ns("created_ns"),
      state: oneOf(text("state"), ["queued", "receipted", "deleting", "deleted", "quarantined"]),
      quarantineReason: typeof reason === "string" ? reason : undefined,
    };
  }
}

function oneOf<const Text extends string>(text: string, known: readonly Text[]): Text {
  const found = known.find((one) => one === text);
  assert(found !== undefined, `"${text}" is one of ${known.join(", ")}`);
  return found;
}

function column(row: unknown, name: string): unknown {
  assert(typeof row === "object" && row !== null, "a row is an object");
  return Object.getOwnPropertyDescriptor(row, name)?.value;
}
