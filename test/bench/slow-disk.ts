/**
 * `slow-disk`: the nominal robot (22 MB/s, everything stored) on a disk of 60 MB/s whose every flush takes 5 ms, and
 * which once hangs for three seconds: how late the ingest thread's event loop is, and what is lost.
 *
 * Trap: a recorder that waits for its disk still stores everything, and meanwhile the bridge drops for it, unheard. So
 * the loop that reads the socket is measured, in its own thread, and "lost" is what the publisher counts as published
 * less what lies in the ring. Needs root and libfuse3-dev.
 */
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import type { TopicsAnswer } from "../../src/control/answers.ts";
import { askDaemon } from "../../src/control/client.ts";
import { Child, ROOT } from "../support/child.ts";
import { SlowDisk } from "../support/slow-disk.ts";
import type { Benchmark } from "./bench.ts";
import { type Load, LodeUnderTest } from "./lode-under-test.ts";

const DISK = { bytes: 8e9, mbPerS: 60, flushMs: 5 };
const WARM_UP_MS = 12_000; // until the windows of the measurement have forgotten the start
const POLL_MS = 5000;
const RESOLUTION_MS = 5; // as in src/daemon/loop-delay.ts
const P99_MS_MAX = 5;
const MAX_MS_MAX = 20;

export async function benchmarkSlowDisk({ seconds }: { readonly seconds: number }): Promise<Benchmark> {
  const steady = await measure(seconds, false);
  const hanging = await measure(seconds, true);
  return {
    name: "slow-disk",
    about:
      "the nominal robot, everything stored, on a disk of 60 MB/s and 5 ms a flush; then one that hangs 3 s once. The " +
      "ingest thread's event loop, p99, beside an idle process's on the same machine. Trap: who waits for the disk loses nothing itself, the bridge drops for it.",
    value: steady.p99Ms,
    unit: "ms late (p99)",
    goal: `p99 ≤ ${P99_MS_MAX} ms, max ≤ ${MAX_MS_MAX} ms, 0 lost`,
    holds:
      [steady, hanging].every(({ lost }) => lost === 0) && steady.p99Ms <= P99_MS_MAX && steady.maxMs <= MAX_MS_MAX,
    peers: { idle_process: steady.idleP99Ms },
    ratio: steady.p99Ms / steady.idleP99Ms,
    detail: { seconds, steady, hanging },
  };
}

async function measure(seconds: number, hangs: boolean) {
  await using disk = await SlowDisk.open(DISK);
  const load = new Child([join(ROOT, "test/bench/load-robot.ts")]);
  const lode = await LodeUnderTest.open(join(disk.folder, "lode"), await load.firstJson<Load>(), "everything");
  try {
    await sleep(WARM_UP_MS);
    if (hangs) disk.hang();
    // The machine's own share: this process, which waits, looks at its own loop.
    const idle = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    idle.enable();
    let p99Ms = 0;
    let maxMs = 0;
    for (let ms = 0; ms < seconds * 1000; ms += POLL_MS) {
      await sleep(POLL_MS);
      const { p99_ms, max_ms } = (await lode.status()).source.ingest_delay;
      p99Ms = Math.max(p99Ms, p99_ms);
      maxMs = Math.max(maxMs, max_ms);
    }
    idle.disable();
    await load.stop();
    await sleep(3000); // the last chunks close, and are committed
    const { losses } = await lode.status();
    const { topics } = load.lastJson<{ topics: Record<string, { published: number; dropped: number }> }>();
    const published = Object.values(topics).reduce((sum, topic) => sum + topic.published, 0);
    const answer = await askDaemon<TopicsAnswer>(lode.socket, "GET", "/v1/topics");
    const stored = answer.topics.reduce((sum, { accounting }) => sum + accounting.stored, 0);
    return {
      ...{ p99Ms: round(p99Ms), maxMs: round(maxMs), published, lost: published - stored },
      idleP99Ms: round(Math.max(0.1, idle.percentile(99) / 1e6 - RESOLUTION_MS)),
      reasons: [...new Set(losses.map(({ reason }) => reason))],
    };
  } finally {
    await load.stop();
    await lode.stop();
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
