/**
 * Every recording at recorded speed through the whole line, all of them side by side: `replay-recordings.ts [NAME…]`.
 * Prints what the recording has, what the ring lacks of it, what the ledger says, and what fired. Takes as long as
 * the longest recording (6.6 minutes). Exit code 1 if a message is missing that the ledger does not name.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { table } from "../../src/cli/screen.ts";
import { playThrough, readRing } from "../e2e/play-through.ts";
import { missingFrom } from "../e2e/served-recording.ts";
import { ROOT, waitFor } from "../support/child.ts";

const all = readdirSync(join(ROOT, "test/data/recordings")).filter((name) => /\.(mcap|bag|db3)$/.test(name));
const names = process.argv.length > 2 ? process.argv.slice(2) : all;
const results = await Promise.all(names.map(replay));
console.log(
  table(
    ["recording", ">messages", ">missing", ">ledger rows", "episodes"],
    results.map(({ row }) => row),
  ),
);
process.exitCode = results.every(({ isWhole }) => isWhole) ? 0 : 1;

async function replay(name: string): Promise<{ row: string[]; isWhole: boolean }> {
  const { served, rig } = await playThrough(name, 1);
  await using _served = served;
  await using _rig = rig;
  const missing = missingFrom(await served.multiset(), readRing(rig.dataFolder));
  const lacking = Object.values(missing).reduce((sum, count) => sum + count, 0);
  const { losses, accounting } = await rig.status();
  const dropped = Object.values(accounting.dropped).reduce((sum, count) => sum + count, 0);
  // What is open closes by itself: with its recovery, or when the time for one is over.
  const episodes = await waitFor(
    async () => {
      const list = await rig.episodes();
      return list.every(({ state }) => state === "receipted") && list;
    },
    `the episodes of ${name} to be home`,
    180_000,
  );
  const told = episodes.map(
    ({ rule, outcome, attempts, firing_count }) => `${rule} ${outcome}, attempts ${attempts}, firings ${firing_count}`,
  );
  const row = [
    name,
    String(served.recording.messageCount),
    String(lacking),
    String(losses.length),
    told.join("; ") || "none",
  ];
  console.error(row.join(" | "));
  return { row, isWhole: lacking === dropped };
}
