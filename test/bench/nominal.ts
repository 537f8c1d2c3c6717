/**
 * `nominal`: what Lode costs a robot of 22 MB/s and 1,030 messages a second, everything stored at full rate, with
 * the shipped rules armed, through a real socket; beside a stock roslib client that writes one row per message.
 *
 * The two run one after the other against the same load, for the same time. Trap: a recorder that loses messages is
 * cheap; so what the publisher counts as published must be what Lode counts as stored, topic by topic.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import type { StatusAnswer, TopicsAnswer } from "../../src/control/answers.ts";
import { askDaemon } from "../../src/control/client.ts";
import { Child, ROOT, waitFor } from "../support/child.ts";
import type { Benchmark } from "./bench.ts";

type Load = { readonly url: string; readonly topics: readonly string[] };
type Published = {
  readonly seconds: number;
  readonly topics: Readonly<Record<string, { published: number; publishedBytes: number; dropped: number }>>;
};
type Share = {
  readonly cpuPercent: number;
  readonly cpuPercentByThread: Readonly<Record<string, number>>;
  readonly residentMb: readonly number[];
};

/** Until V8 has compiled what is hot, in either process; both are measured over the same seconds of the load. */
const WARM_UP_MS = 8000;

export async function benchmarkNominal({ seconds }: { readonly seconds: number }): Promise<Benchmark> {
  const folder = mkdtempSync(join(tmpdir(), "lode-nominal-"));
  try {
    const ours = await measureLode(folder, seconds);
    const stock = await measureStock(folder, seconds);
    const ratio = ours.share.cpuPercent / stock.share.cpuPercent;
    return {
      name: "nominal",
      value: round(ours.share.cpuPercent),
      unit: "% of a core",
      goal: "nothing lost, memory flat, under half of stock",
      holds: ours.lost === 0 && ours.memoryGrowthMb < 30 && ratio < 0.5,
      peers: { stock_roslib_rows: round(stock.share.cpuPercent) },
      ratio,
      detail: {
        seconds,
        mb_per_s: round(ours.mbPerS),
        messages_per_s: round(ours.messagesPerS),
        lost: ours.lost,
        stock_lost: stock.lost,
        stock_bytes_missing: stock.bytesMissing,
        cpu_by_thread: ours.share.cpuPercentByThread,
        stock_cpu_by_thread: stock.share.cpuPercentByThread,
        losses: ours.losses,
        resident_mb: ours.share.residentMb,
        memory_growth_mb: round(ours.memoryGrowthMb),
        stock_resident_mb: stock.share.residentMb.at(-1),
      },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureLode(folder: string, seconds: number) {
  const load = new Child([join(ROOT, "test/bench/load-robot.ts")]);
  const { url } = await load.firstJson<Load>();
  const config = join(folder, "lode.yaml");
  const socket = join(folder, "control.sock");
  writeFileSync(
    config,
    JSON.stringify({
      robot: { id: "bench" },
      sources: [{ url }],
      topics: { classes: { camera: { tier: "disk" } } },
      ring: { folder: join(folder, "data"), bytes_max: "20GB" },
      telemetry: { socket, log_level: "warn" },
    }),
  );
  const daemon = Child.lode(["run", "--config", config]);
  await waitFor(
    () => status(socket),
    "the daemon",
    20_000,
    () => daemon.stderr,
  );
  const share = await measureShare(daemon, seconds);
  const published = await stopLoad(load);
  const total = Object.values(published.topics).reduce((sum, topic) => sum + topic.published, 0);
  const bytes = Object.values(published.topics).reduce((sum, topic) => sum + topic.publishedBytes, 0);
  // The last chunk closes and commits within a second.
  await sleep(2000);
  const { topics } = await askDaemon<TopicsAnswer>(socket, "GET", "/v1/topics");
  const { losses } = await askDaemon<StatusAnswer>(socket, "GET", "/v1/status");
  const stored = new Map(topics.map((topic) => [topic.topic, topic.accounting.stored]));
  const lost = Object.entries(published.topics).reduce(
    (sum, [topic, counts]) => sum + counts.published - (stored.get(topic) ?? 0),
    0,
  );
  await daemon.stop();
  const half = Math.floor(share.residentMb.length / 2);
  const memoryGrowthMb = (share.residentMb.at(-1) ?? 0) - (share.residentMb[half] ?? 0);
  return {
    share,
    lost,
    losses,
    memoryGrowthMb,
    mbPerS: bytes / published.seconds / 1e6,
    messagesPerS: total / published.seconds,
  };
}

async function measureStock(folder: string, seconds: number) {
  const load = new Child([join(ROOT, "test/bench/load-robot.ts")]);
  const { url, topics } = await load.firstJson<Load>();
  const path = join(folder, "stock.db");
  const recorder = new Child([join(ROOT, "test/bench/stock-recorder.ts"), url, path, ...topics]);
  const share = await measureShare(recorder, seconds);
  const published = await stopLoad(load);
  await sleep(1500);
  await recorder.stop();
  const total = Object.values(published.topics).reduce((sum, topic) => sum + topic.published, 0);
  const totalBytes = Object.values(published.topics).reduce((sum, topic) => sum + topic.publishedBytes, 0);
  // Counted in its database, not by itself: a peer that stores less is no peer.
  const db = new Database(path, { readonly: true });
  const { rows, bytes } = db
    .prepare<[], { rows: number; bytes: number }>("SELECT count(*) AS rows, sum(length(payload)) AS bytes FROM message")
    .get() ?? { rows: 0, bytes: 0 };
  db.close();
  return { share, lost: total - rows, bytesMissing: totalBytes - bytes };
}

async function status(socket: string): Promise<boolean> {
  return askDaemon<StatusAnswer>(socket, "GET", "/v1/status").then(
    (answer) => answer.source.is_connected,
    () => false,
  );
}

async function measureShare(child: Child, seconds: number): Promise<Share> {
  await sleep(WARM_UP_MS);
  const startS = child.cpuSeconds();
  const threadStartS = child.cpuSecondsByThread();
  const startMs = performance.now();
  const residentMb: number[] = [];
  const steps = 10;
  for (let step = 0; step < steps; step += 1) {
    await sleep((seconds * 1000) / steps);
    residentMb.push(Math.round(child.residentBytes() / 1e6));
  }
  const elapsedS = (performance.now() - startMs) / 1000;
  const percent = (seconds: number) => (seconds / elapsedS) * 100;
  const byThread = [...child.cpuSecondsByThread()].map(([name, seconds]) => [
    name,
    round(percent(seconds - (threadStartS.get(name) ?? 0))),
  ]);
  return {
    cpuPercent: percent(child.cpuSeconds() - startS),
    cpuPercentByThread: Object.fromEntries(byThread.filter(([, share]) => share !== 0)),
    residentMb,
  };
}

async function stopLoad(load: Child): Promise<Published> {
  await load.stop();
  return load.lastJson<Published>();
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
