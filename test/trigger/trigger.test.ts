import { expect, test } from "vitest";
import type { Channel } from "../../src/model/channel.ts";
import { TestRobot } from "./bench-robot.ts";

const HOT = (more = "") => `rules:
  hot:
    inputs: { j: /joints }
    when: j.x > 10
    clear_for_ms: 0
    cool_down_ms: 0
${more}`;

function hotRobot(more = ""): TestRobot {
  return new TestRobot(HOT(more)).topic("/joints", "test/Joints").topic("/other", "test/Other");
}

test("a firing carries its time, its topic and the values that caused it", () => {
  const robot = hotRobot().send("/joints", 1, { x: 5 }).send("/joints", 1.23, { x: 12 });
  const [firing] = robot.firings();
  expect(firing).toMatchObject({ rule: "hot", detector: undefined, topic: "/joints", values: { "j.x": 12 } });
  expect(robot.told).toEqual(["firing hot 1.23"]);
});

test("a firing on a local topic keeps its topic and values to itself: manifests leave the robot", () => {
  const robot = new TestRobot(HOT());
  robot.add({
    ...{ id: 1, topic: "/joints", schema: { name: "test/Joints", encoding: "", text: "" } },
    ...{ messageEncoding: "msgpack", className: "light", isLocal: true, isLatched: false },
  });
  expect(robot.send("/joints", 1, { x: 12 }).firings()).toMatchObject([{ rule: "hot", topic: "", values: {} }]);
});

test("a hold time ends between two messages, on the tick grid, once a later message shows that time went on", () => {
  const robot = hotRobot("    for_ms: 200\n").send("/joints", 0, { x: 20 });
  expect(robot.told).toEqual([]);
  robot.send("/other", 0.9, {});
  expect(robot.told).toEqual(["firing hot 0.20"]);
});

test("nothing fires because a recording ends", () => {
  expect(hotRobot("    for_ms: 200\n").send("/joints", 0, { x: 20 }).told).toEqual([]);
});

test("an input gone stale is unknown: its old value neither holds nor fires", () => {
  const robot = hotRobot("    for_ms: 5000\n").stream("/joints", 20, 0, 1, () => ({ x: 20 }));
  robot.stream("/other", 20, 1, 12, () => ({}));
  expect(robot.told).toEqual([]);
});

test("an input may say itself how long its value lives", () => {
  const rule = HOT("    for_ms: 5000\n").replace("/joints }", "{ topic: /joints, stale_ms: 60000 } }");
  const robot = new TestRobot(rule).topic("/joints", "test/Joints").topic("/other", "test/Other");
  robot.stream("/joints", 20, 0, 1, () => ({ x: 20 })).stream("/other", 20, 1, 12, () => ({}));
  expect(robot.told).toEqual(["firing hot 5.00"]);
});

test("age sees an input fall silent while others go on", () => {
  const rules = 'rules:\n  gone:\n    inputs: { j: /joints }\n    when: age(j) > duration("500ms")\n';
  const robot = new TestRobot(rules).topic("/joints", "test/Joints").topic("/other", "test/Other");
  robot.stream("/joints", 20, 0, 1, () => ({ x: 1 })).stream("/other", 20, 1, 3, () => ({}));
  expect(robot.told).toEqual(["firing gone 1.50"]);
});

test("a silence of everything ages nothing", () => {
  const rules = 'rules:\n  gone:\n    inputs: { j: /joints }\n    when: age(j) > duration("1500ms")\n';
  const robot = new TestRobot(rules).topic("/joints", "test/Joints").topic("/other", "test/Other");
  robot.send("/joints", 0, { x: 1 }).send("/other", 600, {}).send("/joints", 600.1, { x: 1 });
  expect(robot.told).toEqual([]);
});

test("after a firing, attempts and recovery are told as often as they rise; before one, never", () => {
  const more = "    attempt_when: j.try > 0\n    recovered_when: j.done > 0\n";
  const robot = hotRobot(more);
  const states = [
    { x: 0, try: 1, done: 1 },
    { x: 20, try: 0, done: 0 },
    { x: 0, try: 1, done: 0 },
    { x: 0, try: 1, done: 0 },
    { x: 0, try: 0, done: 0 },
    { x: 0, try: 1, done: 0 },
    { x: 0, try: 0, done: 1 },
    { x: 0, try: 1, done: 0 },
  ];
  for (const [second, state] of states.entries()) robot.send("/joints", second, state);
  expect(robot.told).toEqual([
    "firing hot 1.00",
    "cleared hot 2.00",
    "attempt hot 2.00",
    "attempt hot 5.00",
    "recovered hot 6.00",
  ]);
});

