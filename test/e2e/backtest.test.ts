/** The promise of the back-test: what it says of data is what the daemon did with it, to the nanosecond. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EpisodeTable } from "../../src/capture/episode-table.ts";
import { backtest, backtestRecording, type RecordingVerdict } from "../../src/daemon/backtest.ts";
import { openRingSources } from "../../src/daemon/backtest-source.ts";
import { openJournalForReading } from "../../src/daemon/journal.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import { advertiseAll } from "../../src/replay/player.ts";
import { latest } from "../../src/std/nanoseconds.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { parseRules } from "../../src/trigger/rule.ts";
import { waitFor } from "../support/child.ts";
import { Rig } from "./rig.ts";
import { ServedRecording } from "./served-recording.ts";

/** Windows, ages, rates, hysteresis, detectors, and every answer to an overlap: short, for it is played fast. */
const SHORT = {
  ...{ pre_roll_ms: 300, post_roll_ms: 250, clear_for_ms: 60, cool_down_ms: 100 },
  ...{ recovered_after_clear_ms: 200, recovery_timeout_ms: 1500 },
};
const CORE = { ...SHORT, inputs: { core: { type: "kobuki_ros_interfaces/msg/SensorState" } } };
const RULES = JSON.stringify({
  rules: {
    labouring: { ...CORE, when: "max(core.current) > 5", for_ms: 30 },
    splits: { ...CORE, when: 'mean_over(core.current[0], duration("300ms")) > 4', on_overlap: "split" },
    ignored: { ...CORE, when: "core.over_current != 0", on_overlap: "ignore" },
    on_trial: { ...CORE, when: "max(core.current) > 4", dry_run: true },
    tries_again: {
      ...CORE,
      when: "core.current[0] > 5",
      attempt_when: "delta(core.current[0]) > 2",
      recovered_when: "core.current[0] < 2",
    },
    quiet: {
      ...SHORT,
      inputs: { o: "/odom" },
      when: 'age(o) > duration("25ms") || rate_hz(o) < 60',
      for_ms: 10,
    },
    stale_topic: { ...SHORT, detector: "stale_topic", parameters: { silent_ms: 300, history_ms: 2000 } },
    diagnostics: { ...SHORT, detector: "diagnostics_level", parameters: { level: 1 } },
  },
});
/** Of the recording's 72 s. */
const RATE = 8;

type Told = ReturnType<typeof toldOf>;

/** What must agree: an id is the process's own, and a window is cut where the recording begins. */
function toldOf(episode: RecordingVerdict["episodes"][number]["episode"], firstNs: bigint) {
  const { rule, kind, endNs, outcome, attempts, evidence, timeToRecoverMs, labels, note } = episode;
  const startNs = latest(episode.startNs, firstNs);
  const segments = episode.segments.map((segment) => ({ ...segment, startNs: latest(segment.startNs, firstNs) }));
  const firings = episode.firings.map(({ rule: name, topic, atNs, values }) => ({ rule: name, topic, atNs, values }));
  const ending = { outcome, attempts, evidence, timeToRecoverMs };
  return { rule, kind, startNs, endNs, ...ending, segments, firings, labels, note };
}

function liveEpisodes(folder: string, firstNs: bigint): Told[] {
  const journal = openJournalForReading(folder);
  try {
    return new EpisodeTable(journal)
      .list(10_000)
      .map(({ episode }) => toldOf(episode, firstNs))
      .reverse();
  } finally {
    journal.close();
  }
}

test("a back-test of the ring, and of what is exported from it, agrees exactly with what the daemon did live", {
  timeout: 90_000,
}, async () => {
  await using served = await ServedRecording.open("kobuki_left_wheel_fault.mcap");
  const rules = { shipped: false, files: ["rules.yaml"] };
  await using rig = await Rig.open({ bridgePort: served.server.port, config: { rules } });
  writeFileSync(join(rig.folder, "rules.yaml"), RULES);
  await rig.startDaemon();
  await served.play(RATE);
  await endEpisodes(served, rig);

  const options = { rules: parseRules("rules.yaml", RULES), isExcluded: () => false, log: silentLog };
  const place = { folder: rig.dataFolder, socket: join(rig.folder, "control.sock"), spoolFolder: rig.folder };
  using ring = await openRingSources(place, { startNs: undefined, endNs: undefined });
  const [source, ...others] = ring.sources;
  if (source === undefined) throw new Error("the ring has nothing");
  expect(others).toEqual([]);
  const [ofRing] = await backtest(source, [options]);
  if (ofRing === undefined) throw new Error("no verdict");
  expect(ofRing.problems).toEqual([]);

  const live = liveEpisodes(rig.dataFolder, ofRing.startNs);
  expect(ofRing.episodes.map(({ episode }) => toldOf(episode, ofRing.startNs))).toEqual(live);
  const counts = (statuses: readonly { rule: string; firings: number }[]) =>
    Object.fromEntries(statuses.map(({ rule, firings }) => [rule, firings]));
  const { rules: liveRules, ignored_firings: ignored } = (await rig.status()).capture;
  expect(counts(ofRing.rules)).toEqual(counts(liveRules));
  expect(ofRing.ignoredFirings).toBe(ignored);
  // Nothing agrees as exactly as nothing.
  expect(live.length).toBeGreaterThan(5);
  expect(live.filter(({ attempts }) => attempts > 1)).not.toEqual([]);
  expect(ofRing.ignoredFirings).toBeGreaterThan(0);
  for (const { rule, firings } of ofRing.rules) expect(firings, rule).toBeGreaterThan(0);

  type Answer = { recordings: { boot: string; episodes: object[]; firings: object[] }[] };
  const answer = await rig.lode<Answer>(["backtest", "--ring", "--from", "-1h"]);
  expect(answer.recordings.map(({ boot, ...told }) => [boot, told.episodes.length, told.firings.length])).toEqual([
    [source.bootId, live.length, ofRing.firings.length],
  ]);

  const exported = join(rig.folder, "ring.mcap");
  await rig.lode(["export", "--from", "-1h", "-o", exported]);
  await using recording = await openRecording(exported, { findDefinition: () => undefined });
  const ofExport = await backtestRecording(recording, options);
  expect(ofExport.events).toEqual(ofRing.events);
  const costs = (verdict: RecordingVerdict) =>
    verdict.episodes.map(({ episode, messages, bytes }) => ({ ...toldOf(episode, verdict.startNs), messages, bytes }));
  expect(costs(ofExport)).toEqual(costs(ofRing));
});

/** The robot goes on, and one harmless topic with it, until the last episode is over. */
async function endEpisodes(served: ServedRecording, rig: Rig): Promise<void> {
  const publisher = advertiseAll(served.server, served.recording).find(({ channel }) => channel.topic === "/rosout");
  const batch = await Array.fromAsync(served.recording.messages());
  const last = batch.findLast(({ channelIndex }) => served.recording.channels[channelIndex] === publisher?.channel);
  if (publisher === undefined || last === undefined) throw new Error("the recording has /rosout");
  const timer = setInterval(() => served.server.publish(publisher, last.bytes), 20);
  try {
    await waitFor(async () => (await rig.status()).capture.open === undefined, "the last episode's end", 30_000);
  } finally {
    clearInterval(timer);
  }
  await served.server.whenDrained(AbortSignal.timeout(10_000));
}
