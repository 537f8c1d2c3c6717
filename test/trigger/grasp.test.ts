import { describe, expect, test } from "vitest";
import { FingerGroup, findFingers } from "../../src/trigger/detectors/finger-group.ts";
import { TestRobot } from "./bench-robot.ts";

const RULES = `rules:
  lost_grasp: { detector: lost_grasp }
  slip: { detector: slip }
  missed_grasp: { detector: missed_grasp }
`;

const OPEN_M = 0.045;
const CUP_M = 0.03;
const GRIP_N = -6;
const FREE_M_PER_S = 0.4;

/** A hand of two fingers and an arm joint, told what to do second by second; 100 Hz. */
class TestHand {
  readonly robot = new TestRobot(RULES)
    .topic("/joint_states", "sensor_msgs/msg/JointState")
    .topic("/other", "test/Other");
  #atS = 0;
  #x = OPEN_M;
  #arm = 0;

  constructor() {
    this.robot.topic("/palm_range", "sensor_msgs/msg/Range");
  }

  get told(): string[] {
    return this.robot.events
      .map((event) => `${event.kind} ${event.rule}`)
      .filter((line) => !line.startsWith("cleared"));
  }

  /** Fingers move towards `toM` at their free speed and push with `effort` once there. */
  move(seconds: number, toM: number, effort: number, range = 0.2, speed = FREE_M_PER_S): this {
    for (const endS = this.#atS + seconds; this.#atS < endS - 1e-9; this.#atS += 0.01) {
      const way = toM - this.#x;
      this.#x += Math.sign(way) * Math.min(Math.abs(way), speed * 0.01);
      this.#arm += 0.01 * (seconds > 0.5 ? 1 : 0);
      this.#send(effort, range);
    }
    return this;
  }

