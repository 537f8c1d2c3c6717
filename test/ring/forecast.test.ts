import fc from "fast-check";
import { expect, test } from "vitest";
import { type ForecastClass, forecastReach } from "../../src/ring/forecast.ts";
import { leavingOrder } from "../../src/ring/value.ts";

const HOUR_MS = 3_600_000;

function entry(name: string, changes: Partial<ForecastClass> = {}): ForecastClass {
  return { name, rank: 0, bytesPerS: 1000, bytesMax: 0, msMax: 0, shareMax: 1, ...changes };
}

test("41 h of joints and 6 h of cameras: each class its share of the ring, at its own rate", () => {
  const light = entry("light", { bytesPerS: 150_000, shareMax: 0.7 });
  const camera = entry("camera", { rank: 50, bytesPerS: 300_000, shareMax: 0.2 });
  const hours = (name: string) => Math.round((forecastReach([camera, light], 32e9).get(name) ?? 0) / HOUR_MS);
  // Nobody else wants the last tenth: it goes to what is worth most.
  expect([hours("light"), hours("camera")]).toEqual([47, 6]);
});

test("a class alone has the whole ring; its own bounds in bytes and age hold; silent classes are not told", () => {
  expect(forecastReach([entry("light", { shareMax: 0.7 })], 36e5).get("light")).toBe(HOUR_MS);
  expect(forecastReach([entry("light", { bytesMax: 18e5 })], 36e5).get("light")).toBe(HOUR_MS / 2);
  expect(forecastReach([entry("light", { msMax: 60_000 })], 36e5).get("light")).toBe(60_000);
  expect(forecastReach([entry("light", { bytesPerS: 0 })], 36e5).size).toBe(0);
});

type Store = ForecastClass & { readonly chunks: { readonly atS: number; bytes: number }[]; bytes: number };

/** A second of every class into a ring that keeps the order of value, chunk by chunk. */
function step(stores: readonly Store[], atS: number, capacity: number): void {
  for (const store of stores) {
    if (store.bytesPerS === 0) continue;
    const take = (from: Store, bytes: number) => {
      const [oldest] = from.chunks;
      const taken = Math.min(bytes, oldest?.bytes ?? 0);
      if (oldest !== undefined) oldest.bytes -= taken;
      if (oldest?.bytes === 0) from.chunks.shift();
      from.bytes -= taken;
      return taken > 0;
    };
    const excess = () => stores.reduce((sum, { bytes }) => sum + bytes, 0) + store.bytesPerS - capacity;
    const leaving = () => leavingOrder(stores, { rank: store.rank, isHeld: false }, capacity);
    while (excess() > 1e-6 && leaving().some((victim) => take(victim, excess()))) {}
    if (excess() > 1e-6) continue; // worth less than everything that is there
    store.chunks.push({ atS, bytes: store.bytesPerS });
    store.bytes += store.bytesPerS;
    while (store.bytesMax > 0 && store.bytes > store.bytesMax && take(store, store.bytes - store.bytesMax)) {}
    for (let [oldest] = store.chunks; store.msMax > 0 && oldest !== undefined; [oldest] = store.chunks) {
      if (atS - oldest.atS < store.msMax / 1000) break;
      take(store, oldest.bytes);
    }
  }
}

test("it is what a ring comes to that goes on long enough at these rates", () => {
  const anyClass = fc.record({
    bytesPerS: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 30 })),
    bytesMax: fc.oneof(fc.constant(0), fc.integer({ min: 100, max: 2000 })),
    msMax: fc.oneof(fc.constant(0), fc.integer({ min: 20_000, max: 200_000 })),
    shareMax: fc.constantFrom(1, 1, 0.7, 0.3, 0.1),
    rank: fc.nat(3),
  });
  const classes = fc.array(anyClass, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(classes, fc.integer({ min: 1000, max: 3000 }), (drawn, capacity) => {
      const stores = drawn.map((given, index): Store => ({ ...entry(`class ${index}`, given), chunks: [], bytes: 0 }));
      for (let atS = 0; atS < 8000; atS += 1) step(stores, atS, capacity);
      const forecast = forecastReach(stores, capacity);
      for (const { name, bytes, bytesPerS } of stores) {
        const bytesForecast = ((forecast.get(name) ?? 0) / 1000) * bytesPerS;
        // A second of everybody's, and the share of the ring that is kept for light data alone.
        expect(Math.abs(bytes - bytesForecast), name).toBeLessThan(150 + capacity / 50);
      }
    }),
    { numRuns: 60 },
  );
});
