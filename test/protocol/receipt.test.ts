/** The receipt's form and signature, against vectors computed by hand and by changing every field. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { expect, test } from "vitest";
import {
  canonicalBytes,
  formatPublicKey,
  keyIdOf,
  parsePublicKey,
  pinKeys,
  type ReceiptFacts,
  receiptFromHeader,
  receiptFromWire,
  receiptToHeader,
  receiptToWire,
  signReceipt,
  verifyReceipt,
} from "../../src/protocol/receipt.ts";

// RFC 8032 §7.1, test 1: a key pair that other implementations know.
const SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const privateKey = createPrivateKey({ key: { kty: "OKP", crv: "Ed25519", d: SEED, x: PUBLIC }, format: "jwk" });
const publicKey = createPublicKey(privateKey);

const facts: ReceiptFacts = {
  keyId: keyIdOf(publicKey),
  robot: "arm-7",
  boot: "b00t",
  batch: "0198-ab",
  sha256: "ab".repeat(32),
  sizeBytes: 1234,
  durability: "disk",
  time: "2026-03-01T14:03:00.123Z",
};

test("the signed bytes are the documented lines and nothing else", () => {
  // sha256 of the raw key, computed with coreutils: the id must not depend on this code.
  expect(facts.keyId).toBe("21fe31dfa154a261");
  expect(canonicalBytes(facts).toString()).toBe(
    `lode-receipt-v1\n21fe31dfa154a261\narm-7\nb00t\n0198-ab\n${"ab".repeat(32)}\n1234\ndisk\n2026-03-01T14:03:00.123Z\n`,
  );
  const receipt = signReceipt(facts, privateKey);
  expect(verify(null, canonicalBytes(facts), publicKey, Buffer.from(receipt.signature, "base64"))).toBe(true);
});

test("a receipt survives its way through a header and still verifies", () => {
  const receipt = signReceipt(facts, privateKey);
  const back = receiptFromHeader(receiptToHeader(receipt));
  expect(back).toEqual(receipt);
  expect(back !== undefined && verifyReceipt(back, pinKeys([formatPublicKey(publicKey)]))).toBe(true);
});

test("changing any field makes the receipt worthless", () => {
  const receipt = signReceipt(facts, privateKey);
  const pinned = pinKeys([formatPublicKey(publicKey)]);
  const changes = [
    { robot: "arm-8" },
    { boot: "b01t" },
    { batch: "0198-ac" },
    { sha256: "ac".repeat(32) },
    { sizeBytes: 1235 },
    { time: "2026-03-01T14:03:00.124Z" },
    { signature: Buffer.alloc(64).toString("base64") },
    { keyId: "0".repeat(16) },
  ];
  for (const change of changes)
    expect(verifyReceipt({ ...receipt, ...change }, pinned), JSON.stringify(change)).toBe(false);
});

test("a receipt of a key that is not pinned is refused, one of a second pinned key is taken", () => {
  const other = generateKeyPairSync("ed25519");
  const receipt = signReceipt({ ...facts, keyId: keyIdOf(other.publicKey) }, other.privateKey);
  const [first, second] = [formatPublicKey(publicKey), formatPublicKey(other.publicKey)];
  expect(verifyReceipt(receipt, pinKeys([first]))).toBe(false);
  expect(verifyReceipt(receipt, pinKeys([first, second]))).toBe(true);
  // The id of a pinned key over another key's signature.
  expect(verifyReceipt({ ...receipt, keyId: facts.keyId }, pinKeys([first]))).toBe(false);
});

test("anything that is not of a receipt's form is no receipt", () => {
  const wire = receiptToWire(signReceipt(facts, privateKey));
  expect(receiptFromWire(wire)).toBeDefined();
  const bad: unknown[] = [
    null,
    1,
    "x",
    [],
    {},
    { ...wire, robot: "a\nb" },
    { ...wire, bytes: -1 },
    { ...wire, bytes: "1" },
  ];
  bad.push({ ...wire, kind: "verified" }, { ...wire, sha256: "AB" }, { ...wire, time: "now" }, { ...wire, key_id: "" });
  for (const value of bad) expect(receiptFromWire(value), JSON.stringify(value)).toBeUndefined();
  for (const text of ["", "!", "e30", "x".repeat(10_000)]) expect(receiptFromHeader(text)).toBeUndefined();
});

test("a pinned key is read from base64 or PEM, and anything else is named", () => {
  const pem = publicKey.export({ format: "pem", type: "spki" }).toString();
  expect(keyIdOf(parsePublicKey(pem))).toBe(facts.keyId);
  expect(keyIdOf(parsePublicKey(` ${formatPublicKey(publicKey)}\n`))).toBe(facts.keyId);
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ format: "pem", type: "spki" });
  for (const text of ["", "hello", "A".repeat(44), rsa.toString()])
    expect(() => parsePublicKey(text), text).toThrow(expect.objectContaining({ code: "bad_public_key" }));
});
