/** The rows of table `chunk` as the ring writes them, with the class totals that go with them. */
import type { ChunkChannel } from "../model/chunk.ts";
import type { Db } from "../store/database.ts";
import type { Range } from "./holds.ts";
import { type Compression, decodeChannels, encodeChannels, type PackedChunk } from "./packed-chunk.ts";
import type { Location } from "./segment-files.ts";
import { isSealedBy, type SegmentHeader, sealOf } from "./segment-header.ts";
import { CHUNK_SPAN_NS_MAX, readBoots } from "./tables.ts";

/** What the seal of a row is over. */
export type SealedRow = Readonly<
  Record<"id" | "boot" | "is_local" | "start_ns" | "end_ns" | "body_size" | "crc32", bigint> &
    Record<"stored_size" | "stored_crc32", bigint>
> & {
  readonly class_name: string;
  readonly kind: "full" | "baseline";
  readonly channels: Buffer;
  readonly compression: Compression;
  /** null: of a ring of format 1. */
  readonly seal: bigint | null;
};
export const SEALED_COLUMNS = `id, boot, class_name, is_local, kind, start_ns, end_ns, channels, body_size, crc32,
  compression, stored_size, stored_crc32, seal`;

/** The row is what was written, as far as its seal tells. */
export function isSound(row: SealedRow, bootId: string): boolean {
  return row.seal === null || isSealedBy(headerOf(row, bootId), Number(row.seal));
}

export function headerOf(row: SealedRow, bootId: string): SegmentHeader {
  return {
    ...{ id: Number(row.id), bootId, className: row.class_name, isLocal: row.is_local !== 0n, kind: row.kind },
    ...{ startNs: row.start_ns, endNs: row.end_ns, channels: decodeChannels(row.channels) },
    ...{ bodySize: Number(row.body_size), crc32: Number(row.crc32), compression: row.compression },
    ...{ storedSize: Number(row.stored_size), storedCrc32: Number(row.stored_crc32) },
  };
}

/** A chunk whose bytes are written (or go inline) and whose row comes with the next commit. */
export type PendingChunk = {
  readonly id: number;
  readonly chunk: PackedChunk;
  readonly storedSize: number;
  /** undefined: the payload goes into the row. */
  readonly location: Location | undefined;
};

export type ClassTotal = { chunks: number; bytes: number };

/** In the order of a class's rows. */
export type ChunkPlace = { readonly boot: number; readonly startNs: bigint };

/** What retention must know of a row. */
export type ChunkRow = ChunkPlace & {
  readonly id: number;
  readonly bootId: string;
  readonly className: string;
  readonly endNs: bigint;
  readonly size: number;
  readonly segment: number | undefined;
  /** That count as stored. Empty where the chunk is set aside, or the row is not what was written. */
  readonly channels: readonly ChunkChannel[];
};

/** As it lies in the table, but for its bytes' place. */
export type StoredRow = SealedRow & {
  readonly size: bigint;
  readonly segment: bigint | null;
  readonly quarantine: string | null;
};
const COLUMNS = `${SEALED_COLUMNS}, size, segment, quarantine`;

export class ChunkTable {
  readonly #db: Db;
  readonly #boot: number;
  readonly #bootIds: Map<number, string>;
  readonly totals = new Map<string, ClassTotal>();
  #nextId: number;

  private constructor(db: Db, boot: number) {
    this.#db = db;
    this.#boot = boot;
    this.#bootIds = new Map(readBoots(db).map(({ id, bootId }) => [id, bootId]));
    this.#nextId = 1 + (db.prepare<[], { id: number | null }>("SELECT max(id) AS id FROM chunk").get()?.id ?? 0);
  }

  static open(db: Db, boot: number): ChunkTable {
    const table = new ChunkTable(db, boot);
    type Total = { class_name: string; chunks: number; bytes: number };
    for (const { class_name, chunks, bytes } of db.prepare<[], Total>("SELECT * FROM class_total").all())
      table.totals.set(class_name, { chunks, bytes });
    return table;
  }

  /** Ids below it may have been given already. */
  skipTo(id: number): void {
    this.#nextId = Math.max(this.#nextId, id);
  }

  get nextId(): number {
    return this.#nextId;
  }

  takeId(): number {
    return this.#nextId++;
  }

