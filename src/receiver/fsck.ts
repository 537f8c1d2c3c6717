/**
 * Does the store keep what its receipts promise? Reads every blob.
 *
 * A blob that no receipt names is what a crash left between its rename and the catalog's commit (its robot sends it
 * again), or the sign of a catalog restored from an old back-up: so nothing removes it but a person's `isRepair`,
 * and only when it is older than any upload under way.
 */
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import type { FolderBlobStore } from "./blob-store.ts";
import type { SqliteCatalog } from "./catalog.ts";

type FsckProblem = {
  readonly kind: "missing" | "wrong_size" | "wrong_hash" | "orphan";
  readonly sha256: string;
  /** Of the batches whose receipts name it. */
  readonly batches: readonly { readonly robot: string; readonly batch: string; readonly episode: string }[];
  readonly isRemoved: boolean;
};

export type FsckResult = {
  readonly batches: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly problems: readonly FsckProblem[];
};

const UNDER_WAY_MS = 3_600_000;

export async function checkStore(
  catalog: SqliteCatalog,
  blobs: FolderBlobStore,
  isRepair: boolean,
): Promise<FsckResult> {
  const problems: FsckProblem[] = [];
  let [count, bytes] = [0, 0];
  const sizes = new Map<string, number>();
  const owners = new Map<string, FsckProblem["batches"]>();
  for (const { robot, batch, episode, sha256, sizeBytes } of catalog.batches()) {
    count += 1;
    sizes.set(sha256, sizeBytes);
    owners.set(sha256, [...(owners.get(sha256) ?? []), { robot, batch, episode }]);
  }
  for (const [sha256, sizeBytes] of sizes) {
    bytes += sizeBytes;
    const kind = await findBlobProblem(blobs, sha256, sizeBytes);
    if (kind !== undefined) problems.push({ kind, sha256, batches: owners.get(sha256) ?? [], isRemoved: false });
  }
  for (const sha256 of blobs.blobs().filter((name) => !sizes.has(name)))
    problems.push({ kind: "orphan", sha256, batches: [], isRemoved: isRepair && removeOrphan(blobs, sha256) });
  return { batches: count, blobs: sizes.size, bytes, problems };
}

async function findBlobProblem(
  blobs: FolderBlobStore,
  sha256: string,
  sizeBytes: number,
): Promise<"missing" | "wrong_size" | "wrong_hash" | undefined> {
  const size = await blobs.size(sha256);
  if (size === undefined) return "missing";
  if (size !== sizeBytes) return "wrong_size";
  const hash = createHash("sha256");
  for await (const bytes of blobs.read(sha256)) hash.update(bytes);
  return hash.digest("hex") === sha256 ? undefined : "wrong_hash";
}

function removeOrphan(blobs: FolderBlobStore, sha256: string): boolean {
  if (Date.now() - statSync(blobs.blobPath(sha256)).mtimeMs < UNDER_WAY_MS) return false;
  blobs.removeBlob(sha256);
  return true;
}
