/**
 * A process to be killed: builder, ring, ledger, capture, batches, uploader and receiver as the daemon joins them, on a
 * clock that runs as fast as it can (`fast`), with the robot's (`real`), or until everything is home (`home`).
 *
 * `line-child.ts FOLDER RUN fast|real|home [HEAVY_BYTES]`. It says on stdout, one write a line, before a thing may
 * happen or after it is promised:
 * `sent S` the robot has sent all up to step S · `durable S` a commit has all light messages up to step S ·
 * `fired S ID` the firing of step S is committed · `window S ID` all of its pre-roll is ·
 * `batched ID` · `end` it ended by itself. `LODE_SYNCHRONOUS=NORMAL`: the control that must lose what it promised.
 */
import { appendFileSync, mkdirSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { BatchStore } from "../../src/batch/batch-store.ts";
import { writeEpisodeBatches } from "../../src/batch/episode-batches.ts";
import { Capture } from "../../src/capture/capture.ts";
import { batchFolder, makeDataFolder, openJournal } from "../../src/daemon/journal.ts";
import { readLosses } from "../../src/ledger/ledger.ts";
import type { Episode } from "../../src/model/episode.ts";
import { loadNative } from "../../src/native/addon.ts";
import { RECEIVER_DEFAULTS, Receiver } from "../../src/receiver/receiver.ts";
import { realSegmentIo } from "../../src/ring/segment-io.ts";
import { systemClock } from "../../src/std/clock.ts";
import { uuidV7 } from "../../src/std/uuid.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { UPLOADER_DEFAULTS, Uploader } from "../../src/upload/uploader.ts";
import { Rig } from "../ring/ring-rig.ts";
import { CHANNELS, contentOf, HEAVY_BYTES, lineOptions, PRE_STEPS, STEP_MS, timeOf } from "./line.ts";

const FLUSH_STEPS = 10;
const COMMIT_STEPS = 50;
const EPISODE_STEPS = 400;
const STEPS_MAX = 1500;

if (process.env.LODE_SYNCHRONOUS === "NORMAL") {
  const { pragma } = Database.prototype;
  Database.prototype.pragma = function (text: string, options?: Database.PragmaOptions) {
    if (text === "synchronous = FULL") return pragma.call(this, "synchronous = NORMAL");
    return text === "synchronous" ? 2 : pragma.call(this, text, options);
  };
}

const [folder = "", runText = "0", pace = "fast", heavyText = String(HEAVY_BYTES)] = process.argv.slice(2);
const run = Number(runText);
const heavyBytes = Number(heavyText);
const say = (line: string) => void writeSync(1, `${line}\n`);

const data = join(folder, "data");
makeDataFolder(data);
const native = loadNative();
const io = realSegmentIo("problem" in native ? undefined : native);
const rig = new Rig(
  { ...lineOptions(run, heavyBytes), io, openJournal: () => openJournal(data) },
  data,
  timeOf(run, 0),
);
const known = new Set(rig.ring.channels.map(({ id }) => id));
for (const added of CHANNELS) if (!known.has(added.id)) rig.addChannel(added);

const sealed: Episode[] = [];
const capture = Capture.open(rig.journal, [], {
  ...{
    ring: rig.ring,
    log: silentLog,
    bootId: lineOptions(run).bootId ?? "",
    lastStoredNs: (bootId) => rig.ring.lastStoredNs(bootId),
  },
  newId: () => uuidV7(Date.now()),
  onDemand: () => {},
  onSealed: (episode) => sealed.push(episode),
});
const batches = BatchStore.open(rig.journal, batchFolder(data), silentLog);
batches.reconcile();

const receiver = Receiver.open(
  { ...RECEIVER_DEFAULTS, freeBytesMin: 0, folder: join(folder, "received"), port: 0 },
  { clock: systemClock, log: silentLog },
);
const tokenFile = join(folder, "token");
mkdirSync(folder, { recursive: true });
receiver.removeRobot("arm-7");
writeFileSync(tokenFile, receiver.addRobot("arm-7"));
const { url } = await receiver.listen();
const uploader = Uploader.open(
  {
    ...UPLOADER_DEFAULTS,
    robot: "arm-7",
    receivers: [{ url, tokenFile, publicKeys: [receiver.publicKey] }],
    gate: { dailyBytesMax: { free: 0, metered: 0 }, linkSettledMs: 0 },
    ...{ windows: [], meteredInterfaces: [], backOff: { baseMs: 2, maxMs: 20 } },
  },
  { batches, db: rig.journal, clock: systemClock, random: Math.random, log: silentLog },
);
const stop = new AbortController();
const uploading = uploader.run(stop.signal);

function send(step: number): void {
  for (const { id } of CHANNELS) {
    const bytes = contentOf(id, run, step, heavyBytes);
    if (bytes !== undefined) rig.send(id, bytes);
  }
}

function commit(step: number): void {
  const { isDurable } = rig.ring.commit();
  // What is younger than the builder's half second may still be in an open chunk.
  if (isDurable && step >= COMMIT_STEPS) say(`durable ${step - COMMIT_STEPS}`);
  if (!isDurable) say(`refused ${step}`);
}

function fire(step: number): void {
  fillAt("firing");
  rig.builder.flushAll();
  const postMs = 1000;
  const id = capture.capture({
    ...{ atNs: rig.nowNs, preRollMs: PRE_STEPS * STEP_MS, postRollMs: postMs, labels: {}, note: "" },
  });
  say(`fired ${step} ${id}`);
  fillAt("promotion");
  if (rig.ring.commit().isDurable) say(`durable ${step}`);
  while (rig.ring.step(20)) {}
  if (rig.ring.commit().isDurable) say(`window ${step} ${id}`);
}

async function writeBatches(episode: Episode): Promise<void> {
  fillAt("batch writing");
  using reader = rig.open();
  const { batches: made, episode: complete } = await writeEpisodeBatches(episode, reader, {
    ...{ folder: batchFolder(data), lodeVersion: "proof", heavyClasses: new Set(["camera", "cloud"]) },
    robot: { id: "arm-7", site: "", embodiment: "", labels: {} },
    losses: readLosses(rig.journal, episode.startNs, episode.endNs),
    ...{ notRecorded: [], decode: () => undefined, newId: () => uuidV7(Date.now()), nowNs: rig.nowNs },
  });
  fillAt("batch rows");
  capture.markBatched(complete, () => {
    if (!batches.add(made)) throw new Error("an episode got batches twice");
  });
  say(`batched ${episode.id}`);
  fillAt("receipt");
  uploader.wake();
}

/** Somebody else fills the disk in this phase, to its last page, and takes it away again after 2.5 s. */
const fullPhase = process.env.LODE_FULL ?? "";
const FULL_STEPS = 250;
const hog = join(folder, "hog");
let [now, roomAt] = [0, -1];
function fillAt(phase: string): void {
  if (phase !== fullPhase || roomAt >= 0) return;
  roomAt = now + FULL_STEPS;
  for (const name of ["ring.db", "journal.db"]) giveBackLog(join(data, name));
  for (const size of [1 << 20, 4096])
    try {
      for (;;) appendFileSync(hog, Buffer.alloc(size, 1));
    } catch {} // full
  say(`full ${now}`);
}

/** A log that has grown once would take a few more commits on a full disk. */
function giveBackLog(path: string): void {
  const db = new Database(path);
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
}

/** As the daemon does: what cannot be written stays held and is tried again. */
const later: Episode[] = [];
async function tryBatches(episode: Episode): Promise<void> {
  try {
    await writeBatches(episode);
  } catch (error) {
    if (fullPhase === "") throw error;
    say(`refused ${now}`);
    later.push(episode);
  }
}

let batching = Promise.resolve();
const isHome = () => pace === "home" && sealed.length + later.length === 0 && batches.totals().queuedCount === 0;
const startedMs = performance.now();
for (let step = 0; step < STEPS_MAX; step += 1) {
  now = step;
  if (step === roomAt) rmSync(hog);
  if (step === 100) fillAt("recording");
  if (step === 290) fillAt("sealing");
  send(step);
  if (step % FLUSH_STEPS === 0) {
    say(`sent ${step}`);
    rig.flush();
    capture.tick(rig.nowNs);
    rig.ring.step(5);
    sealed.push(...later.splice(0));
    while (sealed.length > 0) {
      const episode = sealed.shift();
      if (episode !== undefined) batching = batching.then(() => tryBatches(episode));
    }
    if (pace === "home") await batching;
    await nextTurn();
  }
  if (step % COMMIT_STEPS === 0) commit(step);
  if (pace !== "home" && step % EPISODE_STEPS === 200) fire(step);
  if (pace === "home" && step > 300 && isHome()) break;
  if (pace === "real") await sleep(Math.max(0, startedMs + step * STEP_MS - performance.now()));
  rig.clock.advanceMs(STEP_MS);
}
fillAt("shutdown");
rig.builder.flushAll();
await batching;
while (pace === "home" && !isHome()) await sleep(5);
stop.abort();
await uploading;
uploader[Symbol.dispose]();
await receiver[Symbol.asyncDispose]();
rig[Symbol.dispose]();
say("end");
