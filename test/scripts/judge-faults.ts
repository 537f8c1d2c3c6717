/**
 * Judges the shipped rules on faults put into recordings that had none:
 * `judge-faults.ts FROM TO [--only TEXT] [--json FILE]`.
 *
 * Each seed draws one fault of every kind for each recording; each is back-tested by itself, with all rule files that
 * Lode ships and without `/diagnostics` and `/rosout`. Exit code 1 if one is missed, or anything else is said.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { judgeFaults } from "../support/judge-faults.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string", default: "" }, json: { type: "string" } },
});
const [from = 1, to = from] = positionals.map(Number);
const judged = await judgeFaults(
  from,
  to,
  (fault) => `${fault.file} ${fault.name}`.includes(values.only),
  (line) => console.error(line),
);
const byName = Object.groupBy(judged, ({ name }) => name);
for (const [name, faults = []] of Object.entries(byName)) {
  const found = faults.reduce((sum, each) => sum + each.found, 0);
  const wrong = faults.reduce((sum, each) => sum + each.false.length, 0);
  console.log(`${name}: ${found} of ${faults.reduce((sum, each) => sum + each.events, 0)} found, ${wrong} false`);
}
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ seeds: [from, to], judged }, undefined, 1)}\n`);
process.exitCode = judged.every((each) => each.found === each.events && each.false.length === 0) ? 0 : 1;
