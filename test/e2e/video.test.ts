/** A robot whose camera sends H.264: the whole line, from the bridge to the receiver's files. */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { RosbridgeServer } from "../../src/replay/rosbridge-server.ts";
import { waitFor } from "../support/child.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { accessUnits, cdrMessage, FRAME_HZ, schemaOf, VIDEO_TYPES } from "../support/video.ts";
import { Rig } from "./rig.ts";

const TOPIC = "/front/video";
const TYPE = "foxglove_msgs/msg/CompressedVideo";

test("a captured episode's video reaches the receiver from a key frame on, and decodes", async () => {
  await using server = await RosbridgeServer.open({ ros: 2, port: 0 });
  const publisher = server.advertise({
    ...{ topic: TOPIC, schemaName: TYPE, schemaText: VIDEO_TYPES[TYPE], encoding: "cdr", isLatched: false },
  });
  const units = accessUnits("h264");
  let sent = 0;
  const timer = setInterval(() => {
    const unit = units[sent % units.length] ?? new Uint8Array(0);
    server.publish(publisher, cdrMessage(TYPE, "h264", unit));
    sent += 1;
  }, 1000 / FRAME_HZ);
  try {
    await using rig = await Rig.open({ bridgePort: server.port });
    await rig.startReceiver();
    await rig.startDaemon();
    await waitFor(async () => (await rig.status()).accounting.received >= 70, "seven seconds of video", 30_000);
    const inMidRun = () => sent % units.length > 30 && sent % units.length < 36; // 3 s back: between key frames
    await waitFor(inMidRun, "a moment between key frames", 20_000);
    await rig.lode(["capture", "--pre", "2500ms", "--post", "1s"]);
    await rig.episodesHome(1, 40_000);
    const [episode] = await rig.receivedEpisodes();
    const channel = { id: 1, topic: TOPIC, schema: schemaOf(TYPE), messageEncoding: "cdr", className: "" } as const;
    const reader = new ChannelReader();
    const frameOf = reader.videoFrames({ ...channel, isLocal: false, isLatched: false });
    const frames = (episode?.files ?? [])
      .filter((path) => path.endsWith(".mcap"))
      .flatMap((path) => {
        const { channels, messages } = readMcapBySpec(path);
        return messages.filter(({ channelId }) => channels.get(channelId)?.topic === TOPIC);
      })
      .toSorted((a, b) => a.sequence - b.sequence);
    const numbers = frames.map(({ sequence }) => sequence);
    expect(numbers.length).toBeGreaterThanOrEqual(30);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index)); // nothing between is missing
    expect(frameOf?.(frames[0]?.bytes ?? new Uint8Array(0))).toBe("key");
    if (spawnSync("ffmpeg", ["-version"]).status !== 0) return;
    const data = frames.map(({ bytes }) => {
      const message = reader.decode({ ...channel, isLocal: false, isLatched: false }, bytes);
      return (message as { data: Uint8Array }).data;
    });
    const decoded = spawnSync("ffmpeg", ["-v", "error", "-f", "h264", "-i", "-", "-f", "null", "-"], {
      input: Buffer.concat(data),
    });
    expect(decoded.stderr.toString()).toBe("");
  } finally {
    clearInterval(timer);
  }
}, 90_000);
