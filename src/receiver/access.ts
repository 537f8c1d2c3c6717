/**
 * Who is asking. Tokens are 256 random bits, stored as their sha256: a stolen catalog opens nothing, and a slow hash
 * would add nothing to that much randomness.
 *
 * Refusals tell nothing: one text for a missing, an unknown and a revoked token, and one for another robot's path,
 * whether that robot exists or not.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Catalog, Identity } from "./catalog.ts";

const BEARER = /^Bearer ([A-Za-z0-9._~+/=-]{16,200})$/;

export function newToken(role: Identity["role"]): string {
  return `lode-${role}-${randomBytes(32).toString("base64url")}`;
}

export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** The index looks up a hash, not the token, so the time it takes says nothing about any token's characters. */
export async function identify(catalog: Catalog, authorization: string | undefined): Promise<Identity | undefined> {
  const token = BEARER.exec(authorization ?? "")?.[1];
  return token === undefined ? undefined : catalog.identify(hashToken(token));
}
