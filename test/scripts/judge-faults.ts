/**
 * Judges the shipped rules on faults put into recordings that had none:
 * `judge-faults.ts FROM TO [--only TEXT] [--json FILE]`.
 *
 * Each seed draws one fault of every kind for each recording; each is back-tested by itself, with all rule files that
 * Lode ships and without `/diagnostics` and `/rosout`. Exit code 1 if one is missed, or anything else is said.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { FAULTLESS, type JudgedFault, judgeFaults, lineOf, summaryOf } from "../support/judge-faults.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string", default: "" }, json: { type: "string" } },
});
const [from = 1, to = from] = positionals.map(Number);
const judged: JudgedFault[] = [];
for (const file of FAULTLESS)
  for (let seed = from; seed <= to; seed += 1) {
    const told = await judgeFaults(file, [seed, seed], (name) => `${file} ${name}`.includes(values.only));
    for (const each of told) console.error(lineOf(each));
    judged.push(...told);
  }
const kinds = summaryOf(judged);
for (const { name, found, events, wrong } of kinds) console.log(`${name}: ${found} of ${events} found, ${wrong} false`);
const problems = judged.filter((each) => each.found < each.events || each.false.length > 0).map(lineOf);
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ seeds: [from, to], kinds, problems }, undefined, 1)}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
