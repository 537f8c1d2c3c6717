/**
 * What the receiver knows: who may send and read, which batches are durable, which episodes they make up.
 *
 * Tables: `credential` (tokens as sha256 of 256 random bits, never the token), `batch` (one row per receipt, never
 * changed but for `is_linked`), `episode` (what its manifest says, as far as it has come). `synchronous = FULL`: when
 * `commitBatch` resolves, the receipt may be given away. A crash before leaves nothing of the batch here.
 *
 * Every change of an episode gives it the next `cursor`, so a consumer that follows the catalog by cursor sees it
 * again with its newest state and misses nothing, however long it was away.
 */
import { type Receipt, receiptFromWire, receiptToWire } from "../protocol/receipt.ts";
import type { BatchDescription } from "../protocol/wire.ts";
import { assert } from "../std/assert.ts";
import { failpoint } from "../std/failpoint.ts";
import { parseTimeNs } from "../std/time-text.ts";
import { formatTimeNs } from "../std/wire.ts";
import { type Db, openDatabase } from "../store/database.ts";

export type Identity = { readonly role: "robot" | "reader"; readonly name: string };

export type CatalogBatch = BatchDescription & {
  readonly robot: string;
  readonly batch: string;
  readonly receipt: Receipt;
};

/** What a manifest says of its episode, for lists and filters. Times are RFC 3339 in UTC with nine digits. */
export type EpisodeSummary = {
  readonly rule: string;
  readonly kind: string;
  readonly outcome: string;
  readonly attempts: number;
  readonly startTime: string;
  readonly endTime: string;
  /** The batches its manifest promises, the `meta` batch itself included. */
  readonly batchCount: number;
};

export type CatalogEpisode = {
  readonly robot: string;
  readonly id: string;
  readonly cursor: number;
  /** undefined until its `meta` batch has come. */
  readonly summary: EpisodeSummary | undefined;
  readonly batches: readonly CatalogBatch[];
};

export type EpisodeQuery = {
  /** Only episodes that changed after this cursor. */
  readonly after: number;
  readonly robot?: string | undefined;
  readonly rule?: string | undefined;
  readonly outcome?: string | undefined;
  /** RFC 3339: episodes that start at or after it. */
  readonly from?: string | undefined;
  readonly limit: number;
};

export interface Catalog {
  identify(tokenSha256: Uint8Array): Promise<Identity | undefined>;
  findBatch(robot: string, batch: string): Promise<CatalogBatch | undefined>;
  /** Durable when it resolves. `summary`: of a `meta` batch whose manifest could be read. */
  commitBatch(batch: CatalogBatch, summary: EpisodeSummary | undefined): Promise<void>;
  episodes(query: EpisodeQuery): Promise<readonly CatalogEpisode[]>;
  /** Every robot's episode of this id; ids are UUIDs, so there is one in practice. */
  findEpisode(id: string): Promise<CatalogEpisode | undefined>;
  /** Whether a batch of this content is in the catalog. */
  hasContent(sha256: string): Promise<boolean>;
}

type Row = Readonly<Record<string, unknown>>;

export class SqliteCatalog implements Catalog {
  readonly #db: Db;

  private constructor(db: Db) {
    this.#db = db;
  }

