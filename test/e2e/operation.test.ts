/** What a running daemon says of the operation: in the episode, in what comes home, in the ledger of hours. */
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { CAMERA, DEBUG, JOINTS, LiveRobot, TF_STATIC } from "./live-robot.ts";
import { receivedManifest } from "./received.ts";
import { Rig } from "./rig.ts";

const CONFIG = {
  robot: {
    ...{ id: "rig", site: "lab", embodiment: "arm", task_type: "idle", software: { gripper: "2.1" } },
    label_topics: { task_type: "/joint_states:header.frame_id" },
  },
  topics: { assign: [{ match: ["/debug/**"], on_demand: true, role: "context" }] },
};

test("an episode comes home with its operation, the role of each topic, and whether it is complete", {
  timeout: 90_000,
}, async () => {
  await using robot = await LiveRobot.open();
  await using rig = await Rig.open({ bridgePort: robot.port, config: CONFIG });
  await rig.startReceiver();
  await rig.startDaemon();
  await waitFor(() => robot.isSubscribed(CAMERA) && robot.isSubscribed(JOINTS), "subscriptions");
  await waitFor(async () => (await rig.status()).hours[0]?.watched_ms, "joints that say whether it moves");
  const sinceMs = Date.now();
  await waitFor(() => Date.now() > sinceMs + 3000, "three seconds of recording");
  const { episode_id: id } = await rig.lode<{ episode_id: string }>(["capture", "--pre", "2s", "--post", "2s"]);
  await rig.lode(["label", id, "shelf=3", "--note", "it hit the shelf"]);
  await rig.episodesHome(1, 20_000);

  const { episode, hours } = await receivedManifest(rig);
  expect(episode.operation).toMatchObject({
    ...{ task_type: "base", robot: "rig", site: "lab", embodiment: "arm" },
    physics: { kind: "physical", basis: "presumed", signs: [] },
  });
  const names = episode.operation.software.map(({ name }: { name: string }) => name);
  expect(names).toEqual(expect.arrayContaining(["lode", "node", "ros", "gripper"]));
  expect(episode.remarks).toMatchObject([{ labels: { shelf: "3" }, note: "it hit the shelf" }]);
  expect(episode).toMatchObject({ is_complete: true, shortfalls: [] });
  type Told = { topic: string; role: string; is_on_demand: boolean; on_demand_start_ms: number };
  const told = new Map<string, Told>(episode.completeness.map((entry: Told) => [entry.topic, entry]));
  expect([JOINTS, CAMERA, DEBUG, TF_STATIC].map((topic) => told.get(topic)?.role)).toEqual([
    ...["observation", "observation", "context", "context"],
  ]);
  expect(told.get(DEBUG)?.is_on_demand).toBe(true);
  expect(told.get(DEBUG)?.on_demand_start_ms).toBeLessThan(1000);
  expect(hours).toMatchObject({ robot: "rig", site: "lab", failures: 0 });

  const [received] = await rig.receivedEpisodes();
  const light = received?.files.find((file) => file.endsWith("light.mcap")) ?? "";
  const { metadata } = readMcapBySpec(light);
  expect(Object.fromEntries(metadata.get("lode:episode") ?? [])).toMatchObject({
    ...{
      task_type: "base",
      physics: "physical",
      is_complete: "true",
      "topics.observation": `["${CAMERA}","${JOINTS}"]`,
    },
  });

  // The robot stands still: it is watched, and does not move.
  const [sum] = (await rig.status()).hours;
  expect(sum?.on_ms).toBeGreaterThan(5000);
  expect(sum?.on_ms).toBeLessThan(Date.now() - sinceMs + 30_000);
  expect(sum).toMatchObject({ moving_ms: 0, tasks: 0 });
  const csv = rig.spawn(["hours", "--csv", "--config", `${rig.folder}/lode.yaml`]);
  const shown = rig.spawn(["episodes", id, "--config", `${rig.folder}/lode.yaml`]);
  await Promise.all([csv.exited, shown.exited]);
  expect(csv.stdout.split("\n")[1]).toMatch(/^rig,lab,[0-9a-f-]+,\d{4}-/);
  expect(shown.stdout).toContain("base · rig · arm · lab");
  expect(shown.stdout).toMatch(/complete\s+yes/);
  expect(shown.stdout).toContain("it hit the shelf");

  // The hours are there again after a restart.
  rig.daemon?.kill("SIGTERM");
  await rig.daemon?.exited;
  await rig.startDaemon();
  expect((await rig.status()).hours[0]?.on_ms).toBeGreaterThanOrEqual(sum?.on_ms ?? Number.NaN);
});
