/**
 * `write-amplification`: bytes that the block layer wrote for each byte of stored chunks, on a file system of its own
 * under a loop device: everything at full rate, the default configuration with cameras, sensors only. The peer writes
 * a row per message into SQLite (WAL, FULL, transactions of one second of traffic) on the same device.
 *
 * Traffic is fed as fast as it goes, with the commits of its own time and the file system's journal every five
 * seconds of it. Trap: a figure from the process (`/proc/PID/io`) misses journal, WAL and checkpoints; one without the
 * commits of traffic time misses most of what small data costs; and a ring that is not yet full has not paid for
 * deleting. So: the block layer, nominal commits, a ring that has wrapped.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { LoopDisk } from "../support/loop-disk.ts";
import type { Benchmark } from "./bench.ts";
import { RingFeed } from "./ring-feed.ts";
import { nominalStreams, type RobotStream } from "./robot-streams.ts";

type Case = {
  readonly name: string;
  readonly about: string;
  readonly goal: number;
  readonly isEverythingStored: boolean;
  readonly isWanted: (stream: RobotStream) => boolean;
  /** Traffic of the short form, and a bound of the ring that it fills three times. */
  readonly seconds: number;
  readonly bytesMax: number;
  readonly peerSeconds: number;
};

const CASES: readonly Case[] = [
  {
    ...{
      name: "everything",
      about: "the nominal robot at full rate",
      goal: 1.1,
      isEverythingStored: true,
      isWanted: () => true,
    },
    ...{ seconds: 240, bytesMax: 2e9, peerSeconds: 60 },
  },
  {
    ...{
      name: "default",
      about: "as Lode comes, cameras at their baseline",
      goal: 1.5,
      isEverythingStored: false,
      isWanted: () => true,
    },
    ...{ seconds: 600, bytesMax: 200e6, peerSeconds: 60 },
  },
  {
    ...{
      name: "sensors",
      about: "no cameras",
      goal: 2,
      isEverythingStored: false,
      isWanted: ({ className }) => className === "light",
    },
    ...{ seconds: 1200, bytesMax: 100e6, peerSeconds: 300 },
  },
];
const SHORT_SECONDS = 30; // what `npm run bench` gives: each case then takes its own short form
/** jbd2's commit interval. */
const JOURNAL_MS = 5000;
const DISK_BYTES = 16e9;
const SIZE_TOLERANCE = 0.02;

type Run = (options: { readonly seconds: number }) => Promise<Benchmark>;

/** `everything`, `default` or `sensors`. */
export function amplificationBenchmark(name: string): Run {
  return async ({ seconds }) => {
    const entry = CASES.find((known) => known.name === name);
    if (entry === undefined) throw new Error(`no such case: ${name}`);
    return measure(entry, (await nominalStreams()).filter(entry.isWanted), seconds);
  };
}

function measure(entry: Case, streams: readonly RobotStream[], seconds: number): Benchmark {
  const isShort = seconds <= SHORT_SECONDS;
  const ours = onOwnDisk((disk) => measureRing(disk, entry, streams, isShort ? entry.seconds : seconds));
  const peer = onOwnDisk((disk) => measureRows(disk, streams, entry.peerSeconds));
  const sizeError = ours.sizeOnDisk / ours.bytesMax - 1;
  return {
    name: entry.name === "everything" ? "write-amplification" : `write-amplification-${entry.name}`,
    about: `${entry.about}: bytes that the block layer of an own ext4 wrote per byte of stored chunks, with the commits of traffic time and a ring that has wrapped; the ratio is of bytes a day. Trap: what a process wrote is not what its disk wrote, and a ring that is not yet full pays for no deletion.`,
    value: round(ours.amplification),
    unit: "x stored bytes",
    goal: `≤ ${entry.goal}, size within ${SIZE_TOLERANCE * 100} % of its bound`,
    holds: ours.amplification <= entry.goal && Math.abs(sizeError) <= SIZE_TOLERANCE && ours.laps > 1.5,
    peers: { sqlite_row_per_message: round(peer.amplification) },
    ratio: ours.writtenPerDay / peer.writtenPerDay,
    detail: {
      form: isShort ? "short; --seconds 3600 for the hour" : "long",
      traffic_s: ours.seconds,
      gb_per_day: round(ours.writtenPerDay / 1e9),
      peer_gb_per_day: round(peer.writtenPerDay / 1e9),
      stored_kb_per_s: Math.round(ours.storedBytes / ours.seconds / 1e3),
      rows_per_s: round(ours.storedChunks / ours.seconds),
      laps: round(ours.laps),
      bound_mb: ours.bytesMax / 1e6,
      segment_mb: ours.segmentBytes / 1e6,
      size_error_percent: round(sizeError * 100),
      cpu_s: round(ours.cpuS),
    },
  };
}

function onOwnDisk<T>(measure: (disk: LoopDisk) => T): T {
  using disk = LoopDisk.open({ bytes: DISK_BYTES });
  return measure(disk);
}

function measureRing(disk: LoopDisk, entry: Case, streams: readonly RobotStream[], seconds: number) {
  const folder = join(disk.folder, "ring");
  mkdirSync(folder);
  const { isEverythingStored } = entry;
  const bytesMax = Math.max(entry.bytesMax, (entry.bytesMax * seconds) / entry.seconds / 10);
  const segmentBytes = Math.floor(bytesMax / 100);
  const startCpu = process.cpuUsage();
  disk.sync();
  const startBytes = disk.writtenBytes;
  using feed = new RingFeed({
    ...{ folder, streams, isEverythingStored, bytesMax, segmentBytes },
  });
  const step = () => {
    feed.run(JOURNAL_MS);
    disk.sync();
  };
  for (let ms = 0; ms < seconds * 1000; ms += JOURNAL_MS) step();
  feed.settle();
  disk.sync();
  const written = disk.writtenBytes - startBytes;
  const { user, system } = process.cpuUsage(startCpu);
  return {
    ...{ seconds, bytesMax, segmentBytes, storedBytes: feed.storedBytes, storedChunks: feed.storedChunks },
    amplification: written / feed.storedBytes,
    writtenPerDay: (written / seconds) * 86_400,
    laps: feed.storedBytes / bytesMax,
    sizeOnDisk: disk.usedBytes(folder),
    cpuS: (user + system) / 1e6,
  };
}

/** Of the same messages; its stored bytes are their payloads, for it compresses nothing. */
function measureRows(disk: LoopDisk, streams: readonly RobotStream[], seconds: number) {
  const path = join(disk.folder, "rows.db");
  disk.sync();
  const startBytes = disk.writtenBytes;
  const db = new Database(path);
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.exec("CREATE TABLE message (id INTEGER PRIMARY KEY, topic TEXT, received_ms REAL, payload BLOB)");
  const insert = db.prepare("INSERT INTO message (topic, received_ms, payload) VALUES (?, ?, ?)");
  let storedBytes = 0;
  const second = db.transaction((at: number) => {
    for (const { topic, hz, payloads } of streams)
      for (let index = 0; index < hz; index += 1) {
        const payload = payloads[(at * hz + index) % payloads.length] ?? new Uint8Array(0);
        insert.run(topic, at * 1000 + (index * 1000) / hz, payload);
        storedBytes += payload.length;
      }
  });
  for (let at = 0; at < seconds; at += 1) {
    second(at);
    if (at % (JOURNAL_MS / 1000) === 0) disk.sync();
  }
  db.close();
  disk.sync();
  const written = disk.writtenBytes - startBytes;
  rmSync(path);
  return { amplification: written / storedBytes, writtenPerDay: (written / seconds) * 86_400 };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
