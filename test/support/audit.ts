/**
 * An auditor of a ring: recounts everything from the rows and the bytes of its chunks, and compares that with the
 * counters that were committed with them. It reads the files by their format, not through the ring's own code.
 *
 * To be called on a folder that nobody writes to: after a kill, after a restart, after an orderly end.
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import Database from "better-sqlite3";
import { decompressFrame } from "../../src/ring/lz4-frame.ts";

type ChunkRow = {
  readonly id: number;
  readonly boot_id: string | null;
  readonly class_name: string;
  readonly kind: string;
  readonly start_ns: bigint;
  readonly end_ns: bigint;
  readonly channels: Buffer;
  readonly body_size: number;
  readonly crc32: number;
  readonly compression: string;
  readonly stored_size: number;
  readonly stored_crc32: number;
  readonly size: number;
  readonly quarantine: string | null;
  readonly segment: number | null;
  readonly offset: number | null;
  readonly payload: Buffer | null;
};
type Entry = {
  readonly channelId: number;
  readonly count: number;
  readonly baselineCount: number;
  readonly bytes: number;
};
type Sum = { count: number; bytes: number };
type Counters = Readonly<Record<string, number | string>>;

const ENTRY_BYTES = 18;
const RECORD_BYTES = 31;

/**
 * Every violation, in words; none is the promise. `hasDamage`: bytes were destroyed on purpose, so chunks whose bytes
 * are not what their row says are no violation.
 */
export function auditRing(folder: string, { hasDamage = false } = {}): string[] {
  const db = new Database(join(folder, "ring.db"), { readonly: true, timeout: 10_000 });
  try {
    return new Audit(folder, db, hasDamage).run();
  } finally {
    db.close();
  }
}

class Audit {
  readonly #folder: string;
  readonly #db: Database.Database;
  readonly #hasDamage: boolean;
  readonly #problems: string[] = [];
  readonly #topics = new Map<number, string>();
  /** By boot and topic: what the rows that can be read answer for. */
  readonly #readable = new Map<string, Sum>();
  /** By boot and channel: the numbers of the messages that lie there. */
  readonly #sequences = new Map<string, Set<number>>();
  /** By boot and channel: how many messages of the chunks that were read the rows answer for. */
  readonly #answered = new Map<string, number>();

  constructor(folder: string, db: Database.Database, hasDamage: boolean) {
    this.#folder = folder;
    this.#db = db;
    this.#hasDamage = hasDamage;
  }

  run(): string[] {
    const check = this.#db.pragma("integrity_check", { simple: true });
    if (check !== "ok") return [`ring.db: ${String(check)}`];
    for (const { id, topic } of this.#all<{ id: number; topic: string }>("SELECT id, topic FROM channel"))
      this.#topics.set(id, topic);
    const totals = new Map<string, Sum>();
    const perSegment = new Map<number, { start: number; end: number; chunk: number }[]>();
    for (const row of this.#rows()) {
      add(totals, row.class_name, 1, row.size);
      if (row.segment !== null && row.offset !== null) {
        const places = perSegment.get(row.segment) ?? [];
        perSegment.set(row.segment, places);
        places.push({ start: row.offset, end: row.offset + row.size, chunk: row.id });
      }
      this.#auditChunk(row);
    }
    this.#auditTotals(totals);
    this.#auditSegments(perSegment);
    this.#auditCopies();
    this.#auditCounters();
    return this.#problems;
  }

  #all<Row>(sql: string): Row[] {
    return this.#db.prepare<[], Row>(sql).all();
  }

