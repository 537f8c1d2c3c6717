/**
 * `nominal` and `nominal-default`: what Lode costs a robot of 22 MB/s and 1,030 messages a second with 20 rules armed,
 * through a real socket; beside a stock roslib client that writes one row per message. With everything stored at full
 * rate, and as Lode comes (cameras in memory, one frame a second on disk).
 *
 * The two run one after the other against the same load, for the same time. Trap: a recorder that loses messages is
 * cheap; so what the publisher counts as published must be what Lode accounts for, topic by topic.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import type { TopicsAnswer } from "../../src/control/answers.ts";
import { askDaemon } from "../../src/control/client.ts";
import { Child, ROOT } from "../support/child.ts";
import type { Benchmark } from "./bench.ts";
import { type Keeping, type Load, LodeUnderTest } from "./lode-under-test.ts";

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
const CPU_PERCENT_MAX = 8;

export function benchmarkNominal(options: { readonly seconds: number }): Promise<Benchmark> {
  return measure("nominal", "everything", options.seconds);
}

export function benchmarkNominalDefault(options: { readonly seconds: number }): Promise<Benchmark> {
  return measure("nominal-default", "default", options.seconds);
}

async function measure(name: string, keeping: Keeping, seconds: number): Promise<Benchmark> {
  const folder = mkdtempSync(join(tmpdir(), "lode-nominal-"));
  try {
    const ours = await measureLode(folder, keeping, seconds);
    const stock = await measureStock(folder, seconds);
    const ratio = ours.share.cpuPercent / stock.share.cpuPercent;
    // The memory tier fills for half a minute; only a ring that keeps everything on disk is flat from the start.
    const isFlat = keeping === "default" || ours.memoryGrowthMb < 30;
    return {
      name,
      about:
        `a robot of 22 MB/s and 1,030 messages/s, the whole daemon with 20 rules and more, ` +
        `${keeping === "default" ? "as Lode comes" : "everything stored at full rate"}; CPU of a core over ` +
        "the same seconds. Trap: who loses messages is cheap, so published must be what is accounted for.",
      value: round(ours.share.cpuPercent),
      unit: "% of a core",
      goal: `nothing lost, memory flat, ≤ half of stock, ≤ ${CPU_PERCENT_MAX} %`,
      holds: ours.lost === 0 && isFlat && ratio <= 0.5 && ours.share.cpuPercent <= CPU_PERCENT_MAX,
      peers: { stock_roslib_rows: round(stock.share.cpuPercent) },
      ratio,
      detail: {
        seconds,
        rules_bound: ours.rulesBound,
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

async function measureLode(folder: string, keeping: Keeping, seconds: number) {
  const load = new Child([join(ROOT, "test/bench/load-robot.ts")]);
  const daemon = await LodeUnderTest.open(folder, await load.firstJson<Load>(), keeping);
  const share = await measureShare(daemon.child, seconds);
  const published = await stopLoad(load);
  const total = Object.values(published.topics).reduce((sum, topic) => sum + topic.published, 0);
  const bytes = Object.values(published.topics).reduce((sum, topic) => sum + topic.publishedBytes, 0);
  // The last chunk closes and commits within a second.
  await sleep(2000);
  const { topics } = await askDaemon<TopicsAnswer>(daemon.socket, "GET", "/v1/topics");
  const { losses, capture } = await daemon.status();
  const kept = new Map(
    topics.map(({ topic, accounting }) => [
      topic,
      keeping === "everything" ? accounting.stored : accounting.stored + accounting.in_memory + accounting.reduced,
    ]),
  );
  const lost = Object.entries(published.topics).reduce(
    (sum, [topic, counts]) => sum + counts.published - (kept.get(topic) ?? 0),
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
    rulesBound: capture.rules.filter((rule) => rule.state === "bound").length,
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
