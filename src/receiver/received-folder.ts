/**
 * The view for people: `received/<robot>/<start>-<rule>-<short id>/` with `manifest.json`, `light.mcap`,
 * `heavy-1.mcap` …, hard links to the blobs, so that they cost no space and open in any tool.
 *
 * Not the truth but a convenience: made after the catalog's commit, made again at the next start if that failed.
 */
import { linkSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { syncFolder } from "../std/durable-file.ts";
import { failpoint } from "../std/failpoint.ts";
import { describeError } from "../std/fault.ts";
import type { Log } from "../telemetry/log.ts";
import type { FolderBlobStore } from "./blob-store.ts";
import type { CatalogBatch, CatalogEpisode, SqliteCatalog } from "./catalog.ts";

export class ReceivedFolder {
  readonly #folder: string;
  readonly #blobs: FolderBlobStore;
  readonly #catalog: SqliteCatalog;
  readonly #log: Log;

  constructor(folder: string, blobs: FolderBlobStore, catalog: SqliteCatalog, log: Log) {
    this.#folder = folder;
    this.#blobs = blobs;
    this.#catalog = catalog;
    this.#log = log;
  }

  /** Links every batch of the episode that is here; waits for the manifest, which gives the folder its name. */
  async link(id: string): Promise<void> {
    const episode = await this.#catalog.findEpisode(id);
    if (episode?.summary === undefined) return;
    try {
      const folder = join(this.#folder, episodeFolder(episode) ?? "");
      mkdirSync(folder, { recursive: true });
      for (const batch of episode.batches)
        replaceLink(this.#blobs.blobPath(batch.sha256), join(folder, fileName(batch)));
      failpoint("receiver.linked");
      syncFolder(folder);
      this.#catalog.markLinked(episode.robot, id);
    } catch (error) {
      this.#log.warn("An episode's files could not be linked for people; its blobs are safe.", {
        ...{ robot: episode.robot, episode_id: id, cause: describeError(error) },
      });
    }
  }

  async linkMissing(): Promise<void> {
    for (const id of this.#catalog.unlinkedEpisodes()) await this.link(id);
  }
}

/** Paths below the receiver's folder; empty until the manifest has come. */
export function episodeFiles(episode: CatalogEpisode): readonly string[] {
  const folder = episodeFolder(episode);
  return folder === undefined ? [] : episode.batches.map((batch) => join(folder, fileName(batch)));
}

function episodeFolder({ robot, id, summary }: CatalogEpisode): string | undefined {
  if (summary === undefined) return undefined;
  const start = summary.startTime.slice(0, 19).replaceAll(":", "-");
  const name = `${start}-${summary.rule}-${id.slice(-6)}`.replaceAll(/[^A-Za-z0-9._-]/g, "_").slice(0, 120);
  return join("received", robot, name);
}

function fileName({ kind, index, mediaType }: CatalogBatch): string {
  if (kind === "meta") return "manifest.json";
  const extension = mediaType === "application/mcap" ? "mcap" : "bin";
  return kind === "light" ? `light.${extension}` : `heavy-${index}.${extension}`;
}

function replaceLink(blob: string, path: string): void {
  rmSync(path, { force: true });
  linkSync(blob, path);
}
