/**
 * Opening SQLite the one way Lode trusts: WAL, `synchronous = FULL` (asserted: some builds default WAL to
 * NORMAL, which loses acknowledged rows in a power cut), 64-bit integers as bigint on request, and a schema
 * version in `user_version` that moves forward by numbered migrations. A file of a newer version is refused untouched; a
 * migration that is killed leaves the old version whole.
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import Database from "better-sqlite3";
import { assert } from "../std/assert.ts";
import { failpoint } from "../std/failpoint.ts";
import { Fault } from "../std/fault.ts";

export type Db = Database.Database;

const BUSY_TIMEOUT_MS = 10_000; // an fsync on a worn SD card takes seconds; another thread's commit waits for it

/** `migrations[n]` takes a database from version n to n + 1; each runs in its own transaction. */
export type Migrations = readonly ((db: Db) => void)[];

/**
 * `canShrink`: free pages can be given back by `incremental_vacuum`. It and `pageBytes` are settled with the file's
 * first page; a file that is there already stays as it is.
 */
export function openDatabase(path: string, migrations: Migrations, { canShrink = false, pageBytes = 4096 } = {}): Db {
  refuseNewer(path, migrations.length);
  refuseUnwritable(path);
  const db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    if (canShrink && db.pragma("page_count", { simple: true }) === 0) {
      db.pragma(`page_size = ${pageBytes}`);
      db.pragma("auto_vacuum = INCREMENTAL");
      db.exec("VACUUM");
    }
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    assert(db.pragma("synchronous", { simple: true }) === 2, "synchronous must be FULL");
    migrate(db, migrations);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * A connection that can only read, for the reader thread and for other processes. It cannot migrate: with `format` any
 * other one is refused.
 */
export function openDatabaseForReading(path: string, format?: number): Db {
  try {
    const db = new Database(path, { readonly: true, timeout: BUSY_TIMEOUT_MS });
    const version = versionOf(db); // WAL wants the file beside it: whether that is there, or may be made, shows here
    if (format === undefined || version === format) return db;
    db.close();
    if (version > format) throw tooNew(path, version, format);
    const hint = "Start the daemon on it once (lode run): it brings the folder up to date, and loses nothing.";
    throw new Fault("database_too_old", `${path} has format ${version}; this Lode reads ${format}.`, hint);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (!/^SQLITE_(READONLY|CANTOPEN|PERM)/.test(code)) throw error;
    const hint = "Use the user the service runs as (sudo -u lode lode …), or start the daemon.";
    throw new Fault("no_permission", `${path} cannot be read by this user.`, hint, error);
  }
}

/** Before anything is written: a connection that only reads changes nothing in a file that a newer Lode made. */
function refuseNewer(path: string, known: number): void {
  if (!existsSync(path)) return;
  const db = new Database(path, { readonly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const version = versionOf(db);
    if (version <= known) return;
    throw tooNew(path, version, known);
  } finally {
    db.close();
  }
}

/** Of a file's header: above it SQLite takes the file as read-only, without a word (file format, §1.3.3). */
const WRITE_VERSION_OFFSET = 18;
const WRITE_VERSION_MAX = 2;

/** A flipped bit there would let a database open and refuse every commit as if the disk did. */
function refuseUnwritable(path: string): void {
  if (!existsSync(path)) return;
  const version = Buffer.alloc(1);
  const fd = openSync(path, "r");
  readSync(fd, version, 0, 1, WRITE_VERSION_OFFSET);
  closeSync(fd);
  if ((version[0] ?? 0) <= WRITE_VERSION_MAX) return;
  throw new Database.SqliteError(`${path} says that it cannot be written`, "SQLITE_NOTADB");
}

function tooNew(path: string, version: number, known: number): Fault {
  return new Fault(
    "database_too_new",
    `${path} has format ${version}; this Lode knows up to ${known}. Nothing in it was changed.`,
    "Install the newer Lode again, or move the file away to start afresh.",
  );
}

function migrate(db: Db, migrations: Migrations): void {
  for (let next = versionOf(db); next < migrations.length; next += 1) {
    db.transaction(() => {
      if (versionOf(db) > next) return; // another thread was faster
      migrations[next]?.(db);
      failpoint("database.migrating");
      db.pragma(`user_version = ${next + 1}`);
    }).immediate();
    failpoint("database.migrated");
  }
}

const versionOf = (db: Db): number => Number(db.pragma("user_version", { simple: true }));
