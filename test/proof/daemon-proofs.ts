/** The whole daemon, its threads, its clock and a real bridge: killed at failpoints, and on a disk whose power is cut. */
import { join } from "node:path";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { CAMERA, JOINTS, LiveRobot, sha256 } from "../e2e/live-robot.ts";
import { Rig } from "../e2e/rig.ts";
import { auditRing } from "../support/audit.ts";
import { waitFor } from "../support/child.ts";
import { type FileSystem, LoopDisk } from "./loop-disk.ts";

/** Where a daemon dies that records, captures one episode and brings it home. */
export const DAEMON_POINTS = [
  ...["ring.committed:6", "ring.segments_synced:6", "segment.written:3", "capture.recorded:2", "capture.sealing"],
  ...["mcap.written", "file.renamed:2", "capture.batching", "capture.batched", "upload.attempt_started"],
  ...["upload.receipt_committed", "batch.deleting", "batch.unlinked", "batch.deleted:2"],
] as const;

const MESSAGES_MIN = 100;
const DEATH_MS_MAX = 40_000;

/** It dies at the point, starts again, and the episode comes home once, with books that add up. */
export async function proveDaemonKill(point: string): Promise<readonly string[]> {
  await using robot = await LiveRobot.open({ frameBytes: 90_000 });
  await using rig = await Rig.open({ bridgePort: robot.port });
  await rig.startReceiver();
  process.env.LODE_FAILPOINT = point;
  const armed = await rig.startDaemon().finally(() => {
    delete process.env.LODE_FAILPOINT;
  });
  const isRecording = async () => (await rig.status()).accounting.received > MESSAGES_MIN;
  await waitFor(() => isRecording().catch(() => true), "messages, or its death");
  await rig.lode(["capture", "--pre", "1s", "--post", "500ms"]).catch(() => {});
  const deadline = setTimeout(() => armed.kill("SIGTERM"), DEATH_MS_MAX);
  const { signal } = await armed.exited;
  clearTimeout(deadline);
  if (signal !== "SIGKILL") return [`${point} was not reached`];
  await rig.startDaemon();
  const wasCaptured = rig.journal("SELECT id FROM episode").length > 0;
  if (!wasCaptured) await rig.lode(["capture", "--pre", "1s", "--post", "500ms"]);
  await rig.episodesHome(1, 60_000);
  const problems: string[] = [];
  const { problems: wrong } = await rig.fsck();
  if (wrong.length > 0) problems.push(`${point}: at the receiver ${JSON.stringify(wrong)}`);
  const { robot: left, parts } = rig.leftovers();
  if (left.length + parts.length > 0) problems.push(`${point}: left over ${[...left, ...parts].join(" ")}`);
  const { code } = (await rig.daemon?.stop()) ?? {};
  if (code !== 0) problems.push(`${point}: the next daemon ended with ${code}`);
  return [...problems, ...auditRing(rig.dataFolder).map((text) => `${point}: ${text}`)];
}

export type DaemonCut = {
  /** Between the cut and the oldest message of that topic that the robot had sent before it and the disk has not. */
  readonly jointsLostMs: number;
  /** Of the frames since the firing and a second before it, when it was at least 5 s ago; else undefined. */
  readonly framesLostMs: number | undefined;
  readonly problems: readonly string[];
};

/** Cuts the power `afterMs` after the recording began; every second time in an open episode that began 6 s before. */
export async function proveDaemonCut(fileSystem: FileSystem, afterMs: number, inEpisode: boolean): Promise<DaemonCut> {
  using disk = new LoopDisk(fileSystem);
  const dataFolder = join(disk.path, "data");
  await using robot = await LiveRobot.open({ frameBytes: 90_000, cameraHz: 20 });
  await using rig = await Rig.open({ bridgePort: robot.port, dataFolder });
  const daemon = await rig.startDaemon();
  await waitFor(async () => (await rig.status()).accounting.stored > MESSAGES_MIN, "something stored");
  const startMs = Date.now();
  if (inEpisode) await rig.lode(["capture", "--pre", "1s", "--post", "60s"]);
  const firedMs = Date.now();
  const settleMs = inEpisode ? HEAVY_MS : 0;
  await waitFor(() => Date.now() > firedMs + settleMs + afterMs, "the moment of the cut");
  const cutMs = Date.now();
  disk.cutPower(); // this process waits for it, and the robot in it
  await daemon.killHard();
  robot.stopSending();
  disk.unmount();
  disk.mount();
  const lostMs = (topic: string, fromMs: number) => {
    const stored = hashesOf(dataFolder, topic);
    const sent = robot.sent.filter((one) => one.topic === topic && one.wallMs >= fromMs && one.wallMs < cutMs);
    const first = sent.find((one) => !stored.has(one.sha256));
    return first === undefined ? 0 : cutMs - first.wallMs;
  };
  const [episode] = rig.journal<{ start_ms: number }>("SELECT start_ns / 1000000 AS start_ms FROM episode");
  const framesLostMs = episode === undefined ? undefined : lostMs(CAMERA, episode.start_ms + ARRIVAL_MS);
  const jointsLostMs = lostMs(JOINTS, startMs);
  await rig.startDaemon(); // it opens what is left
  const { code } = (await rig.daemon?.stop()) ?? {};
  const ended: string[] = code === 0 ? [] : [`the next daemon ended with ${code}`];
  if (inEpisode && framesLostMs === undefined) ended.push("the episode is not in the journal");
  return { jointsLostMs, framesLostMs, problems: [...ended, ...auditRing(dataFolder)] };
}

/** A window goes by when messages arrived, the robot's ledger by when they were sent. */
const ARRIVAL_MS = 100;
/** Durability contract: the heavy pre-roll is durable within 5 s of its firing. */
const HEAVY_MS = 5000;

function hashesOf(folder: string, topic: string): Set<string> {
  using reader = RingReader.open(folder);
  const ids = [...reader.channels()].filter(([, channel]) => channel.topic === topic).map(([id]) => id);
  const messages = reader.messages({ startNs: 0n, endNs: 2n ** 63n - 1n, channelIds: new Set(ids) });
  return new Set([...messages].map(({ bytes }) => sha256(bytes)));
}
