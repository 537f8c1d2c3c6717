import { describe, expect, test } from "vitest";
import { TestRobot } from "./bench-robot.ts";

const one = (detector: string, more = "") => `rules:\n  r:\n    detector: ${detector}\n${more}`;

describe("stale topic", () => {
  const robot = (topic = "/imu", type = "sensor_msgs/msg/Imu") =>
    new TestRobot(one("stale_topic")).topic(topic, type).topic("/odom", "nav_msgs/msg/Odometry");

  test("a sensor that stops while others go on is stale, and clears when it comes back", () => {
    const dead = robot().stream("/odom", 20, 0, 40, () => ({}));
    expect(dead.told).toEqual([]);
    const rig = robot();
    for (let k = 0; k < 800; k += 1) {
      const atS = k * 0.05;
      if (atS < 20 || atS > 30) rig.send("/imu", atS, {});
      rig.send("/odom", atS + 0.001, {});
    }
    expect(rig.firings()[0]).toMatchObject({ topic: "/imu", detector: "stale_topic" });
    expect(rig.told[0]).toBe("firing r 23.00");
    expect(rig.told[1]).toMatch(/^cleared r 31\./);
  });

  test("the end of everything makes nothing stale, nor does a pause of everything", () => {
    const rig = robot();
    for (const [fromS, toS] of [
      [0, 20],
      [80, 100],
    ] as const)
      for (let atS = fromS; atS < toS; atS += 0.05) rig.send("/imu", atS, {}).send("/odom", atS + 0.001, {});
    expect(rig.told).toEqual([]);
  });

  test("a topic that never comes back after a pause of everything is not called stale", () => {
    const rig = robot();
    for (let atS = 0; atS < 20; atS += 0.05) rig.send("/imu", atS, {}).send("/odom", atS + 0.001, {});
    rig.stream("/odom", 20, 80, 100, () => ({}));
    expect(rig.told).toEqual([]);
  });

  test("after a lost connection, however short, a topic must be heard again first", () => {
    const rig = robot();
    for (let atS = 0; atS < 20; atS += 0.05) rig.send("/imu", atS, {}).send("/odom", atS + 0.001, {});
    rig.trigger.onConnection(false);
    rig.trigger.onConnection(true);
    rig.stream("/odom", 20, 20.5, 40, () => ({}));
    expect(rig.told).toEqual([]);
  });

  test.each([
    ["/cmd_vel", "geometry_msgs/msg/Twist"],
    ["/joint_commands", "sensor_msgs/msg/JointState"],
    ["/rosout", "rcl_interfaces/msg/Log"],
  ])("%s may stop at will", (topic, type) => {
    const rig = robot(topic, type);
    for (let atS = 0; atS < 20; atS += 0.05) rig.send(topic, atS, {}).send("/odom", atS + 0.001, {});
    rig.stream("/odom", 20, 20, 40, () => ({}));
    expect(rig.told).toEqual([]);
  });

  test("bursts and the gaps a topic is known for are part of its rhythm", () => {
    const rig = robot();
    for (let atS = 0; atS < 60; atS += 0.05) {
      if (atS % 10 < 8) rig.send("/imu", atS, {});
      rig.send("/odom", atS + 0.001, {});
    }
    rig.stream("/odom", 20, 60, 66, () => ({}));
    expect(rig.told).toEqual([]);
  });
});

describe("fall", () => {
  const gravity = (tiltDeg: number, sign = 1) => {
    const tilt = (tiltDeg * Math.PI) / 180;
    const linear_acceleration = { x: sign * 9.81 * Math.sin(tilt), y: 0.1, z: sign * 9.81 * Math.cos(tilt) };
    return { header: { frame_id: "imu_link" }, linear_acceleration };
  };
  const robot = (topic = "/imu/data") =>
    new TestRobot(one("fall", "    for_ms: 500\n")).topic(topic, "sensor_msgs/msg/Imu");
  const tipping = (atS: number) => (atS < 10 ? 3 * Math.sin(atS) : Math.min(85, (atS - 10) * 90));

  test.each([1, -1])("tipping over is found, mounted upright or upside down (%s)", (sign) => {
    const rig = robot().stream("/imu/data", 100, 0, 15, (atS) => gravity(tipping(atS), sign));
    expect(rig.told).toHaveLength(1);
    expect(rig.firings()[0]?.values.tilt_deg).toBeGreaterThan(50);
    expect(Number(rig.told[0]?.split(" ")[2])).toBeLessThan(12);
  });

  test("standing up again clears it", () => {
    const rig = robot().stream("/imu/data", 100, 0, 25, (atS) => gravity(atS < 18 ? tipping(atS) : 5));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
  });

  test("a ramp, a bump and a slow lean are no falls", () => {
    expect(robot().stream("/imu/data", 100, 0, 30, (atS) => gravity(20 * Math.sin(atS))).told).toEqual([]);
    const bump = (atS: number) =>
      atS > 10 && atS < 10.15 ? { linear_acceleration: { x: 40, y: 0, z: 3 } } : gravity(0);
    expect(robot().stream("/imu/data", 100, 0, 20, bump).told).toEqual([]);
    expect(robot().stream("/imu/data", 100, 0, 60, (atS) => gravity(Math.max(0, (atS - 10) * 2))).told).toEqual([]);
  });

  test("an IMU that is not the body's, or has no acceleration, says nothing", () => {
    expect(robot("/wrist/imu").stream("/wrist/imu", 100, 0, 15, (atS) => gravity(tipping(atS))).told).toEqual([]);
    const onHead = (atS: number) => ({ ...gravity(tipping(atS)), header: { frame_id: "head_imu" } });
    expect(robot().stream("/imu/data", 100, 0, 15, onHead).told).toEqual([]);
    const empty = { linear_acceleration: { x: 0, y: 0, z: 0 } };
    expect(robot().stream("/imu/data", 100, 0, 15, () => empty).told).toEqual([]);
  });
});

