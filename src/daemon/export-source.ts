/**
 * Where an export reads from: files by their path, an episode by its id, or else a range of the ring.
 *
 * The data folder is read as it lies, so it works beside a running daemon, without one, and over a copied folder.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BatchStore } from "../batch/batch-store.ts";
import { EpisodeTable } from "../capture/episode-table.ts";
import { McapSource } from "../export/mcap-source.ts";
import type { Episode } from "../model/episode.ts";
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
};

const EVER = { startNs: 0n, endNs: 2n ** 63n - 1n };

/** The caller disposes of `source`. Throws `Fault`. */
export async function openExportSource(
  ids: readonly string[],
  folder: string,
  given: ExportRange,
): Promise<ExportSource> {
  const within = (whole: { startNs: bigint; endNs: bigint }) => ({
    startNs: given.startNs ?? whole.startNs,
    endNs: given.endNs ?? whole.endNs,
  });
  if (ids.length > 0 && ids.every((id) => existsSync(id)))
    return { source: await McapSource.open(ids), ...within(EVER) };
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
    return { source: RingReader.open(folder), ...within(EVER) };
  }
  const { episode, files } = findEpisode(folder, id);
  // Batches that still wait here are whole whatever the ring has evicted since.
  if (files.length > 0) return { source: await McapSource.open(files), ...within(EVER) };
  return { source: RingReader.open(folder), ...within(episode) };
}

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
