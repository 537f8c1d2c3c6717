/** The short form of `npm run proof -- model`. */
import { test } from "vitest";
import { proveModel } from "./ring-model.ts";

test("whatever is asked of it, the ring gives back what it promised and nothing else", async () => {
  await proveModel({ runs: 60, seed: 7 });
}, 120_000);
