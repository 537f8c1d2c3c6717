import { expect, test } from "vitest";
import { MotionMeter } from "../../src/daemon/motion-meter.ts";
import { RobotWords } from "../../src/daemon/robot-words.ts";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import type { Channel } from "../../src/model/channel.ts";
import type { TopicStatus } from "../../src/source/source.ts";

const { fieldAccess } = new ChannelReader();

const channel = (topic: string, name: string): Channel => ({
  ...{ id: 1, topic, schema: { name, encoding: "", text: "" }, messageEncoding: "json" },
  ...{ className: "light", isLocal: false, isLatched: false },
});
const encode = (message: object) => Buffer.from(JSON.stringify(message));
const at = (ms: number) => BigInt(ms) * 1_000_000n;

type Listening = { listenersOf(one: Channel): readonly ((message: Uint8Array, atNs: bigint) => void)[] };
const send = (to: Listening, one: Channel, messages: readonly object[], everyMs = 100) => {
  const listeners = to.listenersOf(one);
  messages.forEach(
    (message, index) => void listeners.forEach((listen) => void listen(encode(message), at(index * everyMs))),
  );
};

test("the last text of a named topic becomes a label, and is told once", () => {
  const words = new RobotWords({ task_type: "/task/state:task", shelf: "/shelf" }, fieldAccess);
  send(words, channel("/task/state", "x/State"), [{ task: "pick" }, { task: "place" }, { task: "place" }]);
  send(words, channel("/shelf", "std_msgs/String"), [{ data: "3" }]);
  send(words, channel("/other", "std_msgs/String"), [{ data: "4" }]);
  expect(words.take()?.labels).toEqual({ task_type: "place", shelf: "3" });
  expect(words.take()).toBeUndefined();
});

test("a topic of a simulator and a node that takes its time from one are signs", () => {
  const words = new RobotWords({}, fieldAccess);
  words.noteTopic("/joint_states", "sensor_msgs/JointState");
  expect(words.take()).toBeUndefined();
  words.noteTopic("/clock", "rosgraph_msgs/Clock");
  words.noteTopic("/clock", "rosgraph_msgs/Clock");
  const parameter = (name: string, value: boolean) => ({ name, value: { bool_value: value } });
  const events = channel("/parameter_events", "rcl_interfaces/msg/ParameterEvent");
  send(words, events, [{ new_parameters: [parameter("use_sim_time", false), parameter("is_loud", true)] }]);
  expect(words.take()?.signs).toHaveLength(1);
  send(words, events, [{ new_parameters: [], changed_parameters: [parameter("use_sim_time", true)] }]);
  expect(words.take()?.signs).toEqual([expect.stringContaining("/clock"), "use_sim_time is true"]);
});

test("a simulator's topic is a sign until it is gone or silent for a minute, and again when it comes back", () => {
  const words = new RobotWords({}, fieldAccess);
  const status = (changes: Partial<TopicStatus>): TopicStatus => ({
    ...{ topic: "/clock", schemaName: "rosgraph_msgs/msg/Clock", mode: "cbor-raw", isOnDemand: false, received: 1 },
    ...{ lastMessageNs: undefined, publishers: undefined, silentReason: undefined, ...changes },
  });
  const signsAfter = (topics: readonly TopicStatus[], nowMs: number) => {
    words.reviewTopics(topics, at(nowMs));
    return words.take()?.signs.length;
  };
  words.noteTopic("/clock", "rosgraph_msgs/msg/Clock");
  expect(words.take()?.signs).toHaveLength(1);
  expect(signsAfter([status({ lastMessageNs: at(1000) })], 61_000)).toBeUndefined();
  expect(signsAfter([status({ lastMessageNs: at(1000) })], 62_000)).toBe(0);
  expect(signsAfter([status({ lastMessageNs: at(70_000) })], 71_000)).toBe(1);
  expect(signsAfter([status({ publishers: [] })], 72_000)).toBe(0);
  expect(signsAfter([status({ mode: "not_recorded" })], 73_000)).toBe(1);
  expect(signsAfter([], 74_000)).toBe(0);
});

test("the robot is asked for its distribution and its simulated time, and may not answer", async () => {
  const words = new RobotWords({}, fieldAccess);
  const values: Readonly<Record<string, string>> = { "/rosdistro": '"noetic\\n"', "/use_sim_time": "true" };
  const asked: string[] = [];
  await words.ask(1, async (service, _type, args) => {
    const name = String(Object.getOwnPropertyDescriptor(args, "name")?.value);
    asked.push(`${service} ${name}`);
    return { kind: "ok", values: { value: values[name] } };
  });
  expect(words.take()).toMatchObject({ ros: "1 noetic", signs: ["/use_sim_time is true"] });
  await words.ask(2, async () => ({ kind: "failed", reason: "no such service" }));
  expect(words.take()?.ros).toBe("2");
});

test("a robot whose joints stand moves not, one whose joint goes slowly does, and one without either is not watched", () => {
  const joints = channel("/joint_states", "sensor_msgs/JointState");
  const still = new MotionMeter(fieldAccess);
  send(still, joints, Array(20).fill({ position: [0.5, -1.2] }));
  expect(still.take()).toEqual({ isWatched: true, hasMoved: false });
  expect(still.take()).toEqual({ isWatched: false, hasMoved: false });
  const noisy = new MotionMeter(fieldAccess);
  send(
    noisy,
    joints,
    Array.from({ length: 20 }, (_, index) => ({ position: [0.5 + (index % 2) * 0.003, -1.2] })),
  );
  expect(noisy.take().hasMoved).toBe(false);
  const slow = new MotionMeter(fieldAccess);
  send(
    slow,
    joints,
    Array.from({ length: 20 }, (_, index) => ({ position: [0.5, -1.2 + index * 0.004] })),
  );
  expect(slow.take().hasMoved).toBe(true);
  const commanded = new MotionMeter(fieldAccess);
  send(commanded, channel("/joint_commands", "sensor_msgs/JointState"), [{ position: [0] }, { position: [1] }], 1000);
  expect(commanded.take()).toEqual({ isWatched: false, hasMoved: false });
});

test("two arms that share a topic and stand do not move, and either is seen to", () => {
  const joints = channel("/joint_states", "sensor_msgs/JointState");
  const hasMoved = (rightAt: (index: number) => number) => {
    const meter = new MotionMeter(fieldAccess);
    const message = (index: number) =>
      index % 3 === 0 ? { name: ["left"], position: [0.5] } : { name: ["right"], position: [rightAt(index)] };
    send(
      meter,
      joints,
      Array.from({ length: 40 }, (_, index) => message(index)),
      50,
    );
    return meter.take().hasMoved;
  };
  expect(hasMoved(() => -1)).toBe(false);
  expect(hasMoved((index) => -1 + index * 0.01)).toBe(true);
});

test("a base moves when its odometry says so", () => {
  const odometry = (x: number, turn: number) => ({
    twist: { twist: { linear: { x, y: 0, z: 0 }, angular: { x: 0, y: 0, z: turn } } },
  });
  const moved = (message: object) => {
    const meter = new MotionMeter(fieldAccess);
    send(meter, channel("/odom", "nav_msgs/msg/Odometry"), [message]);
    return meter.take().hasMoved;
  };
  expect(moved(odometry(0.001, 0.001))).toBe(false);
  expect(moved(odometry(0.1, 0))).toBe(true);
  expect(moved(odometry(0, -0.2))).toBe(true);
});
