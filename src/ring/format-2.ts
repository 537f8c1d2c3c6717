/**
 * `ring.db` from format 1 to format 2. **Not released yet: whoever needs another change of these tables adds it here.**
 *
 * Order is by boot, then by log_time: the clock of a boot may be behind that of the boot before it.
 *
 * Rows that say what a message is carry a seal, a CRC-32 of what they say: SQLite has no checksums, and a flipped bit
 * must not become another topic's message. NULL: the row is of format 1. Table `rebuild` has a row while the index is
 * not whole: from the making of the file until all that lay in the folder is in it (rebuild.ts).
 *
 * `boot.openings`: how often a process opened the ring in that boot; each gives messages other numbers. `boot.owed_ns`:
 * how far back goes what was owed to the disk at the last commit, and lost if the process was killed.
 * 0 openings: the row was made from `journal.db`, and nobody knows up to when the boot was recorded. `sequence_floor`:
 * numbers up to it may have been given to messages that no counter knows of. `first_chunk_id`: of its last opening.
 */
import type { Db } from "../store/database.ts";
import { createPaceTable } from "./pace.ts";

export function toRingFormat2(db: Db): void {
  db.exec(`
    DROP INDEX chunk_by_time;
    CREATE INDEX chunk_by_time ON chunk (boot, start_ns);
    DROP INDEX chunk_by_class;
    CREATE INDEX chunk_by_class ON chunk (class_name, boot, start_ns, end_ns);
    CREATE TABLE latched_2 (
      channel_id INTEGER NOT NULL REFERENCES channel (id), log_time_ns INTEGER NOT NULL, boot INTEGER NOT NULL,
      sequence INTEGER NOT NULL, publish_time_ns INTEGER NOT NULL, bytes BLOB NOT NULL, seal INTEGER,
      PRIMARY KEY (channel_id, boot, log_time_ns, sequence));
    INSERT INTO latched_2 SELECT channel_id, log_time_ns, boot, sequence, publish_time_ns, bytes, NULL FROM latched;
    DROP TABLE latched;
    ALTER TABLE latched_2 RENAME TO latched;
    ALTER TABLE chunk ADD COLUMN seal INTEGER;
    ALTER TABLE channel ADD COLUMN seal INTEGER;
    ALTER TABLE boot ADD COLUMN openings INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE boot ADD COLUMN owed_ns INTEGER;
    ALTER TABLE boot ADD COLUMN sequence_floor INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE boot ADD COLUMN first_chunk_id INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE rebuild (
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), state TEXT NOT NULL,
      after_id INTEGER NOT NULL, first_free_id INTEGER NOT NULL);
    INSERT INTO rebuild SELECT 1, 'due', 0, 0 WHERE NOT EXISTS (SELECT 1 FROM boot);
  `);
  createPaceTable(db);
}
