/** A reader that takes as long as the ring needs to turn over several times. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { StoredChunk } from "../../src/ring/ring-reader.ts";
import type { Fault } from "../../src/std/fault.ts";
import { openDatabaseForReading } from "../../src/store/database.ts";
import { CAMERA, channel, expectedOf, gotOf, LIGHT, noise, Rig } from "./ring-rig.ts";

const MIB = 1024 * 1024;
const EVER = { startNs: 0n, endNs: 2n ** 62n };
const BYTES_MAX = 8 * MIB;
/** SQLite checkpoints after 1,000 pages of 1 KiB; one transaction more may come before it does. */
const WAL_MAX = 2 * MIB;

function diskRig(): Rig {
  const rig = new Rig({
    classes: [
      { ...LIGHT, rank: 1 },
      { ...CAMERA, tier: "disk", rank: 1 },
    ],
    bytesMax: BYTES_MAX,
  });
  rig.addChannel(channel(1, "/joints", "light"));
  rig.addChannel(channel(2, "/camera", "camera"));
  return rig;
}

/** Half a MB and 40 chunks a second of log time: a full ring has more of them than a reader's page. */
function run(rig: Rig, seconds: number): void {
  for (let step = 0; step < seconds * 20; step += 1) {
    rig.send(1, noise(400, rig.sent.length));
    rig.send(2, noise(25_000, rig.sent.length));
    rig.clock.advanceMs(50);
    rig.builder.flushAll();
  }
  rig.settle();
}

const walBytes = (rig: Rig): number => statSync(join(rig.folder, "ring.db-wal")).size;

function diskBytes(rig: Rig): number {
  const segments = readdirSync(join(rig.folder, "segments"), { withFileTypes: true });
  const files = [...segments.map(({ name }) => join(rig.folder, "segments", name)), join(rig.folder, "ring.db")];
  return files.reduce((sum, path) => sum + statSync(path).size, 0);
}

function chunkIds(rig: Rig): number[] {
  const db = openDatabaseForReading(join(rig.folder, "ring.db"));
  try {
    return db.prepare<[], number>("SELECT id FROM chunk ORDER BY id").pluck().all();
  } finally {
    db.close();
  }
}

/** What the ring does while somebody reads: its files at their largest. */
function turnOver(rig: Rig, read: () => boolean): { readonly walMax: number; readonly diskMax: number } {
  let [walMax, diskMax] = [0, 0];
  while (read()) {
    run(rig, 1);
    walMax = Math.max(walMax, walBytes(rig));
    diskMax = Math.max(diskMax, diskBytes(rig));
  }
  return { walMax, diskMax };
}

test("a reader slower than the ring starves no checkpoint, breaks no bound, and is told all that it missed", () => {
  using rig = diskRig();
  run(rig, 20);
  const atStart = chunkIds(rig);
  const read = new Set<number>();
  const missed = new Set<number>();
  using reader = rig.open();
  const chunks = reader.chunks(EVER);
  const readOne = (chunk: StoredChunk): void => {
    try {
      reader.decompress(chunk);
      read.add(chunk.id);
    } catch (error) {
      expect((error as Fault).code).toBe("chunk_gone");
      missed.add(chunk.id);
    }
  };
  let seconds = 0;
  const { walMax, diskMax } = turnOver(rig, () => {
    seconds += 1;
    // An eighth as fast as they come.
    for (const chunk of [1, 2, 3, 4, 5].map(() => chunks.next().value)) if (chunk !== undefined) readOne(chunk);
    return seconds < 60;
  });
  for (const chunk of chunks) readOne(chunk);
  const sent = new Set(expectedOf(rig.sent));
  const wrong = gotOf(reader.messages(EVER)).filter((message) => !sent.has(message));
  console.log(
    `ring turned over ${((60 * 20 * 25_400) / BYTES_MAX).toFixed(1)} times; WAL ${walMax} B, ring ${diskMax} B of ${BYTES_MAX} B`,
  );
  expect(wrong).toEqual([]);
  expect(read.size).toBeGreaterThan(5);
  expect(missed.size).toBeGreaterThan(5);
  expect([...read, ...missed].sort((a, b) => a - b)).toEqual(atStart); // every chunk of the beginning: read or told
  expect(diskMax).toBeLessThanOrEqual(BYTES_MAX * 1.02);
  expect(walMax).toBeLessThan(WAL_MAX);
});

test("the control: a reader that keeps its transaction open makes the WAL grow with every write", () => {
  using rig = diskRig();
  run(rig, 20);
  const db = openDatabaseForReading(join(rig.folder, "ring.db"));
  db.exec("BEGIN");
  db.prepare("SELECT count(*) FROM chunk").get();
  let seconds = 0;
  const { walMax } = turnOver(rig, () => {
    seconds += 1;
    return seconds < 40;
  });
  db.close();
  console.log(`WAL under an open transaction ${walMax} B`);
  expect(walMax).toBeGreaterThan(WAL_MAX);
});

test("chunks of classes that nobody asked for are not told when they go", () => {
  using rig = diskRig();
  run(rig, 20);
  using reader = rig.open((problem) => expect(problem.chunk.className).toBe("light"));
  const messages = reader.messages({ ...EVER, channelIds: new Set([1]) });
  messages.next();
  run(rig, 40);
  expect([...messages].every(({ channelId }) => channelId === 1)).toBe(true);
});
