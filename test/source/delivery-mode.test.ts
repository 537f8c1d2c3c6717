import { expect, test } from "vitest";
import { DeliveryMode } from "../../src/source/delivery-mode.ts";

const OPTIONS = { silenceMs: 10_000, silenceMsMax: 600_000, retryRawMs: 60_000, retryRawMsMax: 3_600_000 };

/** Steps once a second; `speak` says what the bridge does with the present form. Gives the changes with their times. */
function play(seconds: number, speak: (compression: string, second: number) => boolean, isPublished = true) {
  const mode = new DeliveryMode(OPTIONS, 0);
  const changes: { readonly at: number; readonly to: string; readonly lost: number }[] = [];
  for (let second = 1; second <= seconds; second++) {
    const nowMs = second * 1000;
    if (speak(mode.compression, second)) mode.onMessage(mode.compression === "cbor-raw", nowMs);
    const hasChanged = mode.step(nowMs, isPublished);
    const lost = mode.takeLostCount();
    if (hasChanged) changes.push({ at: second, to: mode.compression, lost });
  }
  return changes;
}

test("raw that delivers is kept, however long the silence after it", () => {
  expect(play(5000, (_, second) => second === 3)).toEqual([]);
});

test("a topic that nobody publishes is left as it is", () => {
  expect(play(5000, () => false, false)).toEqual([]);
});

test("a published topic that is silent in both forms is asked for in turn, with growing gaps", () => {
  const gaps = play(5000, () => false).map(({ at }, index, all) => at - (all[index - 1]?.at ?? 0));
  expect(gaps.slice(0, 9)).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600]);
});

test("JSON that delivers where raw does not is kept, raw tried shortly and ever more rarely", () => {
  const changes = play(1000, (compression) => compression === "none");
  expect(changes.map(({ to }) => to).slice(0, 5)).toEqual(["none", "cbor-raw", "none", "cbor-raw", "none"]);
  const tries = changes.filter(({ to }) => to === "cbor-raw").map(({ at }) => at);
  const stays = tries.map((at, index) => at - (tries[index - 1] ?? 10));
  expect(stays.slice(0, 3).map((stay) => Math.round(stay / 60))).toEqual([1, 2, 4]);
});

test("a try of raw that fails is short, and says how many messages it cost", () => {
  const [, tried, back] = play(100, (compression) => compression === "none");
  expect(back).toEqual({ at: (tried?.at ?? 0) + 5, to: "none", lost: 4 });
});

test("raw that works again is kept", () => {
  const isFree = (second: number) => second > 60;
  const changes = play(3000, (compression, second) => compression === "none" || isFree(second));
  expect(changes.map(({ to }) => to)).toEqual(["none", "cbor-raw"]);
});

test("a rarely sent topic that came as JSON is never risked for raw", () => {
  const changes = play(20_000, (compression, second) => compression === "none" && second % 100 === 0);
  expect(changes.map(({ to }) => to)).toEqual(["none", "cbor-raw", "none"]);
});

test("nothing changes before somebody knows whether it is published, and then at once if it is overdue", () => {
  const mode = new DeliveryMode(OPTIONS, 0);
  expect(mode.step(30_000, undefined)).toBe(false);
  expect(mode.step(31_000, true)).toBe(true);
});

test("a publisher that comes late has the whole patience from then on", () => {
  const mode = new DeliveryMode(OPTIONS, 0);
  mode.step(100_000, false);
  expect(mode.step(101_000, true)).toBe(false);
  expect(mode.step(110_000, true)).toBe(false);
  expect(mode.step(111_000, true)).toBe(true);
});

test("frames of the form just left do not count for the new one", () => {
  const mode = new DeliveryMode(OPTIONS, 0);
  mode.step(0, true);
  mode.step(10_000, true);
  mode.onMessage(true, 10_100);
  expect(mode.step(30_000, true)).toBe(true);
  expect(mode.compression).toBe("cbor-raw");
});

test("what went by while raw was taken up again is counted by the interval", () => {
  const mode = new DeliveryMode(OPTIONS, 0);
  mode.step(10_000, true);
  for (let ms = 10_100; ms <= 70_000; ms += 100) mode.onMessage(false, ms);
  mode.step(70_000, true);
  expect(mode.compression).toBe("cbor-raw");
  mode.onMessage(true, 70_400);
  expect(mode.takeLostCount()).toBe(3);
  expect(mode.takeLostCount()).toBe(0);
});

test("a form that delivered is open to doubt again when its publisher has gone and another one stays silent", () => {
  const mode = new DeliveryMode(OPTIONS, 0);
  mode.onMessage(true, 1000);
  expect(mode.step(100_000, true)).toBe(false);
  expect(mode.step(101_000, false)).toBe(false);
  expect(mode.step(102_000, true)).toBe(false);
  expect(mode.step(112_000, true)).toBe(true);
});
