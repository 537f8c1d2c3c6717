/** The whole daemon behind the real ros2-web-bridge (JSON only, no rosapi), over the stand-in for rclnodejs. */
import { once } from "node:events";
import { createRequire } from "node:module";
import { parse } from "@foxglove/rosmsg";
import { MessageReader } from "@foxglove/rosmsg2-serialization";
import { unpack } from "msgpackr";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { Child, waitFor } from "../support/child.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { freePort, Rig } from "./rig.ts";

const PROGRAM = createRequire(import.meta.url).resolve("ros2-web-bridge/bin/rosbridge.js");

const header = (sec: number) => ({ stamp: { sec, nanosec: 500_000_000 }, frame_id: "arm" });
const JOINT_STATE = {
  ...{ header: header(1_700_000_001), name: ["shoulder", "elbow"] },
  ...{ position: [0.25, -1.5], velocity: [null, 2], effort: [3.5, null] }, // JSON has no NaN
};
const IMAGE = { header: header(1_700_000_002), format: "jpeg", data: [255, 216, 0, 1, 255, 217] };
const BELIEF = { is_holding: true, cup: { mass_kg: 0.25, name: "red" } };
const TOPICS = {
  "/joint_states": { type: "sensor_msgs/msg/JointState", message: JOINT_STATE },
  "/camera/compressed": { type: "sensor_msgs/msg/CompressedImage", message: IMAGE },
  "/belief": { type: "odd_robot_msgs/msg/Belief", message: BELIEF },
};

/** What a reader makes of the stored bytes, by topic: with libraries that Lode did not write them with. */
function decode(schemaText: string, encoding: string, bytes: Uint8Array): unknown {
  if (encoding === "msgpack") return unpack(bytes);
  expect(encoding).toBe("cdr");
  return new MessageReader(parse(schemaText, { ros2: true })).readMessage(bytes);
}

function expectValues(topic: string, value: unknown): void {
  if (topic === "/belief") expect(value).toEqual(BELIEF);
  if (topic === "/camera/compressed")
    expect(value).toMatchObject({ format: "jpeg", data: Uint8Array.from(IMAGE.data) });
  if (topic !== "/joint_states") return;
  expect(value).toMatchObject({
    header: { stamp: { sec: 1_700_000_001, nanosec: 500_000_000 }, frame_id: "arm" },
    name: JOINT_STATE.name,
    position: new Float64Array([0.25, -1.5]),
    velocity: new Float64Array([Number.NaN, 2]),
    effort: new Float64Array([3.5, Number.NaN]),
  });
}

test("JSON becomes CDR that any reader understands, and msgpack where nobody knows the type", {
  timeout: 60_000,
}, async () => {
  const port = await freePort();
  const bridge = new Child(["--no-deprecation", PROGRAM, "--port", String(port)]);
  const types = Object.fromEntries(Object.entries(TOPICS).map(([topic, { type }]) => [topic, type]));
  const sources = [{ url: `ws://127.0.0.1:${port}`, bridge: "ros2-web-bridge", types }];
  const config = { sources, topics: { classes: { camera: { tier: "disk" } } } };
  await using rig = await Rig.open({ bridgePort: port, config });
  try {
    await waitFor(
      () => bridge.stdout !== "",
      "the bridge",
      20_000,
      () => bridge.stderr,
    );
    await rig.startReceiver();
    await rig.startDaemon();
    const robot = new WebSocket(`ws://127.0.0.1:${port}`);
    await once(robot, "open");
    const say = (operation: object) => robot.send(JSON.stringify(operation));
    for (const [topic, { type }] of Object.entries(TOPICS)) say({ op: "advertise", topic, type });
    await waitFor(async () => (await rig.topics()).topics.length === 3, "the configured topics");
    await waitFor(async () => {
      for (const [topic, { message }] of Object.entries(TOPICS)) say({ op: "publish", topic, msg: message });
      const { topics } = await rig.topics();
      return topics.every(({ accounting }) => accounting.stored >= 10);
    }, "ten messages of each topic");
    robot.close();
    const status = await rig.status();
    expect(status.losses).toEqual([]);
    await rig.lode(["capture", "--pre", "10s", "--post", "0s"]);

    const { topics } = await rig.topics();
    expect(topics.map(({ mode }) => mode)).toEqual(["none", "none", "none"]);
    await waitFor(async () => {
      const joints = (await rig.topics()).topics.find(({ topic }) => topic === "/joint_states");
      return (await rig.status()).source.json_nulls === 2 * (joints?.accounting.received ?? -1);
    }, "two nulls a message to be counted");
    await waitFor(() => storedTopics(rig).size === 3, "the three topics in the ring");
    await rig.episodesHome(1, 20_000);
    const [received] = await rig.receivedEpisodes();
    const seen = new Set<string>();
    for (const file of received?.files.filter((name) => name.endsWith(".mcap")) ?? []) {
      const { channels, schemas, messages } = readMcapBySpec(file);
      for (const { channelId, bytes } of messages) {
        const channel = channels.get(channelId);
        if (channel === undefined || !(channel.topic in TOPICS)) continue;
        seen.add(channel.topic);
        expectValues(channel.topic, decode(schemas.get(channel.schemaId)?.text ?? "", channel.messageEncoding, bytes));
      }
    }
    expect([...seen].sort()).toEqual(Object.keys(TOPICS).sort());
  } finally {
    bridge.kill("SIGKILL");
    await bridge.exited;
  }
});

/** Decodes everything the ring has, by the schemas it keeps. */
function storedTopics(rig: Rig): Set<string> {
  using reader = RingReader.open(rig.dataFolder);
  const channels = reader.channels();
  const topics = new Set<string>();
  for (const { channelId, bytes } of reader.messages({ startNs: 0n, endNs: 2n ** 63n - 1n })) {
    const channel = channels.get(channelId);
    if (channel === undefined) continue;
    topics.add(channel.topic);
    expectValues(channel.topic, decode(channel.schema.text, channel.messageEncoding, bytes));
  }
  return topics;
}
