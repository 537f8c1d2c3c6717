/**
 * The counters of a ring whose index is being rebuilt: all that was stored is presumed lost, counted as dropped with
 * the reason `unindexed`, until its chunk is found again. So every identity holds in every transaction, and what
 * remains in the end is the loss, to the message.
 */
import type { Amount, TopicAmount } from "../model/count-change.ts";
import type { Db } from "../store/database.ts";

const PRESUMED = "unindexed";

/** Inside the transaction that begins the rebuild. */
export function presumeLost(ring: Db): void {
  ring.exec(`
    INSERT INTO drop_count (boot_id, topic, reason, count, bytes)
      SELECT boot_id, topic, '${PRESUMED}', stored - evicted, stored_bytes - evicted_bytes FROM count
        WHERE stored > evicted
      ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes;
    UPDATE count SET stored = evicted, stored_bytes = evicted_bytes WHERE stored > evicted;
  `);
}

/**
 * Inside the transaction that adds the rows. More than was presumed lost had been evicted, and its bytes were not
 * overwritten yet; more than that was committed by nobody, or counted in counters that are gone.
 */
export function countFound(ring: Db, { bootId, topic, count, bytes }: TopicAmount): void {
  const amountOf = (sql: string): Amount =>
    ring.prepare<[string, string], Amount>(sql).get(bootId, topic) ?? { count: 0, bytes: 0 };
  const presumed = least(
    { count, bytes },
    amountOf(`SELECT count, bytes FROM drop_count WHERE boot_id = ? AND topic = ? AND reason = '${PRESUMED}'`),
  );
  const evicted = least(
    { count: count - presumed.count, bytes: bytes - presumed.bytes },
    amountOf("SELECT evicted AS count, evicted_bytes AS bytes FROM count WHERE boot_id = ? AND topic = ?"),
  );
  ring
    .prepare(
      `UPDATE drop_count SET count = count - ?, bytes = bytes - ?
         WHERE boot_id = ? AND topic = ? AND reason = '${PRESUMED}'`,
    )
    .run(presumed.count, presumed.bytes, bootId, topic);
  ring
    .prepare(
      `INSERT INTO count (boot_id, topic, received, received_bytes, in_memory, stored, stored_bytes, reduced, evicted)
         VALUES (:bootId, :topic, :unknown, :unknownBytes, 0, :stored, :storedBytes, 0, 0)
       ON CONFLICT DO UPDATE SET received = received + :unknown, received_bytes = received_bytes + :unknownBytes,
         stored = stored + :stored, stored_bytes = stored_bytes + :storedBytes,
         evicted = evicted - :evicted, evicted_bytes = evicted_bytes - :evictedBytes`,
    )
    .run({
      ...{ bootId, topic, evicted: evicted.count, evictedBytes: evicted.bytes },
      ...{ stored: count - evicted.count, storedBytes: bytes - evicted.bytes },
      unknown: count - presumed.count - evicted.count,
      unknownBytes: bytes - presumed.bytes - evicted.bytes,
    });
}

/** What was not found again. */
export function lostTopics(ring: Db): TopicAmount[] {
  return ring
    .prepare<[], TopicAmount>(
      `SELECT boot_id AS bootId, topic, count, bytes FROM drop_count WHERE reason = '${PRESUMED}' AND count > 0`,
    )
    .all();
}

/** Inside the transaction that ends the rebuild: what stays lost is counted as `damaged_ring` from now on. */
export function settleLost(ring: Db): void {
  ring.exec(`
    INSERT INTO drop_count (boot_id, topic, reason, count, bytes)
      SELECT boot_id, topic, 'damaged_ring', count, bytes FROM drop_count WHERE reason = '${PRESUMED}'
        AND (count > 0 OR bytes <> 0)
      ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes;
    DELETE FROM drop_count WHERE reason = '${PRESUMED}';
  `);
}

function least(a: Amount, b: Amount): Amount {
  return { count: Math.min(a.count, b.count), bytes: Math.min(a.bytes, b.bytes) };
}
