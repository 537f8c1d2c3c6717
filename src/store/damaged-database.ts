/**
 * What can still be read of a damaged database: SQLite reads every page that is whole, and says so of the others.
 *
 * Nothing here says that a value is right, only that SQLite could make a row of it: callers check what they take.
 */
import { existsSync } from "node:fs";
import Database from "better-sqlite3";
import type { Db } from "./database.ts";

/** Beyond it no id lies: leaps over what cannot be read end here. */
const ID_MAX = Number.MAX_SAFE_INTEGER;

export class DamagedDatabase implements Disposable {
  readonly #db: Db;

  private constructor(db: Db) {
    this.#db = db;
  }

  /** undefined: there is none, or not even its list of tables can be read. */
  static open(path: string): DamagedDatabase | undefined {
    if (!existsSync(path)) return undefined;
    const db = new Database(path);
    try {
      db.pragma("table_list");
      return new DamagedDatabase(db);
    } catch (error) {
      db.close();
      if (isUnreadable(error)) return undefined;
      throw error;
    }
  }

  /** Copies the rows of a small table that are not there yet, from both ends up to the damage. True: all of them. */
  copyTable(to: Db, table: string): boolean {
    const there = new Set(this.#columnsOf(this.#db, table));
    const columns = this.#columnsOf(to, table).filter((name) => there.has(name));
    if (columns.length === 0) return false;
    const insert = to.prepare(`INSERT OR IGNORE INTO "${table}" (${columns}) VALUES (${columns.map(() => "?")})`);
    const order = this.#isWithoutRowid(to, table) ? "1, 2, 3" : "rowid";
    const ways = [order, order.split(", ").map((column) => `${column} DESC`)];
    return ways.some((way) => this.#copy(`SELECT ${columns} FROM "${table}" ORDER BY ${way}`, insert));
  }

  /** The first rows of a query `… WHERE id > ? … ORDER BY id` that can be read after an id; none: that was all. */
  rowsAfter<Row extends { readonly id: bigint }>(sql: string, afterId: number, count: number): Row[] {
    let unreadable = afterId;
    for (let leap = 0; afterId + leap < ID_MAX; leap = leap * 2 || 1) {
      const rows = this.#readable<Row>(sql, afterId + leap, count);
      if (rows === undefined) unreadable = afterId + leap;
      else return leap === 0 ? rows : this.#firstBetween(sql, unreadable, afterId + leap, count);
    }
    return [];
  }

  hasColumn(table: string, column: string): boolean {
    return this.#columnsOf(this.#db, table).includes(column);
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  /** Halves the way from an id after which nothing can be read to one after which something can. */
  #firstBetween<Row extends { readonly id: bigint }>(sql: string, unreadable: number, readable: number, count: number) {
    while (readable - unreadable > 1) {
      const middle = Math.floor((unreadable + readable) / 2);
      if (this.#readable<Row>(sql, middle, 1) === undefined) unreadable = middle;
      else readable = middle;
    }
    return this.#readable<Row>(sql, readable, count) ?? [];
  }

  /** What comes before the damage, if anything does; undefined: the damage comes first. */
  #readable<Row>(sql: string, afterId: number, count: number): Row[] | undefined {
    const rows: Row[] = [];
    try {
      for (const row of this.#db.prepare<[number], Row>(sql).safeIntegers().iterate(afterId)) {
        rows.push(row);
        if (rows.length >= count) break;
      }
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (rows.length === 0) return undefined;
    }
    return rows;
  }

  #copy(sql: string, insert: { run(values: unknown): unknown }): boolean {
    try {
      for (const row of this.#db.prepare(sql).raw().safeIntegers().iterate()) insertIfFit(insert, row);
      return true;
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return false;
    }
  }

  #columnsOf(db: Db, table: string): string[] {
    try {
      return db.prepare<[string], string>("SELECT name FROM pragma_table_info(?)").pluck().all(table);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return [];
    }
  }

  #isWithoutRowid(db: Db, table: string): boolean {
    return db.prepare("SELECT wr FROM pragma_table_list(?)").pluck().get(table) === 1;
  }
}

/** A row that breaks a constraint is a damaged one. */
function insertIfFit(insert: { run(values: unknown): unknown }, row: unknown): void {
  try {
    insert.run(row);
  } catch (error) {
    if (!codeOf(error).startsWith("SQLITE_CONSTRAINT")) throw error;
  }
}

/** SQLite cannot make rows of it; "SQL logic error" is what a schema that makes no sense amounts to. */
export function isUnreadable(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB|IOERR|ERROR)/.test(codeOf(error));
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
