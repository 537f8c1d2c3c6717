import { test } from "vitest";
import { proveWindows } from "./window-model.ts";

test("every window has what was asked, light to the message and heavy never less, back to back and while the one before is written", async () => {
  await proveWindows({ runs: 8, seed: 11, crashes: false });
}, 120_000);

test("a crash in any state of an episode loses none: each is sealed, has its files once, and lets go of what it held", async () => {
  await proveWindows({ runs: 8, seed: 12, crashes: true });
}, 120_000);
