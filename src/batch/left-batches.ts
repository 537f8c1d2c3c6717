/**
 * Batch files whose rows are gone with a damaged journal: known again from the manifest beside them.
 *
 * A `meta` file lists the files of its episode with ids, sizes and hashes: what is there with its size is queued
 * again. A file without one is kept, and listed as quarantined; nothing is deleted but unfinished `.part` files.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Batch, BatchKind } from "../model/batch.ts";
import type { Episode } from "../model/episode.ts";
import { type Manifest, parseManifest } from "../protocol/manifest.ts";
import { PART_SUFFIX } from "../std/durable-file.ts";
import { batchPriority } from "./episode-batches.ts";

export type LeftBatches = { readonly episodes: readonly Episode[]; readonly batches: readonly Batch[] };

export function readLeftBatches(
  folder: string,
  isNamed: (fileName: string) => boolean,
  given: { readonly newId: () => string; readonly nowNs: bigint },
): LeftBatches {
  const names = readdirSync(folder).filter((name) => !isNamed(name) && !name.endsWith(PART_SUFFIX));
  const episodes: Episode[] = [];
  const batches: Batch[] = [];
  for (const name of names.filter((one) => one.endsWith("-meta.json"))) {
    const manifest = readManifest(join(folder, name));
    if (manifest === undefined) continue;
    episodes.push(manifest.episode);
    batches.push(metaBatch(join(folder, name), manifest, given.newId()), ...listed(folder, manifest));
  }
  const known = new Set(batches.map(({ path }) => path));
  const others = names.map((name) => join(folder, name)).filter((path) => !known.has(path));
  return { episodes, batches: [...batches, ...others.map((path) => orphan(path, given))] };
}

function readManifest(path: string): Manifest | undefined {
  try {
    return parseManifest(readFileSync(path, "utf8"));
  } catch {
    return undefined; // then it is an orphan like the others
  }
}

function metaBatch(path: string, { episode, createdNs }: Manifest, id: string): Batch {
  const content = readFileSync(path);
  return {
    ...{ id, episodeId: episode.id, bootId: episode.bootId, kind: "meta", index: 0, path },
    ...{ sizeBytes: content.length, sha256: createHash("sha256").update(content).digest("hex") },
    ...{ mediaType: "application/json", startNs: episode.startNs, endNs: episode.endNs },
    ...{ priority: batchPriority(episode, "meta", 0), createdNs, state: "queued", quarantineReason: undefined },
  };
}

function listed(folder: string, { episode, createdNs, batches }: Manifest): Batch[] {
  return batches.flatMap(({ id, kind, index, mediaType, sizeBytes, sha256, startNs, endNs }): Batch[] => {
    const path = join(folder, `${episode.id}-${kind === "light" ? "light" : `heavy-${index}`}.mcap`);
    const isThere = statSync(path, { throwIfNoEntry: false })?.size === sizeBytes;
    if (!isThere || sizeBytes === undefined || sha256 === undefined) return [];
    return [
      {
        ...{ id, episodeId: episode.id, bootId: episode.bootId, kind, index, path, sizeBytes, sha256, mediaType },
        ...{ startNs, endNs, priority: batchPriority(episode, kind, index), createdNs },
        ...{ state: "queued", quarantineReason: undefined },
      },
    ];
  });
}

function orphan(path: string, { newId, nowNs }: { readonly newId: () => string; readonly nowNs: bigint }): Batch {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const [, episodeId = name, kindText = "", indexText = "0"] = /^(.{36})-(meta|light|heavy)-?(\d*)/.exec(name) ?? [];
  const kind: BatchKind = kindText === "meta" || kindText === "light" ? kindText : "heavy";
  const id = newId();
  return {
    ...{ id, episodeId: kindText === "" ? id : episodeId, bootId: "", kind, index: Number(indexText), path },
    ...{ sizeBytes: statSync(path).size, sha256: "", mediaType: "", startNs: 0n, endNs: 0n, priority: 0 },
    ...{ createdNs: nowNs, state: "quarantined" },
    quarantineReason: "What was known of it is lost with a damaged journal.db; the file is kept.",
  };
}
