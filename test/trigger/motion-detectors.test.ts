import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { detectorKinds } from "../../src/trigger/detectors/index.ts";
import { parseRules } from "../../src/trigger/rule.ts";
import { TestRobot } from "./bench-robot.ts";

const one = (detector: string, more = "") => `rules:\n  r:\n    detector: ${detector}\n${more}`;
const IMU = "sensor_msgs/msg/Imu";
const ODOMETRY = "nav_msgs/msg/Odometry";
const JOINTS = "sensor_msgs/msg/JointState";
const TWIST = "geometry_msgs/msg/Twist";
/** Steady numbers between −1 and 1, the same in every run. */
const wobble = (atS: number, k = 0) => Math.sin(12.9898 * (1000 * atS + 78.233 * k)) ** 3;
const twist = (x: number, turn = 0) => ({ linear: { x, y: 0 }, angular: { z: turn } });
const odometry = (x: number, turn = 0, at: readonly number[] = [0, 0]) => ({
  header: { frame_id: "odom" },
  pose: { pose: { position: { x: at[0], y: at[1], z: 0 } } },
  twist: { twist: twist(x, turn) },
});
const imu = (
  acceleration: readonly number[],
  rate: readonly number[] = [0, 0, 0],
  orientation?: readonly number[],
) => ({
  header: { frame_id: "imu_link" },
  linear_acceleration: { x: acceleration[0], y: acceleration[1], z: acceleration[2] },
  angular_velocity: { x: rate[0], y: rate[1], z: rate[2] },
  ...(orientation && { orientation: { x: orientation[0], y: orientation[1], z: orientation[2], w: orientation[3] } }),
});

describe("fall", () => {
  const robot = () => new TestRobot(one("fall", "    for_ms: 500\n")).topic("/imu/data", IMU);
  const tilted = (degrees: number) => {
    const half = (degrees * Math.PI) / 360;
    return [Math.sin(half), 0, 0, Math.cos(half)];
  };

  test.each([
    ["no accelerometer", [0, 0, 0]],
    ["gravity taken out", [0.1, -0.05, 0.02]],
  ])("an IMU with %s tells by its orientation", (_name, acceleration) => {
    const tilt = (atS: number) => (atS < 15 ? 3 * Math.sin(atS) : Math.min(90, (atS - 15) * 90));
    const rig = robot().stream("/imu/data", 50, 0, 20, (atS) => imu(acceleration, [0, 0, 0], tilted(tilt(atS))));
    expect(rig.told).toHaveLength(1);
    expect(Number(rig.told[0]?.split(" ")[2])).toBeLessThan(17);
  });

  test("a gap of the IMU is no time of leaning: it is fallen when it comes back", () => {
    const rig = robot().topic("/odom", ODOMETRY);
    rig.stream("/imu/data", 50, 0, 10, () => imu([0, 0, 9.8]));
    rig.stream("/odom", 20, 10, 16, () => odometry(0)).stream("/imu/data", 50, 16, 20, () => imu([9.8, 0, 0]));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing"]);
  });

  const fallenFrom =
    (fromS: number, toS = 1e9) =>
    (atS: number) =>
      imu(atS >= fromS && atS < toS ? [9.8, 0, 0] : [0, 0, 9.8]);
  const kinds = (rig: TestRobot) => rig.told.map((line) => line.split(" ")[0]);

  test("a silence while it lies ends nothing: it clears when it is put up, and its next fall is told", () => {
    const lies = fallenFrom(10, 30);
    const rig = robot().stream("/imu/data", 50, 0, 15, lies).stream("/imu/data", 50, 25, 35, lies);
    expect(kinds(rig)).toEqual(["firing", "cleared"]);
    rig.stream("/imu/data", 50, 35, 40, fallenFrom(36));
    expect(kinds(rig)).toEqual(["firing", "cleared", "firing"]);
  });

  test("one that was carried on its side, or was found so after a silence, falls once it stood again", () => {
    const carried = (atS: number) => {
      const angle = (Math.PI / 2) * Math.max(0, Math.min(1, (atS - 10) / 15, (50 - atS) / 15));
      return atS < 57 ? imu([9.8 * Math.sin(angle), 0, 9.8 * Math.cos(angle)]) : imu([9.8, 0, 0]);
    };
    const rig = robot().stream("/imu/data", 50, 0, 57, carried);
    expect(rig.told).toEqual([]);
    expect(kinds(rig.stream("/imu/data", 50, 57, 60, carried))).toEqual(["firing"]);
    const found = robot().stream("/imu/data", 50, 0, 10, fallenFrom(20, 30));
    found.stream("/imu/data", 50, 20, 35, fallenFrom(20, 30));
    expect(found.told).toEqual([]);
    expect(kinds(found.stream("/imu/data", 50, 35, 40, fallenFrom(36)))).toEqual(["firing"]);
  });

  test("the hand of an arm on a table turns as it pleases; a base with an arm falls", () => {
    const joints = { name: ["shoulder", "elbow"], position: [0, 0], velocity: [0, 0], effort: [0, 0] };
    const topple = (rig: TestRobot) => {
      for (let atS = 0; atS < 15; atS += 0.02)
        rig.send("/joint_states", atS, joints).send("/imu/data", atS, imu(atS < 10 ? [0, 0, 9.8] : [9.8, 0, 0]));
      return rig;
    };
    expect(topple(robot().topic("/joint_states", JOINTS)).told).toEqual([]);
    expect(topple(robot().topic("/joint_states", JOINTS).topic("/odom", ODOMETRY)).told).toHaveLength(1);
  });
});

