/** The short form of `npm run proof -- kill`: every failpoint once, and random moments between them. */
import { expect, test } from "vitest";
import { failpointNames, proveKill } from "./kill.ts";

test("after a kill at every named point between two writes, contract and accounting hold", async () => {
  const names = failpointNames();
  const result = await proveKill({ runs: Math.ceil(names.length * 1.5), seed: 1 });
  expect(result.problems).toEqual([]);
  expect(names.filter((name) => !result.hit.has(name))).toEqual([]);
}, 180_000);
