import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { recordHeadless } from "../../src/demo/headless.ts";
import { BELIEF_TOPICS } from "../../src/demo/messages.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import { deps, temporaryFolder } from "../replay/harness.ts";

const options = { seed: 10, seconds: 2, name: "demo", isBeliefHidden: false, cameras: false };

async function topicCounts(path: string): Promise<Record<string, number>> {
  await using recording = await openRecording(path, deps);
  const counts = Object.fromEntries(recording.channels.map(({ topic }) => [topic, 0]));
  let lastNs = 0n;
  for await (const { channelIndex, logTimeNs } of recording.messages()) {
    const topic = recording.channels[channelIndex]?.topic ?? "";
    counts[topic] = (counts[topic] ?? 0) + 1;
    expect(logTimeNs).toBeGreaterThanOrEqual(lastNs);
    lastNs = logTimeNs;
  }
  return counts;
}

test("a headless run leaves a recording of whole tasks and the truth about them", async () => {
  const { recordingPath, truthPath, tasks, durationS } = await recordHeadless({
    ...options,
    folder: temporaryFolder(),
  });
  const counts = await topicCounts(recordingPath);
  expect(counts["/joint_states"]).toBe(Math.round(durationS * 100));
  expect(counts["/rosout"]).toBeGreaterThan(0);
  const truth: unknown = JSON.parse(readFileSync(truthPath, "utf8"));
  expect(tasks).toHaveLength(1);
  expect(truth).toMatchObject({
    seed: 10,
    start_time_ns: "1767312000000000000",
    duration_s: durationS,
    tasks: [{ task: 1, outcome: "recovered", attempts: 2, events: [{ kind: "drop", attempt: 1 }] }],
  });
});

test("with its belief hidden, the robot does not tell what it thinks happened", async () => {
  const folder = temporaryFolder();
  const { recordingPath } = await recordHeadless({ ...options, seconds: 0.5, folder, isBeliefHidden: true });
  const topics = Object.keys(await topicCounts(recordingPath));
  expect(topics).toContain("/gripper/state");
  for (const topic of BELIEF_TOPICS) expect(topics).not.toContain(topic);
});

test("the same options give the same recording, pictures included", async () => {
  const record = async (): Promise<Buffer> => {
    const once = { ...options, seconds: 0.5, cameras: true, folder: temporaryFolder() };
    return readFileSync((await recordHeadless(once)).recordingPath);
  };
  const [first, again] = [await record(), await record()];
  expect(first.equals(again)).toBe(true);
});
