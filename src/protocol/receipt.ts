/**
 * The receipt: the receiver's signed word that a batch is durable there. The only thing that releases a batch.
 *
 * Signed with Ed25519 (RFC 8032) over these bytes, UTF-8, each line ended by one `\n`, nothing else:
 *
 *   lode-receipt-v1
 *   <key id>          first 16 hex digits of sha256 over the raw 32-byte public key
 *   <robot>
 *   <boot>
 *   <batch>
 *   <sha256>          of the batch's bytes, 64 lower-case hex digits
 *   <bytes>           decimal
 *   <durability>      `disk`: file and catalog row fsynced on the receiver's own disk
 *   <time>            RFC 3339, UTC, milliseconds: when the catalog row was committed
 *
 * No field can hold a line break (ids, numbers and times are parsed strictly), so the lines are unambiguous.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { Fault } from "../std/fault.ts";
import { isWireId } from "./wire.ts";

type Durability = "disk";

export type ReceiptFacts = {
  readonly keyId: string;
  readonly robot: string;
  readonly boot: string;
  readonly batch: string;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly durability: Durability;
  /** RFC 3339 in UTC with milliseconds. */
  readonly time: string;
};

export type Receipt = ReceiptFacts & { /** Base64. */ readonly signature: string };

/** Public keys that a robot accepts receipts from, by key id. */
export type PinnedKeys = ReadonlyMap<string, KeyObject>;

const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const RECEIPT_TEXT_MAX = 4096; // a receipt is about 500 bytes; header limits are far above

export function signReceipt(facts: ReceiptFacts, privateKey: KeyObject): Receipt {
  return { ...facts, signature: sign(null, canonicalBytes(facts), privateKey).toString("base64") };
}

/** Whether one of the pinned keys signed these very facts. */
export function verifyReceipt(receipt: Receipt, pinnedKeys: PinnedKeys): boolean {
  const key = pinnedKeys.get(receipt.keyId);
  const signature = Buffer.from(receipt.signature, "base64");
  return (
    key !== undefined && signature.length === SIGNATURE_BYTES && verify(null, canonicalBytes(receipt), key, signature)
  );
}

export function canonicalBytes(facts: ReceiptFacts): Buffer {
  const lines = ["lode-receipt-v1", facts.keyId, facts.robot, facts.boot, facts.batch, facts.sha256];
  lines.push(String(facts.sizeBytes), facts.durability, facts.time, "");
  return Buffer.from(lines.join("\n"), "utf8");
}

/** JSON of the final response and of `GET …/receipt`. */
export function receiptToWire(receipt: Receipt): Readonly<Record<string, string | number>> {
  const { keyId, robot, boot, batch, sha256, sizeBytes, durability, time, signature } = receipt;
  return { kind: "signed", key_id: keyId, robot, boot, batch, sha256, bytes: sizeBytes, durability, time, signature };
}

/** The receipt in an object from outside; undefined if anything in it is not of its form. */
export function receiptFromWire(value: unknown): Receipt | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const read = (name: string): unknown => Object.getOwnPropertyDescriptor(value, name)?.value;
  const text = (name: string, form: RegExp): string | undefined => {
    const field = read(name);
    return typeof field === "string" && form.test(field) ? field : undefined;
  };
  const id = (name: string) => [text(name, /^.{1,64}$/)].find((field) => field !== undefined && isWireId(field));
  const keyId = text("key_id", /^[0-9a-f]{16}$/);
  const [robot, boot, batch] = [id("robot"), id("boot"), id("batch")];
  const sha256 = text("sha256", /^[0-9a-f]{64}$/);
  const time = text("time", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  const signature = text("signature", /^[A-Za-z0-9+/]{86}==$/);
  const sizeBytes = read("bytes");
  if (keyId === undefined || robot === undefined || boot === undefined || batch === undefined) return undefined;
  if (sha256 === undefined || time === undefined || signature === undefined) return undefined;
  if (typeof sizeBytes !== "number" || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0) return undefined;
  if (read("kind") !== "signed" || read("durability") !== "disk") return undefined;
  return { keyId, robot, boot, batch, sha256, sizeBytes, durability: "disk", time, signature };
}

export function receiptToHeader(receipt: Receipt): string {
  return Buffer.from(JSON.stringify(receiptToWire(receipt))).toString("base64url");
}

export function receiptFromHeader(value: string): Receipt | undefined {
  if (value.length > RECEIPT_TEXT_MAX) return undefined;
  try {
    return receiptFromWire(JSON.parse(Buffer.from(value, "base64url").toString("utf8")));
  } catch {
    return undefined; // not JSON: as good as no receipt
  }
}

/** First 16 hex digits of sha256 over the raw public key. */
export function keyIdOf(publicKey: KeyObject): string {
  return createHash("sha256").update(rawPublicKey(publicKey)).digest("hex").slice(0, 16);
}

/** Base64 of the raw 32 bytes: what a receiver prints and a robot's configuration pins. */
export function formatPublicKey(publicKey: KeyObject): string {
  return rawPublicKey(publicKey).toString("base64");
}

/** Reads a pinned key: base64 of the raw 32 bytes, or PEM. Throws `Fault("bad_public_key")`. */
export function parsePublicKey(text: string): KeyObject {
  const trimmed = text.trim();
  try {
    const raw = Buffer.from(trimmed, "base64");
    const isRaw = raw.length === PUBLIC_KEY_BYTES && /^[A-Za-z0-9+/]{43}=$/.test(trimmed);
    const key = isRaw
      ? createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" })
      : createPublicKey(trimmed);
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Said below, without the library's words about ASN.1.
  }
  throw new Fault(
    "bad_public_key",
    `"${trimmed.slice(0, 60)}" is not an Ed25519 public key.`,
    "Paste the line that `lode receiver robots add` printed: 44 characters of base64.",
  );
}

export function pinKeys(texts: readonly string[]): PinnedKeys {
  return new Map(texts.map(parsePublicKey).map((key) => [keyIdOf(key), key]));
}

function rawPublicKey(publicKey: KeyObject): Buffer {
  return Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
}
