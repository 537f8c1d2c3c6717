/** Detectors of the system: rates, stamps, numbers, actions, switches, batteries, anomalies, a person's hand. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { TestRobot } from "./bench-robot.ts";

const one = (detector: string, more = "") => `rules:\n  r:\n    detector: ${detector}\n${more}`;
const shipped = (name: string) => readFileSync(join(resolve(import.meta.dirname, "../../config/rules"), name), "utf8");

describe("rate drop", () => {
  const robot = (type = "sensor_msgs/msg/Imu") =>
    new TestRobot(one("rate_drop", "    for_ms: 3000\n")).topic("/s", type).topic("/odom", "nav_msgs/msg/Odometry");
  /** `/s` at `hz(t)`, each message when it is due; `/odom` all the while. */
  const run = (rig: TestRobot, untilS: number, hz: (atS: number) => number) => {
    let dueS = 0;
    for (let atS = 0; atS < untilS; atS += 0.01) {
      if (atS >= dueS && hz(atS) > 0) {
        rig.send("/s", atS, {});
        dueS = Math.max(dueS + 1 / hz(atS), atS - 0.05);
      }
      rig.send("/odom", atS + 0.001, {});
    }
    return rig;
  };

  test("a sensor that slows down to a third is found once, and clears when it is as fast again", () => {
    const rig = run(robot(), 70, (atS) => (atS > 40 && atS < 55 ? 16 : 50));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
    expect(Number(rig.told[0]?.split(" ")[2])).toBeCloseTo(44, -1);
    expect(rig.firings()[0]?.values.usual_hz).toBeGreaterThan(45);
  });

  test("a slow second, an uneven topic and one that stops are none", () => {
    expect(run(robot(), 60, (atS) => (atS > 40 && atS < 41.5 ? 10 : 50)).told).toEqual([]);
    expect(run(robot(), 60, (atS) => (Math.floor(atS) % 7 === 0 ? 30 : atS > 43 && atS < 49 ? 15 : 50)).told).toEqual(
      [],
    );
    expect(run(robot(), 60, (atS) => (atS > 40 ? 0 : 50)).told).toEqual([]);
  });

  test("a camera that halves its rate in the dark is none; one at a fifth is", () => {
    const camera = () => robot("sensor_msgs/msg/CompressedImage");
    expect(run(camera(), 60, (atS) => (atS > 40 ? 15 : 30)).told).toEqual([]);
    expect(run(camera(), 60, (atS) => (atS > 40 ? 6 : 30)).firings()).toHaveLength(1);
  });
});

describe("stamp jump", () => {
  const START_S = 1_700_000_000;
  const robot = () => new TestRobot(one("stamp_jump")).topic("/imu", "sensor_msgs/msg/Imu");
  const stamped = (stampS: number) => ({
    header: { stamp: { sec: Math.floor(stampS), nanosec: Math.round((stampS % 1) * 1e9) } },
  });
  const run = (late: (atS: number) => number, hz = 50) =>
    robot().stream("/imu", hz, 0, 60, (atS) => stamped(START_S + atS - late(atS)));

  test.each([
    ["forward", 2],
    ["back", -2],
  ])("a step %s is found once, with its size", (_name, stepS) => {
    const rig = run((atS) => 0.01 + (atS >= 30 ? -stepS : 0));
    expect(rig.firings()).toHaveLength(1);
    expect(rig.told[0]).toMatch(/^firing r 30\./);
    expect(rig.firings()[0]?.values.stamp_step_ms).toBeCloseTo(stepS * 1000, -1);
  });

  test("a step that comes with a delay of its own is found", () => {
    const rig = run((atS) => (atS < 30 ? 0.01 : atS < 30.2 ? 60.7 - 3 * (atS - 30) : 60.01));
    expect(rig.firings()).toHaveLength(1);
  });

  test("an offset of days, drift, jitter, growing latency and a queue that empties are none", () => {
    for (const hz of [0.4, 1, 5, 50]) expect(run(() => 6 * 86_400, hz).told).toEqual([]);
    expect(run((atS) => 0.02 * atS).told).toEqual([]);
    expect(run((atS) => -0.02 * atS).told).toEqual([]);
    expect(run((atS) => 0.05 + 0.04 * Math.sin(1000 * atS)).told).toEqual([]);
    const queue = robot().stream("/imu", 50, 0, 30, (atS) => stamped(START_S + atS));
    queue.stream("/imu", 1000, 33, 33.15, (atS) => stamped(START_S + 30 + (atS - 33) * 20));
    queue.stream("/imu", 50, 33.15, 60, (atS) => stamped(START_S + atS));
    expect(queue.told).toEqual([]);
    const young = new TestRobot(one("stamp_jump", "    parameters: { history_ms: 0 }\n"));
    young.topic("/imu", "sensor_msgs/msg/Imu").stream("/imu", 50, 0, 5, (atS) => stamped(START_S + atS - 1000));
    expect(young.told).toEqual([]);
  });

  test("one wrong stamp, stamps of zero and two publishers with clocks of their own are none", () => {
    expect(run((atS) => (Math.abs(atS - 30) < 0.005 ? 5 : 0.01)).told).toEqual([]);
    expect(run((atS) => (Math.round(atS * 50) % 2 === 0 ? 5 : 0.01)).told).toEqual([]);
    expect(robot().stream("/imu", 50, 0, 60, () => stamped(0)).told).toEqual([]);
  });
});

