/**
 * Tables `attempt`, `receipt` and `upload_pause` of the journal: what was sent, what came back, what a person said.
 *
 * A receipt is committed here before its batch is released. An attempt's row is committed before its first byte
 * with the bytes it may send at most, and corrected at its end: after a crash the day's budget counts too much,
 * never too little.
 */
import { type Receipt, receiptFromWire, receiptToWire } from "../protocol/receipt.ts";
import { assert } from "../std/assert.ts";
import type { Db } from "../store/database.ts";
import type { Link } from "./link.ts";

type AttemptKind = "accepted" | "interrupted" | "deferred" | "rejected";

export type AttemptStart = {
  readonly batchId: string;
  readonly receiver: string;
  readonly link: Link;
  readonly startNs: bigint;
  /** Counted as sent until the attempt's end says better. */
  readonly reservedBytes: number;
};

export type AttemptEnd = { readonly kind: AttemptKind; readonly reason: string; readonly sentBytes: number };

export type Pause = { /** undefined: until a person resumes. */ readonly untilNs: bigint | undefined };

const ATTEMPT_DAYS_KEPT = 40n; // a month's budget and some days to look back
const NS_PER_DAY = 86_400_000_000_000n;

export function createUploadTables(db: Db): void {
  db.exec(`
    CREATE TABLE attempt (
      id INTEGER PRIMARY KEY,
      batch_id TEXT NOT NULL,
      receiver TEXT NOT NULL,
      link TEXT NOT NULL,
      start_ns INTEGER NOT NULL,
      end_ns INTEGER,
      kind TEXT,
      reason TEXT,
      sent_bytes INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX attempt_by_day ON attempt (start_ns, link, sent_bytes);
    CREATE TABLE receipt (
      batch_id TEXT PRIMARY KEY,
      receiver TEXT NOT NULL,
      sha256 TEXT NOT NULL,
      verified_ns INTEGER NOT NULL,
      receipt TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE upload_pause (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), until_ns INTEGER) STRICT;
  `);
}

export class ReceiptStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  startAttempt(start: AttemptStart): number {
    this.#db.prepare("DELETE FROM attempt WHERE start_ns < ?").run(start.startNs - ATTEMPT_DAYS_KEPT * NS_PER_DAY);
    const sql = "INSERT INTO attempt (batch_id, receiver, link, start_ns, sent_bytes) VALUES (?, ?, ?, ?, ?)";
    const { batchId, receiver, link, startNs, reservedBytes } = start;
    return Number(this.#db.prepare(sql).run(batchId, receiver, link, startNs, reservedBytes).lastInsertRowid);
  }

  endAttempt(id: number, end: AttemptEnd, endNs: bigint): void {
    const sql = "UPDATE attempt SET end_ns = ?, kind = ?, reason = ?, sent_bytes = ? WHERE id = ?";
    this.#db.prepare(sql).run(endNs, end.kind, end.reason, end.sentBytes, id);
  }

  /**
   * Bytes sent over a link in attempts that began at or after `sinceNs`. Not those of a clock that was days ahead: they
   * would stop the upload until it is that late.
   */
  sentBytes(link: Link, sinceNs: bigint): number {
    const sql = `SELECT coalesce(sum(sent_bytes), 0) FROM attempt WHERE start_ns BETWEEN ? AND ? AND link = ?`;
    return Number(
      this.#db
        .prepare(sql)
        .pluck()
        .get(sinceNs, sinceNs + 2n * NS_PER_DAY, link),
    );
  }

  attemptsOf(batchId: string): number {
    return Number(this.#db.prepare("SELECT count(*) FROM attempt WHERE batch_id = ?").pluck().get(batchId));
  }

  /** Durable when it returns; a second receipt for the batch changes nothing. */
  commitReceipt(batchId: string, receiver: string, receipt: Receipt, verifiedNs: bigint): void {
    const sql = `INSERT INTO receipt (batch_id, receiver, sha256, verified_ns, receipt) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT DO NOTHING`;
    const wire = JSON.stringify(receiptToWire(receipt));
    this.#db.prepare(sql).run(batchId, receiver, receipt.sha256, verifiedNs, wire);
  }

  receiptOf(batchId: string): Receipt | undefined {
    const text = this.#db.prepare("SELECT receipt FROM receipt WHERE batch_id = ?").pluck().get(batchId);
    if (text === undefined) return undefined;
    const receipt = receiptFromWire(JSON.parse(String(text)));
    assert(receipt !== undefined, "a committed receipt has its form");
    return receipt;
  }

  pause(): Pause | undefined {
    const row: unknown = this.#db.prepare("SELECT until_ns FROM upload_pause").raw().safeIntegers().get();
    if (!Array.isArray(row)) return undefined;
    const untilNs: unknown = row[0];
    return { untilNs: typeof untilNs === "bigint" ? untilNs : undefined };
  }

  setPause(pause: Pause | undefined): void {
    if (pause === undefined) this.#db.prepare("DELETE FROM upload_pause").run();
    else
      this.#db
        .prepare(
          "INSERT INTO upload_pause (only_row, until_ns) VALUES (1, ?) ON CONFLICT DO UPDATE SET until_ns = excluded.until_ns",
        )
        .run(pause.untilNs ?? null);
  }
}
