/**
 * Feeds damaged bytes to the targets in a process of its own, for what goes wrong may end it.
 * `fuzz-child.ts SEED FROM COUNT SECONDS FOLDER [TARGET]`: cases FROM… until COUNT are done or the time is over. A case can be repeated
 * from its seed and number alone. On stdout `at N` now and then, then one line of JSON.
 */
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../src/std/fault.ts";
import { type Random, seededRandom } from "../../src/std/random.ts";
import { fuzzTargets, type Target } from "./fuzz-targets.ts";

const REPORT_CASES = 5000;
const LIES = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff0, 1e6, 3e9];

const [seed = 0, from = 0, count = 0, seconds = 0] = process.argv.slice(2, 6).map(Number);
const [folder = "", only = ""] = process.argv.slice(6);
const files = {
  folder,
  mcap: readFileSync(join(folder, "light.mcap")),
  manifest: readFileSync(join(folder, "meta.json")),
};
const targets = (await fuzzTargets(files)).filter(({ name }) => only === "" || name === only);
const cases = Object.fromEntries(targets.map(({ name }) => [name, 0]));
const slowest = { ms: 0, target: "", index: 0 };
const problems: string[] = [];
let residentMax = 0;

const endMs = performance.now() + seconds * 1000;
let index = from;
let done = 0;
for (; done < count && problems.length < 10; index += 1) {
  for (const target of targets)
    if (index % target.every === 0) {
      await judge(target, index);
      done += 1;
    }
  if (index % REPORT_CASES !== 0) continue;
  residentMax = Math.max(residentMax, process.memoryUsage.rss());
  writeSync(1, `at ${index}\n`);
  if (performance.now() > endMs) break;
}
// The kernel's own maximum: what was allocated and given back between two looks as well.
residentMax = Math.max(residentMax, process.resourceUsage().maxRSS * 1024);
writeSync(1, `${JSON.stringify({ done, index, cases, slowest, residentMax, problems })}\n`);
process.exit(0); // the bridge and its client have served

async function judge(target: Target, index: number): Promise<void> {
  const random = seededRandom(Math.imul(seed, 0x9e37_79b1) ^ index);
  const bytes = damage(target, random);
  const startedMs = performance.now();
  try {
    const reading = target.read(bytes, random);
    if (reading !== undefined) await reading;
  } catch (error) {
    if (!(error instanceof Fault))
      problems.push(`${target.name}, case ${index}: ${error instanceof Error ? error.stack?.slice(0, 500) : error}`);
  }
  const ms = performance.now() - startedMs;
  cases[target.name] = (cases[target.name] ?? 0) + 1;
  if (ms > slowest.ms) Object.assign(slowest, { ms, target: target.name, index });
}

/** A sample, or noise, with one to four kinds of damage. */
function damage({ samples }: Target, random: Random): Buffer {
  const upTo = (max: number) => Math.floor(random() * max);
  const sample = samples[upTo(samples.length)] ?? Buffer.alloc(0);
  let bytes: Buffer =
    random() < 0.02 ? Buffer.from(Array.from({ length: upTo(300) }, () => upTo(256))) : Buffer.from(sample);
  // Heads and tails of long samples are hit as often as all the rest.
  const anywhere = () =>
    random() < 0.5
      ? upTo(Math.min(bytes.length, 64))
      : random() < 0.3
        ? Math.max(0, bytes.length - 1 - upTo(64))
        : upTo(bytes.length);
  for (let hurts = upTo(4); hurts >= 0 && bytes.length > 0; hurts -= 1) {
    const at = anywhere();
    const kind = upTo(7);
    if (kind === 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << upTo(8));
    else if (kind === 1) bytes[at] = upTo(256);
    else if (kind === 2) bytes = bytes.subarray(0, at);
    else if (kind === 3 && at + 4 <= bytes.length) bytes.writeUInt32LE(LIES[upTo(LIES.length)] ?? 0, at);
    else if (kind === 4 && at + 4 <= bytes.length) bytes.writeUInt32BE(LIES[upTo(LIES.length)] ?? 0, at);
    else if (kind === 5) bytes.copyWithin(at, anywhere(), anywhere());
    else
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        bytes.subarray(0, upTo(Math.min(bytes.length, 300))),
        bytes.subarray(at),
      ]);
  }
  return bytes;
}
