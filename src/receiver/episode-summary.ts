/** What the catalog takes out of a manifest; a manifest that cannot be read costs its summary, never the batch. */
import type { Readable } from "node:stream";
import { parseManifest } from "../protocol/manifest.ts";
import { formatTimeNs } from "../std/wire.ts";
import type { EpisodeSummary } from "./catalog.ts";

const MANIFEST_BYTES_MAX = 16 * 1024 * 1024; // a manifest with its previews has some hundred kilobytes

/** Throws `Fault("bad_manifest")`; undefined if it is absurdly large. */
export async function readSummary(content: Readable): Promise<EpisodeSummary | undefined> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const bytes of content) {
    sizeBytes += bytes.length;
    if (sizeBytes > MANIFEST_BYTES_MAX) return undefined;
    pieces.push(bytes);
  }
  const { episode, batches } = parseManifest(Buffer.concat(pieces).toString("utf8"));
  const { rule, kind, outcome, attempts, startNs, endNs } = episode;
  const times = { startTime: formatTimeNs(startNs), endTime: formatTimeNs(endNs) };
  return { rule, kind, outcome, attempts, ...times, batchCount: batches.length + 1 };
}
