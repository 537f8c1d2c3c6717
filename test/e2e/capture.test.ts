/** A person's firing on a live robot under the default classes: what was in memory only comes home whole. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { CAMERA, CAPTURE, DEBUG, JOINTS, LiveRobot, TF_STATIC } from "./live-robot.ts";
import { receivedManifest, receivedMessages } from "./received.ts";
import { Rig } from "./rig.ts";

const ON_DEMAND = { topics: { assign: [{ match: ["/debug/**"], on_demand: true }] } };
const SUBSCRIBE_MS_MAX = 100;
const LIGHT_LAG_MS_MAX = 1000;
const HEAVY_LAG_MS_MAX = 5000;

test("pre-roll and post-roll are there at full rate, with what is latched and what is on demand", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open();
  await using rig = await Rig.open({ bridgePort: robot.port, config: ON_DEMAND });
  await rig.startReceiver();
  await rig.startDaemon();
  await waitFor(() => robot.isSubscribed(CAMERA) && robot.isSubscribed(JOINTS), "subscriptions");
  const sinceMs = Date.now();
  await rig.lode(["pause", "upload"]);
  await waitFor(() => Date.now() > sinceMs + 5000, "five seconds of recording");
  // Nothing is wrong: the camera reaches the disk at its baseline only, and debug topics are left alone.
  const before = (await rig.topics()).topics.find(({ topic }) => topic === CAMERA)?.accounting;
  expect(before?.in_memory).toBeGreaterThan(4 * (before?.stored ?? 0));
  expect(robot.isSubscribed(DEBUG)).toBe(false);

  const args = ["capture", "--pre", "4s", "--post", "2s", "--label", "shelf=3", "--note", "hit the shelf"];
  const { episode_id: id } = await rig.lode<{ episode_id: string }>(args);
  await waitFor(() => robot.isSubscribed(DEBUG), "the debug topic to be subscribed", 2000);
  const open = (await rig.status()).capture.open;
  expect(open).toMatchObject({ id, rule: "manual" });
  await waitFor(async () => (await rig.status()).capture.open === undefined, "the episode's end");
  await waitFor(() => !robot.isSubscribed(DEBUG), "the debug topic to be left alone again", 2000);
  const { last_light_lag_ms, last_heavy_lag_ms } = (await rig.status()).capture;
  expect(last_light_lag_ms).toBeLessThan(LIGHT_LAG_MS_MAX);
  expect(last_heavy_lag_ms).toBeLessThan(HEAVY_LAG_MS_MAX);

  // Paused by a person: all is ready and nothing goes.
  await waitFor(async () => (await rig.episodes())[0]?.state === "batched", "the batches");
  const { upload } = await rig.status();
  expect(upload.is_open).toBe(false);
  expect(upload.reasons.join()).toMatch(/paused/i);
  expect(upload.queued_batches).toBeGreaterThanOrEqual(3);
  expect(rig.leftovers()).toMatchObject({ parts: [], blobs: [] });
  await rig.lode(["resume", "upload"]);
  await rig.episodesHome(1, 20_000);

  const { episode } = await receivedManifest(rig);
  expect(episode).toMatchObject({ id, kind: "manual", labels: { shelf: "3" }, note: "hit the shelf" });
  const [startMs, endMs] = [Date.parse(episode.start_time), Date.parse(episode.end_time)];
  expect(endMs - startMs).toBe(6000);
  const found = await receivedMessages(rig);
  for (const topic of [JOINTS, CAMERA]) {
    const sent = robot.sentBetween(topic, startMs + 50, endMs - 50);
    expect(sent.length).toBeGreaterThan(50);
    expect(sent.filter((hash) => !found.has(`${topic} ${hash}`)).length, topic).toBe(0);
  }
  for (const hash of robot.sentBetween(TF_STATIC, 0, endMs)) expect(found).toContain(`${TF_STATIC} ${hash}`);

  type Coverage = { topic: string; coverage: string; pre_roll_ms: number; post_roll_ms: number; gaps: object[] };
  const told = new Map<string, Coverage>(episode.completeness.map((entry: Coverage) => [entry.topic, entry]));
  for (const topic of [JOINTS, CAMERA]) {
    expect(told.get(topic)).toMatchObject({ coverage: "full", gaps: [], dropped: {} });
    expect(told.get(topic)?.pre_roll_ms).toBeGreaterThan(3800);
    expect(told.get(topic)?.post_roll_ms).toBeGreaterThan(1800);
  }
  expect(told.get(TF_STATIC)?.coverage).toBe("latched");
  expect(told.get(DEBUG)?.post_roll_ms).toBeGreaterThan(1000);
  expect(told.get(DEBUG)?.pre_roll_ms).toBeLessThan(500);
});

test("a rule's firing has topics on demand subscribed within 100 ms, and the close has them left", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open();
  await using rig = await Rig.open({
    bridgePort: robot.port,
    config: { ...ON_DEMAND, rules: { files: ["push.yaml"] } },
  });
  writeFileSync(join(rig.folder, "push.yaml"), PUSH_RULE);
  await rig.startDaemon();
  await waitFor(() => robot.isSubscribed(JOINTS), "subscriptions");
  const pushRule = async () => (await rig.status()).capture.rules.find(({ rule }) => rule === "push");
  await waitFor(async () => (await pushRule())?.state === "bound", "the rule to be bound");
  const tookMs: number[] = [];
  for (let firing = 0; firing < 3; firing += 1) {
    await waitFor(() => !robot.isSubscribed(DEBUG), "the debug topic to be left alone", 10_000);
    const pushedMs = performance.now();
    robot.push();
    await waitFor(() => robot.isSubscribed(DEBUG), "the debug topic to be subscribed", 5000);
    tookMs.push(performance.now() - pushedMs);
  }
  const [, median = Number.POSITIVE_INFINITY] = tookMs.toSorted((a, b) => a - b);
  expect(median).toBeLessThan(SUBSCRIBE_MS_MAX);
});

test("a message asks for an episode with its words and the rule's topics; a rule on trial opens none", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open({ isAsking: true });
  await using rig = await Rig.open({ bridgePort: robot.port, config: { rules: { files: ["asked.yaml"] } } });
  writeFileSync(join(rig.folder, "asked.yaml"), ASKED_RULES);
  await rig.startReceiver();
  await rig.startDaemon();
  await waitFor(() => robot.isSubscribed(JOINTS) && robot.isSubscribed(CAPTURE), "subscriptions");
  const ruleOf = async (name: string) => (await rig.status()).capture.rules.find(({ rule }) => rule === name);
  await waitFor(async () => (await ruleOf("push"))?.state === "bound", "the rules to be bound");
  robot.push();
  await waitFor(async () => (await ruleOf("push"))?.firings === 1, "the firing on trial");
  expect(await ruleOf("push")).toMatchObject({ is_dry_run: true, version: expect.stringMatching(/^[0-9a-f]{8}$/) });
  const { answers } = await rig.lode<{ answers: { reasons: object[] }[] }>(["why", "capture"]);
  const evidence = "dry_run: 1 firings, no episode";
  expect(answers[0]?.reasons).toContainEqual(expect.objectContaining({ reason: "Rule push is on trial.", evidence }));
  robot.ask("it squeaks");
  await rig.episodesHome(1, 20_000);
  expect((await rig.episodes()).map(({ rule }) => rule)).toEqual(["manual"]);
  const { episode } = await receivedManifest(rig);
  expect(episode).toMatchObject({ kind: "manual", note: "it squeaks", outcome: "unknown" });
  const topics = new Set([...(await receivedMessages(rig))].map((line) => line.split(" ")[0]));
  expect([...topics].sort()).toEqual([JOINTS, "/lode/episode", TF_STATIC]);
});

const ASKED_RULES = `rules:
  push:
    inputs: { j: ${JOINTS} }
    when: j.effort["elbow"] > 5
    dry_run: true
  manual:
    kind: manual
    inputs: { request: ${CAPTURE} }
    pre_roll_ms: 500
    post_roll_ms: 500
    topics: ["/joint_*"]
`;

const PUSH_RULE = `rules:
  push:
    inputs: { j: ${JOINTS} }
    when: j.effort["elbow"] > 5
    clear_for_ms: 0
    cool_down_ms: 0
    pre_roll_ms: 100
    post_roll_ms: 100
    max_ms: 1000
    recovered_when: never
`;
