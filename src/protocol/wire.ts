/**
 * The wire between uploader and receiver: paths, header fields and their values.
 *
 * HTTP resumable upload as in draft-ietf-httpbis-resumable-upload-12 (interop version 8), with these choices:
 * - The upload resource is the batch's own URL, `/v1/robots/{robot}/batches/{batch}`, known to both sides, so the
 *   optional 104 responses are not sent. PUT creates (and starts again), HEAD tells the offset, PATCH appends.
 * - HEAD on a batch of which nothing has come answers offset 0, never 404: 404 means a wrong address.
 * - Every PUT and PATCH repeats what the batch is (`Upload-Length`, `Repr-Digest` of RFC 9530, `Lode-…`), so that
 *   the receiver keeps no state of an upload beside the bytes it has.
 * - `Lode-Receipt` (base64url of the receipt's JSON) is in the completing response and in every later HEAD.
 */
/** Of draft-ietf-httpbis-resumable-upload-12. */
export const INTEROP_VERSION = "8";

/** As Node spells received header fields. */
export const HEADER = {
  interopVersion: "upload-draft-interop-version",
  offset: "upload-offset",
  complete: "upload-complete",
  length: "upload-length",
  limit: "upload-limit",
  digest: "repr-digest",
  receipt: "lode-receipt",
  boot: "lode-boot",
  episode: "lode-episode",
  kind: "lode-kind",
  index: "lode-index",
  mediaType: "lode-media-type",
} as const;

export const PARTIAL_UPLOAD = "application/partial-upload";

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MEDIA_TYPE = /^[a-z]+\/[a-z0-9.+-]{1,60}$/;

/** Robots, boots, batches and episodes: safe as a path part on either side. */
export function isWireId(text: string): boolean {
  return ID.test(text);
}

export function batchPath(robot: string, batch: string): string {
  return `/v1/robots/${robot}/batches/${batch}`;
}

/** What a batch is, as its sender says it. */
export type BatchDescription = {
  readonly boot: string;
  readonly episode: string;
  readonly kind: "meta" | "light" | "heavy";
  readonly index: number;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
};

export type Headers = Readonly<Record<string, string>>;
export type ReceivedHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export function formatDescription(batch: BatchDescription): Headers {
  return {
    [HEADER.length]: String(batch.sizeBytes),
    [HEADER.digest]: `sha-256=:${Buffer.from(batch.sha256, "hex").toString("base64")}:`,
    [HEADER.boot]: batch.boot,
    [HEADER.episode]: batch.episode,
    [HEADER.kind]: batch.kind,
    [HEADER.index]: String(batch.index),
    [HEADER.mediaType]: batch.mediaType,
  };
}

/** The description, or what is wrong with it in a sentence for the sender's log. */
export function parseDescription(headers: ReceivedHeaders): BatchDescription | { readonly problem: string } {
  const sizeBytes = parseCount(headers[HEADER.length]);
  if (sizeBytes === undefined) return { problem: "Upload-Length must say the batch's size in bytes." };
  const sha256 = parseDigest(headers[HEADER.digest]);
  if (sha256 === undefined) return { problem: "Repr-Digest must carry sha-256=:base64:." };
  const kind = headers[HEADER.kind];
  if (kind !== "meta" && kind !== "light" && kind !== "heavy")
    return { problem: "Lode-Kind must be meta, light or heavy." };
  const index = parseCount(headers[HEADER.index]);
  if (index === undefined || index > 99_999) return { problem: "Lode-Index must be a small number." };
  const boot = headers[HEADER.boot];
  const episode = headers[HEADER.episode];
  const mediaType = headers[HEADER.mediaType];
  if (typeof boot !== "string" || !isWireId(boot)) return { problem: "Lode-Boot is missing or malformed." };
  if (typeof episode !== "string" || !isWireId(episode)) return { problem: "Lode-Episode is missing or malformed." };
  if (typeof mediaType !== "string" || !MEDIA_TYPE.test(mediaType)) return { problem: "Lode-Media-Type is malformed." };
  return { boot, episode, kind, index, mediaType, sizeBytes, sha256 };
}

/** A non-negative Integer item of RFC 9651; anything else counts as absent. */
export function parseCount(value: string | readonly string[] | undefined): number | undefined {
  return typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

/** A Boolean item of RFC 9651. */
export function parseBoolean(value: string | readonly string[] | undefined): boolean | undefined {
  return value === "?1" ? true : value === "?0" ? false : undefined;
}

export function formatBoolean(value: boolean): string {
  return value ? "?1" : "?0";
}

/** The sha-256 member of a `Repr-Digest` dictionary, in hex; other algorithms beside it are ignored. */
export function parseDigest(value: string | readonly string[] | undefined): string | undefined {
  const match = typeof value === "string" ? /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(value) : null;
  return match?.[1] === undefined ? undefined : Buffer.from(match[1], "base64").toString("hex");
}

/** `Retry-After` as seconds or an HTTP date (RFC 9110 §10.2.3) → milliseconds from now. */
export function parseRetryAfterMs(value: string | readonly string[] | undefined, nowMs: number): number | undefined {
  if (typeof value !== "string") return undefined;
  const seconds = parseCount(value);
  if (seconds !== undefined) return seconds * 1000;
  const dateMs = Date.parse(value);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}