describe("invalid numbers", () => {
  const robot = () =>
    new TestRobot(one("invalid_numbers", "    for_ms: 150\n")).topic("/joint_states", "sensor_msgs/msg/JointState");
  const joints = (position: readonly number[], effort: readonly number[] = []) => ({
    name: ["a", "b"],
    position,
    effort,
  });

  test("a joint whose position becomes NaN is found, by name of its field", () => {
    const rig = robot().stream("/joint_states", 100, 0, 10, (atS) => joints([1, atS > 5 ? Number.NaN : 2]));
    expect(rig.told).toHaveLength(1);
    expect(rig.firings()[0]?.values).toEqual({ field: "position[1]" });
  });

  test("what was never a number, a single bad message, and arrays that change their length are none", () => {
    const never = robot().stream("/joint_states", 100, 0, 10, () => joints([1, Number.NaN], [Number.NaN]));
    expect(never.told).toEqual([]);
    const once = robot().stream("/joint_states", 100, 0, 10, (atS) =>
      joints([Math.abs(atS - 5) < 1e-6 ? Number.NaN : 1]),
    );
    expect(once.told).toEqual([]);
    const other = robot().stream("/joint_states", 100, 0, 10, (atS) => joints(atS > 5 ? [] : [1, 2]));
    expect(other.told).toEqual([]);
  });
});

describe("diagnostics level", () => {
  const says = (level: number) => ({ status: [{ level, name: "motor", message: "hot" }] });
  const run = (level: (atS: number) => number) => {
    const rig = new TestRobot(one("diagnostics_level")).topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");
    for (let atS = 0; atS < 20; atS += 1) rig.send("/diagnostics", atS, says(level(atS)));
    return rig;
  };

  test("a component that was never heard in order does not fail; one that recovered and fails again does", () => {
    expect(run(() => 2).told).toEqual([]);
    expect(run((atS) => (atS < 5 || atS > 15 ? 2 : 0)).told).toEqual(["firing r 16.00"]);
  });
});

describe("diagnostics of an aggregator", () => {
  const says = (level: number, name: string) => ({ status: [{ level, name, message: "hot" }] });
  const type = "diagnostic_msgs/msg/DiagnosticArray";

  test("count where there is no plain topic, and only there", () => {
    const alone = new TestRobot(one("diagnostics_level")).topic("/diagnostics_agg", type);
    alone.stream("/diagnostics_agg", 1, 0, 20, (atS) => says(atS > 10 ? 2 : 0, "/Motors/left"));
    expect(alone.told).toEqual(["firing r 11.00"]);
    const both = new TestRobot(one("diagnostics_level")).topic("/diagnostics_agg", type).topic("/diagnostics", type);
    for (let atS = 0; atS < 20; atS += 1) {
      both.send("/diagnostics", atS, says(atS > 10 ? 2 : 0, "left"));
      both.send("/diagnostics_agg", atS + 0.5, says(atS > 10 ? 2 : 0, "/Motors/left"));
    }
    expect(both.told).toEqual(["firing r 11.00"]);
  });
});