  /** Inside the ring's transaction; `added` after it. */
  save(pending: readonly PendingChunk[]): void {
    this.restore(pending, { id: this.#boot, bootId: this.#bootIds.get(this.#boot) ?? "" });
  }

  /** As `save`, of any boot; returns those whose id was not there yet. */
  restore<Pending extends PendingChunk>(
    pending: readonly Pending[],
    boot: { readonly id: number; readonly bootId: string },
  ): Pending[] {
    this.#bootIds.set(boot.id, boot.bootId);
    const insert = this.#db.prepare(
      `INSERT OR IGNORE INTO chunk (id, boot, class_name, is_local, kind, start_ns, end_ns, channels, body_size, crc32,
         compression, stored_size, stored_crc32, size, segment, offset, payload, seal)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    const { bootId } = boot;
    const added = pending.filter(({ id, chunk, storedSize, location }) => {
      const { changes } = insert.run(
        ...[id, boot.id, chunk.className, Number(chunk.isLocal), chunk.kind, chunk.startNs, chunk.endNs],
        ...[encodeChannels(chunk.channels), chunk.bodySize, chunk.crc32, chunk.compression, storedSize],
        ...[chunk.storedCrc32, location?.size ?? storedSize, location?.segment ?? null, location?.offset ?? null],
        ...[location === undefined ? chunk.payload : null, sealOf({ ...chunk, id, bootId, storedSize })],
      );
      return changes > 0;
    });
    const add = this.#db.prepare(
      `INSERT INTO class_total VALUES (?, ?, ?) ON CONFLICT (class_name)
       DO UPDATE SET chunks = chunks + excluded.chunks, bytes = bytes + excluded.bytes`,
    );
    for (const [className, { chunks, bytes }] of sumByClass(added.map(sizedPending))) add.run(className, chunks, bytes);
    return added;
  }

  added(pending: readonly PendingChunk[]): void {
    for (const [className, { chunks, bytes }] of sumByClass(pending.map(sizedPending))) {
      const total = this.totals.get(className) ?? { chunks: 0, bytes: 0 };
      this.totals.set(className, { chunks: total.chunks + chunks, bytes: total.bytes + bytes });
    }
  }

  /** Inside retention's transaction; `removed` after it. */
  delete(rows: readonly ChunkRow[]): void {
    const remove = this.#db.prepare("DELETE FROM chunk WHERE id = ?");
    for (const { id } of rows) remove.run(id);
    const take = this.#db.prepare("UPDATE class_total SET chunks = chunks - ?, bytes = bytes - ? WHERE class_name = ?");
    for (const [className, { chunks, bytes }] of sumByClass(rows)) take.run(chunks, bytes, className);
  }

  removed(rows: readonly ChunkRow[]): void {
    for (const [className, { chunks, bytes }] of sumByClass(rows)) {
      const total = this.totals.get(className);
      if (total === undefined) continue;
      total.chunks -= chunks;
      total.bytes -= bytes;
    }
  }

  /** A class's rows after a place, oldest first: by boot, whatever its clock said, then by start. */
  page(className: string, after: ChunkPlace, count: number): ChunkRow[] {
    return this.#db
      .prepare<[string, number, bigint, number], StoredRow>(
        `SELECT ${COLUMNS} FROM chunk WHERE class_name = ? AND (boot, start_ns) > (?, ?)
           ORDER BY boot, start_ns LIMIT ?`,
      )
      .safeIntegers()
      .all(className, after.boot, after.startNs, count)
      .map((row) => this.#fromRow(row));
  }

  /** The channels of a boot's chunks that touch the ranges, damaged ones left out. */
  *channelsWithin(ranges: readonly Range[], bootId: string): Generator<ChunkChannel> {
    const query = this.#db.prepare<[bigint, bigint, bigint, string], StoredRow>(
      `SELECT ${COLUMNS} FROM chunk WHERE start_ns >= ? AND start_ns <= ? AND end_ns >= ?
         AND boot = (SELECT id FROM boot WHERE boot_id = ?)`,
    );
    const seen = new Set<bigint>();
    for (const { startNs, endNs } of ranges)
      for (const row of query.safeIntegers().iterate(startNs - CHUNK_SPAN_NS_MAX, endNs, startNs, bootId)) {
        if (!seen.has(row.id)) yield* this.#fromRow(row).channels;
        seen.add(row.id);
      }
  }

  /** Where a class's oldest or newest chunk stands. */
  edgeOf(className: string, isOldest: boolean): ChunkPlace | undefined {
    const order = isOldest ? "boot, start_ns" : "boot DESC, start_ns DESC";
    const row = this.#db
      .prepare<[string], { boot: bigint; start_ns: bigint }>(
        `SELECT boot, start_ns FROM chunk WHERE class_name = ? ORDER BY ${order} LIMIT 1`,
      )
      .safeIntegers()
      .get(className);
    return row === undefined ? undefined : { boot: Number(row.boot), startNs: row.start_ns };
  }

  /** Flags the row. undefined: it is gone, or was flagged before. */
  quarantine(id: number, reason: string): ChunkRow | undefined {
    const row = this.#db
      .prepare<[number], StoredRow>(`SELECT ${COLUMNS} FROM chunk WHERE id = ?`)
      .safeIntegers()
      .get(id);
    if (row === undefined || row.quarantine !== null) return undefined;
    this.#db.prepare("UPDATE chunk SET quarantine = ? WHERE id = ?").run(reason, id);
    return this.#fromRow(row);
  }

  #fromRow(row: StoredRow): ChunkRow {
    const bootId = this.#bootIds.get(Number(row.boot)) ?? "";
    return {
      id: Number(row.id),
      boot: Number(row.boot),
      bootId,
      className: row.class_name,
      startNs: row.start_ns,
      endNs: row.end_ns,
      size: Number(row.size),
      segment: row.segment === null ? undefined : Number(row.segment),
      channels: row.quarantine === null && isSound(row, bootId) ? decodeChannels(row.channels) : [],
    };
  }
}

type Sized = { readonly className: string; readonly size: number };

function sizedPending({ chunk, location, storedSize }: PendingChunk): Sized {
  return { className: chunk.className, size: location?.size ?? storedSize };
}

function sumByClass(chunks: readonly Sized[]): Map<string, ClassTotal> {
  const sums = new Map<string, ClassTotal>();
  for (const { className, size } of chunks) {
    const sum = sums.get(className) ?? { chunks: 0, bytes: 0 };
    sums.set(className, { chunks: sum.chunks + 1, bytes: sum.bytes + size });
  }
  return sums;
}