describe("free fall", () => {
  const robot = (topic: string) => new TestRobot(one("free_fall", "    for_ms: 200\n")).topic(topic, IMU);
  const drop = (atS: number) => imu(atS > 10 && atS < 10.4 ? [0.1, 0, 0.2] : [0, 0, 9.8]);

  test("is told of the body, whatever camera was there first", () => {
    const rig = robot("/camera/gyro/sample").topic("/imu/data", IMU);
    for (let atS = 0; atS < 15; atS += 0.01)
      rig.send("/camera/gyro/sample", atS, imu([0, 0, 0])).send("/imu/data", atS, drop(atS));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
    expect(rig.firings()[0]).toMatchObject({ topic: "/imu/data" });
  });

  test("an acceleration of nothing, a short one, and gravity taken out are none", () => {
    const run = (message: (atS: number) => unknown) => robot("/imu/data").stream("/imu/data", 100, 0, 15, message).told;
    expect(run((atS) => imu(atS > 10 ? [0, 0, 0] : [0, 0, 9.8]))).toEqual([]);
    expect(run((atS) => (atS > 10.1 ? imu([0, 0, 9.8]) : drop(atS + 0.05)))).toEqual([]);
    expect(run(() => imu([0.1, 0, 0.1]))).toEqual([]);
  });
});

test("what lasts for an instant is not recovered from by being over", () => {
  for (const name of ["impact", "free_fall", "effort_spike", "localisation_jump"])
    expect(detectorKinds.get(name)?.recoversWhen).toBe("never");
  const policies = ["manipulator.yaml", "mobile-base.yaml"].flatMap((file) =>
    parseRules(file, readFileSync(new URL(`../../config/rules/${file}`, import.meta.url), "utf8")),
  );
  for (const name of ["collision", "odometry_leap", "gyroscope_leap"])
    expect(policies.find((rule) => rule.name === name)?.policy.recoversWhen).toBe("never");
});

