import { expect, test } from "vitest";
import type { PackedChunk } from "../../src/ring/packed-chunk.ts";
import { PayloadMemory } from "../../src/ring/payload-memory.ts";

const KIB = 1024;

function chunk(sizeBytes: number, value: number): PackedChunk {
  return {
    ...{ className: "camera", isLocal: false, kind: "full", startNs: 0n, endNs: 0n, channels: [] },
    ...{ bodySize: sizeBytes, crc32: 0, compression: "", storedCrc32: 0, payload: Buffer.alloc(sizeBytes, value) },
  };
}

test("what is kept has bytes of its own, in memory that was given back", () => {
  const memory = new PayloadMemory();
  const raw = chunk(200 * KIB, 1);
  const first = memory.keep(raw);
  raw.payload.fill(9);
  expect(first.payload.every((byte) => byte === 1)).toBe(true);
  memory.give(first);
  const second = memory.keep(chunk(190 * KIB, 2));
  expect(second.payload.buffer).toBe(first.payload.buffer);
  expect(second.payload.length).toBe(190 * KIB);
});

test("memory given back twice, or by a stranger, is never lent to two", () => {
  const memory = new PayloadMemory();
  const first = memory.keep(chunk(100 * KIB, 1));
  memory.give(first);
  const second = memory.keep(chunk(100 * KIB, 2));
  memory.give(first);
  memory.give(chunk(100 * KIB, 3));
  const third = memory.keep(chunk(100 * KIB, 4));
  expect(third.payload.buffer).not.toBe(second.payload.buffer);
  expect(second.payload.every((byte) => byte === 2)).toBe(true);
});

test("what waits to be used again is bounded, and wastes no more than a quarter", () => {
  const memory = new PayloadMemory();
  const kept = Array.from({ length: 40 }, () => memory.keep(chunk(1024 * KIB, 1)));
  for (const one of kept) memory.give(one);
  const given = new Set(kept.map(({ payload }) => payload.buffer));
  const again = Array.from({ length: 40 }, () => memory.keep(chunk(1024 * KIB, 1)));
  expect(again.filter(({ payload }) => given.has(payload.buffer))).toHaveLength(8);
  memory.give(again[0] ?? chunk(0, 0));
  expect(memory.keep(chunk(512 * KIB, 1)).payload.buffer.byteLength).toBe(512 * KIB);
});
