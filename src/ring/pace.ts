/**
 * How fast each class fills the ring, over the last six hours in which anything was recorded, restarts included.
 *
 * One row of table `pace` per quarter of an hour of recording, the newest rewritten once a minute in the ring's own
 * transaction: a crash forgets a minute of rates. A pause counts for `PAUSE_MS_MAX`, so that a night in the dock does
 * not look like a slow day.
 */
import type { Db } from "../store/database.ts";
import type { PendingChunk } from "./chunk-table.ts";

const SLOT_MS = 15 * 60_000;
const SLOTS_MAX = 24;
const SAVE_MS = 60_000;
const PAUSE_MS_MAX = 2_000;
/** Before that nothing is said. */
const MEASURED_MS_MIN = 60_000;

/** Bytes of a class on disk (header and alignment included), of its stored chunks, and of their bodies. */
type Sums = { disk: number; stored: number; body: number };
type Slot = { readonly id: number; ms: number; readonly classes: Record<string, Sums> };

export type ClassPace = {
  /** On disk; undefined: too early to say. */
  readonly bytesPerS: number | undefined;
  /** Stored bytes by body bytes; undefined: nothing was stored. */
  readonly compressionRatio: number | undefined;
};

/** In the migration to format 2 of `ring.db`. */
export function createPaceTable(db: Db): void {
  db.exec("CREATE TABLE pace (id INTEGER PRIMARY KEY, recorded_ms INTEGER NOT NULL, classes TEXT NOT NULL)");
}

export class Pace {
  readonly #db: Db;
  #slots: Slot[];
  #lastMs: number | undefined;
  #savedMs = Number.NEGATIVE_INFINITY;

  private constructor(db: Db, slots: Slot[]) {
    this.#db = db;
    this.#slots = slots;
  }

  static open(db: Db): Pace {
    type Row = { id: number; recorded_ms: number; classes: string };
    const rows = db.prepare<[], Row>("SELECT * FROM pace ORDER BY id").all();
    return new Pace(
      db,
      rows.map((row) => ({ id: row.id, ms: row.recorded_ms, classes: JSON.parse(row.classes) })),
    );
  }

  /** So much recording the rates are over. */
  get measuredMs(): number {
    return this.#slots.reduce((sum, { ms }) => sum + ms, 0);
  }

  /** These were committed; `nowMs` is monotonic. */
  add(chunks: readonly PendingChunk[], nowMs: number): void {
    if (chunks.length === 0) return;
    const slot = this.#currentSlot();
    slot.ms += Math.min(nowMs - (this.#lastMs ?? nowMs), PAUSE_MS_MAX);
    this.#lastMs = nowMs;
    for (const { chunk, location, storedSize } of chunks) {
      slot.classes[chunk.className] ??= { disk: 0, stored: 0, body: 0 };
      addTo(slot.classes[chunk.className], location?.size ?? storedSize, storedSize, chunk.bodySize);
    }
  }

  /** Inside the ring's transaction, when it is time. */
  save(nowMs: number): void {
    const slot = this.#slots.at(-1);
    if (slot === undefined || nowMs - this.#savedMs < SAVE_MS) return;
    this.#savedMs = nowMs;
    const values = [slot.id, Math.round(slot.ms), JSON.stringify(slot.classes)];
    this.#db.prepare("INSERT OR REPLACE INTO pace VALUES (?, ?, ?)").run(...values);
    this.#db.prepare("DELETE FROM pace WHERE id <= ?").run(slot.id - SLOTS_MAX);
  }

  of(className: string): ClassPace {
    const sums: Sums = { disk: 0, stored: 0, body: 0 };
    for (const { classes } of this.#slots) {
      const { disk, stored, body } = classes[className] ?? { disk: 0, stored: 0, body: 0 };
      addTo(sums, disk, stored, body);
    }
    const ms = this.measuredMs;
    return {
      bytesPerS: ms < MEASURED_MS_MIN ? undefined : (sums.disk * 1000) / ms,
      compressionRatio: sums.body === 0 ? undefined : sums.stored / sums.body,
    };
  }

  #currentSlot(): Slot {
    const last = this.#slots.at(-1);
    if (last !== undefined && last.ms < SLOT_MS) return last;
    const slot = { id: (last?.id ?? 0) + 1, ms: 0, classes: {} };
    this.#slots = [...this.#slots, slot].slice(-SLOTS_MAX);
    return slot;
  }
}

function addTo(sums: Sums | undefined, disk: number, stored: number, body: number): void {
  if (sums === undefined) return;
  sums.disk += disk;
  sums.stored += stored;
  sums.body += body;
}