describe("impact", () => {
  const robot = () => new TestRobot(one("impact")).topic("/imu/data", IMU);
  const shaken = (g: number, atS: number) => imu([wobble(atS), g + wobble(atS, 1), wobble(atS, 2)]);

  test.each([
    ["along gravity", [0, -70, 0]],
    ["across gravity", [60, 0, 0]],
  ])("one sample of a blow %s is one impact", (_name, blow) => {
    const rig = robot().stream("/imu/data", 100, 0, 20, (atS) =>
      Math.abs(atS - 12) < 0.004 ? imu([blow[0] ?? 0, 9.8 + (blow[1] ?? 0), 0]) : shaken(9.8, atS),
    );
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
    expect(rig.firings()[0]?.values.shock_ms2).toBeGreaterThan(55);
  });

  test("what shakes the robot many times a minute is its way of moving", () => {
    const stamping = (atS: number) => (atS % 0.5 < 0.02 ? imu([0, 50, 0]) : shaken(9.8, atS));
    expect(robot().stream("/imu/data", 100, 0, 40, stamping).told).toEqual([]);
  });

  test("turning over, a spike as the first sample, and NaN are none", () => {
    const turning = (atS: number) => imu([9.8 * Math.sin(atS), 9.8 * Math.cos(atS), 0]);
    expect(robot().stream("/imu/data", 100, 0, 20, turning).told).toEqual([]);
    const broken = (atS: number) => (atS === 0 ? imu([500, 0, 0]) : shaken(9.8, atS));
    expect(robot().stream("/imu/data", 100, 0, 60, broken).told).toEqual([]);
    const silent = (atS: number) => (atS > 10 ? imu([Number.NaN, 0, 0]) : shaken(9.8, atS));
    expect(robot().stream("/imu/data", 100, 0, 20, silent).told).toEqual([]);
  });
});

describe("stall of a wheel", () => {
  const joints = (left: number, right: number, names = ["wheel_left_joint", "wheel_right_joint"]) => ({
    ...{ name: names, position: [0, 0], velocity: [left, right], effort: [0, 0] },
  });
  const base = () =>
    new TestRobot(one("stall", "    for_ms: 1000\n"))
      .topic("/cmd_vel", TWIST)
      .topic("/odom", ODOMETRY)
      .topic("/joint_states", JOINTS);
  /** A differential drive, 0.03 m wheels 0.2 m apart, that follows commands with a lag. */
  const drive = (rig: TestRobot, toS: number, wheel: (speed: number, atS: number, side: number) => number) => {
    let [v, w] = [0, 0];
    for (let k = 0; k < toS * 50; k += 1) {
      const atS = k / 50;
      const command = atS % 8 < 4 ? twist(0.3, 0) : twist(0.1, 0.8 * Math.sign(wobble(Math.floor(atS / 8))));
      v += 0.1 * (command.linear.x - v);
      w += 0.1 * (command.angular.z - w);
      const [left, right] = [-1, 1].map((side) => wheel((v + side * w * 0.1) / 0.03, atS, side));
      if (k % 3 === 0) rig.send("/cmd_vel", atS, command);
      rig.send("/joint_states", atS + 0.001, joints(left ?? 0, right ?? 0));
      const [forward, turn] = [(0.03 * ((left ?? 0) + (right ?? 0))) / 2, (0.03 * ((right ?? 0) - (left ?? 0))) / 0.2];
      rig.send("/odom", atS + 0.002, odometry(forward, turn));
    }
    return rig;
  };

  test("one wheel that stands while the command wants both is told by its name; nothing before", () => {
    const rig = drive(base(), 40, (speed, atS, side) => (side < 0 && atS > 32 ? 0 : speed));
    expect(rig.firings()[0]?.values).toMatchObject({ joint: "wheel_left_joint", rad_s: 0 });
    expect(Number(rig.told[0]?.split(" ")[2])).toBeLessThan(34);
    expect(drive(base(), 60, (speed) => speed).told).toEqual([]);
  });

  test("a caster that turns as it likes, and a wheel that reports nothing, are not judged", () => {
    expect(drive(base(), 60, (_speed, atS, side) => 5 * wobble(Math.floor(2 * atS), side)).told).toEqual([]);
    const caster = (speed: number, atS: number, side: number) => 0.6 * speed + 8 * wobble(Math.floor(2 * atS), side);
    expect(drive(base(), 60, (...wheel) => (wheel[1] > 40 ? 0 : caster(...wheel))).firings()[0]?.topic).toBe(
      "/cmd_vel",
    );
    expect(drive(base(), 60, (speed, atS) => (atS > 30 ? Number.NaN : speed)).told).toEqual([]);
  });

  test("a wheel that stands for long does not become the usual", () => {
    const isStuck = (atS: number) => (atS > 30 && atS < 90) || atS > 100;
    const rig = drive(base(), 110, (speed, atS, side) => (side > 0 && isStuck(atS) ? 0 : speed));
    const told = rig.firings().filter(({ values }) => values.joint === "wheel_right_joint");
    expect(told.length).toBeGreaterThanOrEqual(2);
    expect(rig.told.some((line) => / 10[1-5]\./.test(line))).toBe(true);
  });

  test("of two commands the least counts: a base that its collision monitor stops is not stalled", () => {
    const rig = base().topic("/cmd_vel_nav", TWIST);
    for (let atS = 0; atS < 20; atS += 0.05) {
      rig.send("/cmd_vel_nav", atS, twist(0.3)).send("/cmd_vel", atS + 0.001, twist(atS > 10 ? 0 : 0.3));
      rig.send("/odom", atS + 0.002, odometry(atS > 10 ? 0 : 0.3));
    }
    expect(rig.told).toEqual([]);
  });

  test("joints of several publishers on one topic are told apart", () => {
    const rig = base().stream("/joint_states", 50, 0, 10, () => ({ ...joints(5, 5), effort: [1, 1] }));
    const arm = { ...joints(0, 0, ["elbow_left_joint", "elbow_right_joint"]), effort: [9, 9] };
    rig.stream("/joint_states", 50, 10, 20, () => arm);
    expect(rig.told).toEqual([]);
  });
});

