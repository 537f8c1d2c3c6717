/**
 * The long form of test/ring/ring-damage.test.ts: `node test/scripts/damage-ring.ts [ROUNDS] [SEED]`, each round every
 * kind of damage once at another place. Prints what fails and ends with the numbers.
 */
import { seededRandom } from "../../src/std/random.ts";
import { DAMAGES, makeBase, tryDamage } from "../support/ring-damage.ts";

const rounds = Number(process.argv[2] ?? "20");
const seed = Number(process.argv[3] ?? "1");
const base = makeBase();
const random = seededRandom(seed);
let trials = 0;
let failures = 0;
try {
  for (let round = 0; round < rounds; round += 1)
    for (const damage of DAMAGES) {
      const problems = tryDamage(base, damage, random);
      if (problems === undefined) continue;
      trials += 1;
      if (problems.length === 0) continue;
      failures += 1;
      console.log(`round ${round}, ${damage.name}:\n  ${problems.slice(0, 4).join("\n  ")}`);
    }
} finally {
  base.remove();
}
console.log(`${trials} damaged folders, ${failures} with a wrong outcome`);
process.exitCode = failures === 0 ? 0 : 1;
