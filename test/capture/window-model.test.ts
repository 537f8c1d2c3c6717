import { expect, test } from "vitest";
import { proveEveryWord, proveWindows } from "./window-model.ts";

test("every window has what was asked, light to the message and heavy never less, back to back and while the one before is written", async () => {
  await proveWindows({ runs: 6, seed: 11, crashes: false });
}, 120_000);

test("a crash at any time loses no episode: each is sealed, has its files, and lets go of what it held", async () => {
  await proveWindows({ runs: 6, seed: 12, crashes: true });
}, 120_000);

test("a crash between any two words that capture says loses no episode either", async () => {
  // full rate, hold, promotion, on demand twice, hold, full rate, sealed, rows, release
  expect(await proveEveryWord()).toBe(10);
}, 120_000);
