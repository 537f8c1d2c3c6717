import { expect, test } from "vitest";
import type { Channel } from "../../src/model/channel.ts";
import { TestRobot } from "./bench-robot.ts";

/** The test robot begins on 2023-11-14 at 22:13:20 UTC. */
const SAMPLE = (cron: string, more = "") => `rules:\n  coverage: { kind: sample, cron: "${cron}"${more} }\n`;

function idleRobot(rules: string): TestRobot {
  return new TestRobot(rules).topic("/joints", "test/Joints");
}

test("a sample fires by the wall clock of the messages, at the second it names", () => {
  const robot = idleRobot(SAMPLE("* * * * *")).stream("/joints", 10, 0, 130, () => ({ x: 1 }));
  expect(robot.told).toEqual(["firing coverage 40.00", "firing coverage 100.00"]);
  expect(robot.firings()[0]).toMatchObject({ detector: undefined, topic: "", values: { cron: "* * * * *" } });
});

test("the wall clock of a sample is the time zone's that it names", () => {
  const rules = SAMPLE("14 3 * * *", ', time_zone: "Asia/Kathmandu"'); // five hours and three quarters ahead
  expect(idleRobot(rules).stream("/joints", 2, 0, 130, () => ({})).told).toEqual([]);
  const at = SAMPLE("59 3 * * *", ', time_zone: "Asia/Kathmandu"');
  expect(idleRobot(at).stream("/joints", 2, 0, 130, () => ({})).told).toEqual(["firing coverage 40.00"]);
});

test("an instant within a short silence of everything is made up for once; one of a robot that was off is not", () => {
  const robot = idleRobot(SAMPLE("* * * * *")).stream("/joints", 10, 0, 38, () => ({}));
  robot.stream("/joints", 10, 50, 52, () => ({}));
  expect(robot.told).toEqual(["firing coverage 50.05"]);
  const hourly = idleRobot(SAMPLE("0 * * * *")).stream("/joints", 10, 0, 2, () => ({}));
  expect(hourly.stream("/joints", 10, 7200, 7202, () => ({})).told).toEqual([]);
});

test("a wall clock that steps back takes no sample twice within the second", () => {
  const robot = idleRobot(SAMPLE("* * * * *")).stream("/joints", 10, 0, 41, () => ({}));
  robot.stream("/joints", 10, 30, 39, () => ({})).stream("/joints", 10, 39, 41, () => ({}));
  expect(robot.told).toEqual(["firing coverage 40.00", "firing coverage 40.00"]); // an instant that came twice
});

test("a wall clock that was set since the boot is a sample's clock; one that is a little off is not", () => {
  const rules = SAMPLE("14 22 * * *"); // 22:14, which the messages reach after 40 s
  const set = idleRobot(rules);
  set.trigger.setWallOffset(-10_000_000_000n);
  expect(set.stream("/joints", 10, 0, 60, () => ({})).told).toEqual(["firing coverage 50.00"]);
  const slewed = idleRobot(rules);
  slewed.trigger.setWallOffset(-300_000n);
  expect(slewed.stream("/joints", 10, 0, 60, () => ({})).told).toEqual(["firing coverage 40.00"]);
});

const ASKED = "rules:\n  manual: { kind: manual, inputs: { request: /lode/capture } }\n";

test("a message that asks for a capture is a firing, and its text is the note", () => {
  const robot = new TestRobot(ASKED).topic("/lode/capture", "std_msgs/String");
  robot.send("/lode/capture", 1, { data: "it squeaks" }).send("/lode/capture", 1.5, { data: "" });
  expect(robot.told).toEqual(["firing manual 1.00", "firing manual 1.50"]);
  expect(robot.firings().map(({ topic, note }) => [topic, note])).toEqual([
    ["/lode/capture", "it squeaks"],
    ["/lode/capture", undefined],
  ]);
  expect(robot.trigger.status()).toMatchObject([{ state: "bound", boundTo: ["/lode/capture"], firings: 2 }]);
});

test("words on a local topic stay on the robot", () => {
  const robot = new TestRobot(ASKED);
  const channel: Channel = {
    ...{ id: 1, topic: "/lode/capture", schema: { name: "std_msgs/String", encoding: "", text: "" } },
    ...{ messageEncoding: "msgpack", className: "light", isLocal: true, isLatched: false },
  };
  robot.add(channel);
  expect(robot.send("/lode/capture", 1, { data: "secret" }).firings()).toEqual([
    expect.not.objectContaining({ note: "secret" }),
  ]);
});

test("a button may ask for a capture", () => {
  const rules = "rules:\n  manual: { kind: manual, inputs: { joy: /joy }, when: 'joy.buttons[1] == 1' }\n";
  const robot = new TestRobot(rules).topic("/joy", "sensor_msgs/Joy");
  for (const [k, button] of [0, 1, 1, 0, 0].entries()) robot.send("/joy", k, { buttons: [0, button] });
  expect(robot.told).toEqual(["firing manual 1.00", "cleared manual 3.50"]);
});

test("what follows a firing is told of a detector's rule as of any other", () => {
  const robot = new TestRobot(`rules:
  drives_on:
    detector: stale_topic
    inputs: { topic: /joints, task: /task }
    attempt_when: task.phase == "again"
    failed_when: task.phase == "lost"
`);
  robot.topic("/joints", "test/Joints").topic("/task", "test/Task").topic("/other", "test/Other");
  robot.stream("/joints", 20, 0, 12, () => ({ x: 1 }));
  robot.send("/task", 12.5, { phase: "lost" }).stream("/other", 20, 12.5, 20, () => ({}));
  for (const [k, phase] of ["work", "again", "lost", "again"].entries()) robot.send("/task", 20 + k, { phase });
  expect(robot.told.map((line) => line.replace(/ [\d.]+$/, ""))).toEqual([
    "firing drives_on",
    "attempt drives_on",
    "gave_up drives_on",
  ]);
});

test("a rule on trial is counted and tells nothing of the episodes of others", () => {
  const rules = "rules:\n  dry: { inputs: { j: /joints }, when: j.x > 1, took_over_when: j.x > 5, dry_run: true }\n";
  const robot = idleRobot(rules);
  for (const [k, x] of [0, 2, 6, 0, 0].entries()) robot.send("/joints", k, { x });
  expect(robot.told).toEqual(["firing dry 1.00"]);
  expect(robot.trigger.status()[0]).toMatchObject({ firings: 1 });
});
