import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "@foxglove/rosmsg";
import { MessageReader } from "@foxglove/rosmsg2-serialization";
import { expect, test } from "vitest";
import { DEMO_SEED } from "../../src/demo/robot.ts";
import { cupClearance, gapOf, padForces } from "../../src/demo/simulation.ts";
import { HELD_S, PLACED_M, SLIP_M } from "../../src/demo/truth.ts";
import { runRobot, START_NS, tasksOf } from "./run.ts";

async function digest(seed: number): Promise<string> {
  const hash = createHash("sha256");
  for (const { topic, bytes, stampNs } of (await runRobot(seed, 6)).messages)
    hash.update(topic).update(`${stampNs}`).update(bytes);
  return hash.digest("hex");
}

function longestRun(states: readonly boolean[]): number {
  let [longest, run] = [0, 0];
  for (const state of states) {
    run = state ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

test("one seed gives one run, to the last byte; another seed another", async () => {
  const [first, again, other] = [await digest(5), await digest(5), await digest(6)];
  expect(again).toBe(first);
  expect(other).not.toBe(first);
});

test("every message decodes with the definition of its topic, at the rate of its topic", async () => {
  const { robot, messages } = await runRobot(DEMO_SEED, 3);
  const counts: Record<string, number> = {};
  for (const { topic, schemaText } of robot.topics) {
    const reader = new MessageReader<Record<string, unknown>>(parse(schemaText, { ros2: true }));
    const own = messages.filter((message) => message.topic === topic);
    counts[topic] = own.length;
    for (const { bytes, stampNs } of own) {
      const { header } = reader.readMessage(bytes);
      if (header !== undefined) expect(header).toMatchObject({ stamp: { sec: Number(stampNs / 1_000_000_000n) } });
    }
  }
  expect(messages[0]?.stampNs).toBe(START_NS);
  expect(counts).toMatchObject({
    "/joint_states": 300,
    "/joint_commands": 60,
    "/motor_currents": 300,
    "/wrist/wrench": 300,
    "/imu/data": 600,
    "/gripper/command": 60,
    "/gripper/state": 300,
    "/gripper/palm_range": 300,
    "/task/state": 30,
    "/tf_static": 1,
    "/diagnostics": 3,
  });
  expect(counts["/rosout"]).toBeGreaterThan(0);
});

test("the fingers' sensors show a held cup and an empty hand", async () => {
  const { robot, messages } = await runRobot(DEMO_SEED, 7);
  const schemaText = robot.topics.find(({ topic }) => topic === "/gripper/state")?.schemaText ?? "";
  const reader = new MessageReader<{ position: number; effort: number; stalled: boolean }>(
    parse(schemaText, { ros2: true }),
  );
  const states = messages
    .filter(({ topic }) => topic === "/gripper/state")
    .map(({ bytes }) => reader.readMessage(bytes));
  const held = states.filter(({ stalled, effort }) => stalled && effort > 4);
  expect(held.length).toBeGreaterThan(200);
  for (const { position } of held) expect(position).toBeCloseTo(0.06, 2);
  expect(states.at(0)?.position).toBeCloseTo(0.09, 2);
});

test("the default seed begins with a task without events, then drops in mid-air and recovers", async () => {
  let clearanceAtLoss = 0;
  let isPressed = false;
  const { story } = await runRobot(DEMO_SEED, 25, (state) => {
    const isPressedNow = padForces(state).every((force) => force > 0.3);
    if (isPressed && !isPressedNow && gapOf(state) < 0.061)
      clearanceAtLoss = Math.max(clearanceAtLoss, cupClearance(state));
    isPressed = isPressedNow;
  });
  const [first, second] = tasksOf(story);
  expect(first).toMatchObject({ outcome: "succeeded", attempts: 1, events: [] });
  expect(second).toMatchObject({ outcome: "recovered", attempts: 2, events: [{ kind: "drop", attempt: 1 }] });
  expect(second?.events[0]?.atS).toBeLessThan(15);
  expect(clearanceAtLoss).toBeGreaterThan(0.02);
});

test("a wet cup slides out of a weak grip, and a firmer one holds it", async () => {
  const [task] = tasksOf((await runRobot(10, 13)).story);
  expect(task).toMatchObject({ conditions: { kind: "wet" }, outcome: "recovered", attempts: 2 });
  expect(task?.events.map(({ kind }) => kind)).toEqual(["drop"]);
});

test("a cup that slips and is still held is a slip of the measured length, set down and taken anew", async () => {
  const [task] = tasksOf((await runRobot(1, 14.5)).story);
  expect(task).toMatchObject({
    conditions: { kind: "damp" },
    outcome: "recovered",
    attempts: 2,
    events: [{ kind: "slip" }],
  });
  expect(task?.events[0]?.slideM).toBeGreaterThan(SLIP_M);
});

test("fingers that close beside a misseen cup are a missed grasp, not a drop", async () => {
  const [task] = tasksOf((await runRobot(7, 13)).story);
  expect(task).toMatchObject({ conditions: { kind: "misseen" }, attempts: 2, events: [{ kind: "missed_grasp" }] });
});

test("a drop is told only where both pads had pressed on the cup and then did not", { timeout: 60_000 }, async () => {
  for (const seed of [4, 6, 26]) {
    const pressed: boolean[] = [];
    const { robot, story } = await runRobot(seed, 40, (state) =>
      pressed.push(padForces(state).every((force) => force > 0.3)),
    );
    const drops = story.flatMap((event) =>
      event.kind === "truth" && event.event.kind === "drop" ? [event.event] : [],
    );
    expect(drops.length).toBeGreaterThan(0);
    for (const { atS } of drops) {
      const step = Math.round(atS * 500);
      const after = pressed.slice(step + 1, step + 100);
      expect(pressed[step - 1]).toBe(true);
      expect(longestRun(pressed.slice(0, step))).toBeGreaterThanOrEqual(HELD_S * 500);
      expect(after.filter(Boolean).length).toBe(0);
    }
    expect(robot.timeS).toBeCloseTo(40, 2);
  }
});

test("an outcome says where the cup stands, whatever the controller believes", { timeout: 60_000 }, async () => {
  for (const seed of [9, 34]) {
    const cup: (readonly [number, number])[] = [];
    const { story } = await runRobot(seed, 24, ({ cup: { position } }) =>
      cup.push([position[0] ?? 0, position[1] ?? 0]),
    );
    const tasks = tasksOf(story);
    expect(tasks.some(({ outcome }) => outcome === "failed")).toBe(true);
    for (const { endS, goal, outcome } of tasks) {
      const [x, y] = cup[Math.round(endS * 500) - 1] ?? [0, 0];
      expect(Math.hypot(x - goal.x, y - goal.y) <= PLACED_M).toBe(outcome !== "failed");
    }
  }
});

test("the controller's code reaches neither the simulation nor the truth", () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    // What is imported as a type alone is gone when the program runs.
    const imports = readFileSync(file, "utf8").matchAll(/^import (?!type )[^;]*? from "(\.[^"]+)";/gms);
    for (const [, specifier = ""] of imports) visit(resolve(dirname(file), specifier));
  };
  visit(resolve(import.meta.dirname, "../../src/demo/controller.ts"));
  const names = [...seen].map((file) => file.split("/").at(-1)).sort();
  expect(names).toEqual(["controller.ts", "kinematics.ts", "world.ts"]);
});