describe("over-current", () => {
  const message = (ampere: number) => ({ name: ["elbow", "wrist"], position: [], velocity: [], effort: [ampere, 0.1] });
  const robot = (more = "", forMs = 1000) =>
    new TestRobot(one("over_current", `    for_ms: ${forMs}\n${more}`)).topic(
      "/motor_currents",
      "sensor_msgs/msg/JointState",
    );

  test("above an absolute limit for the hold time, whatever the sign", () => {
    const rig = robot("    parameters: { limit_a: 5 }\n");
    rig.stream("/motor_currents", 100, 0, 10, (atS) => message(atS < 5 ? 2 : -8));
    expect(rig.told).toHaveLength(1);
    expect(rig.firings()[0]?.values).toMatchObject({ motor: "elbow", limit_a: 5 });
  });

  test("far above what the motor ever needed, once that is known; not before", () => {
    const work = (atS: number) => 2 + Math.sin(3 * atS);
    const rig = robot().stream("/motor_currents", 50, 0, 70, (atS) => message(atS > 65 ? 9 : work(atS)));
    expect(rig.told).toHaveLength(1);
    const young = robot("", 0).stream("/motor_currents", 50, 0, 30, (atS) => message(atS > 25 ? 9 : work(atS)));
    expect(young.told).toEqual([]);
  });

  test("the peak of a start is none", () => {
    const rig = robot().stream("/motor_currents", 50, 0, 90, (atS) => message(atS % 5 < 0.2 && atS > 60 ? 12 : 2));
    expect(rig.told).toEqual([]);
  });
});

describe("stall", () => {
  const twist = (x: number) => ({ linear: { x, y: 0 }, angular: { z: 0 } });
  const odometry = (x: number) => ({ twist: { twist: twist(x) } });
  const base = () =>
    new TestRobot(one("stall", "    for_ms: 1500\n"))
      .topic("/cmd_vel", "geometry_msgs/msg/Twist")
      .topic("/odom", "nav_msgs/msg/Odometry");
  const drive = (rig: TestRobot, command: (atS: number) => number | undefined, speed: (atS: number) => number) => {
    for (let atS = 0; atS < 20; atS += 0.05) {
      const wanted = command(atS);
      if (wanted !== undefined) rig.send("/cmd_vel", atS, twist(wanted));
      rig.send("/odom", atS + 0.001, odometry(speed(atS)));
    }
    return rig;
  };

  test("a base that is told to drive and stands is stalled", () => {
    const rig = drive(
      base(),
      () => 0.3,
      (atS) => (atS > 10 ? 0.01 : 0.3),
    );
    expect(rig.told).toHaveLength(1);
    expect(rig.firings()[0]).toMatchObject({ topic: "/cmd_vel", values: { commanded: 0.3 } });
  });

  test("a base that is slow, told to stop, or no longer told anything, is not", () => {
    expect(
      drive(
        base(),
        () => 0.3,
        (atS) => (atS > 10 ? 0.1 : 0.3),
      ).told,
    ).toEqual([]);
    expect(
      drive(
        base(),
        (atS) => (atS > 10 ? 0 : 0.3),
        (atS) => (atS > 10 ? 0 : 0.3),
      ).told,
    ).toEqual([]);
    expect(
      drive(
        base(),
        (atS) => (atS > 10 ? undefined : 0.3),
        (atS) => (atS > 10 ? 0 : 0.3),
      ).told,
    ).toEqual([]);
  });

  test("a base that never moved is switched off, not stalled", () => {
    expect(
      drive(
        base(),
        () => 0.3,
        () => 0,
      ).told,
    ).toEqual([]);
  });

  test("a wheel that pushes hard and does not turn is stalled; an elbow that holds a load is not", () => {
    const joints = (speed: number, effort: number) => ({
      name: ["wheel_left_joint", "elbow"],
      position: [0, 0],
      velocity: [speed, 0],
      effort: [effort, 50],
    });
    const rig = new TestRobot(one("stall", "    for_ms: 1000\n")).topic("/joint_states", "sensor_msgs/msg/JointState");
    rig.stream("/joint_states", 50, 0, 10, () => joints(5, 1)).stream("/joint_states", 50, 10, 15, () => joints(0, 3));
    expect(rig.told).toEqual(["firing r 11.00"]);
    expect(rig.firings()[0]?.values).toMatchObject({ joint: "wheel_left_joint" });
  });
});

describe("diagnostics level", () => {
  const status = (level: number, name = "motor") => ({
    status: [
      { level: 0, name: "other", message: "" },
      { level, name, message: "hot" },
    ],
  });
  const robot = () =>
    new TestRobot(one("diagnostics_level")).topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray");

  test("a status that reports an error fires once, with its name and words, and clears", () => {
    const rig = robot();
    for (let atS = 0; atS < 20; atS += 1) rig.send("/diagnostics", atS, status(atS >= 5 && atS < 10 ? 2 : 0));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
    expect(rig.firings()[0]?.values).toEqual({ status: "motor", level: 2, message: "hot" });
  });

  test("a warning is none, nor is STALE, which an aggregator says of everything at its start", () => {
    const rig = robot();
    for (let atS = 0; atS < 20; atS += 1) rig.send("/diagnostics", atS, status(atS < 10 ? 1 : 3));
    expect(rig.told).toEqual([]);
  });
});
