/** Back-off against its formula and its two promises: no limit of tries, and no batch blocks another. */
import { expect, test } from "vitest";
import { BackOff } from "../../src/upload/back-off.ts";

const options = { baseMs: 5_000, maxMs: 900_000 };

test("waits grow from 5 s and stay under 15 min, for ever", () => {
  const backOff = new BackOff(options, () => 0.999_999);
  const waits: number[] = [];
  for (let tries = 0; tries < 60; tries += 1) {
    backOff.fail(undefined, 0, 0);
    waits.push(Math.round(backOff.receiverWaitMs(0)));
  }
  expect(waits.slice(0, 4)).toEqual([5_000, 10_000, 20_000, 40_000]);
  expect(Math.max(...waits)).toBeLessThanOrEqual(900_000);
  expect(waits.at(-1)).toBeGreaterThan(899_000);
});

test("the jitter is full: any wait from nothing up", () => {
  expect(waitWith(0)).toBe(0);
  expect(waitWith(0.5)).toBe(2_500);
});

function waitWith(random: number): number {
  const backOff = new BackOff(options, () => random);
  backOff.fail("b", 0, 100);
  return backOff.receiverWaitMs(100);
}

test("what Retry-After asks for is the least wait", () => {
  const backOff = new BackOff(options, () => 0);
  backOff.fail("b", 120_000, 0);
  expect(backOff.receiverWaitMs(1_000)).toBe(119_000);
});

test("a batch that fails again waits longer than its receiver, so that the others pass", () => {
  const backOff = new BackOff(options, () => 0.9);
  backOff.fail("bad", 0, 0);
  backOff.succeed("other");
  backOff.fail("bad", 0, 0);
  const receiverMs = backOff.receiverWaitMs(0);
  expect([...backOff.waitingBatches(receiverMs + 1)]).toEqual(["bad"]);
  expect(backOff.nextBatchMs(receiverMs)).toBeCloseTo(18_000 - receiverMs);
  backOff.succeed("bad");
  expect(backOff.waitingBatches(0).size).toBe(0);
  expect(backOff.nextBatchMs(0)).toBe(Number.POSITIVE_INFINITY);
});

test("an outage blames no batch, and success or a person's word ends all waiting", () => {
  const backOff = new BackOff(options, () => 0.9);
  backOff.fail(undefined, 0, 0);
  expect(backOff.waitingBatches(0).size).toBe(0);
  backOff.fail("b", 0, 0);
  backOff.forget();
  expect([backOff.receiverWaitMs(0), backOff.waitingBatches(0).size]).toEqual([0, 0]);
});

test("the memory of failures is bounded", () => {
  const backOff = new BackOff(options, () => 0.9);
  for (let index = 0; index < 5000; index += 1) backOff.fail(`b${index}`, 0, 0);
  expect(backOff.waitingBatches(0).size).toBe(1000);
});