describe("action goals", () => {
  const [EXECUTING, SUCCEEDED, CANCELED, ABORTED] = [2, 4, 5, 6];
  const uuid = (id: number) => Array.from({ length: 16 }, () => id);
  const goals = (...states: readonly (readonly [number, number])[]) => ({
    status_list: states.map(([id, status]) => ({ goal_info: { goal_id: { uuid: uuid(id) } }, status })),
  });
  const robot = (more = "") =>
    new TestRobot(one("action_goal", more)).topic("/navigate/_action/status", "action_msgs/msg/GoalStatusArray");
  const send = (rig: TestRobot, lists: readonly ReturnType<typeof goals>[]) => {
    for (const [index, list] of lists.entries()) rig.send("/navigate/_action/status", index, list);
    return rig;
  };

  test("an aborted goal fires; the next goal is an attempt, and its success the recovery", () => {
    const rig = send(robot(), [
      goals(),
      goals([1, EXECUTING]),
      goals([1, ABORTED]),
      goals([1, ABORTED], [2, EXECUTING]),
      goals([1, ABORTED], [2, ABORTED]),
      goals([2, ABORTED], [3, EXECUTING]),
      goals([2, ABORTED], [3, SUCCEEDED]),
    ]);
    expect(rig.told).toEqual([
      ...["firing r 2.00", "attempt r 3.00", "cleared r 3.00"],
      ...["firing r 4.00", "attempt r 5.00", "cleared r 5.00", "recovered r 6.00"],
    ]);
    expect(rig.firings()[0]?.values).toMatchObject({ action: "/navigate", end: "aborted" });
  });

  test("a goal that a newer one took the place of is none, even where its server says aborted", () => {
    expect(send(robot(), [goals(), goals([1, EXECUTING]), goals([1, ABORTED], [2, EXECUTING])]).told).toEqual([]);
  });

  test("what had ended when the topic was first heard is none", () => {
    expect(send(robot(), [goals([1, ABORTED]), goals([1, ABORTED], [2, EXECUTING])]).told).toEqual([]);
  });

  test("a cancelled goal fires where the rule asks for it", () => {
    const lists = [goals(), goals([1, EXECUTING]), goals([1, CANCELED])];
    expect(send(robot(), lists).told).toEqual([]);
    const rig = send(robot("    parameters: { ends: [aborted, cancelled] }\n"), lists);
    expect(rig.firings()[0]?.values.end).toBe("cancelled");
  });

  test("a cancelled goal whose place nothing takes for two seconds fires by the rules for mobile bases", () => {
    const run = (next: readonly (readonly [number, number])[]) => {
      const rig = new TestRobot(shipped("mobile-base.yaml")).topic("/odometry", "nav_msgs/msg/Path");
      rig.topic("/navigate/_action/status", "action_msgs/msg/GoalStatusArray").topic("/log", "rcl_interfaces/msg/Log");
      rig.send("/navigate/_action/status", 0, goals()).send("/navigate/_action/status", 1, goals([1, EXECUTING]));
      rig.send("/navigate/_action/status", 2, goals([1, CANCELED]));
      rig.stream("/log", 10, 2.1, 3, () => ({})).send("/navigate/_action/status", 3, goals([1, CANCELED], ...next));
      return rig.stream("/log", 10, 3.1, 8, () => ({}));
    };
    expect(run([]).told).toEqual(["firing action_cancelled 4.00"]);
    expect(run([[2, EXECUTING]]).firings()).toEqual([]);
  });

  test("a gripper's command that ends on an object is none, by its name or the types of its topics", () => {
    const run = (name: string, type: string, more = "") => {
      const rig = new TestRobot(one("action_goal", more));
      rig.topic(`${name}/_action/status`, "action_msgs/msg/GoalStatusArray").topic(`${name}/_action/feedback`, type);
      for (const [index, list] of [goals(), goals([1, EXECUTING]), goals([1, ABORTED])].entries())
        rig.send(`${name}/_action/status`, index, list);
      return rig.firings().length;
    };
    const [grip, other] = [
      "control_msgs/action/GripperCommand_FeedbackMessage",
      "nav2_msgs/action/Spin_FeedbackMessage",
    ];
    expect([run("/hand/close", grip), run("/left/gripper_cmd", other), run("/spin", other)]).toEqual([0, 0, 1]);
    expect(run("/hand/close", grip, "    parameters: { grippers: true }\n")).toBe(1);
  });

  test("actionlib's numbers mean what actionlib says", () => {
    const list = (status: number) => ({ status_list: [{ goal_id: { id: "go" }, status, text: "no path" }] });
    const rig = new TestRobot(one("action_goal")).topic("/move_base/status", "actionlib_msgs/GoalStatusArray");
    for (const [index, message] of [{ status_list: [] }, list(0), list(1), list(4), list(4)].entries())
      rig.send("/move_base/status", index, message);
    expect(rig.told).toEqual(["firing r 3.00"]);
    expect(rig.firings()[0]?.values).toEqual({ action: "/move_base", goal: "go", end: "aborted", text: "no path" });
  });
});

