/** The frames are checked by lz4js, an implementation that shares no code with the one that made them. */
import { randomBytes } from "node:crypto";
import * as lz4js from "lz4js";
import { expect, test } from "vitest";
import { compressFrame, decompressFrame } from "../../src/ring/lz4-frame.ts";
import { seededRandom } from "../../src/std/random.ts";

const KIB = 1024;

function compressible(sizeBytes: number): Buffer {
  return Buffer.alloc(sizeBytes, "position: [0.1, 0.2, 0.3] velocity: [1.5, 2.5] ");
}

function frameOf(body: Uint8Array): Buffer {
  const frame = compressFrame(body);
  if (frame === undefined) throw new Error("the body did not shrink");
  return frame;
}

test.each([1 * KIB, 64 * KIB, 64 * KIB + 1, 256 * KIB, 1024 * KIB, 4096 * KIB, 4096 * KIB + 1, 9000 * KIB])(
  "a frame of %i bytes is standard LZ4 and comes back whole",
  (sizeBytes) => {
    const body = compressible(sizeBytes);
    const frame = frameOf(body);
    expect(Buffer.from(lz4js.decompress(frame)).equals(body)).toBe(true);
    expect(Buffer.from(decompressFrame(frame, sizeBytes)).equals(body)).toBe(true);
  },
);

test("an incompressible block within a frame is kept raw, for any reader", () => {
  const body = Buffer.concat([compressible(4096 * KIB), randomBytes(4096 * KIB), compressible(100 * KIB)]);
  const frame = frameOf(body);
  expect(Buffer.from(lz4js.decompress(frame)).equals(body)).toBe(true);
  expect(Buffer.from(decompressFrame(frame, body.length)).equals(body)).toBe(true);
});

test("a body that does not shrink gets no frame", () => {
  expect(compressFrame(randomBytes(100 * KIB))).toBeUndefined();
});

test("a damaged frame is refused or gives bytes of the right length, and never ends the process", () => {
  const random = seededRandom(3);
  const body = Buffer.concat([compressible(200 * KIB), randomBytes(10 * KIB)]);
  const frame = frameOf(body);
  let refused = 0;
  for (let round = 0; round < 500; round += 1) {
    const damaged = Buffer.from(frame.subarray(0, round % 5 === 0 ? Math.floor(random() * frame.length) : undefined));
    for (let flip = 0; flip < 1 + (round % 4); flip += 1) {
      const at = Math.floor(random() * (round % 2 === 0 ? 16 : damaged.length));
      if (at < damaged.length) damaged[at] = (damaged[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    }
    const before = Buffer.from(damaged);
    try {
      expect(decompressFrame(damaged, body.length).length).toBe(body.length);
    } catch (error) {
      expect(error).toMatchObject({ code: "corrupt_chunk" });
      refused += 1;
    }
    expect(damaged.equals(before)).toBe(true);
  }
  expect(refused).toBeGreaterThan(300);
});

test("a wrong body size is refused", () => {
  const frame = frameOf(compressible(100 * KIB));
  expect(() => decompressFrame(frame, 100 * KIB - 1)).toThrow(/LZ4 frame is damaged/);
  expect(() => decompressFrame(frame, 100 * KIB + 1)).toThrow(/LZ4 frame is damaged/);
  expect(() => decompressFrame(frame, 2 ** 40)).toThrow(/LZ4 frame is damaged/);
});
