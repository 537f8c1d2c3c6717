/** A damaged `journal.db`: what can be read is kept, batch files are known again, nothing is deleted. */
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BatchStore } from "../../src/batch/batch-store.ts";
import { EpisodeTable } from "../../src/capture/episode-table.ts";
import { batchFolder, makeDataFolder, openJournal } from "../../src/daemon/journal.ts";
import { openSoundJournal } from "../../src/daemon/journal-mend.ts";
import { readLosses } from "../../src/ledger/ledger.ts";
import type { Batch } from "../../src/model/batch.ts";
import { type Episode, UNSAID } from "../../src/model/episode.ts";
import { formatManifest } from "../../src/protocol/manifest.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";

const NOW_NS = 1_800_000_000_000_000_000n;
const EPISODE = "01a1fe2f-68a8-78be-9a25-d6aaca4cd508";
const ORPHAN = "01a1fe2f-68a8-78be-9a25-d6aaca4cd509";

let folder: string;
beforeEach(() => {
  folder = makeFolder();
  makeDataFolder(folder);
});
afterEach(() => removeFolder(join(folder, "..")));

const episode: Episode = {
  ...{ id: EPISODE, bootId: "boot-1", kind: "failure", rule: "slip", priority: 50, outcome: "recovered", attempts: 1 },
  ...{ startNs: NOW_NS - 10n ** 10n, endNs: NOW_NS, firings: [], segments: [], labels: {}, note: "" },
  ...{ isInterrupted: false, completeness: [], ...UNSAID },
};

/** An episode's files as the reader thread leaves them, and one whose manifest went home already. */
function writeBatches(): void {
  const light = {
    kind: "light",
    ...{ id: "b-light", index: 0, mediaType: "application/mcap", sizeBytes: 5, sha256: "a".repeat(64) },
    ...{ startNs: episode.startNs, endNs: episode.endNs, channels: [] },
  } as const;
  const robot = { id: "r", site: "", embodiment: "", labels: {} };
  const manifest = { robot, lodeVersion: "0", createdNs: NOW_NS, episode, batches: [light], previews: [] };
  const path = (name: string) => join(batchFolder(folder), name);
  writeFileSync(path(`${EPISODE}-meta.json`), formatManifest(manifest));
  writeFileSync(path(`${EPISODE}-light.mcap`), "light");
  writeFileSync(path(`${ORPHAN}-heavy-2.mcap`), "heavy");
}

function found(): { files: string[]; batches: readonly Batch[]; reasons: string[] } {
  const journal = openSoundJournal(folder, silentLog, NOW_NS);
  try {
    const store = BatchStore.open(journal, batchFolder(folder), silentLog);
    store.reconcile();
    const reasons = readLosses(journal, 0n, 2n ** 62n).map(({ reason }) => reason);
    return { files: readdirSync(batchFolder(folder)).sort(), batches: store.list(10), reasons };
  } finally {
    journal.close();
  }
}

test("garbage instead of a journal: files with their manifest are queued again, others kept and listed", () => {
  writeBatches();
  const before = readdirSync(batchFolder(folder)).sort();
  writeFileSync(join(folder, "journal.db"), Buffer.alloc(50_000, 0x5a));
  const { files, batches, reasons } = found();
  expect(files).toEqual(before);
  expect(batches.map(({ kind, state }) => `${kind} ${state}`).sort()).toEqual([
    "heavy quarantined",
    "light queued",
    "meta queued",
  ]);
  expect(batches.find(({ kind }) => kind === "light")).toMatchObject({ id: "b-light", sha256: "a".repeat(64) });
  expect(reasons).toEqual(["damaged_journal"]);
  const journal = openJournal(folder);
  expect(new EpisodeTable(journal).find(EPISODE)).toMatchObject({ state: "batched", episode: { rule: "slip" } });
  journal.close();
  expect(found().files).toEqual(before); // a second start finds it sound
  expect(readdirSync(folder)).toContain("journal.db.damaged");
});

test("of a journal with a damaged page the other tables come over whole", () => {
  writeBatches();
  const journal = openJournal(folder);
  new EpisodeTable(journal).write(episode, "batched");
  const insert = journal.prepare(
    "INSERT INTO loss (topic, reason, start_ns, end_ns, count, bytes, boot_id) VALUES (?, 'crash', 1, 2, 3, 4, '')",
  );
  journal.transaction(() => {
    for (let index = 0; index < 2000; index += 1) insert.run(`/topic_${index}`);
  })();
  const page = Number(
    journal
      .prepare("SELECT pageno FROM dbstat WHERE name = 'loss' AND pagetype = 'leaf' LIMIT 1 OFFSET 3")
      .pluck()
      .get(),
  );
  journal.close();
  const fd = openSync(join(folder, "journal.db"), "r+");
  writeSync(fd, Buffer.alloc(4096, 0xa5), 0, 4096, (page - 1) * 4096);
  closeSync(fd);
  const { batches, reasons } = found();
  expect(batches.map(({ state }) => state).sort()).toEqual(["quarantined", "queued", "queued"]);
  expect(reasons.filter((reason) => reason === "crash").length).toBeGreaterThan(1800);
  expect(reasons).toContain("damaged_journal");
});

test("a sound journal is opened as it is", () => {
  openSoundJournal(folder, silentLog, NOW_NS).close();
  const before = readFileSync(join(folder, "journal.db"));
  openSoundJournal(folder, silentLog, NOW_NS).close();
  expect(readFileSync(join(folder, "journal.db")).equals(before)).toBe(true);
  expect(readdirSync(folder)).not.toContain("journal.db.damaged");
  const db = new Database(join(folder, "journal.db"), { readonly: true });
  expect(db.pragma("quick_check", { simple: true })).toBe("ok");
  db.close();
});
