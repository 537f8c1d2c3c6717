/**
 * The receiver's Ed25519 key pair. Made at the first start, readable by its user only (0600).
 *
 * Files: `receipt.key` (PKCS #8 PEM). Losing it means pinning a new key on every robot: it belongs in the back-up.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { keyIdOf } from "../protocol/receipt.ts";
import { writeFileDurably } from "../std/durable-file.ts";

export type ReceiptKey = { readonly privateKey: KeyObject; readonly publicKey: KeyObject; readonly keyId: string };

export function openReceiptKey(folder: string): ReceiptKey {
  const path = join(folder, "receipt.key");
  if (!existsSync(path)) {
    const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" });
    writeFileDurably(path, pem, 0o600);
  }
  const privateKey = createPrivateKey(readFileSync(path));
  const publicKey = createPublicKey(privateKey);
  return { privateKey, publicKey, keyId: keyIdOf(publicKey) };
}