  /** The arm stands still as well. */
  stand(seconds: number, effort: number): this {
    for (const endS = this.#atS + seconds; this.#atS < endS - 1e-9; this.#atS += 0.01) this.#send(effort, 0.2);
    return this;
  }

  /** What is held slides out by `byM` over `seconds`. */
  slide(seconds: number, fromM: number, byM: number): this {
    const startS = this.#atS;
    for (; this.#atS < startS + seconds - 1e-9; this.#atS += 0.01)
      this.#send(GRIP_N, fromM + (byM * (this.#atS - startS)) / seconds);
    return this;
  }

  #send(effort: number, range: number): void {
    const noise = 3e-5 * Math.sin(this.#atS * 1234.5);
    const position = [this.#arm, this.#x + noise, this.#x - noise];
    const message = { name: ["elbow", "finger_l", "finger_r"], position, effort: [1, effort, effort] };
    this.robot.send("/joint_states", this.#atS, message);
    this.robot.send("/palm_range", this.#atS + 0.001, { range: range + 20 * noise });
  }
}

const grip = (hand: TestHand) => hand.move(1, OPEN_M, 0).move(1, CUP_M, GRIP_N, 0.04);
const release = (hand: TestHand) => hand.move(0.6, OPEN_M, 2);

describe("what a hand does as it should is no failure", () => {
  test("gripping, carrying and setting down", () => {
    expect(release(grip(new TestHand()).move(3, CUP_M, GRIP_N, 0.04)).told).toEqual([]);
  });

  test("pressing against the open end and then closing on something", () => {
    const hand = new TestHand().move(3, OPEN_M, 8).move(2, CUP_M, GRIP_N, 0.04);
    expect(release(hand).told).toEqual([]);
  });

  test("a firmer grip on something soft", () => {
    const hand = grip(new TestHand())
      .move(1.5, 0.024, 2.5 * GRIP_N, 0.04, 0.008)
      .move(2, 0.024, 2.5 * GRIP_N, 0.04);
    expect(release(hand).told).toEqual([]);
  });

  test("a knock that pushes the fingers a little open while they go on pushing", () => {
    const hand = grip(new TestHand()).move(0.05, 0.0335, GRIP_N, 0.04).move(2, CUP_M, GRIP_N, 0.04);
    expect(release(hand).told).toEqual([]);
  });

  test("opening ever so slowly, and then closing again", () => {
    const hand = grip(new TestHand()).move(4, OPEN_M, 0.3, 0.04, 0.004);
    release(grip(hand).move(2, CUP_M, GRIP_N, 0.04));
    expect(hand.told).toEqual([]);
  });

  test("an effort that is noise around zero holds nothing", () => {
    const hand = new TestHand().move(1, OPEN_M, 0);
    for (const to of [0.03, 0.02, 0.012]) for (let k = 0; k < 30; k += 1) hand.move(0.04, to, k % 3 === 0 ? 0.1 : -0.1);
    expect(hand.told).toEqual([]);
  });

  test("closing in the air without pushing, and further later", () => {
    const hand = release(grip(new TestHand()));
    expect(hand.move(1, 0.03, -0.05).move(1, 0.02, -0.05).move(1, 0.012, -0.05).told).toEqual([]);
  });
});

describe("a loss", () => {
  test("fingers that yield where they held something have lost it", () => {
    const hand = grip(new TestHand()).move(0.5, 0, GRIP_N);
    expect(hand.told).toEqual(["firing lost_grasp"]);
    expect(hand.robot.firings()[0]?.values).toMatchObject({ fingers: "finger_l, finger_r" });
    expect(Number(hand.robot.firings()[0]?.atNs ?? 0n) % 10).toBe(0);
  });

  test("closing again is an attempt, carrying and opening on command the recovery", () => {
    const hand = release(grip(new TestHand()).move(0.3, 0, GRIP_N));
    release(grip(hand).move(2, CUP_M, GRIP_N, 0.04));
    const ofLoss = hand.told.filter((line) => line.endsWith("lost_grasp") && !line.includes("missed"));
    expect(ofLoss).toEqual(["firing lost_grasp", "attempt lost_grasp", "recovered lost_grasp"]);
    const seen = hand.robot.events.flatMap((event) => (event.kind === "recovered" ? [event.values] : []));
    expect(seen[0]).toEqual({ held_ms: expect.closeTo(2500, -3) });
  });

  test("a second loss is a second firing, and a new try a second attempt", () => {
    const hand = release(grip(new TestHand()).move(0.3, 0, GRIP_N));
    release(grip(hand).move(0.3, 0, GRIP_N));
    release(grip(hand).move(2, CUP_M, GRIP_N, 0.04));
    expect(hand.told.filter((line) => line.endsWith(" lost_grasp"))).toEqual([
      "firing lost_grasp",
      "attempt lost_grasp",
      "firing lost_grasp",
      "attempt lost_grasp",
      "recovered lost_grasp",
    ]);
  });

  test("an arm that stands still with an empty hand has given up", () => {
    const hand = release(grip(new TestHand()).move(0.3, 0, GRIP_N)).stand(10, 0);
    expect(hand.told.filter((line) => line.endsWith(" lost_grasp"))).toEqual([
      "firing lost_grasp",
      "gave_up lost_grasp",
    ]);
  });

  test("opening while the palm sees the object on its way out is a loss", () => {
    const hand = release(grip(new TestHand()).slide(0.15, 0.04, 0.05));
    expect(hand.told).toEqual(["firing lost_grasp"]);
  });
});

describe("a slip", () => {
  test("an object that moves in the hand and stays is told when it has come to rest", () => {
    const hand = grip(new TestHand()).slide(0.4, 0.04, 0.03).move(1, CUP_M, GRIP_N, 0.07);
    expect(hand.told).toEqual(["firing slip"]);
    expect(hand.robot.firings()[0]?.values.slide_m).toBeCloseTo(0.03, 2);
  });

  test("carried through without a new grip it is recovered once the hand rests", () => {
    const hand = grip(new TestHand()).slide(0.4, 0.04, 0.03).move(2, CUP_M, GRIP_N, 0.07);
    release(hand).move(5, OPEN_M, 0);
    expect(hand.told).toEqual(["firing slip", "recovered lost_grasp", "recovered slip", "recovered missed_grasp"]);
  });

  test("a slide of a few millimetres is none", () => {
    expect(release(grip(new TestHand()).slide(0.4, 0.04, 0.006).move(2, CUP_M, GRIP_N, 0.046)).told).toEqual([]);
  });

  test("a slide that ends as a loss is a loss alone", () => {
    expect(grip(new TestHand()).slide(0.25, 0.04, 0.05).move(0.3, 0, GRIP_N).told).toEqual(["firing lost_grasp"]);
  });
});

test("fingers that close all the way have missed", () => {
  expect(new TestHand().move(1, OPEN_M, 0).move(1, 0, -0.1).told).toEqual(["firing missed_grasp"]);
});

describe("fingers whose position rises as they close, 0 to 0.8 rad, have missed", () => {
  type Move = readonly [toRad: number, effort: number];
  const run = (moves: readonly Move[], parameters = "{ closes: up }") => {
    const rig = new TestRobot(`rules:\n  r: { detector: missed_grasp, parameters: ${parameters} }\n`);
    rig.topic("/joint_states", "sensor_msgs/msg/JointState");
    let [x, atS] = [0, 0];
    for (const [toRad, effort] of moves)
      for (const endS = atS + 1; atS < endS - 1e-9; atS += 0.01) {
        x += Math.sign(toRad - x) * Math.min(Math.abs(toRad - x), 0.02);
        rig.send("/joint_states", atS, { name: ["robotiq_85_left_knuckle_joint"], position: [x], effort: [effort] });
      }
    return rig.firings().length;
  };
  const OPEN: Move = [0, 0];
  const CUP: Move = [0.45, 6];
  const NOTHING: Move = [0.8, 0.1];

  test("when they close further than ever on nothing, or to an end that is known", () => {
    expect(run([OPEN, CUP, OPEN, NOTHING, OPEN, NOTHING])).toBe(2);
    expect(run([OPEN, NOTHING, OPEN, [0.8, 6]], "{ closed_at: 0.8 }")).toBe(2);
    expect(run([OPEN, CUP, [0.8, 6], OPEN, [0.8, 6]])).toBe(1);
  });

  test("and not when they hold something, even what is thinner than all before", () => {
    expect(run([OPEN, CUP, OPEN, CUP, OPEN, [0.6, 6], OPEN, [0.6, 6], OPEN, [0.3, 0]])).toBe(0);
  });
});

test("the fingers of each gripper are found by name", () => {
  const names = ["l_gripper_l_finger", "l_gripper_r_finger", "elbow", "r_gripper_l_finger", "wheel_left_joint"];
  expect([...findFingers(names)]).toEqual([
    ["l_gripper", [0, 1]],
    ["r_gripper", [3]],
  ]);
  expect([...findFingers(["j0", "finger_l", "finger_r"])]).toEqual([["gripper", [1, 2]]]);
});

test("mirrored fingers count the same way once they have moved", () => {
  const fingers = new FingerGroup([0, 1]);
  for (let k = 0; k <= 10; k += 1) fingers.mean([0.04 - 0.003 * k, -0.04 + 0.003 * k], [-5, 5]);
  expect(fingers.mean([0.01, -0.01], [-5, 5])).toEqual({ x: 0.01, effort: -5 });
});

test("noise alone turns no finger around", () => {
  const fingers = new FingerGroup([0, 1]);
  for (let k = 0; k <= 100; k += 1) fingers.mean([0.04 + 1e-4 * (k % 2), 0.04 - 1e-4 * (k % 2)], [0, 0]);
  expect(fingers.mean([0.04, 0.04], [0, 0]).x).toBeCloseTo(0.04, 9);
});