test("clear_when gives a condition two thresholds", () => {
  const robot = hotRobot("    clear_when: j.x < 5\n");
  for (const [k, x] of [0, 12, 8, 12, 4, 12].entries()) robot.send("/joints", k, { x });
  expect(robot.told).toEqual(["firing hot 1.00", "cleared hot 4.00", "firing hot 5.00"]);
});

test("a rule of two inputs waits for both, and says for what", () => {
  const rules = "rules:\n  both:\n    inputs: { a: /a, b: { type: test/msg/B } }\n    when: a.x > 1 && b.x > 1\n";
  const robot = new TestRobot(rules).topic("/a", "test/A");
  expect(robot.trigger.status()[0]).toMatchObject({ state: "waiting", reason: "no such topic yet: b: test/msg/B" });
  robot.topic("/somewhere", "test/B").send("/a", 0, { x: 2 }).send("/somewhere", 0.1, { x: 2 });
  expect(robot.told).toEqual(["firing both 0.10"]);
  expect(robot.trigger.status()[0]).toMatchObject({ state: "bound", boundTo: ["a: /a", "b: /somewhere"], firings: 1 });
});

test("a field that the topic does not have leaves the rule unbound, with the reason; the next definition binds it", () => {
  const robot = new TestRobot(HOT());
  const channel = (id: number, text: string): Channel => ({
    id,
    topic: "/joints",
    schema: { name: "test/msg/Joints", encoding: "ros2msg", text },
    messageEncoding: "cdr",
    className: "light",
    isLocal: false,
    isLatched: false,
  });
  robot.add(channel(1, "float64 y\n"));
  const [status] = robot.trigger.status();
  expect(status?.state).toBe("waiting");
  expect(status?.reason).toContain("x");
  robot.add(channel(2, "float64 x\n"));
  expect(robot.trigger.status()[0]?.state).toBe("bound");
});

test("a detector without inputs says what it needs", () => {
  const robot = new TestRobot("rules:\n  tipped: { detector: fall }\n  off: { detector: stall, enabled: false }\n");
  expect(robot.trigger.status()).toMatchObject([
    { rule: "tipped", state: "waiting", reason: "needs a sensor_msgs/Imu on the robot's body" },
    { rule: "off", state: "disabled" },
  ]);
});

test("messages that are no messages are passed over", () => {
  const robot = hotRobot();
  const [channel] = [1].map(
    (id): Channel => ({
      id,
      topic: "/joints",
      schema: { name: "test/Joints", encoding: "", text: "" },
      messageEncoding: "msgpack",
      className: "light",
      isLocal: false,
      isLatched: false,
    }),
  );
  if (channel === undefined) throw new Error("unreachable");
  for (const bytes of [new Uint8Array(0), new Uint8Array([0xc1]), new Uint8Array([0x93, 1])])
    robot.trigger.onMessage(channel, bytes, 1_700_000_000_000_000_000n);
  robot.send("/joints", 1, { x: 20 });
  expect(robot.told).toEqual(["firing hot 1.00"]);
});

test("a vector is read by its parts, whatever the definition calls them", () => {
  const robot = new TestRobot("rules:\n  hit: { inputs: { i: /imu }, when: norm(i.a) > 20 && !is_nan(i.a) }\n");
  const separator = "=".repeat(80);
  const text = `test/Vec a\n${separator}\nMSG: test/Vec\nfloat64 x\nfloat64 y\nfloat64 z\n`;
  robot.add({
    ...{ id: 1, topic: "/imu", schema: { name: "test/Imu", encoding: "ros1msg", text } },
    ...{ messageEncoding: "ros1", className: "light", isLocal: false, isLatched: false },
  });
  expect(robot.trigger.status()[0]).toMatchObject({ state: "bound", reason: undefined });
});
