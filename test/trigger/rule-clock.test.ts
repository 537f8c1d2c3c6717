import { expect, test } from "vitest";
import { RuleClock } from "../../src/trigger/rule-clock.ts";

const MS = 1_000_000n;
const START = 1_700_000_000_000n * MS;

function rig() {
  const ticks: number[] = [];
  let silences = 0;
  const clock = new RuleClock({
    onTick: (atNs) => ticks.push(Number((atNs - START) / MS)),
    onLongSilence: () => {
      silences += 1;
    },
  });
  const at = (ms: number) => {
    clock.moveTo(clock.tickTo(START + BigInt(ms) * MS));
    return clock.nowMs;
  };
  return { clock, ticks, at, silences: () => silences };
}

test("ticks lie on a grid of log time and come only with a later message", () => {
  const { at, ticks } = rig();
  at(20);
  expect(ticks).toEqual([]);
  at(49);
  expect(ticks).toEqual([]);
  at(170);
  expect(ticks).toEqual([50, 100, 150]);
});

test("the grid does not depend on when the recording starts", () => {
  const [a, b] = [rig(), rig()];
  a.at(0);
  b.at(33);
  a.at(200);
  b.at(200);
  expect(a.ticks).toEqual([50, 100, 150, 200]);
  expect(b.ticks).toEqual([50, 100, 150, 200]);
});

test("while everything is silent the clock stands still after a second", () => {
  const { at, ticks, silences } = rig();
  at(0);
  expect(at(3_600_000)).toBe(1000);
  expect(ticks.length).toBe(20);
  expect(at(3_600_100)).toBe(1100);
  expect(silences()).toBe(1);
});

test("a pause of two seconds is no long silence", () => {
  const { at, silences } = rig();
  at(0);
  at(2000);
  expect(silences()).toBe(0);
});

test("rule time never goes back, and a log time that steps back counts as a silence", () => {
  const { at, silences } = rig();
  at(10_000);
  const before = at(10_500);
  const after = at(2000);
  expect(after).toBeGreaterThanOrEqual(before);
  expect(silences()).toBe(1);
  expect(at(2100) - after).toBeGreaterThanOrEqual(50);
  expect(at(2090)).toBeGreaterThanOrEqual(after);
});
