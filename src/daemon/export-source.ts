/**
 * Where an export reads from: files by their path, an episode by its id, or else a range of the ring.
 *
 * The data folder is read as it lies, so it works beside a running daemon, without one, and over a copied folder. A
 * daemon that runs on this folder is asked first for what it has in memory only.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { BatchStore } from "../batch/batch-store.ts";
import { EpisodeTable } from "../capture/episode-table.ts";
import { streamFromDaemon } from "../control/client.ts";
import { McapSource } from "../export/mcap-source.ts";
import { readLosses, readTopicCounts } from "../ledger/ledger.ts";
import type { FileAccounting } from "../model/accounting.ts";
import type { Episode } from "../model/episode.ts";
import { MemorySpool } from "../ring/memory-spool.ts";
import { RingReader } from "../ring/ring-reader.ts";
import { Fault } from "../std/fault.ts";
import { openDatabaseForReading } from "../store/database.ts";
import { silentLog } from "../telemetry/log.ts";
import { batchFolder } from "./journal.ts";

/** Ends that a person gave; what is left open is the source's own. */
export type ExportRange = { readonly startNs: bigint | undefined; readonly endNs: bigint | undefined };
export type ExportSource = {
  readonly source: RingReader | McapSource;
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** What the ledger says of the range; undefined: there is none beside the files. */
  readonly accounting: ((wantsTopic: (topic: string) => boolean) => FileAccounting) | undefined;
};

const EVER = { startNs: 0n, endNs: 2n ** 63n - 1n };

/** Where the ring lies, where its daemon answers if one runs, and where there is room beside the export. */
export type ExportPlace = { readonly folder: string; readonly socket: string; readonly spoolFolder: string };

/** The caller disposes of `source`. Of the topics only those of the memory tier are chosen here. Throws `Fault`. */
export async function openExportSource(
  ids: readonly string[],
  place: ExportPlace,
  given: ExportRange,
  topics: readonly string[],
): Promise<ExportSource> {
  const { folder } = place;
  const within = (whole: { startNs: bigint; endNs: bigint }) => ({
    startNs: given.startNs ?? whole.startNs,
    endNs: given.endNs ?? whole.endNs,
  });
  if (ids.length > 0 && ids.every((id) => existsSync(id)))
    return { source: await McapSource.open(ids), ...within(EVER), accounting: undefined };
  if (!existsSync(join(folder, "ring.db")))
    throw new Fault(
      "no_ring",
      `There is no ring in ${folder}.`,
      "Give --config of the robot's configuration, or name received .mcap files.",
    );
  const [id, ...more] = ids;
  if (more.length > 0)
    throw new Fault(
      "bad_usage",
      "Only one episode at a time.",
      "Export them one after the other, or name .mcap files.",
    );
  if (id === undefined) {
    if (given.startNs === undefined)
      throw new Fault("bad_usage", "What is to be exported?", "Name an episode, .mcap files, or --from and --to.");
    return await openRing(place, within(EVER), topics);
  }
  const { episode, files } = findEpisode(folder, id);
  // Batches that still wait here are whole whatever the ring has evicted since.
  if (files.length > 0)
    return { source: await McapSource.open(files), ...within(EVER), accounting: accountingOf(folder, episode) };
  return await openRing(place, within(episode), topics);
}

async function openRing(
  place: ExportPlace,
  range: { readonly startNs: bigint; readonly endNs: bigint },
  topics: readonly string[],
): Promise<ExportSource> {
  const memory = await readMemoryTier(place, range, topics);
  return { source: RingReader.open(place.folder, { memory }), ...range, accounting: accountingOf(place.folder, range) };
}

type LedgerRange = { readonly startNs: bigint; readonly endNs: bigint; readonly bootId?: string };

/** Read when it is asked for: losses are told late. */
function accountingOf(folder: string, { startNs, endNs, bootId }: LedgerRange): ExportSource["accounting"] {
  if (!existsSync(join(folder, "journal.db")) || !existsSync(join(folder, "ring.db"))) return undefined;
  return (wantsTopic) => {
    const journal = openDatabaseForReading(join(folder, "journal.db"));
    const ring = openDatabaseForReading(join(folder, "ring.db"));
    try {
      const losses = readLosses(journal, startNs, endNs, bootId === undefined ? {} : { bootId });
      return {
        losses: losses.filter(({ topic }) => topic === "" || wantsTopic(topic)),
        counters: readTopicCounts(ring, bootId).filter(({ topic }) => wantsTopic(topic)),
      };
    } finally {
      journal.close();
      ring.close();
    }
  };
}

/** undefined: no daemon runs on this folder. */
async function readMemoryTier(
  { folder, socket, spoolFolder }: ExportPlace,
  { startNs, endNs }: { readonly startNs: bigint; readonly endNs: bigint },
  topics: readonly string[],
): Promise<MemorySpool | undefined> {
  const request = { folder: resolve(folder), start_ns: String(startNs), end_ns: String(endNs), topics };
  try {
    return await MemorySpool.receive(streamFromDaemon(socket, "/v1/memory", request), spoolFolder);
  } catch (error) {
    if (error instanceof Fault && NO_DAEMON.has(error.code)) return undefined;
    throw error;
  }
}

const NO_DAEMON: ReadonlySet<string> = new Set(["not_running", "other_ring"]);

function findEpisode(folder: string, id: string): { episode: Episode; files: readonly string[] } {
  const journal = openDatabaseForReading(join(folder, "journal.db"));
  try {
    const { episode } = new EpisodeTable(journal).find(id);
    const batches = BatchStore.open(journal, batchFolder(folder), silentLog).ofEpisode(episode.id);
    return {
      episode,
      files: batches.filter(({ kind, path }) => kind !== "meta" && existsSync(path)).map(({ path }) => path),
    };
  } finally {
    journal.close();
  }
}
