/**
 * A robot's day in one process: chunk builder, ring and trigger with the shipped rules, an episode every ten minutes of
 * traffic. Once a simulated minute, after a collection, it prints a line of JSON with what it holds.
 *
 * Usage: node --expose-gc memory-day.ts SECONDS ; images are cut to 16 kB, for it is not bytes that leak but things.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { configSchema } from "../../src/config/schema.ts";
import { parseRuleFiles, readRuleFiles } from "../../src/daemon/rule-files.ts";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { Trigger } from "../../src/trigger/trigger.ts";
import { RingFeed } from "./ring-feed.ts";

export type Sample = {
  readonly atS: number;
  readonly rssMb: number;
  /** Of it, what the making of the load has left behind (sharp above all). */
  readonly loadMb: number;
  readonly memoryTierMb: number;
  readonly poolKeptMb: number;
  readonly descriptors: number;
  readonly timers: number;
};

const IMAGE_BYTES = 16_000;
const RING_BYTES = 1e9;
const EPISODE_EVERY_S = 600;
const EPISODE_MS = 20_000;
const SAMPLE_S = 60;
const TURN_MS = 500;

const seconds = Number(process.argv[2] ?? "3600");
const folder = mkdtempSync(join(tmpdir(), "lode-memory-"));
try {
  const bareMb = residentMb();
  const { nominalStreams } = await import("./robot-streams.ts");
  const rules = configSchema.parse({}).rules;
  const trigger = Trigger.open(parseRuleFiles(readRuleFiles(rules), []), {
    ...{ fields: new ChannelReader().fieldAccess, log: silentLog, onEvent: () => {} },
  });
  const streams = (await nominalStreams()).map((stream) => ({
    ...stream,
    payloads: stream.payloads.map((bytes) => bytes.slice(0, IMAGE_BYTES)),
  }));
  const loadMb = residentMb() - bareMb;
  using feed = new RingFeed({
    ...{ folder, streams, bytesMax: RING_BYTES },
    onMessage: (channel, bytes, atNs) => trigger.onMessage(channel, bytes, atNs),
  });
  for (const channel of feed.ring.channels) trigger.addChannel(channel);
  for (let atS = SAMPLE_S; atS <= seconds; atS += SAMPLE_S) {
    if (atS % EPISODE_EVERY_S === 0) await runEpisode(feed);
    else await run(feed, SAMPLE_S * 1000);
    console.log(JSON.stringify(sample(feed, atS, loadMb)));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** With turns of the event loop, as a thread has them: an addon's memory is given back in them. */
async function run(feed: RingFeed, ms: number): Promise<void> {
  for (let done = 0; done < ms; done += TURN_MS) {
    feed.run(TURN_MS);
    await nextTurn();
  }
}

/** As capture does it: hold, promote, full rate; then somebody reads it, and it is released. */
async function runEpisode(feed: RingFeed): Promise<void> {
  const startNs = feed.clock.wallNs() - BigInt(EPISODE_MS) * 1_000_000n;
  const endNs = startNs + 2n * BigInt(EPISODE_MS) * 1_000_000n;
  feed.ring.hold("episode", startNs, endNs);
  feed.ring.promote(startNs, feed.clock.wallNs(), feed.clock.wallNs());
  feed.ring.setFullRate(true);
  await run(feed, EPISODE_MS);
  feed.ring.setFullRate(false);
  using reader = RingReader.open(folder);
  for (const _ of reader.messages({ startNs, endNs })) {
    // every message is read, and none kept
  }
  feed.ring.release("episode");
  await run(feed, SAMPLE_S * 1000 - EPISODE_MS);
}

function residentMb(): number {
  globalThis.gc?.();
  return Math.round(process.memoryUsage.rss() / 1e5) / 10;
}

function sample(feed: RingFeed, atS: number, loadMb: number): Sample {
  return {
    atS,
    rssMb: residentMb(),
    loadMb: Math.round(loadMb),
    memoryTierMb: Math.round(feed.ring.status().memoryBytes / 1e6),
    poolKeptMb: Math.round(feed.pool.keptBytes / 1e6),
    descriptors: readdirSync("/proc/self/fd").length,
    timers: process.getActiveResourcesInfo().filter((kind) => kind === "Timeout" || kind === "Immediate").length,
  };
}
