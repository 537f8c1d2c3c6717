/** A ring on a small file system of its own that fills up. Mounting needs root. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { waitFor } from "../support/child.ts";
import { isRoot, lacks } from "../support/needs.ts";
import { SmallDisk } from "../support/small-disk.ts";
import { CAMERA, JOINTS, LiveRobot, sha256 } from "./live-robot.ts";
import { Rig } from "./rig.ts";

const needsRoot = test.skipIf(lacks(isRoot));

const memory_bytes_max = 1_000_000;
/** Every frame goes to the disk, and what waits in memory for it is soon bounded. */
const TIGHT = {
  topics: { classes: { camera: { tier: "disk" }, cloud: { memory_bytes_max }, debug: { memory_bytes_max } } },
};

type Numbers = Awaited<ReturnType<Rig["status"]>>["accounting"];

function expectToAddUp({ received, in_memory, stored, reduced, held, evictable, evicted, dropped }: Numbers): void {
  const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  expect(in_memory + stored + reduced + drops).toBe(received);
  expect(held + evictable + evicted).toBe(stored);
}

needsRoot(
  "capture goes on in memory while the disk is full, drops are counted, and it goes on when there is room",
  {
    timeout: 90_000,
  },
  async () => {
    using disk = new SmallDisk(40);
    await using robot = await LiveRobot.open({ cameraHz: 20, frameBytes: 600_000 });
    const dataFolder = join(disk.path, "data");
    await using rig = await Rig.open({ bridgePort: robot.port, dataFolder, config: TIGHT });
    await rig.startReceiver();
    const daemon = await rig.startDaemon();
    await waitFor(() => robot.isSubscribed(JOINTS), "the subscription");
    const sinceMs = Date.now();
    // From here on everything is held: nothing in the ring may make room.
    await rig.lode(["capture", "--pre", "60s", "--post", "120s"]);
    const full = await waitFor(
      async () => {
        const status = await rig.status();
        return (status.accounting.dropped.disk_full ?? 0) > 10 && status;
      },
      "drops for want of disk",
      40_000,
      () => daemon.stderr,
    );
    expect(full.ring.state).toMatch(/disk takes no more; capture goes on in memory/);
    expect(full.accounting.in_memory).toBeGreaterThan(0);
    expectToAddUp(full.accounting);
    const topics = (await rig.topics()).topics;
    // The frames go first: what is worth most is still whole.
    expect(topics.find(({ topic }) => topic === JOINTS)?.accounting.dropped).toEqual({});
    expect(daemon.stderr.split("\n").filter((line) => line.includes("The disk takes no more"))).toHaveLength(1);

    disk.grow(600);
    await waitFor(async () => (await rig.status()).ring.state === "ok", "the disk to take data again", 20_000);
    const { stored } = (await rig.status()).accounting;
    await waitFor(async () => (await rig.status()).accounting.stored > stored + 50, "recording again");
    robot.stopSending();
    // What is worth most is whole, through it all.
    const sent = robot.sentBetween(JOINTS, sinceMs, Date.now());
    const missing = () => {
      const stored = hashesOf(dataFolder, JOINTS);
      return sent.flatMap((hash, index) => (stored.has(hash) ? [] : [index]));
    };
    await waitFor(
      () => missing().length === 0,
      "all joints on the disk",
      8_000,
      () => `${missing()} of ${sent.length}`,
    );
    const settled = await waitFor(async () => {
      const { accounting } = await rig.status();
      return accounting.in_memory === 0 && accounting;
    }, "everything on the disk");
    expectToAddUp(settled);
    // What is counted as stored can be read.
    const unreadable = async () =>
      (await rig.topics()).topics.filter(
        ({ topic, accounting }) => hashesOf(dataFolder, topic).size !== accounting.stored - accounting.evicted,
      );
    // What was counted last is committed within half a second.
    await waitFor(async () => (await unreadable()).length === 0, "everything counted as stored to be readable", 3_000);
    const losses = (await rig.status()).losses.filter(({ reason }) => reason === "disk_full");
    expect(losses.map(({ topic }) => topic)).toEqual([CAMERA]);
    const lost = losses.reduce((sum, { count }) => sum + (count ?? 0), 0);
    expect(lost).toBe(settled.dropped.disk_full);
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  },
);

needsRoot(
  "on a disk that is full already the daemon starts, again and again, and records when there is room",
  {
    timeout: 90_000,
  },
  async () => {
    using disk = new SmallDisk(40);
    await using robot = await LiveRobot.open({ cameraHz: 2, frameBytes: 20_000 });
    const dataFolder = join(disk.path, "data");
    await using rig = await Rig.open({ bridgePort: robot.port, dataFolder });
    const ballast = join(dataFolder, "ballast");
    const first = await rig.startDaemon();
    await waitFor(() => existsSync(ballast) && statSync(ballast).size >= 8 << 20, "the ballast", 10_000);
    await waitFor(async () => (await rig.status()).accounting.stored > 50, "something stored");
    expect(await first.stop()).toEqual({ code: 0, signal: null });
    disk.fill();

    const second = await rig.startDaemon();
    expect(second.stderr).toContain("its ballast was given up");
    await waitFor(async () => (await rig.status()).accounting.received > 50, "messages on a full disk");
    expectToAddUp((await rig.status()).accounting);
    await second.killHard();
    disk.fill();
    const third = await rig.startDaemon();
    await waitFor(async () => (await rig.status()).accounting.received > 50, "messages after a kill");
    expect(await third.stop()).toEqual({ code: 0, signal: null });
    disk.fill();

    const fourth = await rig.startDaemon();
    disk.makeRoom();
    await waitFor(async () => (await rig.status()).ring.state === "ok", "the disk to take data again", 20_000);
    await waitFor(() => robot.isSubscribed(JOINTS), "the subscription");
    const sinceMs = Date.now();
    const { stored } = (await rig.status()).accounting;
    await waitFor(async () => (await rig.status()).accounting.stored > stored + 50, "recording again");
    const sent = robot.sentBetween(JOINTS, sinceMs, Date.now());
    const missing = () => {
      const got = hashesOf(dataFolder, JOINTS);
      return sent.filter((hash) => !got.has(hash));
    };
    await waitFor(
      () => missing().length === 0,
      "the commit of all that was sent",
      10_000,
      () => missing().join(),
    );
    expectToAddUp((await rig.status()).accounting);
    expect(await fourth.stop()).toEqual({ code: 0, signal: null });
  },
);

needsRoot("where even that does not help, it says what is wrong and what to do", { timeout: 30_000 }, async () => {
  using disk = new SmallDisk(2);
  await using rig = await Rig.open({ bridgePort: 1, dataFolder: join(disk.path, "data") });
  disk.fill();
  const child = rig.spawn(["run", "--json", "--config", join(rig.folder, "lode.yaml")]);
  expect(await child.exited).toEqual({ code: 1, signal: null });
  const { error } = child.lastJson<{ error: { code: string; message: string; hint: string } }>();
  expect(error.code).toBe("disk_full");
  expect(error.message).toContain(disk.path);
  expect(error.hint).not.toBe("");
});

function hashesOf(folder: string, topic: string): Set<string> {
  using reader = RingReader.open(folder);
  const ids = [...reader.channels()].filter(([, channel]) => channel.topic === topic).map(([id]) => id);
  const messages = reader.messages({ startNs: 0n, endNs: 2n ** 63n - 1n, channelIds: new Set(ids) });
  return new Set([...messages].map(({ bytes }) => sha256(bytes)));
}
