/**
 * The ring's tables in `ring.db`: one row per chunk, always.
 *
 * A chunk's bytes lie inline in its row (`payload`) or at (`segment`, `offset`) in a segment file; `size` is what
 * they take on disk, header and alignment included. `class_total` and `segment.chunks` are kept by the same
 * transactions as the rows, so that nothing has to be counted at opening. All instants are INTEGER ns.
 */

import { crc32 } from "node:zlib";
import type { Channel, MessageEncoding, SchemaEncoding } from "../model/channel.ts";
import { type BootAnchor, powerOnNs } from "../model/chunk.ts";
import type { CountedRow } from "../model/count-change.ts";
import { Fault } from "../std/fault.ts";
import type { Db } from "../store/database.ts";
import { accountedAmount, decodeChannels } from "./packed-chunk.ts";

export const RING_FILE = "ring.db";
export const RING_FORMAT = 2;
export const SEGMENTS_FOLDER = "segments";

/**
 * What a chunk may span at most. The builder closes one after a second; a reader that looks for what touches an
 * instant looks back so far by start time.
 */
export const CHUNK_SPAN_NS_MAX = 10_000_000_000n;

export function segmentFileName(id: number): string {
  return `${String(id).padStart(8, "0")}.seg`;
}

/** undefined: no name of a segment file. */
export function segmentIdOf(name: string): number | undefined {
  const digits = /^(\d{8,})\.seg$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

export function createRingTables(db: Db): void {
  db.exec(`
    CREATE TABLE boot (
      id INTEGER PRIMARY KEY, boot_id TEXT NOT NULL UNIQUE, monotonic_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
      last_commit_ns INTEGER NOT NULL, is_closed INTEGER NOT NULL, is_capturing INTEGER NOT NULL);
    CREATE TABLE schema (
      id INTEGER PRIMARY KEY, name TEXT NOT NULL, encoding TEXT NOT NULL, text TEXT NOT NULL,
      UNIQUE (name, encoding, text));
    CREATE TABLE channel (
      id INTEGER PRIMARY KEY, topic TEXT NOT NULL, schema_id INTEGER NOT NULL REFERENCES schema (id),
      message_encoding TEXT NOT NULL, class_name TEXT NOT NULL, is_local INTEGER NOT NULL, is_latched INTEGER NOT NULL);
    CREATE TABLE chunk (
      id INTEGER PRIMARY KEY, boot INTEGER NOT NULL REFERENCES boot (id), class_name TEXT NOT NULL,
      is_local INTEGER NOT NULL, kind TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,
      channels BLOB NOT NULL, body_size INTEGER NOT NULL, crc32 INTEGER NOT NULL, compression TEXT NOT NULL,
      stored_size INTEGER NOT NULL, stored_crc32 INTEGER NOT NULL, size INTEGER NOT NULL, quarantine TEXT,
      segment INTEGER, offset INTEGER, payload BLOB);
    CREATE INDEX chunk_by_time ON chunk (start_ns);
    CREATE INDEX chunk_by_class ON chunk (class_name, start_ns);
    CREATE TABLE segment (
      id INTEGER PRIMARY KEY, sequence TEXT NOT NULL, size INTEGER NOT NULL, used INTEGER NOT NULL,
      chunks INTEGER NOT NULL);
    CREATE TABLE class_total (
      class_name TEXT PRIMARY KEY, chunks INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE latched (
      channel_id INTEGER NOT NULL REFERENCES channel (id), log_time_ns INTEGER NOT NULL, boot INTEGER NOT NULL,
      sequence INTEGER NOT NULL, publish_time_ns INTEGER NOT NULL, bytes BLOB NOT NULL,
      PRIMARY KEY (channel_id, log_time_ns, sequence));
  `);
}

/** What every chunk's row answers for, per topic. */
export function* countedRows(db: Db): Generator<CountedRow> {
  const topics = new Map(db.prepare<[], [number, string]>("SELECT id, topic FROM channel").raw().all());
  type Row = { boot_id: string; channels: Buffer; quarantine: string | null };
  const page = db.prepare<[number], Row & { id: number }>(
    `SELECT chunk.id, boot_id, channels, quarantine FROM chunk JOIN boot ON boot.id = boot
     WHERE chunk.id > ? ORDER BY chunk.id LIMIT 1000`,
  );
  for (let rows = page.all(0); rows.length > 0; rows = page.all(rows.at(-1)?.id ?? 0))
    for (const { boot_id: bootId, channels, quarantine } of rows)
      for (const channel of decodeChannels(channels)) {
        const topic = topics.get(channel.channelId) ?? `channel ${channel.channelId}`;
        yield { bootId, topic, isQuarantined: quarantine !== null, ...accountedAmount(channel) };
      }
}

type ChannelRow = {
  readonly id: number;
  readonly topic: string;
  readonly name: string;
  readonly encoding: string;
  readonly text: string;
  readonly message_encoding: string;
  readonly class_name: string;
  readonly is_local: number;
  readonly is_latched: number;
  readonly seal: number | null;
};

/** Rows that are not what was written are left out. */
export function readChannels(db: Db): Channel[] {
  const rows = db
    .prepare<[], ChannelRow>("SELECT channel.*, name, encoding, text FROM channel JOIN schema ON schema.id = schema_id")
    .all();
  return rows.filter(isSealed).map((row) => ({
    id: row.id,
    topic: row.topic,
    schema: { name: row.name, encoding: schemaEncoding(row.encoding), text: row.text },
    messageEncoding: messageEncoding(row.message_encoding),
    className: row.class_name,
    isLocal: row.is_local !== 0,
    isLatched: row.is_latched !== 0,
  }));
}

function isSealed(row: ChannelRow): boolean {
  const { id, topic, name, encoding, text, seal } = row;
  const said = [row.message_encoding, row.class_name, row.is_local, row.is_latched];
  return seal === null || seal === crc32(JSON.stringify([id, topic, name, encoding, text, ...said]));
}

/** A later word on the same id (it turned out to be latched) replaces the row. */
export function writeChannel(db: Db, channel: Channel): void {
  const { name, encoding, text } = channel.schema;
  db.prepare("INSERT OR IGNORE INTO schema (name, encoding, text) VALUES (?, ?, ?)").run(name, encoding, text);
  // By the table, not by its index: where damage made the two differ, a reader would not find the schema.
  const schema = db
    .prepare<[string, string, string], { id: number }>(
      "SELECT id FROM schema NOT INDEXED WHERE name = ? AND encoding = ? AND text = ?",
    )
    .get(name, encoding, text);
  if (schema === undefined)
    throw new Fault("corrupt_ring", `The schema ${name} is in its index and not in its table.`, "It is made anew.");
  const { id, topic, messageEncoding: asMessage, className } = channel;
  const said = [asMessage, className, Number(channel.isLocal), Number(channel.isLatched)];
  const seal = crc32(JSON.stringify([id, topic, name, encoding, text, ...said]));
  db.prepare(
    `INSERT INTO channel (id, topic, schema_id, message_encoding, class_name, is_local, is_latched, seal)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET topic = excluded.topic,
       schema_id = excluded.schema_id, message_encoding = excluded.message_encoding,
       class_name = excluded.class_name, is_local = excluded.is_local, is_latched = excluded.is_latched,
       seal = excluded.seal`,
  ).run(id, topic, schema.id, ...said, seal);
}

export type BootRow = {
  readonly id: number;
  readonly bootId: string;
  /** log_time at which its monotonic clock began. */
  readonly powerOnNs: bigint;
  /** log_time up to which the last commit had everything of that opening. */
  readonly lastCommitNs: bigint;
  readonly isClosed: boolean;
  /** It ended while an episode's data was still owed to the disk. */
  readonly isCapturing: boolean;
  /** Start of the oldest chunk that was owed at the last commit. */
  readonly owedNs: bigint | undefined;
  /** False: `lastCommitNs` is only its start, or what a rebuild has found so far. */
  readonly isEndKnown: boolean;
};

/** The boots, oldest first. */
export function readBoots(db: Db): BootRow[] {
  type Numbers = Record<
    "id" | "monotonic_ns" | "wall_ns" | "last_commit_ns" | "is_closed" | "is_capturing" | "openings",
    bigint
  >;
  type Row = Numbers & { readonly boot_id: string; readonly owed_ns: bigint | null };
  const numbers = "id, monotonic_ns, wall_ns, last_commit_ns, is_closed, is_capturing, openings";
  // By their names: where damage changed one, SQLite says so.
  const sql = `SELECT ${numbers}, boot_id, owed_ns FROM boot ORDER BY id`;
  const rows = db.prepare<[], Row>(sql).safeIntegers().all();
  return rows.map((row) => ({
    id: Number(row.id),
    bootId: row.boot_id,
    powerOnNs: row.wall_ns - row.monotonic_ns,
    lastCommitNs: row.last_commit_ns,
    isClosed: row.is_closed !== 0n,
    isCapturing: row.is_capturing !== 0n,
    owedNs: row.owed_ns ?? undefined,
    isEndKnown: row.openings > 0n,
  }));
}

export type OpenedBoot = {
  readonly id: number;
  /** Processes that opened the ring in this boot, this one too. */
  readonly openings: number;
  /** Where counters were lost, what no channel's had got to; else 0. */
  readonly sequenceFloor: number;
  /** No chunk has got this id or one above it. */
  readonly firstChunkId: number;
};

/** Marks the boot as open, adding it if it is new. */
export function openBoot(db: Db, anchor: BootAnchor, nowNs: bigint, firstChunkId: number): OpenedBoot {
  db.prepare(
    `INSERT INTO boot (boot_id, monotonic_ns, wall_ns, last_commit_ns, is_closed, is_capturing, sequence_floor,
         first_chunk_id)
     VALUES (?, ?, ?, ?, 0, 0, ?, ?) ON CONFLICT (boot_id) DO UPDATE SET is_closed = 0, is_capturing = 0,
       owed_ns = NULL, openings = max(openings, 1) + 1, last_commit_ns = excluded.last_commit_ns,
       sequence_floor = max(sequence_floor, excluded.sequence_floor), first_chunk_id = excluded.first_chunk_id`,
  ).run(anchor.bootId, anchor.monotonicNs, anchor.wallNs, nowNs, sequenceFloorOf(db, anchor, nowNs), firstChunkId);
  return (
    db
      .prepare<[string], OpenedBoot>(
        `SELECT id, openings, sequence_floor AS sequenceFloor, first_chunk_id AS firstChunkId FROM boot
         WHERE boot_id = ?`,
      )
      .get(anchor.bootId) ?? fail("The boot's row is missing.")
  );
}

/** Half of all numbers (u32), and on as time goes on: counters may be lost in a boot more than once. */
function sequenceFloorOf(db: Db, anchor: BootAnchor, nowNs: bigint): number {
  if (db.prepare("SELECT 1 FROM rebuild WHERE state = 'uncounted'").get() === undefined) return 0;
  return 2 ** 31 + (Number((nowNs - powerOnNs(anchor)) / 1_000_000n) % 2 ** 30);
}

export function bootNumbers(db: Db): Map<string, number> {
  return new Map(readBoots(db).map(({ id, bootId }) => [bootId, id]));
}

/** A row of the journal's table `boot`, as far as a ring needs it. */
export type KnownBoot = { readonly boot_id: string; readonly monotonic_ns: bigint; readonly wall_ns: bigint };

/** A boot that is over and has no row yet; `number`: after all others unless told. Returns its number. */
export function addKnownBoot(db: Db, { boot_id, monotonic_ns, wall_ns }: KnownBoot, number?: number): number {
  const { lastInsertRowid } = db
    .prepare(
      `INSERT INTO boot (id, boot_id, monotonic_ns, wall_ns, last_commit_ns, is_closed, is_capturing, openings)
       VALUES (?, ?, ?, ?, ?, 1, 0, 0)`,
    )
    .run(number, boot_id, monotonic_ns, wall_ns, wall_ns);
  return Number(lastInsertRowid);
}

function messageEncoding(text: string): MessageEncoding {
  if (text === "ros1" || text === "cdr" || text === "msgpack" || text === "json") return text;
  return fail(`Unknown message encoding "${text}".`);
}

function schemaEncoding(text: string): SchemaEncoding {
  if (text === "ros1msg" || text === "ros2msg" || text === "jsonschema" || text === "") return text;
  return fail(`Unknown schema encoding "${text}".`);
}

function fail(reason: string): never {
  throw new Fault("corrupt_ring", `ring.db is damaged. ${reason}`, "Move ring.db away; episodes are not in it.");
}
