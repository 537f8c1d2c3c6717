import { expect, test } from "vitest";
import { stepsOf } from "../../src/batch/stamp-steps.ts";

type Sent = { readonly sentMs: number; readonly arrivedMs: number };

/** 10 Hz for 10 s; `clockMs` is what the publisher's clock shows, `delayMs` how long the message is on its way. */
function stream(clockMs: (ms: number) => number, delayMs: (ms: number) => number = () => 3): Sent[] {
  return Array.from({ length: 100 }, (_, index) => index * 100)
    .map((ms) => ({ sentMs: clockMs(ms), arrivedMs: ms + delayMs(ms) }))
    .toSorted((a, b) => a.arrivedMs - b.arrivedMs);
}

const found = (sent: readonly Sent[]) =>
  stepsOf(
    sent.map(({ sentMs, arrivedMs }) => ({ atNs: BigInt(Math.round(arrivedMs * 1e6)), lagMs: arrivedMs - sentMs })),
  ).map(({ atNs, stepMs }) => [Number(atNs / 1_000_000n), Math.round(stepMs)]);

test("a publisher's clock that is set forward or back is a step of that size, where it happened", () => {
  expect(found(stream((ms) => (ms < 5000 ? ms : ms + 3000)))).toEqual([[5003, 3000]]);
  expect(found(stream((ms) => (ms < 5000 ? ms : ms - 3000)))).toEqual([[5003, -3000]]);
  const backAgain = stream((ms) => (ms < 3000 || ms >= 7000 ? ms : ms + 60_000));
  expect(found(backAgain)).toEqual([
    [3003, 60_000],
    [7003, -60_000],
  ]);
});

test("an offset, a drift and steps of less than half a second are none", () => {
  expect(found(stream((ms) => ms - 90_000))).toEqual([]);
  expect(found(stream((ms) => ms * 1.02))).toEqual([]);
  expect(found(stream((ms) => (ms < 5000 ? ms : ms + 300)))).toEqual([]);
});

test("messages that come late, in bursts, or after a pause are none", () => {
  expect(
    found(
      stream(
        (ms) => ms,
        (ms) => (ms === 5000 ? 2500 : 3),
      ),
    ),
  ).toEqual([]);
  // Everything sent in two seconds comes at once.
  expect(
    found(
      stream(
        (ms) => ms,
        (ms) => (ms >= 4000 && ms < 6000 ? 6003 - ms : 3),
      ),
    ),
  ).toEqual([]);
  // The same, and the bridge dropped some of them while it caught up.
  const burst = stream(
    (ms) => ms,
    (ms) => (ms >= 4000 && ms < 6000 ? 6003 - ms : 3),
  );
  expect(found(burst.filter(({ sentMs }) => sentMs <= 4400 || sentMs >= 5300))).toEqual([]);
  expect(found(stream((ms) => ms).filter(({ sentMs }) => sentMs < 4000 || sentMs > 7000))).toEqual([]);
});

test("two publishers of one topic whose clocks differ are none", () => {
  expect(found(stream((ms) => (ms % 200 === 0 ? ms : ms + 1500)))).toEqual([]);
});
