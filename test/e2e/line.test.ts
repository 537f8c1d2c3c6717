/**
 * The whole line on recordings of real and simulated robots: bridge → daemon → ring → episode → receiver, as processes.
 * What must be there is counted from the recording itself, never from what arrived.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { playThrough, readRing } from "./play-through.ts";
import { missingFrom } from "./served-recording.ts";

test("a dropped cup comes home: seen once, recovered at the second attempt, every message in the ring", {
  timeout: 90_000,
}, async () => {
  const { served, rig } = await playThrough("sim_cup_slip_recover.mcap", 1);
  await using _served = served;
  await using _rig = rig;
  const expected = await served.multiset();
  expect(missingFrom(expected, readRing(rig.dataFolder))).toEqual({});
  expect(missingFrom(readRing(rig.dataFolder), expected)).toEqual({});
  expect((await rig.status()).losses).toEqual([]);

  const [episode, ...others] = await rig.episodesHome(1, 60_000);
  expect(others).toEqual([]);
  // sim_truth.json: the cup drops at 4.37 s, the second attempt succeeds.
  expect(episode).toMatchObject({ rule: "lost_grasp", outcome: "recovered", attempts: 2 });

  const [received] = await rig.receivedEpisodes();
  const files = received?.files ?? [];
  expect(files.map((file) => file.split("/").at(-1)).sort()).toEqual(["heavy-1.mcap", "light.mcap", "manifest.json"]);
  const light = readMcapBySpec(files.find((file) => file.endsWith("light.mcap")) ?? "");
  const manifest = JSON.parse(readFileSync(files.find((file) => file.endsWith("manifest.json")) ?? "", "utf8"));
  expect(manifest.previews.length).toBeGreaterThan(0);
  const joints = light.messages.filter((message) => light.channels.get(message.channelId)?.topic === "/joint_states");
  expect(joints).toHaveLength(1539);
  expect(rig.leftovers()).toMatchObject({ robot: [], parts: [] });
});

test("a stuck wheel fires, and every message is in the ring", { timeout: 150_000 }, async () => {
  const { served, rig } = await playThrough("kobuki_left_wheel_fault.mcap", 1);
  await using _served = served;
  await using _rig = rig;
  expect(missingFrom(await served.multiset(), readRing(rig.dataFolder))).toEqual({});
  expect((await rig.status()).losses).toEqual([]);
  const [episode] = await rig.episodesHome(1, 60_000);
  expect(episode?.rule).toMatch(/current|stall/);
});

test.for([
  "kobuki_nominal.mcap",
  "husky_gps_imu_odom.bag",
  "sim_cup_success.mcap",
  "laserscan_2010.bag",
  "turtlesim_lz4.bag",
])(
  "%s at ten times the speed: nothing is missing that the ledger does not name, and nothing fires",
  { timeout: 120_000 },
  async (name) => {
    const { served, rig } = await playThrough(name, 10);
    await using _served = served;
    await using _rig = rig;
    const missing = missingFrom(await served.multiset(), readRing(rig.dataFolder));
    const { topics } = await rig.topics();
    const named = Object.fromEntries(
      topics.flatMap(({ topic, accounting }) => {
        const dropped = Object.values(accounting.dropped).reduce((sum, drops) => sum + drops, 0);
        return dropped === 0 ? [] : [[topic, dropped]];
      }),
    );
    expect(missing).toEqual(named);
    expect(await rig.episodes()).toEqual([]);
  },
);

test("the time a publisher stamped is the message's publish_time, for every message that has one", {
  timeout: 60_000,
}, async () => {
  const { served, rig } = await playThrough("sim_cup_success.mcap", 10);
  await using _served = served;
  await using _rig = rig;
  const stamps = new Map<string, number>();
  for await (const { channelIndex, bytes } of served.recording.messages()) {
    // CDR: four bytes of encapsulation, then header.stamp, the first member of every type in this recording.
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const ns = BigInt(view.getInt32(4, true)) * 1_000_000_000n + BigInt(view.getUint32(8, true));
    const key = `${served.recording.channels[channelIndex]?.topic} ${ns}`;
    stamps.set(key, (stamps.get(key) ?? 0) + 1);
  }
  using reader = RingReader.open(rig.dataFolder);
  const channels = reader.channels();
  const found = new Map<string, number>();
  for (const message of reader.messages({ startNs: 0n, endNs: 2n ** 63n - 1n })) {
    const key = `${channels.get(message.channelId)?.topic} ${message.publishTimeNs}`;
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  expect(missingFrom(stamps, found)).toEqual({});
});
