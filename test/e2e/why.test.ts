/** What rules bind to, and why not: before a daemon runs, and while it does; and why a topic is silent. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { JOINTS, LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

type Binding = { rule: string; state: string; bound_to: string[]; reason?: string };
type Reasons = { answers: { subject: string; reasons: { reason: string; evidence: string }[]; rules?: Binding[] }[] };

async function check(rig: Rig): Promise<{ bound_by: string; bindings: Binding[] }> {
  const child = rig.spawn(["check", "--json", "--config", join(rig.folder, "lode.yaml")]);
  await child.exited;
  return JSON.parse(child.stdout);
}

const bindingOf = (bindings: readonly Binding[], name: string) => bindings.find(({ rule }) => rule === name);

test("check tells what each rule would watch, or what it lacks, before the daemon runs and while it does", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open();
  await using rig = await Rig.open({ bridgePort: robot.port });
  const before = await check(rig);
  expect(before.bound_by).toBe("bridge");
  expect(bindingOf(before.bindings, "stale_topic")).toMatchObject({ state: "bound" });
  expect(bindingOf(before.bindings, "stale_topic")?.bound_to).toContain(JOINTS);
  expect(bindingOf(before.bindings, "lost_grasp")?.reason).toMatch(
    /^hears \/joint_states and found nothing to watch there yet; needs a JointState with finger joints/,
  );
  expect(bindingOf(before.bindings, "fall")).toMatchObject({
    state: "waiting",
    reason: expect.stringMatching(/needs a sensor_msgs\/Imu/),
  });

  await rig.startDaemon();
  const during = await waitFor(async () => {
    const answer = await check(rig);
    return bindingOf(answer.bindings, "stale_topic")?.bound_to.includes(JOINTS) === true && answer;
  }, "the daemon's rules hear the joints");
  expect(during.bound_by).toBe("daemon");

  const { answers } = await rig.lode<Reasons>(["why"]);
  expect(answers.map(({ subject }) => subject)).toEqual(["capture", "upload"]);
  expect(bindingOf(answers[0]?.rules ?? [], "stale_topic")).toMatchObject({ state: "bound" });
  const joints = await rig.lode<Reasons>(["why", JOINTS]);
  const rules = joints.answers[0]?.reasons.find(({ reason }) => reason === "Rules");
  expect(rules?.evidence).toContain("stale_topic");
  await expect(rig.lode(["why", "/joint_stats"])).rejects.toThrow("is no topic");
});

test("why names what stands in the way, the nearest to the robot first", { timeout: 60_000 }, async () => {
  await using rig = await Rig.open({ bridgePort: 1 });
  await rig.startDaemon();
  const { answers } = await waitFor(async () => {
    const answer = await rig.lode<Reasons>(["why", "capture"]);
    return answer.answers[0]?.reasons[0]?.reason === "The robot is not connected." && answer;
  }, "it says that there is no bridge");
  expect(answers[0]?.reasons.map(({ reason }) => reason)).toContain("No rule is bound.");
});
