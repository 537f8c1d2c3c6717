import fc from "fast-check";
import { expect, test } from "vitest";
import { SlidingWindow, type WindowKind } from "../../src/trigger/window.ts";

const LENGTH_MS = 100;

function byDefinition(kind: WindowKind, samples: readonly (readonly [number, number])[], nowMs: number): number {
  const values = samples.filter(([atMs]) => atMs >= nowMs - LENGTH_MS).map(([, value]) => value);
  const firstMs = samples[0]?.[0] ?? Number.NaN;
  if (values.length === 0 || !(nowMs - firstMs >= LENGTH_MS)) return Number.NaN;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (kind === "min") return Math.min(...values);
  if (kind === "max") return Math.max(...values);
  if (kind === "mean") return mean;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

test.each(["min", "max", "mean", "stddev"] as const)("a sliding %s is that of the samples in its length", (kind) => {
  const sample = fc.tuple(fc.integer({ min: 0, max: 40 }), fc.double({ min: -1e3, max: 1e3, noNaN: true }));
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 300 }), (steps) => {
      const window = new SlidingWindow(kind, LENGTH_MS);
      const samples: [number, number][] = [];
      let nowMs = 0;
      for (const [gapMs, value] of steps) {
        nowMs += gapMs;
        window.push(value, nowMs);
        samples.push([nowMs, value]);
        const expected = byDefinition(kind, samples, nowMs);
        if (Number.isNaN(expected)) expect(window.value(nowMs)).toBeNaN();
        else expect(window.value(nowMs)).toBeCloseTo(expected, 4);
      }
    }),
  );
});

test("a window is unknown until it is full, and when its samples have left", () => {
  const window = new SlidingWindow("max", LENGTH_MS);
  window.push(5, 0);
  expect(window.value(99)).toBeNaN();
  expect(window.value(100)).toBe(5);
  expect(window.value(101)).toBeNaN();
});

test("a NaN sample is passed over", () => {
  const window = new SlidingWindow("mean", LENGTH_MS);
  for (const [atMs, value] of [
    [0, 1],
    [50, Number.NaN],
    [100, 3],
  ] as const)
    window.push(value, atMs);
  expect(window.value(100)).toBe(2);
});

test("a flood of samples leaves the window bounded and its value right for those it keeps", () => {
  const full = new SlidingWindow("mean", 10_000);
  for (let k = 0; k < 30_000; k += 1) full.push(k < 15_000 ? 1000 : 7, k);
  expect(full.value(29_999)).toBeCloseTo(7, 6);
});