describe("emergency stop", () => {
  const run = (topic: string, values: readonly boolean[], type = "std_msgs/msg/Bool") => {
    const rig = new TestRobot(one("emergency_stop")).topic(topic, type);
    for (const [index, data] of values.entries()) rig.send(topic, index, { data });
    return rig;
  };

  test.each(["/platform/emergency_stop", "/e_stop", "/power/is_emergency", "/runstop_button", "/hardware/estop_state"])(
    "%s that is pressed fires, and clears when it is released",
    (topic) => {
      expect(run(topic, [false, false, true, true, false]).told).toEqual(["firing r 2.00", "cleared r 4.00"]);
    },
  );

  test("a robot that is started with its switch pressed is not stopped", () => {
    expect(run("/e_stop", [true, true, false, false]).told).toEqual([]);
  });

  test("a request to reset, and a switch for something else, are none", () => {
    expect(run("/e_stop_reset", [false, true]).told).toEqual([]);
    expect(run("/lamp", [false, true]).told).toEqual([]);
    for (const topic of ["/obstacle_stop", "/base_stop", "/pause_stop", "/pauseStop"])
      expect(run(topic, [false, true]).told).toEqual([]);
    for (const topic of ["/E_STOP", "/robotEStop", "/base_e-stop"])
      expect(run(topic, [false, true]).told).toHaveLength(1);
  });

  test("an industrial controller that was ready and is stopped", () => {
    const rig = new TestRobot(shipped("default.yaml")).topic("/robot_status", "industrial_msgs/RobotStatus");
    for (const [index, val] of [1, 0, 0, 1, 1, 0].entries())
      rig.send("/robot_status", index, { e_stopped: { val }, in_error: { val: 0 } });
    rig.send("/robot_status", 7, { e_stopped: { val: 0 }, in_error: { val: 0 } });
    expect(rig.told).toEqual(["firing industrial_emergency_stop 3.00", "cleared industrial_emergency_stop 5.50"]);
  });
});

describe("battery", () => {
  type Battery = { percentage?: number; voltage?: number; power_supply_status?: number; power_supply_health?: number };
  const run = (battery: (atS: number) => Battery, topic = "/battery_state") =>
    new TestRobot(one("battery", "    for_ms: 5000\n"))
      .topic(topic, "sensor_msgs/msg/BatteryState")
      .stream(topic, 2, 0, 200, (atS) => ({ percentage: Number.NaN, voltage: Number.NaN, ...battery(atS) }));

  test.each([1, 100])("a charge that falls below a tenth, counted to %s, fires once", (full) => {
    const rig = run((atS) => ({ percentage: full * (0.5 - atS * 0.0022) }));
    expect(rig.told).toHaveLength(1);
    expect(rig.firings()[0]?.values.charge_share).toBeCloseTo(0.09, 1);
  });

  test("a voltage that breaks down to less than three quarters fires; the dip of a start does not", () => {
    expect(run((atS) => ({ voltage: atS > 100 ? 17 : 25 })).firings()).toHaveLength(1);
    expect(run((atS) => ({ voltage: atS > 100 && atS < 102 ? 15 : 25 })).told).toEqual([]);
  });

  test("a health that was good and no longer is", () => {
    const rig = run((atS) => ({ power_supply_health: atS > 100 ? 2 : 1 }));
    expect(rig.firings()[0]?.values).toEqual({ health: "overheat" });
    expect(run(() => ({ power_supply_health: 5 })).told).toEqual([]);
  });

  test("what is not measured, charges, was never full, or was switched off is none", () => {
    expect(run(() => ({ percentage: 0, voltage: 12 })).told).toEqual([]);
    expect(run((atS) => ({ percentage: atS < 50 ? 0.5 : 0.05, power_supply_status: 1 })).told).toEqual([]);
    expect(run(() => ({ percentage: 0.04 })).told).toEqual([]);
    expect(run((atS) => ({ voltage: atS > 100 ? 0 : 25 })).told).toEqual([]);
  });
});

