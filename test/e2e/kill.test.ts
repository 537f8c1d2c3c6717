/** `kill -9` of either end wherever it hurts: nothing promised is lost, nothing arrives twice, nothing is left behind. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { pinKeys, receiptFromWire, verifyReceipt } from "../../src/protocol/receipt.ts";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { waitFor } from "../support/child.ts";
import { type Fault, FaultProxy } from "../support/fault-proxy.ts";
import { CAMERA, JOINTS, LiveRobot } from "./live-robot.ts";
import { receivedManifest, receivedMessages } from "./received.ts";
import { Rig } from "./rig.ts";

const NARROW: Fault = { kind: "narrow", bytesPerS: 400_000 };

/** A recording robot with a receiver behind a link that is narrow until told otherwise. */
async function open(options: Parameters<typeof LiveRobot.open>[0] = {}) {
  await using opened = new AsyncDisposableStack();
  const robot = opened.use(await LiveRobot.open(options));
  const link = { port: 0, fault: NARROW };
  const proxy = await FaultProxy.open(
    () => link.port,
    () => link.fault,
  );
  const rig = opened.use(await Rig.open({ bridgePort: robot.port, uploadUrl: () => proxy.url }));
  opened.use(proxy);
  link.port = rig.receiverPort;
  await rig.startReceiver();
  await rig.startDaemon();
  await waitFor(() => robot.isSubscribed(CAMERA) && robot.isSubscribed(JOINTS), "subscriptions");
  const widen = () => {
    link.fault = { kind: "none" };
    proxy.cutAll();
  };
  const parts = opened.move();
  return { robot, rig, proxy, widen, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

async function record(rig: Rig, messages: number): Promise<void> {
  await waitFor(async () => (await rig.status()).accounting.received >= messages, `${messages} messages`);
}

async function capture(rig: Rig, pre: string, post: string): Promise<string> {
  return (await rig.lode<{ episode_id: string }>(["capture", "--pre", pre, "--post", post])).episode_id;
}

/** Something of a batch is at the receiver, and not all. */
async function inMidUpload(rig: Rig, proxy: FaultProxy, robot: LiveRobot): Promise<void> {
  await waitFor(
    () => proxy.bytesUp > 300_000,
    "an upload under way",
    30_000,
    () => rig.daemon?.stderr ?? "",
  );
  robot.stopSending();
  expect(rig.leftovers().parts).toHaveLength(1);
}

type ReceiptRow = { readonly batch_id: string; readonly sha256: string; readonly receipt: string };

/** Both sides tell the same story, and neither has anything left over. */
async function expectAllHome(rig: Rig, episodeId: string): Promise<void> {
  const [episode, ...others] = await rig.episodesHome(1, 30_000);
  expect([episode?.id, others]).toEqual([episodeId, []]);
  const [received, ...strangers] = await rig.receivedEpisodes();
  expect(strangers).toEqual([]);
  const rows = rig.journal<ReceiptRow>("SELECT batch_id, sha256, receipt FROM receipt");
  const pinned = pinKeys(rig.publicKeys);
  for (const row of rows) {
    const receipt = receiptFromWire(JSON.parse(row.receipt));
    expect(receipt).toMatchObject({ batch: row.batch_id, sha256: row.sha256 });
    expect(receipt !== undefined && verifyReceipt(receipt, pinned)).toBe(true);
  }
  const ids = rows.map((row) => row.batch_id).sort();
  expect(received?.batches.map(({ batch }) => batch).sort()).toEqual(ids);
  expect(rig.journal("SELECT id FROM batch WHERE state <> 'deleted'")).toEqual([]);
  expect(rig.journal<{ n: number }>("SELECT count(*) AS n FROM batch")).toEqual([{ n: ids.length }]);
  expect(rig.journal("SELECT * FROM hold")).toEqual([]);
  expect(await rig.fsck()).toMatchObject({ batches: ids.length, problems: [] });
  expect(rig.leftovers()).toMatchObject({ robot: [], parts: [] });
  expect(rig.leftovers().blobs).toHaveLength(ids.length);
}

test("a daemon that is killed in mid-upload goes on where it was", { timeout: 60_000 }, async () => {
  await using line = await open({ frameBytes: 60_000 });
  const { robot, rig, proxy, widen } = line;
  await record(rig, 150);
  const id = await capture(rig, "3s", "1s");
  await inMidUpload(rig, proxy, robot);
  await rig.daemon?.killHard();
  expect(rig.leftovers().robot).not.toEqual([]);
  widen();
  const before = proxy.bytesUp;
  const unsent = rig.journal<{ size_bytes: number }>("SELECT size_bytes FROM batch WHERE state = 'queued'");
  await rig.startDaemon();
  await expectAllHome(rig, id);
  // It resumed: less went over the link than the batches that were not home.
  expect(proxy.bytesUp - before).toBeLessThan(unsent.reduce((sum, row) => sum + row.size_bytes, 0));
});

test("a receiver that is killed in mid-upload goes on where it was", { timeout: 60_000 }, async () => {
  await using line = await open({ frameBytes: 60_000 });
  const { robot, rig, proxy, widen } = line;
  await record(rig, 150);
  const id = await capture(rig, "3s", "1s");
  await inMidUpload(rig, proxy, robot);
  await rig.receiver?.killHard();
  widen();
  await rig.startReceiver();
  await rig.lode(["resume", "upload"]); // a person who wants to see it now, not after the back-off
  await expectAllHome(rig, id);
});

test.for(["SIGKILL", "SIGTERM"] as const)(
  "a daemon that ends by %s while it writes batch files writes them anew",
  { timeout: 60_000 },
  async (how) => {
    await using line = await open({ frameBytes: 150_000, cameraHz: 20 });
    const { robot, rig, widen } = line;
    await record(rig, 250);
    const id = await capture(rig, "4s", "1s");
    const endMs = performance.now() + 20_000;
    while (!rig.leftovers().robot.some((name) => name.includes("-light.mcap"))) {
      if (performance.now() > endMs) throw new Error("no batch file was begun");
      await nextTurn();
    }
    rig.daemon?.kill(how);
    await rig.daemon?.exited;
    expect(rig.daemon?.stderr).not.toMatch(/"level":"error"/);
    robot.stopSending();
    expect(rig.leftovers().robot.filter((name) => name.endsWith("-meta.json"))).toEqual([]);
    expect(rig.journal("SELECT id FROM batch")).toEqual([]);
    widen();
    await rig.startDaemon();
    await expectAllHome(rig, id);
  },
);

/** How many messages of each topic the robot sent within an interval and the received episode does not have. */
function missing(robot: LiveRobot, found: ReadonlySet<string>, fromMs: number, toMs: number) {
  return [JOINTS, CAMERA].map((topic) => {
    const sent = robot.sentBetween(topic, fromMs, toMs);
    expect(sent.length).toBeGreaterThan(10);
    return sent.filter((hash) => !found.has(`${topic} ${hash}`)).length;
  });
}

test("an episode that was open at a kill is sealed as interrupted, with all that was committed", {
  timeout: 60_000,
}, async () => {
  await using line = await open();
  const { robot, rig, widen } = line;
  widen();
  await record(rig, 150);
  const id = await capture(rig, "2s", "60s");
  const firedMs = Date.now();
  await waitFor(() => Date.now() > firedMs + 2500, "some seconds of episode");
  const killedMs = Date.now();
  await rig.daemon?.killHard();
  await rig.startDaemon();
  expect((await rig.status()).capture.open).toBeUndefined();
  await expectAllHome(rig, id);
  const { episode } = await receivedManifest(rig);
  expect(episode).toMatchObject({ id, is_interrupted: true });
  const endMs = Date.parse(episode.end_time);
  // Group commit: at most a second is lost.
  expect(endMs).toBeGreaterThan(killedMs - 1500);
  expect(endMs).toBeLessThanOrEqual(killedMs + 100);
  // Topics reach the disk in turn: within a second of the end some may lack what others have, and the episode says so.
  const [found, startMs] = [await receivedMessages(rig), Date.parse(episode.start_time)];
  expect(missing(robot, found, startMs + 100, endMs - 1000)).toEqual([0, 0]);
  type Gaps = { readonly topic: string; readonly gaps: { readonly reason: string; readonly start_time: string }[] };
  for (const { topic, gaps } of episode.completeness.filter(({ topic }: Gaps) => [JOINTS, CAMERA].includes(topic))) {
    const crash = gaps.find(({ reason }: Gaps["gaps"][number]) => reason === "crash");
    expect(Date.parse(crash?.start_time), topic).toBeLessThanOrEqual(endMs - 1000);
  }
  const crashes = (await rig.status()).losses.filter(({ reason }) => reason === "crash");
  expect(crashes).toMatchObject([{ topic: "" }]);
  expect(crashes[0]?.count).toBeUndefined();
  // The ring goes on, in the same boot, and tells the two runs' messages apart.
  using reader = RingReader.open(rig.dataFolder);
  const joints = [...reader.channels()]
    .filter(([, channel]) => channel.topic === JOINTS)
    .map(([channelId]) => channelId);
  const all = [...reader.messages({ startNs: 0n, endNs: 2n ** 63n - 1n, channelIds: new Set(joints) })];
  expect(new Set(all.map(({ sequence }) => sequence)).size).toBe(all.length);
  expect(all.some(({ logTimeNs }) => logTimeNs > BigInt(killedMs + 500) * 1_000_000n)).toBe(true);
});

test("a clean stop in an open episode loses nothing of it", { timeout: 60_000 }, async () => {
  await using line = await open();
  const { robot, rig, widen } = line;
  widen();
  await record(rig, 150);
  const id = await capture(rig, "2s", "60s");
  const firedMs = Date.now();
  await waitFor(() => Date.now() > firedMs + 1500, "some seconds of episode");
  const stopping = rig.daemon?.stop();
  await waitFor(() => !robot.isSubscribed(JOINTS), "the end of the subscriptions");
  const leftMs = Date.now();
  expect(await stopping).toEqual({ code: 0, signal: null });
  expect(rig.daemon?.stderr).not.toMatch(/"level":"error"/);
  await rig.startDaemon();
  await expectAllHome(rig, id);
  const { episode } = await receivedManifest(rig);
  expect(episode).toMatchObject({ id, is_interrupted: true });
  expect(Date.parse(episode.end_time)).toBeGreaterThan(leftMs - 300);
  const startMs = Date.parse(episode.start_time);
  expect(missing(robot, await receivedMessages(rig), startMs + 100, leftMs - 150)).toEqual([0, 0]);
  // Between the two processes nobody listened, and the ledger may say so; nothing that had come is lost.
  const losses = (await rig.status()).losses.filter(({ reason }) => reason !== "connection_gap");
  expect(losses).toEqual([]);
});