describe("over-current", () => {
  const message = (ampere: number) => ({ name: ["elbow"], position: [], velocity: [], effort: [ampere] });
  const robot = () => new TestRobot(one("over_current", "    for_ms: 1000\n")).topic("/motor_currents", JOINTS);

  test("a motor that idled for minutes and starts to work is not over its current", () => {
    const current = (atS: number) => (atS < 300 ? 0.06 + 0.01 * wobble(atS) : 2 + Math.sin(3 * atS));
    expect(robot().stream("/motor_currents", 20, 0, 330, (atS) => message(current(atS))).told).toEqual([]);
  });

  test("a bare number on a topic named current counts; the current speed does not", () => {
    const work = (atS: number) => ({ data: atS > 90 ? 12 : 2 + Math.sin(3 * atS) });
    const rig = new TestRobot(one("over_current", "    for_ms: 1000\n"))
      .topic("/left_wheel/current", "std_msgs/msg/Float32")
      .topic("/current_speed", "std_msgs/msg/Float32");
    rig.stream("/current_speed", 20, 0, 100, work);
    expect(rig.told).toEqual([]);
    rig.stream("/left_wheel/current", 20, 100, 200, (atS) => work(atS - 100));
    expect(rig.firings()).toHaveLength(1);
    expect(rig.firings()[0]).toMatchObject({ topic: "/left_wheel/current" });
  });

  test("a number on a topic named current is amperes where a motor, a battery or a unit is beside it", () => {
    const count = (topic: string) => {
      const rig = new TestRobot(one("over_current", "    parameters: { limit_a: 5 }\n"));
      rig.topic(topic, "std_msgs/msg/Float32").stream(topic, 20, 0, 5, () => ({ data: 12 }));
      return [topic, rig.firings().length];
    };
    for (const topic of ["/mission/current", "/waypoint/current", "/ocean_current", "/arm/waypoint/current"])
      expect(count(topic)).toEqual([topic, 0]);
    for (const topic of ["/battery/current", "/motors/3/current", "/current_ma", "/current_left"])
      expect(count(topic)).toEqual([topic, 1]);
  });
});