describe("anomaly", () => {
  const rule = (more = "") =>
    one(
      "anomaly",
      `    inputs: { values: /motor/temperature }\n    parameters: { fields: [temperature], floor: 0.5${more} }\n`,
    );
  const noise = (atS: number) => 0.6 * Math.sin(37 * atS) + 0.4 * Math.sin(11 * atS);
  const run = (value: (atS: number) => number, more = "") =>
    new TestRobot(rule(more))
      .topic("/motor/temperature", "sensor_msgs/msg/Temperature")
      .stream("/motor/temperature", 10, 0, 120, (atS) => ({ temperature: value(atS) }));

  test("a value far from what it was lately is found; a slow drift and its own noise are none", () => {
    const rig = run((atS) => 40 + noise(atS) + (atS > 90 ? 30 : 0));
    expect(rig.told[0]).toMatch(/^firing r 90\./);
    expect(rig.firings()[0]?.values).toMatchObject({ field: "temperature" });
    expect(run((atS) => 40 + noise(atS) + atS / 20).told).toEqual([]);
  });

  test("a level that lasts becomes the usual one; spikes do not teach it", () => {
    const rig = run((atS) => 40 + noise(atS) + (atS > 60 ? 30 : 0));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
    const spiky = run((atS) => 40 + noise(atS) + (Math.round(atS * 10) % 50 === 0 ? 100 : 0));
    expect(spiky.firings().length).toBeGreaterThan(10);
  });

  test("NaN is unknown", () => {
    expect(run((atS) => (atS > 60 ? Number.NaN : 40 + noise(atS))).told).toEqual([]);
  });
});

describe("log level", () => {
  const run = (topicType: string, level: (atS: number) => number) => {
    const rig = new TestRobot(shipped("default.yaml")).topic("/rosout", topicType).topic("/odom", "nav_msgs/Odometry");
    for (let atS = 0; atS < 30; atS += 1)
      rig.send("/rosout", atS, { level: level(atS), name: "driver", msg: "" }).send("/odom", atS + 0.5, {});
    return rig;
  };

  test("FATAL fires in both numberings; errors and warnings do not", () => {
    expect(run("rosgraph_msgs/Log", (atS) => (atS === 10 ? 16 : 2)).firings()).toHaveLength(1);
    expect(run("rcl_interfaces/msg/Log", (atS) => (atS === 10 ? 50 : 20)).firings()).toHaveLength(1);
    expect(run("rosgraph_msgs/Log", (atS) => (atS % 3 === 0 ? 8 : 4)).told).toEqual([]);
    expect(run("rcl_interfaces/msg/Log", (atS) => (atS % 3 === 0 ? 40 : 30)).told).toEqual([]);
  });
});