  /** One after the other: a ring is larger than memory. */
  *#rows(): Generator<ChunkRow> {
    const query = this.#db
      .prepare<[bigint], Record<string, unknown>>(
        `SELECT chunk.*, boot_id FROM chunk LEFT JOIN boot ON boot.id = chunk.boot
         WHERE chunk.id > ? ORDER BY chunk.id LIMIT 64`,
      )
      .safeIntegers();
    let after = -1n;
    for (;;) {
      const page = query.all(after);
      for (const row of page) {
        const plain: Record<string, unknown> = {};
        for (const [name, value] of Object.entries(row))
          plain[name] = typeof value === "bigint" && !name.endsWith("_ns") ? Number(value) : value;
        // The columns are those of the format; what is wrong in them shows below.
        yield plain as unknown as ChunkRow;
      }
      const last = page.at(-1)?.id;
      if (typeof last !== "bigint") return;
      after = last;
    }
  }

  #say(problem: string): void {
    this.#problems.push(problem);
  }

  #auditChunk(row: ChunkRow): void {
    const name = `chunk ${row.id}`;
    if (row.boot_id === null) this.#say(`${name} is of no boot`);
    const entries = entriesOf(row.channels);
    for (const { channelId } of entries)
      if (!this.#topics.has(channelId)) this.#say(`${name}: channel ${channelId} was never declared`);
    if (row.quarantine !== null) return;
    for (const entry of entries) {
      const key = `${row.boot_id} ${this.#topics.get(entry.channelId)}`;
      add(this.#readable, key, entry.count - entry.baselineCount, answeredBytes(entry));
    }
    const body = this.#bodyOf(row);
    if (typeof body === "string") {
      if (!this.#hasDamage) this.#say(`${name}: ${body}`);
      return;
    }
    this.#auditBody(row, entries, body);
  }

  #auditBody(row: ChunkRow, entries: readonly Entry[], body: Uint8Array): void {
    const found = new Map<number, Sum>();
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    let [first, last] = [2n ** 63n, 0n];
    for (let offset = 0; offset < body.length; ) {
      const size = Number(view.getBigUint64(offset + 1, true)) + 9;
      const channelId = view.getUint16(offset + 9, true);
      const timeNs = view.getBigUint64(offset + 15, true);
      add(found, channelId, 1, size - RECORD_BYTES);
      const key = `${row.boot_id} ${channelId}`;
      const sequences = this.#sequences.get(key) ?? new Set();
      this.#sequences.set(key, sequences.add(view.getUint32(offset + 11, true)));
      if (timeNs < first) first = timeNs;
      if (timeNs > last) last = timeNs;
      offset += size;
    }
    if (first !== row.start_ns || last !== row.end_ns) this.#say(`chunk ${row.id}: its times are not its messages'`);
    if (found.size !== entries.length) this.#say(`chunk ${row.id} holds other channels than its row says`);
    for (const { channelId, count, bytes, baselineCount } of entries) {
      const got = found.get(channelId);
      if (got?.count !== count || got.bytes !== bytes)
        this.#say(
          `chunk ${row.id}, channel ${channelId}: ${got?.count} of ${count} messages, ${got?.bytes} of ${bytes} bytes`,
        );
      const key = `${row.boot_id} ${channelId}`;
      this.#answered.set(key, (this.#answered.get(key) ?? 0) + count - baselineCount);
    }
  }

  /** Or why not. */
  #bodyOf(row: ChunkRow): Uint8Array | string {
    const stored = row.segment === null ? (row.payload ?? new Uint8Array(0)) : this.#segmentBytes(row);
    if (typeof stored === "string") return stored;
    if (stored.length !== row.stored_size) return "its size is not its row's";
    if (crc32(stored) !== row.stored_crc32) return "its bytes do not match their checksum";
    const body = row.compression === "lz4" ? decompressFrame(stored, row.body_size) : stored;
    return body.length === row.body_size && crc32(body) === row.crc32 ? body : "its body does not match its checksum";
  }

  #segmentBytes(row: ChunkRow): Uint8Array | string {
    const path = join(this.#folder, "segments", `${String(row.segment).padStart(8, "0")}.seg`);
    if (!existsSync(path)) return "its segment file is gone";
    const bytes = Buffer.alloc(row.size);
    const fd = openSync(path, "r");
    try {
      readSync(fd, bytes, 0, row.size, row.offset ?? 0);
    } finally {
      closeSync(fd);
    }
    if (bytes.toString("latin1", 0, 4) !== "LODE" || Number(bytes.readBigUInt64LE(8)) !== row.id)
      return "another chunk lies in its place";
    const header = bytes.readUInt16LE(6);
    if (crc32(bytes.subarray(0, header - 4)) !== bytes.readUInt32LE(header - 4)) return "its header is damaged";
    const channels = bytes.subarray(header - 4 - row.channels.length, header - 4);
    if (!channels.equals(row.channels)) return "its header names other channels than its row";
    return bytes.subarray(header, header + row.stored_size);
  }

  #auditTotals(totals: ReadonlyMap<string, Sum>): void {
    type Total = { class_name: string; chunks: number; bytes: number };
    const written = new Map(this.#all<Total>("SELECT * FROM class_total").map((total) => [total.class_name, total]));
    for (const name of new Set([...totals.keys(), ...written.keys()])) {
      const { count = 0, bytes = 0 } = totals.get(name) ?? {};
      const total = written.get(name);
      if ((total?.chunks ?? 0) !== count || (total?.bytes ?? 0) !== bytes)
        this.#say(`class ${name}: ${total?.chunks} chunks of ${total?.bytes} bytes; its rows: ${count} of ${bytes}`);
    }
  }

  #auditSegments(perSegment: ReadonlyMap<number, { start: number; end: number; chunk: number }[]>): void {
    type Segment = { id: number; used: number; chunks: number; size: number };
    const segments = new Map(this.#all<Segment>("SELECT * FROM segment").map((segment) => [segment.id, segment]));
    for (const [id, { chunks }] of segments)
      if (chunks !== (perSegment.get(id)?.length ?? 0))
        this.#say(`segment ${id}: ${chunks} chunks; rows name ${perSegment.get(id)?.length ?? 0}`);
    for (const [id, places] of perSegment) {
      const segment = segments.get(id);
      if (segment === undefined) this.#say(`segment ${id} has chunks and no row`);
      const ordered = places.toSorted((a, b) => a.start - b.start);
      for (const [index, { start, end, chunk }] of ordered.entries()) {
        if (start < (ordered[index - 1]?.end ?? 0)) this.#say(`segment ${id}: chunk ${chunk} lies in another`);
        if (segment !== undefined && end > segment.used) this.#say(`segment ${id}: chunk ${chunk} lies beyond its end`);
      }
    }
  }

  /** Who can be read is accounted for as stored, once. */
  #auditCopies(): void {
    for (const [key, sequences] of this.#sequences)
      if (sequences.size !== this.#answered.get(key))
        this.#say(`boot and channel ${key}: ${sequences.size} messages lie there, ${this.#answered.get(key)} counted`);
  }

  #auditCounters(): void {
    const counters = this.#all<Counters>("SELECT * FROM count");
    const seen = new Set<string>();
    for (const row of counters) {
      const key = `${row.boot_id} ${row.topic}`;
      seen.add(key);
      const [first] = this.#db
        .prepare<unknown[], { count: number | null; bytes: number | null }>(
          `SELECT sum(count) AS count, ${this.#hasBytes() ? "sum(bytes)" : "0"} AS bytes FROM drop_count
           WHERE boot_id = ? AND topic = ?`,
        )
        .all(row.boot_id, row.topic);
      this.#auditIdentity(key, row, "", first?.count ?? 0);
      if (this.#hasBytes()) this.#auditIdentity(key, row, "_bytes", first?.bytes ?? 0);
    }
    for (const [key, { count }] of this.#readable)
      if (!seen.has(key) && count > 0) this.#say(`${key}: ${count} messages are stored, and nothing counts them`);
  }

  /** `unit`: "" for messages, "_bytes" for their payload. */
  #auditIdentity(key: string, row: Counters, unit: "" | "_bytes", dropped: number): void {
    const of = (name: string) => Number(row[name + unit] ?? 0);
    const readable = this.#readable.get(key)?.[unit === "" ? "count" : "bytes"] ?? 0;
    const line = `${key}${unit}: ${JSON.stringify(row)}, dropped ${dropped}, in rows ${readable}`;
    for (const [name, value] of Object.entries(row))
      if (typeof value === "number" && value < 0) this.#say(`negative ${name}: ${line}`);
    if (of("received") !== of("in_memory") + of("stored") + of("reduced") + dropped)
      this.#say(`received is not in memory + stored + reduced + dropped: ${line}`);
    if (of("stored") - of("evicted") !== readable) this.#say(`stored is not what the rows hold + evicted: ${line}`);
  }

  /** Rings made before format 2 count bytes of two terms only. */
  #hasBytes(): boolean {
    return this.#db.prepare("SELECT 1 FROM pragma_table_info('drop_count') WHERE name = 'bytes'").get() !== undefined;
  }
}

function entriesOf(packed: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let offset = 0; offset < packed.length; offset += ENTRY_BYTES)
    entries.push({
      channelId: packed.readUInt16LE(offset),
      count: packed.readUInt32LE(offset + 2),
      baselineCount: packed.readUInt32LE(offset + 6),
      bytes: Number(packed.readBigUInt64LE(offset + 10)),
    });
  return entries;
}

/** Of format 1, where a full chunk repeats messages of baseline chunks: their share, as it was counted then. */
function answeredBytes({ bytes, count, baselineCount }: Entry): number {
  return baselineCount === 0 ? bytes : Math.round((bytes * (count - baselineCount)) / count);
}

function add<Key>(sums: Map<Key, Sum>, key: Key, count: number, bytes: number): void {
  const sum = sums.get(key) ?? { count: 0, bytes: 0 };
  sums.set(key, { count: sum.count + count, bytes: sum.bytes + bytes });
}
