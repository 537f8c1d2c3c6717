/** The worked examples of docs/rules.md, played: each does what the page says. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { TestRobot } from "./bench-robot.ts";

const page = readFileSync("docs/rules.md", "utf8");
const part = page.slice(page.indexOf("## Worked examples"), page.indexOf("## A rule's keys"));
const blocks = [...part.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? "");
const file = z.object({ rules: z.record(z.string(), z.unknown()) });
const EXAMPLES = Object.assign({}, ...blocks.map((block) => file.parse(parse(block)).rules));

function robotOf(name: string): TestRobot {
  return new TestRobot(stringify({ rules: { [name]: file.shape.rules.parse(EXAMPLES)[name] } }));
}

/** "firing 1.20" and so on. */
const toldBy = (robot: TestRobot, name: string): string[] => robot.told.map((line) => line.replace(`${name} `, ""));

test("elbow_strained: a strain shorter than the hold is none, and it counts once until it has been away", () => {
  const strained = (atS: number) => (atS >= 1 && atS < 1.1) || (atS >= 2 && atS < 3) || (atS >= 3.5 && atS < 4);
  const robot = robotOf("elbow_strained").topic("/joint_states", "sensor_msgs/JointState");
  robot.stream("/joint_states", 100, 0, 6, (atS) => ({
    ...{ name: ["shoulder", "elbow"], effort: [90, strained(atS) ? -50 : 5] },
  }));
  expect(toldBy(robot, "elbow_strained")).toEqual(["firing 2.20", "cleared 5.00"]);
  expect(robot.firings()[0]?.values).toEqual({ 'j.effort["elbow"]': -50 });
});

test("hot_while_turning: hot and turning together, and cool again only below the second threshold", () => {
  const robot = robotOf("hot_while_turning").topic("/motor/temperature", "sensor_msgs/Temperature");
  robot.topic("/arm/joint_states", "sensor_msgs/JointState");
  for (let k = 0; k < 200; k += 1) {
    const atS = k / 10;
    const velocity = atS > 6 ? 0.5 : 0;
    robot.send("/arm/joint_states", atS, { name: ["shoulder"], velocity: [velocity] });
    const temperature = atS < 3 ? 60 : atS < 10 ? 85 : atS < 15 ? 75 : 65;
    if (k % 10 === 0) robot.send("/motor/temperature", atS, { temperature });
  }
  expect(toldBy(robot, "hot_while_turning")).toEqual(["firing 6.10", "cleared 15.50"]);
});

test("collision: a jump of the force, two more approaches, and placed", () => {
  const robot = robotOf("collision").topic("/wrist/wrench", "geometry_msgs/WrenchStamped");
  robot.topic("/task/state", "acme_msgs/TaskState");
  const wrench = (z: number) => ({ wrench: { force: { x: 0, y: 0, z } } });
  robot.send("/task/state", 0, { phase: "approach", result: "" }).send("/wrist/wrench", 0.5, wrench(4));
  robot.send("/task/state", 0.9, { phase: "insert", result: "" }).send("/wrist/wrench", 1, wrench(33));
  robot.stream("/wrist/wrench", 10, 1.1, 2, () => wrench(4));
  for (const [k, [phase, result]] of [
    ["approach", ""],
    ["insert", ""],
    ["approach", ""],
    ["insert", "placed"],
    ["approach", "abandoned"],
  ].entries())
    robot.send("/task/state", 2 + k, { phase, result });
  expect(toldBy(robot, "collision").filter((line) => !line.startsWith("cleared"))).toEqual([
    "firing 1.00",
    "attempt 2.00",
    "attempt 4.00",
    "recovered 5.00",
  ]);
});

test("stuck: a detector, and a person's button that its rule reads", () => {
  const robot = robotOf("stuck").topic("/base/cmd_vel", "geometry_msgs/Twist").topic("/odom", "nav_msgs/Odometry");
  robot.topic("/joy", "sensor_msgs/Joy");
  const twist = { linear: { x: 0.5, y: 0, z: 0 }, angular: { x: 0, y: 0, z: 0 } };
  const still = { linear: { x: 0, y: 0, z: 0 }, angular: { x: 0, y: 0, z: 0 } };
  const buttons = (pressed: boolean) => ({ buttons: [0, 0, 0, 0, pressed ? 1 : 0] });
  for (let k = 0; k < 600; k += 1) {
    const atS = k / 20;
    robot.send("/base/cmd_vel", atS, twist);
    robot.send("/odom", atS + 0.01, { twist: { twist: atS < 15 ? twist : still } });
    if (k % 4 === 0) robot.send("/joy", atS + 0.02, buttons(atS > 25));
  }
  expect(toldBy(robot, "stuck").map((line) => line.split(" ")[0])).toEqual(["firing", "took_over"]);
});

test("lidar_error: one status of a list", () => {
  const robot = robotOf("lidar_error").topic("/diagnostics", "diagnostic_msgs/DiagnosticArray");
  const status = (level: number) => ({
    status: [
      { name: "motors", level: 2 },
      { name: "front lidar", level },
    ],
  });
  for (const [k, level] of [0, 1, 2, 0, 0].entries()) robot.send("/diagnostics", k, status(level));
  expect(toldBy(robot, "lidar_error")).toEqual(["firing 2.00", "cleared 3.50"]);
});

