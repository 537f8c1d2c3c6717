/** The shipped rules on real and simulated recordings: every failure of the truth, and nothing else. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { backtestRecording, type RecordingVerdict } from "../../src/daemon/backtest.ts";
import { backtestToWire } from "../../src/daemon/backtest-answer.ts";
import { Definitions } from "../../src/decode/definitions.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import type { RecordedMessage, Recording } from "../../src/replay/recording.ts";
import { compileGlobs } from "../../src/std/glob.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { parseRules } from "../../src/trigger/rule.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const RULES = ["default.yaml", "manipulator.yaml"].flatMap((name) =>
  parseRules(name, readFileSync(join(ROOT, "config/rules", name), "utf8")),
);

/** What becomes of a message: other bytes, or nothing. */
type Fault = (topic: string, atS: number, bytes: Uint8Array) => Uint8Array | undefined;
const NO_FAULT: Fault = (_topic, _atS, bytes) => bytes;

async function* spoil(recording: Recording, fault: Fault): AsyncGenerator<RecordedMessage> {
  for await (const message of recording.messages()) {
    const topic = recording.channels[message.channelIndex]?.topic ?? "";
    const bytes = fault(topic, Number(message.logTimeNs - recording.startNs) / 1e9, message.bytes);
    if (bytes !== undefined) yield { ...message, bytes };
  }
}

async function judge(name: string, exclude: readonly string[] = [], fault = NO_FAULT): Promise<RecordingVerdict> {
  const definitions = Definitions.open({ folders: [] });
  await using recording = await openRecording(join(ROOT, "test/data/recordings", name), {
    findDefinition: (type, ros) => definitions.find(type, ros),
  });
  const { path, ros, channels, startNs, endNs, messageCount, problem } = recording;
  const spoilt: Recording = {
    ...{ path, ros, channels, startNs, endNs, messageCount, problem },
    messages: () => spoil(recording, fault),
    [Symbol.asyncDispose]: async () => {},
  };
  return await backtestRecording(spoilt, { rules: RULES, isExcluded: compileGlobs(exclude), log: silentLog });
}

const firingsOf = (verdict: RecordingVerdict) =>
  verdict.firings.map((firing) => [firing.rule, Number(firing.atNs - verdict.startNs) / 1e9] as const);

test.each([
  ["ackermann_gps_nav.db3"],
  ["auv_cougars_short.mcap"],
  ["baxter_multimodal_success.bag"],
  ["g1_pick_bottle_ep16.mcap"],
  ["husky_gps_imu_odom.bag"],
  ["kobuki_nominal.mcap"],
  ["kuka_lwr_joint_effort.bag"],
  ["laserscan_2010.bag"],
  ["raspicam_compressed_1frame.bag"],
  ["sim_cup_success.mcap"],
  ["turtlesim_lz4.bag"],
])("nothing is wrong in %s, and no rule says so", async (name) => {
  expect((await judge(name)).events).toEqual([]);
});

test("the dropped cup is found when it falls, with its second try and its recovery", async () => {
  const verdict = await judge("sim_cup_slip_recover.mcap");
  const [[rule, atS] = ["", 0], ...others] = firingsOf(verdict);
  expect([rule, others]).toEqual(["lost_grasp", []]);
  expect(Math.abs(atS - 4.37)).toBeLessThan(0.2);
  const [{ episode } = { episode: undefined }] = verdict.episodes;
  expect(episode).toMatchObject({ outcome: "recovered", attempts: 2, rule: "lost_grasp" });
});

test.each([[[]], [["/diagnostics", "/rosout"]]])(
  "the labouring Kobuki is found from its motors (without %s)",
  async (hidden) => {
    const firings = firingsOf(await judge("kobuki_left_wheel_fault.mcap", hidden));
    // What the robot said of itself, once a second: very high current (WARN) and over-current bits.
    const high = [
      [12.2, 12.2],
      [19.9, 22.1],
      [24.3, 24.3],
      [27.6, 28.7],
      [30.8, 38.4],
      [40.6, 46.1],
      [49.4, 49.4],
      [51.6, 67.8],
    ];
    for (const [, atS] of firings)
      expect(high.some(([from = 0, to = 0]) => atS > from - 1.2 && atS < to + 1.2)).toBe(true);
    expect(firings.map(([rule]) => rule)).toContain("kobuki_motor_current");
    const bits = firings.filter(([rule]) => rule === "kobuki_over_current").map(([, atS]) => Math.round(atS));
    expect(bits).toEqual([53, 62]);
  },
);