describe("wheel slip", () => {
  const robot = () => new TestRobot(one("wheel_slip", "    for_ms: 300\n")).topic("/odom", ODOMETRY).topic("/imu", IMU);
  /** `up` is where the IMU feels the world's up; the gyroscope turns about it. */
  const drive = (
    rig: TestRobot,
    up: readonly number[],
    wheels: (atS: number) => number,
    body: (atS: number) => number,
  ) => {
    for (let atS = 0; atS < 40; atS += 0.02) {
      rig.send("/odom", atS, odometry(0.5, wheels(atS)));
      const turn = body(atS) + 0.01 * wobble(atS);
      rig.send(
        "/imu",
        atS + 0.001,
        imu(
          up.map((x) => 9.8 * x),
          up.map((x) => turn * x),
        ),
      );
    }
    return rig;
  };
  const path = (atS: number) => 0.5 * Math.sin(atS);

  test.each([[[0, 0, 1]], [[0, 0, -1]], [[0, 1, 0]]])("wheels that turn while the body does not, IMU's up %s", (up) => {
    const rig = drive(robot(), up, (atS) => path(atS) + (atS > 30 && atS < 34 ? 0.7 : 0), path);
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
    expect(Math.abs(Number(rig.told[0]?.split(" ")[2]) - 31)).toBeLessThan(1.5);
  });

  test("a base that skids a little, and a gyroscope that never agreed with the wheels, say nothing", () => {
    expect(drive(robot(), [0, 0, 1], path, (atS) => 0.85 * path(atS)).told).toEqual([]);
    expect(drive(robot(), [0, 0, 1], path, (atS) => 20 * wobble(Math.floor(3 * atS))).told).toEqual([]);
    expect(drive(robot(), [0, 0, 1], () => 0, path).told).toEqual([]);
  });

  test("a gyroscope in degrees is known by how it agrees", () => {
    const degrees = (atS: number) => 57.3 * path(atS);
    expect(drive(robot(), [0, 0, 1], path, degrees).told).toEqual([]);
    expect(drive(robot(), [0, 0, 1], (atS) => path(atS) + (atS > 30 ? 0.7 : 0), degrees).firings()).toHaveLength(1);
  });
});

describe("tracking error", () => {
  const names = { name: ["shoulder", "left_hand_index"] };
  const robot = () =>
    new TestRobot(one("tracking_error", "    for_ms: 300\n"))
      .topic("/joint_states", JOINTS)
      .topic("/joint_command", JOINTS);
  const follow = (
    rig: TestRobot,
    position: (command: number, atS: number, late: number) => readonly number[],
    toS = 20,
  ) => {
    const command = (atS: number) => Math.sin(1.5 * atS);
    for (let atS = 0; atS < toS; atS += 0.02) {
      const q = command(atS);
      rig.send("/joint_command", atS, { ...names, position: [q, q] });
      rig.send("/joint_states", atS + 0.001, { ...names, position: position(q, atS, command(atS - 0.3)) });
    }
    return rig;
  };

  test("a joint that stands while its command goes on is told", () => {
    const rig = follow(robot(), (q, atS) => (atS > 14 ? [Math.sin(21), q] : [q, q]));
    expect(rig.firings()[0]?.values).toMatchObject({ joint: "shoulder" });
    expect(Number(rig.told[0]?.split(" ")[2])).toBeLessThan(16);
  });

  test("a joint that follows late, one that sags, and a finger that holds something are in order", () => {
    expect(follow(robot(), (q, _atS, late) => [late, q]).told).toEqual([]);
    expect(follow(robot(), (q) => [q - 0.3, q]).told).toEqual([]);
    expect(follow(robot(), (q, atS) => [q, atS > 10 ? 0 : q]).told).toEqual([]);
  });

  test("a far target is none while it is approached, and one when the joint stops on its way", () => {
    const approach = (stopS: number) => {
      const rig = robot();
      for (let atS = 0; atS < 30; atS += 0.02) {
        rig.send("/joint_command", atS, { ...names, position: [atS < 10 ? 0 : 2, 0] });
        const q = atS < 10 ? 0 : Math.min(2, 0.2 * (Math.min(atS, stopS) - 10));
        rig.send("/joint_states", atS + 0.001, { ...names, position: [q, 0] });
      }
      return rig;
    };
    expect(approach(100).told).toEqual([]);
    expect(approach(15).told.map((line) => line.split(" ")[0])).toEqual(["firing"]);
  });

  test("without commands nothing can be told", () => {
    const rig = follow(robot(), (q) => [q, q], 10);
    const still = Math.sin(1.5 * 9.98);
    rig.stream("/joint_states", 50, 10, 20, (atS) => ({ ...names, position: [atS < 10.6 ? still : 2, 2] }));
    expect(rig.told).toEqual([]);
  });

  test("a publisher that makes up names does not fill the memory", () => {
    const rig = robot();
    const made = (k: number) => ({ name: Array.from({ length: 50 }, (_, j) => `made_${k}_${j}`) });
    const position = Array(50).fill(0);
    for (let k = 0; k < 20; k += 1) rig.send("/joint_command", k, { ...made(k), position });
    expect(rig.trigger.status()[0]?.boundTo).toHaveLength(256);
  });

  test("a trajectory controller states both itself", () => {
    const type = "control_msgs/msg/JointTrajectoryControllerState";
    const rig = new TestRobot(one("tracking_error", "    for_ms: 300\n")).topic("/arm_controller/state", type);
    rig.stream("/arm_controller/state", 50, 0, 20, (atS) => {
      const q = Math.sin(1.5 * atS);
      const positions = [atS > 14 ? Math.sin(21) : q];
      return { joint_names: ["shoulder"], reference: { positions: [q] }, feedback: { positions } };
    });
    expect(rig.firings()[0]?.values).toMatchObject({ joint: "shoulder" });
  });
});

