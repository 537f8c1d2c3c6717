/** Detectors of the system on real recordings: with faults put into them, and on what robots said of themselves. */
import { expect, test } from "vitest";
import { parseRules } from "../../src/trigger/rule.ts";
import { judgeFaults } from "../support/judge-faults.ts";
import { backtest, openShared } from "../support/judging.ts";

/** Rules that fired, with the second in which they did. */
async function firings(file: string, rules: string): Promise<(readonly [string, number])[]> {
  await using recording = await openShared(file);
  const verdict = await backtest(recording, parseRules("test.yaml", `rules:\n${rules}`), []);
  return verdict.firings.map(({ rule, atNs }) => [rule, Math.floor(Number(atNs - verdict.startNs) / 1e9)] as const);
}

const SYSTEM_FAULTS = ["dead topic", "rate drop", "clock step", "NaNs", "spike"];

test.each(["kobuki_nominal.mcap", "kuka_lwr_joint_effort.bag"])(
  "sensors of %s that stop, slow down, tell a wrong time, or no numbers, and an arm that is hit, are all found",
  async (file) => {
    const judged = await judgeFaults(file, [1, 1], (name) => SYSTEM_FAULTS.includes(name));
    expect(judged.length).toBeGreaterThan(0);
    for (const fault of judged) expect(fault).toMatchObject({ found: fault.events, false: [] });
  },
);

test("a Kobuki's warning of its motor current is heard when it comes, and none where there was none", async () => {
  const rule =
    "  warned:\n    detector: diagnostics_level\n    parameters: { level: 1 }\n    clear_for_ms: 0\n    cool_down_ms: 0\n";
  const warned = await firings("kobuki_left_wheel_fault.mcap", rule);
  // What the robot said, from the notes on the recording; it speaks about once a second.
  expect(warned.map(([, atS]) => atS)).toEqual([12, 19, 24, 27, 30, 40, 49, 51, 64]);
  expect(await firings("kobuki_nominal.mcap", rule)).toEqual([]);
});

test("a warning in the log of a real robot is heard when it comes", async () => {
  const rule = `  warned:
    inputs: { log: { topic: /rosout, type: rcl_interfaces/msg/Log } }
    when: log.level in [30] && age(log) < duration("1s") && log.name == "keyop"
`;
  expect(await firings("kobuki_left_wheel_fault.mcap", rule.replace("keyop", "/keyop"))).toEqual([["warned", 3]]);
});

test("the voltage of an AUV's battery, which says nothing else of itself, is no failure, nor an anomaly", async () => {
  const rules = `  empty:
    detector: battery
    for_ms: 5000
  odd:
    detector: anomaly
    inputs: { values: /coug2/battery/data }
    parameters: { fields: [voltage, current], floor: 0.1 }
`;
  expect(await firings("auv_cougars_short.mcap", rules)).toEqual([]);
});
