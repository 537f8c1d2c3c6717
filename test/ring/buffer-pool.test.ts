import { expect, test } from "vitest";
import { BUFFER_BYTES_MAX, BUFFER_BYTES_MIN, BufferPool } from "../../src/ring/buffer-pool.ts";

test("a buffer that came back is used again; what is taken and kept stays under the bound, whatever its sizes", () => {
  const pool = new BufferPool(8 * BUFFER_BYTES_MAX);
  const small = pool.take(10, 0);
  expect(small?.byteLength).toBe(BUFFER_BYTES_MIN);
  pool.give(small ?? new ArrayBuffer(0));
  expect(pool.take(BUFFER_BYTES_MIN, 0)).toBe(small);
  const large = Array.from({ length: 7 }, () => pool.take(BUFFER_BYTES_MAX, 0));
  for (const buffer of large) pool.give(buffer ?? new ArrayBuffer(0));
  // The smallest fill the pool: the large ones that wait must go for them.
  const many = Array.from({ length: 255 }, () => pool.take(BUFFER_BYTES_MIN, 0));
  expect(many.every((buffer) => buffer !== undefined)).toBe(true);
  expect(pool.take(BUFFER_BYTES_MIN, 0)).toBeUndefined();
  expect(pool.keptBytes).toBe(0);
});

test("the least valuable is refused first, and a message over the largest size is not kept", () => {
  const pool = new BufferPool(10 * BUFFER_BYTES_MAX);
  const huge = pool.take(BUFFER_BYTES_MAX * 6, 50);
  expect(huge?.byteLength).toBe(BUFFER_BYTES_MAX * 6);
  expect([100, 50].map((rank) => pool.take(BUFFER_BYTES_MAX / 2, rank))).toEqual([undefined, expect.anything()]);
  expect([80, 1].map((rank) => pool.take(BUFFER_BYTES_MAX, rank))).toEqual([undefined, expect.anything()]);
  expect([1, 0].map((rank) => pool.take(BUFFER_BYTES_MAX * 2, rank))).toEqual([undefined, expect.anything()]);
  pool.give(huge ?? new ArrayBuffer(0));
  expect(pool.keptBytes).toBe(0);
  expect(pool.take(BUFFER_BYTES_MAX * 6.5 + 1, 0)).toBeUndefined(); // 3.5 are taken
  expect(pool.take(BUFFER_BYTES_MAX * 6.5, 0)).toBeDefined();
});
