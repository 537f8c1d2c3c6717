/** What the catalog takes out of a manifest; a manifest that cannot be read costs its summary, never the batch. */
import type { Readable } from "node:stream";
import type { EpisodeSummary } from "./catalog.ts";

const MANIFEST_BYTES_MAX = 16 * 1024 * 1024; // a manifest with its previews has some hundred kilobytes

/** undefined if the bytes are no manifest, or an absurdly large one. */
export async function readSummary(content: Readable): Promise<EpisodeSummary | undefined> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const bytes of content) {
    sizeBytes += bytes.length;
    if (sizeBytes > MANIFEST_BYTES_MAX) return undefined;
    pieces.push(bytes);
  }
  return summarize(Buffer.concat(pieces).toString("utf8"));
}

function summarize(text: string): EpisodeSummary | undefined {
  void text;
  return undefined;
}
