/**
 * What must be true of a line's folder at any moment, a kill between any two writes included: looked at on a copy, so
 * that the line itself reopens what the kill left.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import Database from "better-sqlite3";
import { batchFolder, openJournal } from "../../src/daemon/journal.ts";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { brokenIdentities, Rig } from "../ring/ring-rig.ts";
import { auditRing } from "../support/audit.ts";
import { readWithLibrary } from "../support/mcap-library-reader.ts";
import {
  CHANNELS,
  contentOf,
  FRONT,
  HEAVY_BYTES,
  IMU,
  JOINTS,
  lineOptions,
  POST_STEPS,
  PRE_STEPS,
  runAndStepOf,
  sha256,
  timeOf,
} from "./line.ts";
import type { Fired, Run } from "./outside.ts";

/** A second, and what the line sends between two of its words. */
const LOST_STEPS_MAX = 110;
const REOPEN_MS_MAX = 2000;

/** Problems in words; none is the promise. `heavyBytes` as the line was told. */
export function checkLine(folder: string, runs: readonly Run[], heavyBytes = HEAVY_BYTES): string[] {
  const copy = mkdtempSync(join(tmpdir(), "lode-proof-"));
  try {
    const data = join(copy, "data");
    cpSync(join(folder, "data"), data, { recursive: true });
    for (const suffix of ["", "-wal"]) {
      const name = `receiver.db${suffix}`;
      if (existsSync(join(folder, "received", name))) cpSync(join(folder, "received", name), join(copy, name));
    }
    return [...checkRing(data, runs, heavyBytes), ...checkHome(data, copy, join(folder, "received"), runs)];
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function checkRing(data: string, runs: readonly Run[], heavyBytes: number): string[] {
  if (runs.every(({ sent }) => sent < 0) && !existsSync(join(data, "ring.db"))) return [];
  const problems: string[] = [];
  const next = (runs.at(-1)?.run ?? 0) + 1;
  const states = episodeStates(data);
  const openedMs = performance.now();
  using rig = new Rig(
    { ...lineOptions(next, heavyBytes), openJournal: () => openJournal(data) },
    data,
    timeOf(next, 0),
  );
  const tookMs = performance.now() - openedMs;
  while (rig.ring.step(50)) {} // a rebuild ends
  if (tookMs > REOPEN_MS_MAX) problems.push(`reopening took ${tookMs} ms`);
  problems.push(...auditRing(data));
  for (const broken of brokenIdentities(rig)) problems.push(`identity: ${broken}`);
  const got = new Set<string>();
  try {
    for (const { channelId, logTimeNs, bytes } of rig.readAll()) {
      const { run, step } = runAndStepOf(logTimeNs);
      const key = `${channelId} ${run} ${step}`;
      if (got.has(key)) problems.push(`twice: ${key}`);
      got.add(key);
      if (!contentOf(channelId, run, step, heavyBytes)?.equals(bytes)) problems.push(`not what was sent: ${key}`);
    }
  } catch (error) {
    problems.push(`unreadable: ${error}`);
  }
  const has = (channelId: number, run: number, step: number) =>
    contentOf(channelId, run, step, heavyBytes) === undefined || got.has(`${channelId} ${run} ${step}`);
  for (const { run, sent, durable, fired } of runs.filter(({ isRingLost }) => !isRingLost)) {
    const promised = Math.max(durable, sent - LOST_STEPS_MAX);
    for (let step = 0; step <= promised; step += 1)
      for (const { id } of [JOINTS, IMU])
        if (!has(id, run, step)) problems.push(`lost: ${id} ${run} ${step}, durable ${durable}, sent ${sent}`);
    for (const episode of fired) problems.push(...checkWindow(episode, states.get(episode.id), durable, has));
  }
  const crashes = rig.ledger.losses(0n, 2n ** 62n).filter(({ reason }) => reason === "crash");
  for (const { run, sent, durable, end, isRingLost } of runs) {
    const isListed = crashes.some(
      ({ startNs, endNs }) => startNs <= timeOf(run, Math.max(0, sent)) && endNs >= timeOf(run, Math.max(0, sent)),
    );
    const isWhole = has(JOINTS.id, run, Math.max(0, sent)); // it was killed after its last write
    if (end !== "itself" && durable >= 0 && !isListed && !isWhole && !isRingLost)
      problems.push(`the crash of run ${run} is not in the ledger`);
  }
  return problems;
}

/** Steps of the robot between the last it had sent and the last whose joints are on the disk. */
export function lostSteps(folder: string, { run, sent }: Run): number {
  using reader = RingReader.open(join(folder, "data"));
  const range = { startNs: timeOf(run, 0), endNs: timeOf(run, sent + 1), channelIds: new Set([JOINTS.id]) };
  let last = -1;
  for (const { logTimeNs } of reader.messages(range)) last = Math.max(last, runAndStepOf(logTimeNs).step);
  return Math.max(0, sent - last);
}

/** Until its batches are durable, the ring has all frames of the pre-roll, and those of the rest that were committed. */
function checkWindow(
  { run, step, id, isWindowDurable }: Fired,
  state: string | undefined,
  durable: number,
  has: (channelId: number, run: number, step: number) => boolean,
): string[] {
  if (state === undefined) return [`episode ${id} fired at ${step} of run ${run} and is not in the journal`];
  if (state === "batched" || !isWindowDurable) return [];
  const problems: string[] = [];
  for (let at = Math.max(0, step - PRE_STEPS); at <= Math.min(step + POST_STEPS, Math.max(step, durable)); at += 1)
    if (!has(FRONT.id, run, at)) problems.push(`held frame lost: ${run} ${at} of ${id}`);
  return problems;
}

type BatchRow = { id: string; episode_id: string; file_name: string; sha256: string; state: string };

function episodeStates(data: string): Map<string, string> {
  return new Map(
    rowsOf<{ id: string; state: string }>(join(data, "journal.db"), "SELECT id, state FROM episode").map((row) => [
      row.id,
      row.state,
    ]),
  );
}

/** Episodes, batches, receipts and blobs tell one story, whichever write came last. */
function checkHome(data: string, copy: string, received: string, runs: readonly Run[]): string[] {
  const problems: string[] = [];
  const journal = join(data, "journal.db");
  const holds = new Set(rowsOf<{ id: string }>(journal, "SELECT episode_id AS id FROM hold").map(({ id }) => id));
  const batches = rowsOf<BatchRow>(journal, "SELECT * FROM batch");
  const receipts = new Map(
    rowsOf<{ batch_id: string; sha256: string }>(journal, "SELECT batch_id, sha256 FROM receipt").map((row) => [
      row.batch_id,
      row.sha256,
    ]),
  );
  const catalog = new Map(
    rowsOf<{ id: string; sha256: string }>(join(copy, "receiver.db"), "SELECT id, sha256 FROM batch").map((row) => [
      row.id,
      row.sha256,
    ]),
  );
  const states = episodeStates(data);
  for (const [id, state] of states) {
    const own = batches.filter(({ episode_id }) => episode_id === id);
    if (holds.has(id) === (state === "batched")) problems.push(`episode ${id} is ${state}, held: ${holds.has(id)}`);
    if (own.length > 0 !== (state === "batched")) problems.push(`episode ${id} is ${state}, batches: ${own.length}`);
  }
  for (const id of runs.flatMap(({ batched }) => batched))
    if (states.get(id) !== "batched") problems.push(`episode ${id} was batched and is ${states.get(id)}`);
  for (const { id, file_name, sha256: hash, state } of batches) {
    const path = join(batchFolder(data), file_name);
    const isThere = existsSync(path);
    const isHome = receipts.get(id) === hash;
    if ((state === "queued" || state === "receipted") && (!isThere || sha256(readFileSync(path)) !== hash))
      problems.push(`batch ${id} is ${state} and its file ${isThere ? "another" : "gone"}`);
    if (state === "deleted" && isThere) problems.push(`batch ${id} is deleted and its file there`);
    if (state !== "queued" && !isHome) problems.push(`batch ${id} is ${state} without its receipt`);
  }
  for (const [id, hash] of receipts) if (catalog.get(id) !== hash) problems.push(`receipt ${id} is not in the catalog`);
  for (const [id, hash] of catalog)
    if (blobHash(join(received, "blobs", hash)) !== hash) problems.push(`blob ${hash} of ${id} is not what it says`);
  return problems;
}

/** Blobs never change: each is read once. */
const blobHashes = new Map<string, string>();
function blobHash(path: string): string {
  const known = blobHashes.get(path);
  if (known !== undefined && existsSync(path)) return known;
  const hash = existsSync(path) ? sha256(readFileSync(path)) : "";
  blobHashes.set(path, hash);
  return hash;
}

/** At the end, when everything had time to get home: nothing is left over, and the files have the windows. */
export async function checkAllHome(folder: string, runs: readonly Run[], heavyBytes = HEAVY_BYTES): Promise<string[]> {
  const problems: string[] = [];
  const data = join(folder, "data");
  const states = rowsOf<{ id: string; state: string; start_ns: bigint; end_ns: bigint }>(
    join(data, "journal.db"),
    "SELECT id, state, start_ns, end_ns FROM episode",
  );
  const left = readdirSync(batchFolder(data));
  if (left.length > 0) problems.push(`left over: ${left.join(" ")}`);
  const batches = rowsOf<BatchRow & { kind: string }>(join(data, "journal.db"), "SELECT * FROM batch");
  for (const { id, state } of batches) if (state !== "deleted") problems.push(`batch ${id} is ${state}`);
  for (const { id, state, start_ns, end_ns } of states) {
    if (state !== "batched") problems.push(`episode ${id} is ${state}`);
    const own = batches.filter(({ episode_id, kind }) => episode_id === id && kind !== "meta");
    const got = new Set<string>();
    for (const { sha256: hash } of own)
      for (const { topic, logTimeNs, bytes } of await readWithLibrary(join(folder, "received/blobs", hash))) {
        const sender = CHANNELS.find((known) => known.topic === topic);
        if (sender === undefined) continue;
        const { run, step } = runAndStepOf(logTimeNs);
        const key = `${sender.id} ${run} ${step}`;
        if (got.has(key)) problems.push(`twice in ${basename(id)}: ${key}`);
        got.add(key);
        if (!contentOf(sender.id, run, step, heavyBytes)?.equals(bytes)) problems.push(`${id} has a wrong ${key}`);
      }
    const fired = runs.flatMap((told) => (told.isRingLost ? [] : told.fired)).find((one) => one.id === id);
    const durable = runs.find(({ run }) => run === fired?.run)?.durable ?? -1;
    if (fired === undefined) continue;
    for (let step = Math.max(0, fired.step - PRE_STEPS); step <= Math.max(durable, fired.step); step += 1) {
      if (timeOf(fired.run, step) < start_ns || timeOf(fired.run, step) > end_ns) continue;
      for (const channelId of fired.isWindowDurable ? [JOINTS.id, IMU.id, FRONT.id] : [])
        if (contentOf(channelId, fired.run, step, heavyBytes) && !got.has(`${channelId} ${fired.run} ${step}`))
          problems.push(`the files of ${id} lack ${channelId} ${fired.run} ${step}`);
    }
  }
  return problems;
}

function rowsOf<Row>(path: string, sql: string): Row[] {
  if (!existsSync(path)) return [];
  const db = new Database(path);
  try {
    return db.prepare<[], Row>(sql).safeIntegers().all();
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("no such table")) return []; // killed before it was made
    throw error;
  } finally {
    db.close();
  }
}
