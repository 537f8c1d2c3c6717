/**
 * The ring's channels: all that were ever declared, but for those that gave their ids free.
 *
 * Each is in `ring.db`, and in a copy in `journal.db`, so that chunks whose index is lost can still be named: a chunk's
 * header has the channel's number only. Table `ring_channel`; a few kilobytes a channel, written before the ring's own
 * row. The copy has the last word; what either lacks, or has otherwise, is written with the next commit.
 */
import { isDeepStrictEqual } from "node:util";
import { crc32 } from "node:zlib";
import type { Channel } from "../model/channel.ts";
import type { Db } from "../store/database.ts";
import { freeChannels } from "./free-channels.ts";
import { inJournal } from "./ring-file.ts";
import { readChannels, writeChannel } from "./tables.ts";

export class RingChannels {
  readonly #journal: Db;
  readonly #byId = new Map<number, Channel>();
  #unsaved: Channel[] = [];
  #free: ReadonlySet<number> = new Set();
  #firstChunkId = 0;

  constructor(journal: Db) {
    this.#journal = journal;
  }

  get byId(): ReadonlyMap<number, Channel> {
    return this.#byId;
  }

  get isDirty(): boolean {
    return this.#unsaved.length > 0;
  }

  /** From a `ring.db` that was opened, and from the copy. */
  read(ring: Db): void {
    const own = new Map(readChannels(ring).map((channel) => [channel.id, channel]));
    const copied = new Map(readChannelCopy(this.#journal).map((channel) => [channel.id, channel]));
    for (const channel of new Map([...own, ...copied]).values()) {
      this.#byId.set(channel.id, channel);
      if (!isDeepStrictEqual(own.get(channel.id), copied.get(channel.id))) this.#unsaved.push(channel);
    }
  }

  declare(channel: Channel): void {
    this.#byId.set(channel.id, channel);
    this.#unsaved.push(channel);
  }

  /** At an opening whose first chunk gets this id: from it on the returned ids may mean other channels. */
  free(ring: Db, firstChunkId: number): ReadonlySet<number> {
    this.#free = new Set(freeChannels(ring, this.#journal, this.#byId));
    this.#firstChunkId = firstChunkId;
    this.#unsaved = this.#unsaved.filter(({ id }) => this.#byId.has(id));
    return this.#free;
  }

  /** Before the ring's transaction. */
  copy(): void {
    const sinceChunk = (id: number) => (this.#free.has(id) ? this.#firstChunkId : 0);
    if (this.isDirty) copyChannels(this.#journal, this.#unsaved, sinceChunk);
  }

  /** Inside the ring's transaction; `saved` after it. */
  save(ring: Db): void {
    for (const channel of this.#unsaved) writeChannel(ring, channel);
  }

  saved(): void {
    this.#unsaved = [];
  }
}

export function createChannelCopy(journal: Db): void {
  journal.exec(`CREATE TABLE ring_channel (
    id INTEGER PRIMARY KEY, body TEXT NOT NULL, crc32 INTEGER NOT NULL, since_chunk INTEGER NOT NULL) STRICT`);
}

/** Without those whose row is not what was written. */
export function readChannelCopy(journal: Db): Channel[] {
  type Row = { body: string; crc32: number };
  const rows = inJournal(() => journal.prepare<[], Row>("SELECT body, crc32 FROM ring_channel ORDER BY id").all());
  return rows.flatMap((row) => (crc32(row.body) === row.crc32 ? [JSON.parse(row.body)] : []));
}

/** By id, the first chunk in which it may mean this channel; earlier ones are of the one that had the id before. */
export function readChannelStarts(journal: Db): ReadonlyMap<number, number> {
  const sql = "SELECT id, since_chunk FROM ring_channel";
  return new Map(inJournal(() => journal.prepare<[], [number, number]>(sql).raw().all()));
}

/** A later word on the same id replaces the row, but for `sinceChunk`: the first chunk in which it may occur. */
function copyChannels(journal: Db, channels: readonly Channel[], sinceChunk: (id: number) => number): void {
  const sql = `INSERT INTO ring_channel (id, body, crc32, since_chunk) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET body = excluded.body, crc32 = excluded.crc32`;
  const copy = journal.transaction(() => {
    const upsert = journal.prepare(sql);
    for (const channel of channels) {
      const body = JSON.stringify(channel);
      upsert.run(channel.id, body, crc32(body), sinceChunk(channel.id));
    }
  });
  inJournal(copy);
}
