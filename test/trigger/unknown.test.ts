import { expect, test } from "vitest";
import { TestRobot } from "./bench-robot.ts";

const RULES = (when: string, more = "") => `rules:
  hot:
    inputs: { j: /joints, s: /task }
    when: ${when}
    clear_for_ms: 0
    cool_down_ms: 0
${more}`;

function robotOf(when: string, more = ""): TestRobot {
  return new TestRobot(RULES(when, more)).topic("/joints", "test/Joints").topic("/task", "test/Task");
}

test.each<[string, string, unknown, string]>([
  ["NaN", "j.x > 1", { x: Number.NaN }, "when: j.x is NaN"],
  ["a field that is missing", "j.x > 1", { y: 1 }, "when: j.x is missing"],
  [
    "a joint that is missing",
    'j.effort["elbow"] > 1',
    { name: ["hip"], effort: [2] },
    'when: j.effort["elbow"] is missing',
  ],
  ["an array too short", "j.effort[3] > 1", { effort: [2] }, "when: j.effort[3] is missing"],
  ["an empty array", "max(j.effort) > 1", { effort: [] }, "when: j.effort is empty"],
  ["an array with NaN", "max(j.effort) > 1", { effort: [5, Number.NaN] }, "when: j.effort holds NaN"],
  ["a text for a number", "j.x > 1", { x: "five" }, "when: its fields are not of the kinds that it compares"],
])("%s is unknown, never true, and said once, in the log and in the status", (_name, when, message, reason) => {
  const robot = robotOf(when).stream("/joints", 100, 0, 3, () => message);
  expect(robot.told).toEqual([]);
  expect(robot.warnings).toEqual([`A rule cannot be told. ${JSON.stringify({ rule: "hot", reason })}`]);
  expect(robot.trigger.status()[0]).toMatchObject({ state: "bound", problems: [reason] });
});

test("a type that changes at run time is said, and rules nothing until it has the field again", () => {
  const robot = new TestRobot(RULES("j.x > 10"));
  const channel = (id: number, text: string) => ({
    ...{ id, topic: "/joints", schema: { name: "test/Joints", encoding: "ros1msg", text } as const },
    ...({ messageEncoding: "ros1", className: "light", isLocal: false, isLatched: false } as const),
  });
  robot.add(channel(1, "float64 x\n"));
  expect(robot.trigger.status()[0]).toMatchObject({ state: "bound", problems: [] });
  robot.add(channel(2, "float64 position\n"));
  expect(robot.trigger.status()[0]).toMatchObject({ state: "waiting", reason: expect.stringContaining("x") });
  expect(robot.warnings).toEqual([expect.stringContaining("when: ")]);
});

test("a single bad message between good ones is said", () => {
  const robot = robotOf("j.x > 1").stream("/joints", 100, 0, 1, () => ({ x: 0 }));
  robot.send("/joints", 1.001, { x: Number.NaN }).stream("/joints", 100, 1.01, 2, () => ({ x: 0 }));
  expect(robot.trigger.status()[0]?.problems).toEqual(["when: j.x is NaN"]);
});

test("an input gone stale is said", () => {
  const robot = robotOf("j.x > 1").stream("/joints", 100, 0, 1, () => ({ x: 0 }));
  robot.stream("/task", 20, 1, 6, () => ({}));
  expect(robot.trigger.status()[0]?.problems).toEqual(["when: /joints has gone stale"]);
});

test("what is not unknown is not said: a decided condition, a window that fills, a topic that has not sent yet", () => {
  const when = 'j.x > 1 && j.bad > 1 || max_over(j.x, duration("1s")) > 5 || s.level > 3 && age(s) > duration("1s")';
  const robot = robotOf(when).stream("/joints", 100, 0, 0.9, () => ({ x: 0, bad: 0 }));
  expect(robot.trigger.status()[0]?.problems).toEqual([]);
  robot.send("/task", 0.9, { level: 0 }).stream("/joints", 100, 0.9, 1.1, () => ({ x: 0, bad: 0 }));
  robot.stream("/joints", 100, 1.1, 2, () => ({ x: 0 }));
  expect(robot.trigger.status()[0]?.problems).toEqual([]);
});

test("an unknown end ends nothing", () => {
  const robot = robotOf("j.x > 10", "    clear_when: j.y < 5\n");
  robot.send("/joints", 0, { x: 12, y: 9 }).send("/joints", 1, { x: 0 }).send("/joints", 2, { x: 0, y: 4 });
  expect(robot.told).toEqual(["firing hot 0.00", "cleared hot 2.00"]);
  expect(robot.trigger.status()[0]?.problems).toEqual(["clear_when: j.y is missing"]);
});

test("what follows a firing is asked for only while it is listened for", () => {
  const robot = robotOf("j.x > 10", '    recovered_when: s.result == "placed"\n').send("/task", 0, { phase: "idle" });
  robot.send("/joints", 1, { x: 0 });
  expect(robot.trigger.status()[0]?.problems).toEqual([]);
  robot.send("/joints", 2, { x: 12 });
  expect(robot.trigger.status()[0]?.problems).toEqual(["recovered_when: s.result is missing"]);
});

test("an expression that waits for its topic keeps no other from being judged, and says so", () => {
  const robot = new TestRobot(RULES("j.x > 10", '    took_over_when: s.mode == "manual"\n'));
  robot.topic("/joints", "test/Joints").send("/joints", 0, { x: 12 });
  expect(robot.told).toEqual(["firing hot 0.00"]);
  expect(robot.trigger.status()[0]).toMatchObject({
    state: "bound",
    problems: ["took_over_when: no such topic yet: s: /task"],
  });
  robot.topic("/task", "test/Task").send("/task", 1, { mode: "auto" }).send("/task", 2, { mode: "manual" });
  expect(robot.told).toEqual(["firing hot 0.00", "took_over hot 2.00"]);
  expect(robot.trigger.status()[0]?.problems).toEqual([]);
});
