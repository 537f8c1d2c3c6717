/** A bit flip or a truncation at every byte class of every file of a data folder; test/support/ring-damage.ts. */
import { afterAll, expect, test } from "vitest";
import { seededRandom } from "../../src/std/random.ts";
import { DAMAGES, makeBase, tryDamage } from "../support/ring-damage.ts";

const base = makeBase();
afterAll(() => base.remove());
const random = seededRandom(4);

test.for(DAMAGES)("damage to $name costs only what it hit, and is told", (damage) => {
  expect(tryDamage(base, damage, random) ?? []).toEqual([]);
});
