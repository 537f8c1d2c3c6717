/**
 * The proof on a full disk: in each phase of the line somebody else fills the file system to its last page, and takes
 * that away again while the robot goes on. Nothing has to be started anew, and the ledger is exact.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { openJournal } from "../../src/daemon/journal.ts";
import { Rig } from "../ring/ring-rig.ts";
import { SmallDisk } from "../support/small-disk.ts";
import { CHANNELS, contentOf, lineOptions, timeOf } from "./line.ts";
import { checkAllHome, checkLine } from "./line-check.ts";
import { type Run, runLine } from "./outside.ts";

export const FULL_PHASES = [
  ...["recording", "firing", "promotion", "sealing", "batch writing", "batch rows", "receipt", "shutdown"],
] as const;

const STEPS = 1500;

/** Problems in words. Needs root: the small file system is mounted. */
export async function proveFullDisk(phase: string): Promise<readonly string[]> {
  using disk = new SmallDisk(48);
  const folder = join(disk.path, "robot");
  const told = await runLine({ folder, run: 0, pace: "fast", env: { LODE_FULL: phase } });
  const refused = phase === "receipt" ? failedAttempts(join(folder, "data")) : told.refused;
  if (told.full < 0 || refused === 0) return [`in the phase ${phase} the disk refused nothing`];
  rmSync(join(folder, "hog"), { force: true });
  const runs = [told];
  const problems = [...checkLine(folder, runs), ...countProblems(join(folder, "data"), told, phase === "shutdown")];
  runs.push(await runLine({ folder, run: 1, pace: "home" }));
  return [...problems, ...checkLine(folder, runs), ...(await checkAllHome(folder, runs))];
}

function failedAttempts(data: string): number {
  const journal = openJournal(data);
  try {
    return Number(journal.prepare("SELECT count(*) FROM attempt WHERE kind <> 'accepted'").pluck().get());
  } finally {
    journal.close();
  }
}

/** What the robot sent is what was received, and every stored message is there or was evicted. */
function countProblems(data: string, { run, durable }: Run, isLastLost: boolean): string[] {
  const problems: string[] = [];
  using rig = new Rig({ ...lineOptions(run + 1), openJournal: () => openJournal(data) }, data, timeOf(run + 1, 0));
  const read = new Map<number, number>();
  for (const { channelId } of rig.readAll()) read.set(channelId, (read.get(channelId) ?? 0) + 1);
  const counts = new Map(rig.ledger.snapshot(new Map(), `boot-${run}`).map((count) => [count.topic, count]));
  for (const { id, topic } of CHANNELS) {
    const sent = Array.from({ length: STEPS }, (_, step) => contentOf(id, run, step)).filter(Boolean).length;
    const counted = counts.get(topic);
    const [received, stored, evicted] = [counted?.received ?? 0, counted?.stored ?? 0, counted?.evicted ?? 0];
    if (received !== sent && !isLastLost) problems.push(`${topic}: sent ${sent}, received ${received}`);
    if (stored - evicted !== (read.get(id) ?? 0))
      problems.push(`${topic}: stored ${stored}, evicted ${evicted}, read ${read.get(id)}`);
  }
  if (durable < STEPS - 150 && !isLastLost) problems.push(`after the disk had room the last commit was at ${durable}`);
  return problems;
}