/** Turns the acceleration of a ROS 1 Imu: three doubles before its last covariance. */
function turnImu(bytes: Uint8Array, turn: (a: readonly [number, number, number]) => readonly number[]): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const view = new DataView(copy.buffer);
  const at = copy.length - (9 + 3) * 8;
  const turned = turn([view.getFloat64(at, true), view.getFloat64(at + 8, true), view.getFloat64(at + 16, true)]);
  for (const [axis, value] of turned.entries()) view.setFloat64(at + 8 * axis, value, true);
  return copy;
}

const upsideDown = ([x, y, z]: readonly [number, number, number]) => [x, -y, -z] as const;

test("a sensor that dies in a real recording is found, and only that", async () => {
  const verdict = await judge("husky_gps_imu_odom.bag", [], (topic, atS, bytes) =>
    topic === "/imu/data" && atS > 200 ? undefined : bytes,
  );
  expect(verdict.firings.map(({ rule, topic }) => [rule, topic])).toEqual([["stale_topic", "/imu/data"]]);
  expect(firingsOf(verdict)[0]?.[1]).toBeCloseTo(203, 0);
});

test("an IMU mounted upside down is no fall; tipping over with it is", async () => {
  const onHusky = (turn: (atS: number) => Parameters<typeof turnImu>[1]) =>
    judge("husky_gps_imu_odom.bag", [], (topic, atS, bytes) =>
      topic === "/imu/data" ? turnImu(bytes, turn(atS)) : bytes,
    );
  expect((await onHusky(() => upsideDown)).firings).toEqual([]);
  const tipped = await onHusky((atS) => (acceleration) => {
    const [x, y, z] = upsideDown(acceleration);
    const angle = 1.5 * Math.min(1, Math.max(0, atS - 250));
    return [x, y * Math.cos(angle) - z * Math.sin(angle), y * Math.sin(angle) + z * Math.cos(angle)];
  });
  expect(firingsOf(tipped).map(([rule, atS]) => [rule, Math.floor(atS)])).toEqual([["fall", 251]]);
});

test("accelerations that become NaN for a while are invalid numbers, and no fall", async () => {
  const verdict = await judge("husky_gps_imu_odom.bag", [], (topic, atS, bytes) =>
    topic === "/imu/data" && atS > 100 && atS < 120
      ? turnImu(bytes, () => [Number.NaN, Number.NaN, Number.NaN])
      : bytes,
  );
  expect(firingsOf(verdict).map(([rule, atS]) => [rule, Math.floor(atS)])).toEqual([["invalid_numbers", 100]]);
});

test("a base that stands while it is told to drive is stalled", async () => {
  // The twist of an Odometry: six doubles before its last covariance.
  const stop = (bytes: Uint8Array) => Uint8Array.from(bytes).fill(0, bytes.length - 42 * 8, bytes.length - 36 * 8);
  const verdict = await judge("kobuki_nominal.mcap", [], (topic, atS, bytes) =>
    topic === "/odom" && atS > 61 ? stop(bytes) : bytes,
  );
  expect(firingsOf(verdict).map(([rule, atS]) => [rule, Math.floor(atS)])).toEqual([["stall", 62]]);
});

test("the same recording gives the same events again", async () => {
  const [first, second] = [await judge("sim_cup_slip_recover.mcap"), await judge("sim_cup_slip_recover.mcap")];
  expect(second.events).toEqual(first.events);
});

test("the answer of a back-test has its documented form", async () => {
  const verdict = await judge("sim_cup_slip_recover.mcap");
  const wire = JSON.parse(JSON.stringify(backtestToWire([verdict])));
  expect(wire.recordings[0]).toMatchObject({
    start_time: "2026-01-02T00:01:00.011Z",
    duration_s: 15.381,
    messages: 6001,
    undecodable: {},
    firings: [{ rule: "lost_grasp", detector: "lost_grasp", topic: "/joint_states" }],
    episodes: [{ rule: "lost_grasp", kind: "failure", start_s: 0, outcome: "recovered", attempts: 2, firings: [0] }],
  });
  expect(wire.recordings[0].episodes[0].segments.map((segment: { kind: string }) => segment.kind)).toEqual([
    "before",
    "failure",
    "recovery",
    "after",
  ]);
  expect(wire.totals.bytes_kept).toBeLessThanOrEqual(wire.totals.bytes_seen);
  expect(wire.totals.firings_per_hour).toBe(Math.round(3600 / 15.381));
});
