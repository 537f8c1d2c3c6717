import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BatchStore, createBatchTables } from "../../src/batch/batch-store.ts";
import type { Batch } from "../../src/model/batch.ts";
import { type Db, openDatabase } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";

let folder: string;
let db: Db;
let store: BatchStore;

beforeEach(() => {
  folder = makeFolder();
  db = openDatabase(join(folder, "..", "journal.db"), [createBatchTables]);
  store = BatchStore.open(db, folder, silentLog);
});
afterEach(() => {
  db.close();
  removeFolder(join(folder, ".."));
});

const NONE: ReadonlySet<string> = new Set();

function batch(id: string, changes: Partial<Batch> = {}): Batch {
  const path = join(folder, `${id}.mcap`);
  writeFileSync(path, id);
  return {
    ...{ id, episodeId: `of ${id}`, bootId: "boot", kind: "light", index: 0, path, sizeBytes: id.length },
    ...{
      sha256: "00".repeat(32),
      mediaType: "application/mcap",
      startNs: 1_800_000_000_000_000_001n,
      endNs: 2n ** 61n,
    },
    ...{ priority: 10, createdNs: 5n, state: "queued", quarantineReason: undefined },
    ...changes,
  };
}

const files = (): string[] => readdirSync(folder).sort();
const stateOf = (id: string): string | undefined => store.find(id)?.state;

test("a row gives back the batch as it was added", () => {
  const made = batch("a", { priority: 3999.998 });
  store.add([made]);
  expect(store.find("a")).toEqual(made);
});

test("the most valuable goes first, then the oldest, then the nearest frames", () => {
  store.add([batch("late", { createdNs: 9n }), batch("rest", { priority: 1 })]);
  store.add([
    batch("h2", { episodeId: "e", kind: "heavy", index: 2 }),
    batch("h1", { episodeId: "e", kind: "heavy", index: 1 }),
  ]);
  store.add([batch("meta", { priority: 99, createdNs: 99n })]);
  const order: string[] = [];
  for (let next = store.next(NONE); next !== undefined; next = store.next(new Set(order))) order.push(next.id);
  expect(order).toEqual(["meta", "h1", "h2", "late", "rest"]);
});

test("one bad batch never blocks another", () => {
  store.add([batch("bad", { priority: 99 }), batch("good")]);
  expect(store.next(new Set(["bad"]))?.id).toBe("good");
  store.quarantine("bad", "refused for good");
  expect(store.next(NONE)?.id).toBe("good");
  expect(store.find("bad")).toMatchObject({ state: "quarantined", quarantineReason: "refused for good" });
});

test("a second run for the same episode changes nothing", () => {
  expect(store.add([batch("a", { episodeId: "e" }), batch("b", { episodeId: "e", kind: "meta" })])).toBe(true);
  expect(store.add([batch("c", { episodeId: "e" })])).toBe(false);
  expect(
    store
      .ofEpisode("e")
      .map(({ id }) => id)
      .sort(),
  ).toEqual(["a", "b"]);
});

test("a file is never deleted before its receipt", () => {
  store.add([batch("a")]);
  expect(() => store.release("a")).toThrow("receipted");
  store.reconcile();
  expect(files()).toEqual(["a.mcap"]);
  store.recordReceipt("a");
  expect(files()).toEqual(["a.mcap"]);
  store.release("a");
  expect([files(), stateOf("a")]).toEqual([[], "deleted"]);
});

test.each([
  { name: "after the receipt", state: "receipted", hasFile: true },
  { name: "after `deleting`", state: "deleting", hasFile: true },
  { name: "after the unlink", state: "deleting", hasFile: false },
])("a crash $name: the delete is finished at the next start", ({ state, hasFile }) => {
  store.add([batch("a"), batch("b")]);
  db.prepare("UPDATE batch SET state = ? WHERE id = 'a'").run(state);
  if (!hasFile) rmSync(join(folder, "a.mcap"));
  store.reconcile();
  expect([files(), stateOf("a"), stateOf("b")]).toEqual([["b.mcap"], "deleted", "queued"]);
});

test("what a crash in the middle of an episode's batches leaves is removed, and nothing else", () => {
  store.add([batch("a"), batch("set-aside")]);
  store.quarantine("set-aside", "for a person to look at");
  writeFileSync(join(folder, "e-light.mcap.part"), "torn");
  writeFileSync(join(folder, "e-heavy-1.mcap"), "whole, but without its row");
  store.reconcile();
  expect(files()).toEqual(["a.mcap", "set-aside.mcap"]);
});

test("a row whose file has gone is set aside with its reason, never offered", () => {
  store.add([batch("a")]);
  rmSync(join(folder, "a.mcap"));
  store.reconcile();
  expect(store.next(NONE)).toBeUndefined();
  expect(store.find("a")?.quarantineReason).toBe("Its file is missing.");
});

test("the totals count what waits", () => {
  expect(store.totals()).toEqual({ queuedCount: 0, queuedBytes: 0, oldestQueuedNs: undefined, quarantinedCount: 0 });
  store.add([batch("a", { createdNs: 7n, sizeBytes: 100 }), batch("b", { createdNs: 6n, sizeBytes: 11 }), batch("c")]);
  store.quarantine("c", "bad");
  expect(store.totals()).toEqual({ queuedCount: 2, queuedBytes: 111, oldestQueuedNs: 6n, quarantinedCount: 1 });
  expect(existsSync(join(folder, "c.mcap"))).toBe(true);
});