describe("joint limit", () => {
  const urdf = `<robot name="r">
    <joint name="elbow" type="revolute"><parent link="a"/><limit effort="10" lower="-1.5" upper="1.5" velocity="1"/></joint>
    <joint type='continuous' name='wheel'><limit effort="10" velocity="1"/></joint>
    <joint name="fixed" type="fixed"/>
    <!-- <joint name="elbow" type="revolute"><limit lower="0" upper="0.1"/></joint> --></robot>`;
  const joints = (position: number, effort = 0) => ({
    name: ["wheel", "elbow"],
    position: [99, position],
    effort: [0, effort],
  });
  const robot = (more = "") =>
    new TestRobot(one("joint_limit", `    for_ms: 100\n${more}`))
      .topic("/joint_states", JOINTS)
      .topic("/robot_description", "std_msgs/msg/String");

  test("a joint beyond the limit of the robot's description, or pushing against it, is told", () => {
    const beyond = robot().stream("/joint_states", 50, 0, 1, () => joints(1.6));
    expect(beyond.told).toEqual([]);
    beyond.send("/robot_description", 1, { data: urdf }).stream("/joint_states", 50, 1.02, 2, () => joints(1.6));
    expect(beyond.firings()[0]?.values).toEqual({ joint: "elbow", position: 1.6, lower: -1.5, upper: 1.5 });
    const pushing = robot().send("/robot_description", 0, { data: urdf });
    expect(pushing.stream("/joint_states", 50, 0.02, 2, () => joints(-1.49, -9.5)).firings()).toHaveLength(1);
  });

  test("a joint that rests at its limit, or moves within, is in order", () => {
    const rig = robot().send("/robot_description", 0, { data: urdf });
    rig.stream("/joint_states", 50, 0.02, 10, (atS) => joints(atS < 5 ? 1.5 : 1.4 * Math.sin(atS), 3));
    expect(rig.told).toEqual([]);
  });

  test("limits that the rule names go first", () => {
    const rig = robot("    parameters: { limits: { elbow: [-1, 1] } }\n").send("/robot_description", 0, { data: urdf });
    expect(rig.stream("/joint_states", 50, 0.02, 2, () => joints(1.2)).firings()[0]?.values).toMatchObject({
      upper: 1,
    });
  });
});

