import fc from "fast-check";
import { expect, test } from "vitest";
import { Backlog } from "../../src/ring/backlog.ts";
import type { PackedChunk } from "../../src/ring/packed-chunk.ts";

const S = 1_000_000_000n;

function chunk(startS: number, sizeBytes = 10): PackedChunk {
  return {
    ...{
      className: "camera",
      isLocal: false,
      kind: "full",
      channels: [],
      bodySize: sizeBytes,
      crc32: 0,
      storedCrc32: 0,
    },
    ...{ startNs: BigInt(startS) * S, endNs: BigInt(startS) * S + S - 1n },
    ...{ compression: "", payload: new Uint8Array(sizeBytes) },
  };
}

function drain(backlog: Backlog): number[] {
  const order: number[] = [];
  backlog.offer(Number.POSITIVE_INFINITY, ({ startNs }) => order.push(Number(startNs / S)) > 0);
  return order;
}

test("what is worth most is written first: rank, then nearness to the firing, then as it came", () => {
  const backlog = new Backlog();
  for (const startS of [1, 9, 4]) backlog.add(chunk(startS), 50, 5n * S);
  backlog.add(chunk(20), 0, 5n * S);
  expect(drain(backlog)).toEqual([20, 4, 1, 9]);
});

test("what is too much goes by value: unheld first, oldest first; of what is held the farthest from the firing", () => {
  const backlog = new Backlog();
  for (const startS of [1, 9, 4]) backlog.add(chunk(startS), 50, 5n * S);
  backlog.add(chunk(20), 0, 5n * S);
  for (const startS of [31, 30]) backlog.add(chunk(startS), 0, undefined);
  for (const startS of [41, 40]) backlog.add(chunk(startS), 50, undefined);
  const isHeld = ({ startNs }: PackedChunk) => startNs < 25n * S;
  const takeLeast = () => {
    const least = backlog.least(isHeld)?.chunk;
    if (least !== undefined) backlog.remove(least);
    return Number((least?.startNs ?? 0n) / S);
  };
  expect(Array.from({ length: 8 }, takeLeast)).toEqual([40, 41, 30, 31, 9, 1, 4, 20]);
  expect(backlog.least(isHeld)).toBeUndefined();
  expect([backlog.bytes, backlog.lightBytes]).toEqual([0, 0]);
});

test("above rank 0 alone, whatever is held, light data is not found", () => {
  const backlog = new Backlog();
  backlog.add(chunk(1), 0, undefined);
  expect(backlog.least(() => false, true)).toBeUndefined();
  backlog.add(chunk(2), 50, 5n * S);
  expect(backlog.least(() => true, true)?.chunk.startNs).toBe(2n * S);
});

test("a budget takes what fits and at least one; what was not taken stays", () => {
  const backlog = new Backlog();
  for (const startS of [1, 2, 3]) backlog.add(chunk(startS, 10), 0, S);
  expect(backlog.offer(1, () => true)).toBe(1);
  expect(backlog.offer(100, ({ startNs }) => startNs !== 2n * S)).toBe(1);
  expect([backlog.length, backlog.bytes]).toEqual([1, 10]);
  expect(drain(backlog)).toEqual([2]);
});

test("a range gives up what touches it, and nothing else", () => {
  const backlog = new Backlog();
  for (const startS of [1, 2, 3]) backlog.add(chunk(startS), 0, S);
  expect(backlog.takeWithin(2n * S, 2n * S + 5n).map(({ startNs }) => startNs)).toEqual([2n * S]);
  expect(backlog.touches(2n * S, 2n * S)).toBe(false);
  expect([backlog.length, backlog.bytes]).toEqual([2, 20]);
});

test("its bytes are always those of its chunks", () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), startS: fc.nat(9), sizeBytes: fc.nat(50), rank: fc.nat(3) }),
    fc.record({ kind: fc.constant("least" as const) }),
    fc.record({ kind: fc.constant("within" as const), startS: fc.nat(9) }),
    fc.record({ kind: fc.constant("offer" as const), bytesMax: fc.nat(60) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
      const backlog = new Backlog();
      let bytes = 0;
      const gone = ({ payload }: PackedChunk) => {
        bytes -= payload.length;
        return true;
      };
      for (const step of actions) {
        if (step.kind === "add") {
          backlog.add(chunk(step.startS, step.sizeBytes), step.rank, 5n * S);
          bytes += step.sizeBytes;
        } else if (step.kind === "least") {
          const least = backlog.least(() => false)?.chunk;
          if (least === undefined) continue;
          backlog.remove(least);
          gone(least);
        } else if (step.kind === "within") {
          for (const taken of backlog.takeWithin(BigInt(step.startS) * S, BigInt(step.startS + 1) * S)) gone(taken);
        } else backlog.offer(step.bytesMax, gone);
        expect(backlog.bytes).toBe(bytes);
      }
    }),
  );
});

test("whoever takes a chunk may add and offer others meanwhile: each is taken once, and none is forgotten", () => {
  const backlog = new Backlog();
  for (const startS of [1, 2, 3]) backlog.add(chunk(startS), 50, undefined);
  const taken: number[] = [];
  backlog.offer(20, ({ startNs }) => {
    if (startNs === 1n * S) {
      for (const startS of [10, 11]) backlog.add(chunk(startS), 0, undefined);
      backlog.offer(10, (light) => taken.push(Number(light.startNs / S)) > 0);
    }
    if (startNs === 11n * S) return false;
    taken.push(Number(startNs / S));
    return true;
  });
  expect(taken).toEqual([10, 1, 2]);
  expect([backlog.bytes, backlog.lightBytes]).toEqual([20, 10]);
  expect(drain(backlog)).toEqual([11, 3]);
  expect([backlog.bytes, backlog.lightBytes]).toEqual([0, 0]);
});
