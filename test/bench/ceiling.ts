/**
 * `ceiling-camera` and `ceiling-sensors`: how much goes from a socket to a durable disk, beside a stock roslib client
 * that writes one row per message, and at which CPU beside writers that only write.
 *
 * The robot sends as fast as the socket takes it; what counts is what was committed, over the time from its first
 * message to the last commit. Then once at a pace at which nothing may be lost. Traps: publisher and recorder share
 * the machine's cores, so the publisher's own CPU is told, and CPU per GB beside MB/s; a recorder that drops looks
 * fast to its publisher, so `lost` is held against what was published and only stored messages count.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { Child, ROOT, waitFor } from "../support/child.ts";
import type { Benchmark } from "./bench.ts";
import { type Load, LodeUnderTest } from "./lode-under-test.ts";
import type { MixName } from "./robot-streams.ts";
import { measureWriters, type Writers } from "./writers.ts";

type Published = {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly topics: Readonly<Record<string, { published: number; publishedBytes: number }>>;
};

type Figures = {
  readonly publishedMessages: number;
  readonly publishedBytes: number;
  readonly storedMessages: number;
  readonly storedBytes: number;
  /** From the first message to the last commit. */
  readonly seconds: number;
  readonly publishSeconds: number;
  readonly cpuSeconds: number;
  readonly publisherCpuSeconds: number;
};

/** What is measured is gigabytes: longer runs would only fill the disk. */
const SECONDS_MAX = 10;
/** Of the nominal robot, 570 MB/s: where a bridge itself ends; of the sensors, 200,000 messages/s. */
const PACE: Readonly<Record<MixName, number>> = { camera: 570 / 22, sensors: 200 };
const TIMES_STOCK: Readonly<Record<MixName, number>> = { camera: 4, sensors: 5 };
const MCAP_TIMES_MAX = 1.2;

export function benchmarkCeilingCamera(options: { readonly seconds: number }): Promise<Benchmark> {
  return measure("camera", options.seconds);
}

export function benchmarkCeilingSensors(options: { readonly seconds: number }): Promise<Benchmark> {
  return measure("sensors", options.seconds);
}

async function measure(mix: MixName, secondsWanted: number): Promise<Benchmark> {
  const seconds = Math.min(secondsWanted, SECONDS_MAX);
  const ours = await inFolder((folder) => measureLode(folder, mix, 0, seconds));
  const stock = await inFolder((folder) => measureStock(folder, mix, seconds));
  const paced = await inFolder((folder) => measureLode(folder, mix, PACE[mix], seconds));
  const writers = mix === "camera" ? await inFolder(measureWriters) : {};
  const speed = (figures: Figures) =>
    mix === "camera" ? figures.storedBytes / figures.seconds / 1e6 : figures.storedMessages / figures.seconds / 1e3;
  const ratio = speed(ours) / speed(stock);
  const pacedLost = paced.publishedMessages - paced.storedMessages;
  const cpuPerGb = cpuSecondsPerGb(paced);
  const isCheap = mix === "sensors" || cpuPerGb <= MCAP_TIMES_MAX * peerValue(writers, "mcap_cpp_cpu_s_per_gb");
  const paceText = mix === "camera" ? "570 MB/s" : "200 k messages/s";
  return {
    name: `ceiling-${mix}`,
    about:
      "socket to durable disk as fast as it goes, the whole daemon with 20 rules and more; what counts is committed. Then " +
      `${paceText} for the same time. Trap: publisher and recorder share the cores, see publisher_cpu and CPU per GB.`,
    value: round(speed(ours)),
    unit: mix === "camera" ? "MB/s" : "k messages/s",
    goal:
      `≥ ${TIMES_STOCK[mix]} × stock, nothing lost at ${paceText}` +
      (mix === "camera" ? `, CPU-s/GB ≤ ${MCAP_TIMES_MAX} × C++ MCAP's` : ""),
    holds: ratio >= TIMES_STOCK[mix] && pacedLost === 0 && isCheap,
    peers: { stock_roslib_rows: round(speed(stock)), ...writers },
    ratio,
    detail: {
      flood: detail(ours),
      stock: detail(stock),
      paced: { pace: paceText, ...detail(paced) },
    },
  };
}

