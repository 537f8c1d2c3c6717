/** What a data folder holds, as text that can be kept and compared: the messages, and the rows of journal.db. */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { EpisodeTable } from "../../src/capture/episode-table.ts";
import { readLosses } from "../../src/ledger/ledger.ts";
import type { RingMessage } from "../../src/ring/message-record.ts";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { type Db, openDatabaseForReading } from "../../src/store/database.ts";
import { CAMERA, LIGHT, topicClass } from "../ring/ring-rig.ts";

export type Listing = {
  readonly channels: readonly unknown[];
  readonly messages: readonly string[];
  readonly latched: readonly string[];
  readonly episodes: readonly unknown[];
  readonly losses: readonly object[];
  readonly batches: readonly unknown[];
  readonly receipts: readonly unknown[];
};

/** Of the rings in kept folders. */
export const OLD_CLASSES = [LIGHT, CAMERA, topicClass("cloud", { tier: "disk", rank: 1, memoryBytesMax: 0 })];

const EVER = { startNs: 0n, endNs: 2n ** 62n };

export function listFolder(folder: string): Listing {
  const journal = openDatabaseForReading(join(folder, "journal.db"));
  try {
    using reader = RingReader.open(folder);
    return plain({
      channels: [...reader.channels().values()],
      messages: [...reader.messages(EVER)].map(describe),
      latched: reader.latched(EVER.endNs).map(describe),
      episodes: new EpisodeTable(journal).list(100),
      losses: readLosses(journal, EVER.startNs, EVER.endNs),
      batches: rowsOf(journal, "batch"),
      receipts: rowsOf(journal, "receipt"),
    });
  } finally {
    journal.close();
  }
}

function describe({ bootId, channelId, sequence, logTimeNs, publishTimeNs, bytes }: RingMessage): string {
  return [bootId, channelId, sequence, logTimeNs, publishTimeNs, bytes.length, crc32(bytes)].join(" ");
}

function rowsOf(journal: Db, table: string): unknown[] {
  return journal.prepare(`SELECT * FROM ${table} ORDER BY 1`).safeIntegers().all();
}

function plain(listing: Listing): Listing {
  return JSON.parse(JSON.stringify(listing, (_, value) => (typeof value === "bigint" ? String(value) : value)));
}
