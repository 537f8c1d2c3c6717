/** `kill -9` of either end in mid-upload, again and again: every batch arrives once, and nothing is left behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BatchStore, createBatchTables } from "../../src/batch/batch-store.ts";
import type { Batch } from "../../src/model/batch.ts";
import { RECEIVER_DEFAULTS, Receiver } from "../../src/receiver/receiver.ts";
import { systemClock } from "../../src/std/clock.ts";
import { waitMs } from "../../src/std/wait.ts";
import { openDatabase } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { createUploadTables } from "../../src/upload/receipt-store.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { ReceiverFixture } from "../support/receiver-fixture.ts";
import { UploaderFixture } from "../support/uploader-fixture.ts";

let folder: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-kill-"));
});
afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a script and resolves to its first line. */
async function start(script: string, ...args: string[]): Promise<string> {
  const path = resolve(import.meta.dirname, "../scripts", script);
  const started = spawn(process.execPath, [path, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  child = started;
  return new Promise((resolve, reject) => {
    started.stdout.once("data", (line: Buffer) => resolve(line.toString().trim()));
    started.once("exit", (code) => reject(new Error(`${script} ended with ${code}`)));
  });
}

async function kill(): Promise<void> {
  const dying = child;
  const gone = new Promise((resolve) => dying?.once("exit", resolve));
  dying?.kill("SIGKILL");
  await gone;
}

async function expectHome(
  store: string,
  receipts: ReadonlyMap<string, string>,
  sent: ReadonlyMap<string, Buffer>,
): Promise<void> {
  const options = { ...RECEIVER_DEFAULTS, folder: store, port: 0 };
  await using receiver = Receiver.open(options, { clock: systemClock, log: silentLog });
  const episode = await receiver.findEpisode("0198-episode");
  const catalog = new Map(episode?.batches.map((batch) => [batch.batch, batch.sha256]));
  expect(episode?.batches).toHaveLength(sent.size);
  expect(catalog).toEqual(receipts);
  for (const [id, bytes] of sent)
    expect(readFileSync(join(store, "blobs", catalog.get(id) ?? "missing")).equals(bytes), id).toBe(true);
  expect(readdirSync(join(store, "blobs"))).toHaveLength(sent.size);
  expect(readdirSync(join(store, "parts", "arm-7"))).toEqual([]);
  expect((await receiver.fsck(false)).problems).toEqual([]);
}

const KILLS = 6;
const BATCHES = 40;

test("a receiver that is killed in mid-upload goes on where it was", async () => {
  const store = join(folder, "receiver");
  const enrolling = Receiver.open(
    { ...RECEIVER_DEFAULTS, folder: store, port: 0 },
    { clock: systemClock, log: silentLog },
  );
  const token = enrolling.addRobot("arm-7");
  const { publicKey } = enrolling;
  await enrolling[Symbol.asyncDispose]();

  let port = Number(await start("receiver-child.ts", store));
  // The proxy keeps the receiver's address the same, and slows it down so that a kill falls into an upload.
  await using proxy = await FaultProxy.open(
    () => port,
    () => ({ kind: "delay", ms: 4 }),
  );
  await using robot = new UploaderFixture({ url: proxy.url, token, publicKey }, { backOff: { baseMs: 5, maxMs: 50 } });
  const sent = new Map(
    Array.from({ length: BATCHES }, (_, index) => [`batch-${index}`, randomBytes(100_000 + 20_000 * index)]),
  );
  for (const [id, bytes] of sent) robot.queue.add(id, bytes);
  robot.start();
  for (let kills = 0; kills < KILLS; kills += 1) {
    const home = robot.queue.idsIn("deleted").length;
    await expect.poll(() => robot.queue.idsIn("deleted").length > home, { timeout: 20_000, interval: 5 }).toBe(true);
    await expect
      .poll(() => robot.uploader.status().sending?.sentBytes ?? 0, { timeout: 20_000, interval: 1 })
      .toBeGreaterThan(0);
    await kill();
    port = Number(await start("receiver-child.ts", store));
  }
  await expect.poll(() => robot.queue.idsIn("deleted").length, { timeout: 30_000 }).toBe(BATCHES);
  await kill();
  await expectHome(store, robot.receipts(), sent);
}, 90_000);

test("an uploader that is killed in mid-upload goes on where it was, and releases what has its receipt", async () => {
  await using home = await ReceiverFixture.open();
  await using proxy = await FaultProxy.open(
    () => home.port,
    () => ({ kind: "delay", ms: 4 }),
  );
  mkdirSync(join(folder, "batches"));
  writeFileSync(join(folder, "token"), home.token);
  using journal = openJournal();
  const store = BatchStore.open(journal.db, join(folder, "batches"), silentLog);
  const sent = new Map(
    Array.from({ length: BATCHES }, (_, index) => [`batch-${index}`, randomBytes(100_000 + 20_000 * index)]),
  );
  store.add([...sent].map(([id, bytes], index) => writeBatch(id, index, bytes)));
  const releasedCount = () => store.list(1000).filter((batch) => batch.state === "deleted").length;
  const args = [folder, proxy.url, home.receiver.publicKey] as const;
  for (let kills = 0; kills < KILLS; kills += 1) {
    const before = releasedCount();
    await start("uploader-child.ts", ...args);
    await expect.poll(() => releasedCount() > before, { timeout: 20_000, interval: 3 }).toBe(true);
    await waitMs(kills * 7); // into another part of the work each time
    await kill();
  }
  await start("uploader-child.ts", ...args);
  await expect.poll(releasedCount, { timeout: 30_000 }).toBe(BATCHES);
  await kill();
  const rows = journal.db
    .prepare<[], { batch_id: string; sha256: string }>("SELECT batch_id, sha256 FROM receipt")
    .all();
  await home.receiver[Symbol.asyncDispose]();
  await expectHome(home.folder, new Map(rows.map((row) => [row.batch_id, row.sha256])), sent);
  expect(readdirSync(join(folder, "batches"))).toEqual([]);
}, 90_000);

function openJournal() {
  const db = openDatabase(join(folder, "journal.db"), [
    (fresh) => {
      createBatchTables(fresh);
      createUploadTables(fresh);
    },
  ]);
  return { db, [Symbol.dispose]: () => void db.close() };
}

function writeBatch(id: string, index: number, bytes: Buffer): Batch {
  const path = join(folder, "batches", id);
  writeFileSync(path, bytes);
  return {
    ...{ id, episodeId: "0198-episode", bootId: "boot-1", kind: "heavy", index, path, sizeBytes: bytes.length },
    ...{ sha256: createHash("sha256").update(bytes).digest("hex"), mediaType: "application/mcap" },
    ...{ startNs: 0n, endNs: 1n, priority: 1, createdNs: 1n, state: "queued", quarantineReason: undefined },
  };
}