  static open(path: string): SqliteCatalog {
    return new SqliteCatalog(openDatabase(path, [createTables]));
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  async identify(tokenSha256: Uint8Array): Promise<Identity | undefined> {
    const row = this.#get("SELECT role, name FROM credential WHERE token_sha256 = ?", tokenSha256);
    if (row === undefined) return undefined;
    return { role: row.role === "reader" ? "reader" : "robot", name: String(row.name) };
  }

  /** False if the name is taken in this role. */
  addCredential(identity: Identity, tokenSha256: Uint8Array, addedNs: bigint): boolean {
    const sql =
      "INSERT INTO credential (role, name, token_sha256, added_ns) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
    return this.#db.prepare(sql).run(identity.role, identity.name, tokenSha256, addedNs).changes === 1;
  }

  removeCredential(identity: Identity): boolean {
    const sql = "DELETE FROM credential WHERE role = ? AND name = ?";
    return this.#db.prepare(sql).run(identity.role, identity.name).changes === 1;
  }

  credentials(role: Identity["role"]): readonly { readonly name: string; readonly addedNs: bigint }[] {
    const rows = this.#db.prepare("SELECT name, added_ns FROM credential WHERE role = ? ORDER BY name");
    return rows
      .safeIntegers()
      .all(role)
      .map(asRow)
      .map((row) => ({ name: String(row.name), addedNs: BigInt(String(row.added_ns)) }));
  }

  async findBatch(robot: string, batch: string): Promise<CatalogBatch | undefined> {
    const row = this.#get("SELECT * FROM batch WHERE robot = ? AND id = ?", robot, batch);
    return row === undefined ? undefined : batchFromRow(row);
  }

  async commitBatch(batch: CatalogBatch, summary: EpisodeSummary | undefined): Promise<void> {
    const receipt = JSON.stringify(receiptToWire(batch.receipt));
    this.#db
      .transaction(() => {
        this.#db
          .prepare(
            `INSERT INTO batch (robot, id, episode, boot, kind, batch_index, media_type, sha256, size_bytes, receipt)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          )
          .run(
            ...[batch.robot, batch.batch, batch.episode, batch.boot, batch.kind, batch.index],
            ...[batch.mediaType, batch.sha256, batch.sizeBytes, receipt],
          );
        failpoint("receiver.committing");
        this.#touchEpisode(batch.robot, batch.episode);
        if (summary !== undefined) this.#describeEpisode(batch.robot, batch.episode, summary);
      })
      .immediate();
  }

  async episodes(query: EpisodeQuery): Promise<readonly CatalogEpisode[]> {
    const rows = this.#db
      .prepare(
        `SELECT * FROM episode WHERE cursor > :after
           AND (:robot IS NULL OR robot = :robot) AND (:rule IS NULL OR rule = :rule)
           AND (:outcome IS NULL OR outcome = :outcome) AND (:from IS NULL OR start_time >= :from)
         ORDER BY cursor LIMIT :limit`,
      )
      .all({ robot: null, rule: null, outcome: null, ...withoutUndefined(query), from: startTimeOf(query.from) });
    return rows.map(asRow).map((row) => this.#episodeFromRow(row));
  }

  async findEpisode(id: string): Promise<CatalogEpisode | undefined> {
    const row = this.#get("SELECT * FROM episode WHERE id = ? ORDER BY cursor DESC LIMIT 1", id);
    return row === undefined ? undefined : this.#episodeFromRow(row);
  }

  async hasContent(sha256: string): Promise<boolean> {
    return this.#get("SELECT 1 AS found FROM batch WHERE sha256 = ? LIMIT 1", sha256) !== undefined;
  }

  /** All batches in the order of their ids: for `fsck`. */
  *batches(): Generator<CatalogBatch> {
    for (const row of this.#db.prepare("SELECT * FROM batch ORDER BY robot, id").iterate())
      yield batchFromRow(asRow(row));
  }

  /** Episodes with a summary of which some batch has no file under `received/` yet. */
  unlinkedEpisodes(): readonly string[] {
    const sql = `SELECT DISTINCT episode AS id FROM batch JOIN episode e ON e.robot = batch.robot AND e.id = episode
                 WHERE is_linked = 0 AND e.rule IS NOT NULL`;
    return this.#db
      .prepare(sql)
      .all()
      .map((row) => String(asRow(row).id));
  }

  markLinked(robot: string, episode: string): void {
    this.#db.prepare("UPDATE batch SET is_linked = 1 WHERE robot = ? AND episode = ?").run(robot, episode);
  }

  #touchEpisode(robot: string, id: string): void {
    this.#db
      .prepare(
        `INSERT INTO episode (robot, id, cursor) VALUES (?, ?, (SELECT coalesce(max(cursor), 0) + 1 FROM episode))
         ON CONFLICT DO UPDATE SET cursor = excluded.cursor`,
      )
      .run(robot, id);
  }

  #describeEpisode(robot: string, id: string, summary: EpisodeSummary): void {
    this.#db
      .prepare(
        `UPDATE episode SET rule = :rule, kind = :kind, outcome = :outcome, attempts = :attempts,
           start_time = :startTime, end_time = :endTime, batch_count = :batchCount WHERE robot = :robot AND id = :id`,
      )
      .run({ ...summary, robot, id });
  }

  #episodeFromRow(row: Row): CatalogEpisode {
    const rows = this.#db
      .prepare("SELECT * FROM batch WHERE robot = ? AND episode = ? ORDER BY kind DESC, batch_index, id")
      .all(row.robot, row.id);
    return {
      robot: String(row.robot),
      id: String(row.id),
      cursor: Number(row.cursor),
      summary: row.rule === null ? undefined : summaryFromRow(row),
      batches: rows.map((batch) => batchFromRow(asRow(batch))),
    };
  }

  #get(sql: string, ...values: readonly unknown[]): Row | undefined {
    const row = this.#db.prepare(sql).get(...values);
    return row === undefined ? undefined : asRow(row);
  }
}

function createTables(db: Db): void {
  db.exec(`
    CREATE TABLE credential (
      role TEXT NOT NULL CHECK (role IN ('robot', 'reader')),
      name TEXT NOT NULL,
      token_sha256 BLOB NOT NULL UNIQUE,
      added_ns INTEGER NOT NULL,
      PRIMARY KEY (role, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE batch (
      robot TEXT NOT NULL,
      id TEXT NOT NULL,
      episode TEXT NOT NULL,
      boot TEXT NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('meta', 'light', 'heavy')),
      batch_index INTEGER NOT NULL,
      media_type TEXT NOT NULL,
      sha256 TEXT NOT NULL,
      size_bytes INTEGER NOT NULL,
      receipt TEXT NOT NULL,
      is_linked INTEGER NOT NULL DEFAULT 0,
      PRIMARY KEY (robot, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX batch_by_episode ON batch (robot, episode);
    CREATE INDEX batch_by_content ON batch (sha256);
    CREATE INDEX batch_unlinked ON batch (is_linked) WHERE is_linked = 0;
    CREATE TABLE episode (
      robot TEXT NOT NULL,
      id TEXT NOT NULL,
      cursor INTEGER NOT NULL UNIQUE,
      rule TEXT, kind TEXT, outcome TEXT, attempts INTEGER, start_time TEXT, end_time TEXT, batch_count INTEGER,
      PRIMARY KEY (robot, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX episode_by_id ON episode (id);
  `);
}

function batchFromRow(row: Row): CatalogBatch {
  const receipt = receiptFromWire(JSON.parse(String(row.receipt)));
  assert(receipt !== undefined, "a receipt in the catalog has its form");
  const { kind } = row;
  assert(kind === "meta" || kind === "light" || kind === "heavy", "a batch in the catalog has its kind");
  return {
    ...{ robot: String(row.robot), batch: String(row.id), episode: String(row.episode), boot: String(row.boot) },
    ...{ kind, index: Number(row.batch_index), mediaType: String(row.media_type) },
    ...{ sha256: String(row.sha256), sizeBytes: Number(row.size_bytes), receipt },
  };
}

function summaryFromRow(row: Row): EpisodeSummary {
  return {
    ...{ rule: String(row.rule), kind: String(row.kind), outcome: String(row.outcome), attempts: Number(row.attempts) },
    ...{ startTime: String(row.start_time), endTime: String(row.end_time), batchCount: Number(row.batch_count) },
  };
}

/** As manifests write it, so that the texts compare. Throws `Fault("bad_time")`. */
function startTimeOf(from: string | undefined): string | null {
  return from === undefined ? null : formatTimeNs(parseTimeNs(from, BigInt(Date.now()) * 1_000_000n));
}

function withoutUndefined(value: object): Row {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined));
}

function asRow(row: unknown): Row {
  assert(typeof row === "object" && row !== null, "a row is an object");
  return Object.fromEntries(Object.entries(row));
}