async function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "lode-ceiling-"));
  try {
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureLode(folder: string, mix: MixName, scale: number, seconds: number): Promise<Figures> {
  const load = new Child([join(ROOT, "test/bench/flood-robot.ts"), mix, String(scale)]);
  const lode = await LodeUnderTest.open(folder, await load.firstJson<Load>(), "everything");
  const startedMs = await start(load);
  const cpuAtStart = lode.child.cpuSeconds();
  const published = await finish(load, seconds);
  const { messages } = totals(published);
  await waitFor(() => {
    const { stored, dropped } = lode.committed();
    return stored + dropped >= messages;
  }, `${messages} messages in the ring's counters`);
  const elapsed = (performance.now() - startedMs) / 1000;
  const cpuSeconds = lode.child.cpuSeconds() - cpuAtStart;
  const stored = lode.stored();
  await lode.stop();
  await load.exited;
  return figuresOf(published, { ...stored, seconds: elapsed, cpuSeconds });
}

async function measureStock(folder: string, mix: MixName, seconds: number): Promise<Figures> {
  const load = new Child([join(ROOT, "test/bench/flood-robot.ts"), mix, "0"]);
  const { url, topics } = await load.firstJson<Load>();
  const path = join(folder, "stock.db");
  const recorder = new Child([join(ROOT, "test/bench/stock-recorder.ts"), url, path, ...topics]);
  const startedMs = await start(load);
  const cpuAtStart = recorder.cpuSeconds();
  const published = await finish(load, seconds);
  const { messages } = totals(published);
  // Counted in its database, not by itself: a peer that stores less is no peer.
  const db = new Database(path, { readonly: true });
  const last = db.prepare<[], { id: number }>("SELECT coalesce(max(id), 0) AS id FROM message");
  await waitFor(() => (last.get()?.id ?? 0) >= messages, `${messages} rows`, 60_000);
  const elapsed = (performance.now() - startedMs) / 1000;
  const cpuSeconds = recorder.cpuSeconds() - cpuAtStart;
  const stored = db
    .prepare<[], { messages: number; bytes: number }>(
      "SELECT count(*) AS messages, coalesce(sum(length(payload)), 0) AS bytes FROM message",
    )
    .get() ?? { messages: 0, bytes: 0 };
  db.close();
  await recorder.stop();
  await load.exited;
  return figuresOf(published, { ...stored, seconds: elapsed, cpuSeconds });
}

/** The recorder is ready and idle: from here on time and CPU are the load's. */
async function start(load: Child): Promise<number> {
  await waitFor(
    () => load.stdout.includes('"subscribed"'),
    "a recorder that has subscribed",
    30_000,
    () => load.stderr,
  );
  load.kill("SIGUSR2");
  return performance.now();
}

async function finish(load: Child, seconds: number): Promise<Published> {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  load.kill("SIGTERM");
  await waitFor(
    () => load.stdout.includes('"cpuSeconds"'),
    "the publisher's ledger",
    60_000,
    () => load.stderr,
  );
  return load.lastJson<Published>();
}

function totals({ topics }: Published): { readonly messages: number; readonly bytes: number } {
  const sums = { messages: 0, bytes: 0 };
  for (const { published, publishedBytes } of Object.values(topics)) {
    sums.messages += published;
    sums.bytes += publishedBytes;
  }
  return sums;
}

function figuresOf(
  published: Published,
  stored: { readonly messages: number; readonly bytes: number; readonly seconds: number; readonly cpuSeconds: number },
): Figures {
  const { messages, bytes } = totals(published);
  return {
    ...{ publishedMessages: messages, publishedBytes: bytes },
    ...{ storedMessages: stored.messages, storedBytes: stored.bytes, seconds: stored.seconds },
    ...{ publishSeconds: published.seconds, cpuSeconds: stored.cpuSeconds },
    publisherCpuSeconds: published.cpuSeconds,
  };
}

function cpuSecondsPerGb({ cpuSeconds, publishedBytes }: Figures): number {
  return (cpuSeconds / publishedBytes) * 1e9;
}

function detail(figures: Figures): Readonly<Record<string, number>> {
  const { publishedMessages, publishedBytes, publishSeconds, storedMessages, storedBytes } = figures;
  return {
    offered_mb_per_s: round(publishedBytes / publishSeconds / 1e6),
    offered_messages_per_s: Math.round(publishedMessages / publishSeconds),
    stored_mb_per_s: round(storedBytes / figures.seconds / 1e6),
    stored_messages_per_s: Math.round(storedMessages / figures.seconds),
    lost: publishedMessages - storedMessages,
    lost_percent: round(((publishedMessages - storedMessages) / publishedMessages) * 100),
    cpu_s_per_gb: Math.round(cpuSecondsPerGb(figures) * 100) / 100,
    cpu_us_per_message: Math.round((figures.cpuSeconds / publishedMessages) * 1e8) / 100,
    publisher_cpu_percent: round((figures.publisherCpuSeconds / publishSeconds) * 100),
  };
}

function peerValue(writers: Writers, name: string): number {
  const peer = writers[name];
  return typeof peer === "number" ? peer : (peer?.value ?? 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
