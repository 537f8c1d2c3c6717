import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BatchStore } from "../../src/batch/batch-store.ts";
import { EpisodeTable } from "../../src/capture/episode-table.ts";
import { batchFolder, forgetOldEpisodes, makeDataFolder, openJournal } from "../../src/daemon/journal.ts";
import type { Batch } from "../../src/model/batch.ts";
import { type Episode, UNSAID } from "../../src/model/episode.ts";
import type { Db } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";

let folder: string;
let journal: Db;
beforeEach(() => {
  folder = makeFolder();
  makeDataFolder(folder);
  journal = openJournal(folder);
});
afterEach(() => {
  journal.close();
  removeFolder(join(folder, ".."));
});

function addEpisode(index: number, states: readonly Batch["state"][]): void {
  const id = `episode-${index}`;
  const episode: Episode = {
    ...{ id, bootId: "boot", kind: "failure", rule: "r", priority: 1, startNs: 0n, endNs: 1n, outcome: "unknown" },
    ...{ attempts: 1, firings: [], segments: [], labels: {}, note: "", isInterrupted: false, completeness: [] },
    ...UNSAID,
  };
  const table = new EpisodeTable(journal);
  table.write(episode, "batched");
  table.edit(id, { note: "seen" }, "me", 0n);
  const batch = (state: Batch["state"], part: number): Batch => ({
    ...{ id: `${id}-${part}`, episodeId: id, bootId: "boot", kind: "heavy", index: part, path: `${id}-${part}.mcap` },
    ...{ sizeBytes: 1, sha256: "", mediaType: "", startNs: 0n, endNs: 1n, priority: 1, createdNs: BigInt(index) },
    ...{ state, quarantineReason: undefined },
  });
  const batches = states.map(batch);
  BatchStore.open(journal, batchFolder(folder), silentLog).add(batches);
  for (const { id: batchId, state } of batches) {
    journal.prepare("UPDATE batch SET state = ? WHERE id = ?").run(state, batchId);
    journal.prepare("INSERT INTO receipt VALUES (?, '', '', 0, '')").run(batchId);
  }
}

const count = (table: string) => journal.prepare(`SELECT count(*) FROM ${table}`).pluck().get();

test("of episodes that are home only the newest keep their rows, and no other loses any", () => {
  for (let index = 0; index < 20; index += 1) addEpisode(index, ["deleted", "deleted"]);
  addEpisode(20, ["deleted", "queued"]);
  addEpisode(21, ["quarantined"]);
  forgetOldEpisodes(journal, 5);
  const left = new EpisodeTable(journal).list(100).map(({ episode }) => episode.id);
  expect(left.sort()).toEqual([15, 16, 17, 18, 19, 20, 21].map((index) => `episode-${index}`));
  expect([count("batch"), count("receipt"), count("episode_edit")]).toEqual([13, 13, 7]);
});

test("a hundred go at a time, so that no commit waits for long", () => {
  for (let index = 0; index < 250; index += 1) addEpisode(index, ["deleted"]);
  const left: unknown[] = [];
  for (let round = 0; round < 4; round += 1) {
    forgetOldEpisodes(journal, 10);
    left.push(count("episode"));
  }
  expect(left).toEqual([150, 50, 10, 10]);
});