describe("a person's hand", () => {
  const twist = (x: number) => ({ linear: { x, y: 0, z: 0 }, angular: { x: 0, y: 0, z: 0 } });
  const joy = (button: number, stick = 0) => ({ axes: [0, stick], buttons: [0, button] });

  test("a demonstration lasts from the first held button to the last, however long the pauses in between are", () => {
    const rig = new TestRobot(one("teleoperation", "    kind: span\n")).topic("/joy", "sensor_msgs/msg/Joy");
    const isHeld = (atS: number) => atS > 5 && atS < 30 && !(atS > 12 && atS < 15);
    rig.stream("/joy", 20, 0, 60, (atS) => joy(isHeld(atS) ? 1 : 0));
    expect(rig.told.map((line) => line.split(".")[0])).toEqual(["firing r 5", "cleared r 37"]);
  });

  test("a trigger that rests at its end, and a stick's dead zone, are no hand", () => {
    const rig = new TestRobot(one("teleoperation")).topic("/joy", "sensor_msgs/msg/Joy");
    rig.stream("/joy", 20, 0, 60, (atS) => joy(0, 0.1 * Math.sin(atS)));
    expect(rig.told).toEqual([]);
    const trigger = new TestRobot(one("teleoperation")).topic("/joy", "sensor_msgs/msg/Joy");
    trigger.stream("/joy", 20, 0, 60, (atS) => joy(0, atS > 5 ? 1 : 0));
    expect(trigger.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
  });

  const base = () =>
    new TestRobot(one("take_over"))
      .topic("/cmd_vel", "geometry_msgs/msg/Twist")
      .topic("/joy_vel", "geometry_msgs/msg/Twist");
  const drive = (own: (atS: number) => number, hand: (atS: number) => number) => {
    const rig = base();
    for (let atS = 0; atS < 30; atS += 0.05)
      rig.send("/cmd_vel", atS, twist(hand(atS) || own(atS))).send("/joy_vel", atS + 0.001, twist(hand(atS)));
    return rig;
  };

  test("a hand that comes in while the robot drives by itself takes over, and says so after its firing", () => {
    const rig = drive(
      (atS) => (atS < 10 ? 0.3 : 0),
      (atS) => (atS >= 10 && atS < 20 ? 0.1 : 0),
    );
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "took_over", "cleared"]);
    expect(rig.told[0]).toMatch(/^firing r 10\./);
    expect(rig.firings()[0]?.values).toEqual({ device: "/joy_vel" });
  });

  test("a person who drives a robot that stood still, with pauses, takes nothing over", () => {
    const rig = drive(
      () => 0,
      (atS) => (atS % 10 > 4 ? 0.2 : 0),
    );
    expect(rig.told).toEqual([]);
  });

  test("a goal under way is the robot acting by itself, however long ago its status came", () => {
    const rig = new TestRobot(one("take_over"))
      .topic("/navigate/_action/status", "action_msgs/msg/GoalStatusArray")
      .topic("/joy", "sensor_msgs/msg/Joy");
    rig.send("/navigate/_action/status", 0, { status_list: [{ status: 2 }] });
    rig.stream("/joy", 20, 0.1, 40, (atS) => joy(atS > 30 ? 1 : 0));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "took_over"]);
  });

  test("a leader arm that moves is a hand; one that lies still is none", () => {
    const rig = new TestRobot(one("teleoperation")).topic("/leader/joint_states", "sensor_msgs/msg/JointState");
    rig.stream("/leader/joint_states", 50, 0, 30, (atS) => ({
      position: [atS > 10 && atS < 20 ? Math.sin(atS) : 0.001 * Math.sin(50 * atS)],
    }));
    expect(rig.told.map((line) => line.split(".")[0])).toEqual(["firing r 10", "cleared r 27"]);
  });

  test("a vehicle that goes from autonomous to manual driving was taken over", () => {
    const rig = new TestRobot(shipped("teleoperation.yaml"));
    rig.topic("/vehicle/status/control_mode", "autoware_vehicle_msgs/msg/ControlModeReport");
    for (const [index, mode] of [4, 4, 1, 1, 4, 4].entries()) rig.send("/vehicle/status/control_mode", index, { mode });
    expect(rig.told).toEqual(["firing vehicle_take_over 4.00", "took_over vehicle_take_over 4.00"]);
  });
});

describe("effort spike", () => {
  const names = ["shoulder", "wrist", "gripper_finger"];
  const robot = () => new TestRobot(one("effort_spike")).topic("/joint_states", "sensor_msgs/msg/JointState");
  const run = (effort: (atS: number) => readonly number[], speed = 1) =>
    robot().stream("/joint_states", 100, 0, 40, (atS) => ({
      name: names,
      position: [Math.sin(speed * atS), 0, 0],
      effort: effort(atS),
    }));
  const work = (atS: number) => 40 + 15 * Math.sin(3 * atS);
  const isHit = (atS: number) => atS > 30 && atS < 30.07;

  test("a wrist that is hit is found at once, by name; before motion taught what is usual, nothing is", () => {
    const rig = run((atS) => [work(atS), isHit(atS) ? 200 : 1, 0]);
    expect(rig.told[0]).toMatch(/^firing r 30\.0[012]/);
    expect(rig.firings()[0]?.values).toMatchObject({ joint: "wrist" });
    expect(run((atS) => [work(atS), isHit(atS) ? 200 : 1, 0], 0).told).toEqual([]);
    expect(run((atS) => [work(atS), atS > 10 && atS < 10.07 ? 200 : 1, 0]).told).toEqual([]);
  });

  test("a payload that is lifted, a leap that the work makes now and then, and a grip are none", () => {
    expect(run((atS) => [work(atS) + Math.max(0, Math.min(120, (atS - 30) * 100)), 1, 0]).told).toEqual([]);
    expect(run((atS) => [work(atS) + (atS % 5 < 0.1 ? 60 : 0), 1, 0]).told).toEqual([]);
    expect(run((atS) => [work(atS), 1, isHit(atS) ? 200 : 0]).told).toEqual([]);
  });
});
