import { expect, test } from "vitest";
import { RateWatch } from "../../src/daemon/rate-watch.ts";
import type { Loss } from "../../src/model/loss.ts";
import { seededRandom } from "../../src/std/random.ts";

const S = 1_000_000_000n;

/** One topic at the rates, a second each; `jitter`: share by which a second may be off. */
function watch(ratesHz: readonly number[], isUp: (second: number) => boolean = () => true, jitter = 0): Loss[] {
  const rates = new RateWatch();
  const random = seededRandom(3);
  let messages = 0;
  return ratesHz.flatMap((rateHz, second) => {
    messages += Math.round(rateHz * (1 + jitter * (random() * 2 - 1)));
    return rates.step(BigInt(second) * S, [{ topic: "/camera", messages }], isUp(second));
  });
}

const at = (rateHz: number, seconds: number): number[] => Array.from({ length: seconds }, () => rateHz);

test("an even topic that falls to half its rate is told, of unknown count, from where it fell", () => {
  for (const second of [100, 101, 102, 103, 104]) {
    const losses = watch([...at(30, second), ...at(15, 20)], () => true, 0.05);
    expect(losses.length).toBeGreaterThan(0);
    for (const loss of losses)
      expect(loss).toMatchObject({ topic: "/camera", reason: "rate_drop", count: undefined, bytes: undefined });
    const startNs = losses[0]?.startNs ?? 0n;
    expect(startNs).toBeGreaterThanOrEqual(BigInt(second - 5) * S);
    expect(startNs).toBeLessThanOrEqual(BigInt(second + 5) * S);
  }
});

test("after a minute the new rate is the usual one", () => {
  const losses = watch([...at(30, 100), ...at(15, 600)]);
  const endNs = losses.at(-1)?.endNs ?? 0n;
  expect(endNs).toBeGreaterThan(140n * S);
  expect(endNs).toBeLessThan(180n * S);
});

test("a topic that stops, begins, pauses or comes back raises no alarm", () => {
  expect(watch([...at(30, 103), ...at(0, 100)])).toEqual([]);
  expect(watch([...at(0, 52), ...at(30, 200)])).toEqual([]);
  expect(watch([...at(30, 103), ...at(0, 21), ...at(30, 103)])).toEqual([]);
  expect(watch([...at(30, 100), ...at(20, 4), ...at(30, 100)])).toEqual([]);
});

test("a topic that is slow or never was even raises no alarm", () => {
  expect(watch([...at(5, 200), ...at(1, 100)])).toEqual([]);
  const uneven = at(0, 400).map((_, second) => (Math.floor(second / 20) % 2 === 0 ? 40 : 25));
  expect(watch(uneven)).toEqual([]);
});

test("while the connection is away or new, nothing is judged", () => {
  const rates = [...at(30, 103), ...at(0, 3), ...at(12, 4), ...at(30, 100)];
  expect(watch(rates, (second) => second < 103 || second > 110)).toEqual([]);
});
