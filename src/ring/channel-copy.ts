/**
 * A copy of every channel in `journal.db`, so that chunks whose index is lost can still be named: a chunk's header
 * has the channel's number only. Table `ring_channel`; a few kilobytes a channel, written before the ring's own row.
 */
import { crc32 } from "node:zlib";
import type { Channel } from "../model/channel.ts";
import type { Db } from "../store/database.ts";
import { inJournal } from "./ring-file.ts";

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
export function copyChannels(journal: Db, channels: readonly Channel[], sinceChunk: (id: number) => number): void {
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