describe("localisation jump", () => {
  const robot = () => new TestRobot(one("localisation_jump")).topic("/odom", ODOMETRY);
  const pose = (x: number, y = 0) => odometry(1, 0, [x, y]);

  test("a place 3 m off from one message to the next is told once, and is where it is from then on", () => {
    const rig = robot().stream("/odom", 10, 0, 30, (atS) => pose(atS + (atS > 20 ? 3 : 0)));
    expect(rig.told.map((line) => line.split(" ")[0])).toEqual(["firing", "cleared"]);
    expect(rig.firings()[0]?.values.jump_m).toBeCloseTo(3.1, 1);
  });

  /** 5 m/s² up to 10 m/s. */
  const driven = (forS: number) => (forS < 2 ? 2.5 * forS ** 2 : 10 * (forS - 1));

  test("driving off fast, a scattering fix, another frame and a gap are no jumps", () => {
    const rig = (message: (atS: number) => unknown, hz = 10) => robot().stream("/odom", hz, 0, 40, message);
    expect(rig((atS) => pose(driven(Math.max(0, atS - 10))), 1).told).toEqual([]);
    expect(rig((atS) => pose(2 * wobble(atS), 2 * wobble(atS, 1)), 2).told).toEqual([]);
    // As a satellite's fix once a second, told ten times.
    expect(rig((atS) => pose(2 * Math.floor(atS))).told).toEqual([]);
    const other = { header: { frame_id: "map" } };
    expect(rig((atS) => (atS > 20 ? { ...pose(50), ...other } : pose(0))).told).toEqual([]);
    const gap = robot()
      .topic("/imu", IMU)
      .stream("/odom", 10, 0, 10, () => pose(0));
    gap.stream("/imu", 10, 10, 14, () => imu([0, 0, 9.8])).stream("/odom", 10, 14, 20, () => pose(400));
    expect(gap.told).toEqual([]);
  });

  test.each([
    ...["/aruco_single/pose", "/apriltag/pose", "/tag_0/pose", "/person/pose", "/detected_cup/pose"],
    ...["/vrpn_client_node/cup/pose", "/mocap/table/pose", "/optitrack/head/pose"],
  ])("%s is not where the robot is", (topic) => {
    const rig = new TestRobot(one("localisation_jump")).topic(topic, ODOMETRY);
    expect(rig.stream(topic, 10, 0, 20, (atS) => pose(atS > 10 ? 5 : 0)).told).toEqual([]);
  });

  test.each(["/vrpn_client_node/robot/pose", "/stage/robot_pose"])("%s is", (topic) => {
    const rig = new TestRobot(one("localisation_jump")).topic(topic, ODOMETRY);
    expect(rig.stream(topic, 10, 0, 20, (atS) => pose(atS > 10 ? 5 : 0)).firings()).toHaveLength(1);
  });

  test("where a person says it is, is no jump", () => {
    const rig = robot().topic("/initialpose", "geometry_msgs/msg/PoseWithCovarianceStamped");
    rig.stream("/odom", 10, 0, 20, () => pose(0)).send("/initialpose", 20, {});
    expect(rig.stream("/odom", 10, 20.1, 30, () => pose(8)).told).toEqual([]);
  });

  test("a satellite fix that leaps counts in metres; one that is none does not", () => {
    const rig = new TestRobot(one("localisation_jump")).topic("/fix", "sensor_msgs/msg/NavSatFix");
    const fix = (latitude: number, status = 0) => ({
      header: { frame_id: "gps" },
      status: { status },
      latitude,
      longitude: 8,
    });
    rig.stream("/fix", 5, 0, 20, (atS) => (atS > 15 && atS < 16 ? fix(0, -1) : fix(48 + 1e-6 * wobble(atS))));
    expect(rig.told).toEqual([]);
    rig.stream("/fix", 5, 20, 25, () => fix(48.001));
    expect(Math.abs(Number(rig.firings()[0]?.values.jump_m) - 111)).toBeLessThan(2);
  });
});
