/** Field readers, stamps, decoder and encoder against the Foxglove libraries on every message of real recordings. */
import { join } from "node:path";
import { MessageReader as Ros1Reader } from "@foxglove/rosmsg-serialization";
import { MessageReader as Ros2Reader } from "@foxglove/rosmsg2-serialization";
import { beforeAll, describe, expect, test } from "vitest";
import { Definitions } from "../../src/decode/definitions.ts";
import { compileEncoder } from "../../src/decode/encoder.ts";
import { compileField } from "../../src/decode/field.ts";
import { type ParsedSchema, parseSchema } from "../../src/decode/parsed-schema.ts";
import { compileStamp } from "../../src/decode/stamp.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import type { RecordedChannel } from "../../src/replay/recording.ts";
import { seededRandom } from "../../src/std/random.ts";
import { isSame, leavesOf, member, survivesJson, toJson } from "./plain.ts";

const FOLDER = join(import.meta.dirname, "../data/recordings");
const PATHS_PER_CHANNEL = 12;

/** File and the number of its messages whose schema is known. */
const RECORDINGS: readonly (readonly [string, number])[] = [
  ["ackermann_gps_nav.db3", 4314],
  ["auv_cougars_short.mcap", 2671],
  ["baxter_multimodal_success.bag", 3160],
  ["g1_pick_bottle_ep16.mcap", 1032],
  ["husky_gps_imu_odom.bag", 16_806],
  ["kobuki_left_wheel_fault.mcap", 13_110],
  ["kobuki_nominal.mcap", 13_378],
  ["kuka_lwr_joint_effort.bag", 4101],
  ["raspicam_compressed_1frame.bag", 16],
  ["sim_cup_slip_recover.mcap", 6001],
  ["turtlesim_lz4.bag", 8647],
];

type Lane = {
  readonly channel: RecordedChannel;
  readonly parsed: ParsedSchema;
  readonly messages: { bytes: Uint8Array; decoded: unknown }[];
};

async function readLanes(file: string): Promise<Lane[]> {
  const definitions = Definitions.open({ folders: [] });
  await using recording = await openRecording(join(FOLDER, file), {
    findDefinition: (name, ros) => definitions.find(name, ros),
  });
  const lanes = recording.channels.map((channel) => openLane(channel, recording.ros));
  for await (const { channelIndex, bytes } of recording.messages()) {
    const lane = lanes[channelIndex];
    lane?.messages.push({ bytes, decoded: lane.read(bytes) });
  }
  return lanes.filter((lane) => lane !== undefined);
}

function openLane(channel: RecordedChannel, ros: 1 | 2): (Lane & { read(bytes: Uint8Array): unknown }) | undefined {
  const encoding = ros === 1 ? "ros1msg" : "ros2msg";
  const parsed = parseSchema({ name: channel.schemaName, encoding, text: channel.schemaText ?? "" });
  if ("problem" in parsed) return undefined;
  const definitions = [...parsed.definitions];
  const reader = ros === 1 ? new Ros1Reader(definitions) : new Ros2Reader(definitions);
  return { channel, parsed, messages: [], read: (bytes) => reader.readMessage(bytes) };
}

describe.each(RECORDINGS)("%s", (file, messageCount) => {
  let lanes: Lane[] = [];
  beforeAll(async () => {
    lanes = await readLanes(file);
  });

  test("every message with a known schema is here", () => {
    const count = lanes.reduce((sum, { messages }) => sum + messages.length, 0);
    expect(count).toBe(messageCount);
  });

  test("a field reads as it does in the whole decoded message", () => {
    const random = seededRandom(20_260_301);
    const wrong: string[] = [];
    for (const { channel, parsed, messages } of lanes) {
      const leaves = leavesOf(parsed.root);
      const chosen = leaves.filter(() => random() < PATHS_PER_CHANNEL / leaves.length);
      for (const { path, read } of chosen) {
        const reader = compileField(parsed, channel.encoding, path);
        if ("problem" in reader) throw new Error(reader.problem);
        const bad = messages.filter(({ bytes, decoded }) => !isSame(reader(bytes), read(decoded)));
        if (bad.length > 0) wrong.push(`${channel.topic} ${path}: ${bad.length} of ${messages.length}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("the stamp is that of the decoded header", () => {
    for (const { channel, parsed, messages } of lanes) {
      const stampOf = compileStamp(parsed, channel.encoding);
      for (const { bytes, decoded } of messages) {
        const stamp = member(member(decoded, "header"), "stamp") ?? member(decoded, "stamp");
        if (stamp === undefined) break;
        const fraction = member(stamp, "nsec") ?? member(stamp, "nanosec");
        const expected = BigInt(Number(member(stamp, "sec"))) * 1_000_000_000n + BigInt(Number(fraction));
        if (stampOf?.(bytes) !== expected) expect(stampOf?.(bytes), channel.topic).toBe(expected);
      }
    }
  });

  test("a message that comes as JSON gets the bytes its publisher sent", () => {
    const wrong = new Set<string>();
    let compared = 0;
    for (const { channel, parsed, messages } of lanes) {
      const encode = compileEncoder(parsed, channel.encoding);
      if ("problem" in encode) throw new Error(encode.problem);
      for (const { bytes, decoded } of messages) {
        if (!survivesJson(decoded)) continue;
        const json: unknown = JSON.parse(JSON.stringify(toJson(parsed.root, decoded, parsed.ros)));
        const encoded = encode(json);
        compared += 1;
        if (encoded.nulls !== 0 || !isSameButPadding(encoded.bytes, bytes, parsed.ros)) wrong.add(channel.topic);
      }
    }
    expect([...wrong]).toEqual([]);
    expect(compared).toBeGreaterThan(0);
  });
});

/** ROS 2 middlewares leave whatever was in memory in alignment gaps, and fill up to 4 bytes; the encoder writes zeros. */
function isSameButPadding(encoded: Uint8Array, recorded: Uint8Array, ros: 1 | 2): boolean {
  if (ros === 1) return Buffer.compare(encoded, recorded) === 0;
  const tail = recorded.length - encoded.length;
  return tail >= 0 && tail < 4 && encoded.every((byte, index) => byte === recorded[index] || byte === 0);
}

test("the 2010 recording's definition is a problem that names the missing type, not an error", async () => {
  await using recording = await openRecording(join(FOLDER, "laserscan_2010.bag"), { findDefinition: () => undefined });
  const scan = recording.channels.find(({ topic }) => topic === "/scan");
  const parsed = parseSchema({ name: "sensor_msgs/LaserScan", encoding: "ros1msg", text: scan?.schemaText ?? "" });
  expect(parsed).toHaveProperty("problem", expect.stringContaining("Header"));
});