test("slow_scan: too few messages a second, but not none", () => {
  const robot = robotOf("slow_scan").topic("/scan", "sensor_msgs/LaserScan").topic("/odom", "nav_msgs/Odometry");
  robot.stream("/scan", 10, 0, 5, () => ({})).stream("/scan", 4, 5, 12, () => ({}));
  expect(toldBy(robot, "slow_scan").length).toBe(1);
  const silent = robotOf("slow_scan").topic("/scan", "sensor_msgs/LaserScan").topic("/odom", "nav_msgs/Odometry");
  silent.stream("/scan", 10, 0, 5, () => ({})).stream("/odom", 10, 5, 20, () => ({}));
  expect(silent.told).toEqual([]);
});

test("left_autonomy: a change away from autonomous fires once, and coming back is recovery", () => {
  const robot = robotOf("left_autonomy").topic("/robot/state", "acme_msgs/RobotState");
  for (const [k, mode] of ["autonomous", "autonomous", "manual", "manual", "autonomous"].entries())
    robot.send("/robot/state", k, { mode });
  expect(toldBy(robot, "left_autonomy")).toEqual(["firing 2.00", "cleared 3.00", "recovered 4.00"]);
});

test("shaking and imu_broken: what an IMU tells, and that it tells nothing any more", () => {
  const imu = (z: number) => ({ linear_acceleration: { x: 0, y: 0, z }, angular_velocity: { x: 0, y: 0, z: 0 } });
  const shaking = robotOf("shaking").topic("/imu", "sensor_msgs/Imu");
  shaking
    .stream("/imu", 100, 0, 3, () => imu(9.8))
    .stream("/imu", 100, 3, 6, (atS) => imu(9.8 + 10 * Math.sin(60 * atS)));
  expect(shaking.told.length).toBe(1);
  const broken = robotOf("imu_broken").topic("/imu", "sensor_msgs/Imu");
  broken.stream("/imu", 100, 0, 1, () => imu(9.8)).stream("/imu", 100, 1, 3, () => imu(Number.NaN));
  expect(toldBy(broken, "imu_broken")).toEqual(["firing 1.50"]);
  expect(broken.warnings).toEqual([]);
});

test("pick_and_place: a whole task, with its outcome", () => {
  const robot = robotOf("pick_and_place").topic("/task/state", "acme_msgs/TaskState");
  for (const [k, phase] of ["idle", "pick", "carry", "place", "idle", "idle"].entries())
    robot.send("/task/state", k, { phase, result: k === 3 ? "placed" : "" });
  expect(toldBy(robot, "pick_and_place")).toEqual(["firing 1.00", "recovered 3.00", "cleared 4.50"]);
  expect(robot.trigger.policies()[0]).toMatchObject({ kind: "span", labels: { task_type: "pick_and_place" } });
});

test("coverage: a sample keeps its light topics and goes home last", () => {
  const robot = robotOf("coverage").topic("/joint_states", "sensor_msgs/JointState");
  // The test robot's clock stands at 23:13:20 in Berlin, a Tuesday: the next sample is at 08:00.
  robot.stream("/joint_states", 1, 0, 9 * 3600, () => ({}));
  expect(toldBy(robot, "coverage")).toEqual(["firing 31600.00"]);
  const topics = ["/joint_states", "/tf", "/imu/**", "/odom"];
  expect(robot.trigger.policies()[0]).toMatchObject({ kind: "sample", priority: 10, topics, onDemand: [] });
});

test("manual and button: a person asks", () => {
  const asked = robotOf("manual").topic("/lode/capture", "std_msgs/String");
  expect(asked.send("/lode/capture", 1, { data: "it squeaks" }).firings()[0]?.note).toBe("it squeaks");
  const pressed = robotOf("button").topic("/joy", "sensor_msgs/Joy");
  for (const [k, button] of [0, 1, 1].entries()) pressed.send("/joy", k, { buttons: [0, 0, 0, 0, 0, 0, 0, button] });
  expect(toldBy(pressed, "button")).toEqual(["firing 1.00"]);
});

test("over_current on trial is judged, stale_topic is off", () => {
  const robot = robotOf("over_current").topic("/drive/motor_currents", "sensor_msgs/JointState");
  robot.stream("/drive/motor_currents", 50, 0, 5, (atS) => ({ name: ["left"], effort: [atS < 3 ? 2 : 20] }));
  expect(robot.told.length).toBe(1);
  expect(robot.trigger.policies()[0]?.isDryRun).toBe(true);
  expect(robotOf("stale_topic").trigger.status()[0]?.state).toBe("disabled");
});

test("every example of the page is played here", () => {
  const played = readFileSync(import.meta.filename, "utf8");
  for (const name of Object.keys(EXAMPLES)) expect(played).toContain(`robotOf("${name}")`);
});
