import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { joinCrc32 } from "../../src/std/join-crc32.ts";

test("two checksums join to that of both runs of bytes, of any length", () => {
  for (const [first, second] of [
    [0, 0],
    [0, 7],
    [7, 0],
    [1, 1],
    [3, 4096],
    [4096, 1_000_003],
    [65_537, 262_144],
  ]) {
    const bytes = randomBytes((first ?? 0) + (second ?? 0));
    const [head, tail] = [bytes.subarray(0, first), bytes.subarray(first)];
    expect(joinCrc32(crc32(head), crc32(tail), tail.length)).toBe(crc32(bytes));
  }
});
