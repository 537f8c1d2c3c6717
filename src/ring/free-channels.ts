/**
 * Channel ids are 16 bits and name a channel for the life of a ring. Near their end those that nothing refers to any
 * more are given free, at an opening: then no chunk is on its way, in memory or in an episode that is open.
 *
 * Bytes of evicted chunks may still lie in segment files under the old meaning of an id: the copy in `journal.db` says
 * from which chunk on an id has its new one, and a rebuild takes nothing older (rebuild.ts).
 */
import type { Channel } from "../model/channel.ts";
import type { Db } from "../store/database.ts";
import { decodeChannels } from "./packed-chunk.ts";

const ID_MAX = 65_535;
/** Below it no scan of the chunks' rows is worth its time. */
const FREE_FROM = 60_000;

/** Returns the free ids, lowest first; they are no longer among `channels`, nor in either table. */
export function freeChannels(ring: Db, journal: Db, channels: Map<number, Channel>): number[] {
  if ([...channels.keys()].every((id) => id < FREE_FROM)) return [];
  const used = new Set(ring.prepare<[], number>("SELECT DISTINCT channel_id FROM latched").pluck().all());
  for (const packed of ring.prepare<[], Buffer>("SELECT channels FROM chunk").pluck().iterate())
    for (const { channelId } of decodeChannels(packed)) used.add(channelId);
  const free = Array.from({ length: ID_MAX }, (_, index) => index + 1).filter((id) => !used.has(id));
  for (const [db, table] of [
    [journal, "ring_channel"],
    [ring, "channel"],
  ] as const) {
    const remove = db.prepare(`DELETE FROM ${table} WHERE id = ?`);
    db.transaction(() => {
      for (const id of free) if (channels.has(id)) remove.run(id);
    })();
  }
  ring.exec("DELETE FROM schema WHERE id NOT IN (SELECT schema_id FROM channel)");
  for (const id of free) channels.delete(id);
  return free;
}
