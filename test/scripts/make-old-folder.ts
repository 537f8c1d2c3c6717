/**
 * Makes a small data folder with the code as it is, and a listing of what is in it: kept under `test/data/old-folders`
 * when a released format is about to change, so that opening it later proves the migration.
 * `node test/scripts/make-old-folder.ts NAME` writes NAME.tar.gz and NAME.json there.
 *
 * Two boots: one that ended, and one whose process died, its log not yet in the databases. Inline and segment chunks,
 * baseline and full ones, latched messages, losses, an episode with batches and a receipt, one that waits for its own.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { BatchStore } from "../../src/batch/batch-store.ts";
import { EpisodeTable } from "../../src/capture/episode-table.ts";
import { batchFolder, makeDataFolder, openJournal } from "../../src/daemon/journal.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { EPISODE, IMU, JOINTS, TF_STATIC, write } from "../batch/episode-rig.ts";
import { channel, noise, Rig, START_NS } from "../ring/ring-rig.ts";
import { listFolder, OLD_CLASSES } from "../support/old-folder.ts";

const [name = ""] = process.argv.slice(2);
const target = resolve(import.meta.dirname, "../data/old-folders");
const folder = mkdtempSync(join(tmpdir(), "lode-old-"));
const work = join(folder, name);
const options = { classes: OLD_CLASSES, segmentBytes: 128 * 1024, inlineBytesMax: 4096 };
const FRONT = channel(5, "/camera/front", "camera");
const SCAN = channel(6, "/scan", "cloud");

makeDataFolder(work);
openJournal(work).close();
const first = record("boot-1", START_NS);
await writeBatches(first);
first[Symbol.dispose]();
const second = record("boot-2", START_NS + 3_600_000_000_000n);
addWaiting(second);
second.ledger.addLoss({
  topic: IMU.topic,
  reason: "queue_full",
  startNs: START_NS,
  endNs: second.nowNs,
  count: 7,
  bytes: 70,
});
second.ledger.saveLosses();
cpSync(work, join(folder, "copy", name), { recursive: true }); // as a process that dies leaves it
second.remove();
cpSync(join(folder, "copy", name), work, { recursive: true }); // to be listed: opening it may change it
execFileSync("tar", ["-C", join(folder, "copy"), "-czf", join(target, `${name}.tar.gz`), name]);
writeFileSync(join(target, `${name}.json`), `${JSON.stringify(listFolder(work), null, 1)}\n`);
rmSync(folder, { recursive: true });

function record(bootId: string, startNs: bigint): Rig {
  const rig = new Rig({ ...options, bootId }, work, startNs);
  if (rig.ring.channels.length === 0) for (const known of [JOINTS, IMU, TF_STATIC, FRONT, SCAN]) rig.addChannel(known);
  for (let step = 0; step < 200; step += 1) {
    sendStep(rig, step);
    rig.clock.advanceMs(50);
    if (step % 20 === 10) rig.flush();
    if (step === 120) rig.ring.hold(EPISODE.id, rig.nowNs - 2_000_000_000n, rig.nowNs);
    if (step === 120) rig.ring.promote(rig.nowNs - 2_000_000_000n, rig.nowNs, rig.nowNs);
  }
  rig.settle();
  return rig;
}

function sendStep(rig: Rig, step: number): void {
  if (step === 5) rig.send(TF_STATIC.id, Buffer.from("base_link -> tool"));
  rig.send(JOINTS.id, Buffer.from(`joints ${"0.125 ".repeat(20)} ${step}`));
  if (step % 2 === 0) rig.send(IMU.id, Buffer.from(`imu ${step} ${"9.81 ".repeat(5)}`));
  if (step % 10 === 5) rig.send(FRONT.id, noise(1500, step));
  if (step % 40 === 7) rig.send(SCAN.id, noise(5000, step));
}

/** An episode whose files are there, and their receipts. */
async function writeBatches(rig: Rig): Promise<void> {
  const episode = { ...EPISODE, startNs: rig.nowNs - 8_000_000_000n, endNs: rig.nowNs - 4_000_000_000n };
  const { episode: written, batches } = await write(rig, {}, episode);
  BatchStore.open(rig.journal, batchFolder(work), silentLog).add(batches);
  new EpisodeTable(rig.journal).write(written, "batched");
  const receipt = "INSERT INTO receipt (batch_id, receiver, sha256, verified_ns, receipt) VALUES (?, ?, ?, ?, ?)";
  rig.journal.prepare(receipt).run("batch-0", "http://receiver", "00".repeat(32), rig.nowNs, "{}");
}

function addWaiting(rig: Rig): void {
  const table = new EpisodeTable(rig.journal);
  const [id, startNs, endNs] = ["018f0000-0000-7000-8000-000000000002", rig.nowNs - 9_000_000_000n, rig.nowNs] as const;
  table.write({ ...EPISODE, id, bootId: "boot-2", note: "waits", startNs, endNs }, "sealed");
  table.hold(id, startNs, endNs);
  table.edit(id, { labels: { seen: "yes" } }, "kim", endNs);
}
