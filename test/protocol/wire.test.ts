/** Header values that either side must understand alike. */
import { expect, test } from "vitest";
import {
  type BatchDescription,
  formatDescription,
  HEADER,
  isWireId,
  parseBoolean,
  parseCount,
  parseDescription,
  parseDigest,
  parseRetryAfterMs,
} from "../../src/protocol/wire.ts";

const description: BatchDescription = {
  boot: "6f1c",
  episode: "0198-e",
  kind: "heavy",
  index: 3,
  mediaType: "application/mcap",
  sizeBytes: 42,
  // sha256 of nothing, whose base64 is known from RFC 9530's neighbours.
  sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
};

test("a description survives the headers, with the digest as RFC 9530 writes it", () => {
  const headers = formatDescription(description);
  expect(headers[HEADER.digest]).toBe("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
  expect(parseDescription(headers)).toEqual(description);
});

test("each missing or malformed field of a description is named", () => {
  const headers = formatDescription(description);
  for (const name of Object.keys(headers)) {
    const { [name]: _left, ...rest } = headers;
    expect(parseDescription(rest), name).toHaveProperty("problem");
    expect(parseDescription({ ...headers, [name]: "../x" }), name).toHaveProperty("problem");
    expect(parseDescription({ ...headers, [name]: ["a", "b"] }), name).toHaveProperty("problem");
  }
});

test("ids are safe path parts", () => {
  for (const good of ["a", "arm-7", "0198.x_y-Z", "a".repeat(64)]) expect(isWireId(good), good).toBe(true);
  for (const bad of ["", ".", "..", ".a", "-a", "a/b", "a\\b", "a b", "a\n", "ä", "%2e", "a".repeat(65)])
    expect(isWireId(bad), bad).toBe(false);
});

test("structured values are strict", () => {
  expect(["0", "42", "-1", "1.5", "", "9".repeat(16), " 1"].map(parseCount)).toEqual([
    0,
    42,
    ...Array(5).fill(undefined),
  ]);
  expect(["?1", "?0", "1", "true"].map(parseBoolean)).toEqual([true, false, undefined, undefined]);
  expect(parseDigest("md5=:AA==:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")).toBe(description.sha256);
  for (const bad of ["sha-256=abc", "xsha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "sha-256=:AA==:"])
    expect(parseDigest(bad), bad).toBeUndefined();
});

test("Retry-After is seconds or a date", () => {
  const nowMs = Date.parse("2026-03-01T00:00:00Z");
  expect(parseRetryAfterMs("120", nowMs)).toBe(120_000);
  expect(parseRetryAfterMs("Sun, 01 Mar 2026 00:01:00 GMT", nowMs)).toBe(60_000);
  expect(parseRetryAfterMs("Sat, 28 Feb 2026 00:00:00 GMT", nowMs)).toBe(0);
  for (const bad of [undefined, "soon", ["1"]]) expect(parseRetryAfterMs(bad, nowMs)).toBeUndefined();
});
