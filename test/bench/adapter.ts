/**
 * `adapter`: the CPU of our source alone (frame reading, transport, subscriptions) against raw `ws` that only receives
 * the same frames. Same robot, same pace, same seconds, one after the other.
 *
 * Both mixes; the figure is the worse one's. Traps: at an easy pace much of the CPU is the kernel's and nobody's
 * merit, so the pace is a high one; and who falls behind works less, so both must have received everything.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Child, ROOT, waitFor } from "../support/child.ts";
import type { Benchmark } from "./bench.ts";
import type { Load } from "./lode-under-test.ts";
import type { MixName } from "./robot-streams.ts";

/** Times the mixes' own rates: 220 MB/s, and 50,000 messages/s. */
const PACE: Readonly<Record<MixName, number>> = { camera: 10, sensors: 50 };
const TIMES_WS_MAX = 1.4;
const WARM_UP_MS = 3000;

type Figures = { readonly cpuPercent: number; readonly missing: number };

export async function benchmarkAdapter({ seconds }: { readonly seconds: number }): Promise<Benchmark> {
  const results = [];
  for (const mix of ["camera", "sensors"] as const) {
    const ws = await measure("ws", mix, seconds);
    const lode = await measure("lode", mix, seconds);
    results.push({ mix, ws, lode, ratio: lode.cpuPercent / ws.cpuPercent });
  }
  const worst = results.reduce((a, b) => (a.ratio > b.ratio ? a : b));
  const missing = results.reduce((sum, { ws, lode }) => sum + ws.missing + lode.missing, 0);
  return {
    name: "adapter",
    about:
      "our source alone (frame reading, transport, subscriptions) against raw ws receiving the same frames, at 220 MB/s " +
      "of cameras and at 50,000 messages/s. Trap: who falls behind works less, so `missing` must be 0.",
    value: round(worst.lode.cpuPercent),
    unit: "% of a core",
    goal: `≤ ${TIMES_WS_MAX} × raw ws`,
    holds: worst.ratio <= TIMES_WS_MAX && missing === 0,
    peers: { raw_ws: round(worst.ws.cpuPercent) },
    ratio: worst.ratio,
    detail: Object.fromEntries(
      results.map(({ mix, ws, lode, ratio }) => [
        mix,
        { ours: round(lode.cpuPercent), raw_ws: round(ws.cpuPercent), ratio: Math.round(ratio * 100) / 100, missing },
      ]),
    ),
  };
}

async function measure(kind: "ws" | "lode", mix: MixName, seconds: number): Promise<Figures> {
  const load = new Child([join(ROOT, "test/bench/flood-robot.ts"), mix, String(PACE[mix])]);
  const { url, topics } = await load.firstJson<Load>();
  const client = new Child([join(ROOT, "test/bench/adapter-client.ts"), kind, url, ...topics]);
  await waitFor(
    () => load.stdout.includes('"subscribed"'),
    "a subscribed client",
    20_000,
    () => client.stderr,
  );
  load.kill("SIGUSR2");
  await sleep(WARM_UP_MS);
  const cpuAtStart = client.cpuSeconds();
  const startMs = performance.now();
  await sleep(seconds * 1000);
  const cpuPercent = ((client.cpuSeconds() - cpuAtStart) / (performance.now() - startMs)) * 1e5;
  load.kill("SIGTERM");
  await waitFor(() => load.stdout.includes('"cpuSeconds"'), "the publisher's ledger");
  await sleep(500);
  await client.stop();
  await load.exited;
  const { topics: ledger } = load.lastJson<{ topics: Record<string, { published: number }> }>();
  const published = Object.values(ledger).reduce((sum, topic) => sum + topic.published, 0);
  return { cpuPercent, missing: published - client.lastJson<{ messages: number }>().messages };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
