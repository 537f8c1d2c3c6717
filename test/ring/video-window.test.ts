import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { readRecord, viewOf } from "../../src/ring/message-record.ts";
import { bodyOf, type WindowQuery, windowChunks } from "../../src/ring/window.ts";
import { lacks } from "../support/needs.ts";
import { accessUnits, FRAME_HZ, KEY_DISTANCE } from "../support/video.ts";
import { CAMERA, LIGHT, MS, type Rig, START_NS } from "./ring-rig.ts";
import { decoder, frameAt, JPEG, record, sendFrame, VIDEO } from "./video-rig.ts";

type Got = {
  readonly frames: number[];
  readonly units: Uint8Array[];
  readonly undecodable: number[];
  readonly jpegs: number;
};

/** Which frames a window has, in their order, and the video itself. */
function windowOf(rig: Rig, startIndex: number, endIndex: number, changes: Partial<WindowQuery> = {}): Got {
  const undecodable: number[] = [];
  using reader = rig.open();
  const indexOf = (atNs: bigint) => Number((atNs - START_NS) / (1000n / BigInt(FRAME_HZ)) / MS);
  const chunks = windowChunks(reader, {
    ...{ startNs: frameAt(startIndex), endNs: frameAt(endIndex), wants: () => true, isCut: () => true },
    onDamaged: (_, reason) => expect.unreachable(reason.message),
    videoFrames: decoder.videoFrames,
    onUndecodable: (_, atNs) => undecodable.push(indexOf(atNs)),
    ...changes,
  });
  const messages = [...chunks].flatMap((chunk) => {
    const body = viewOf(bodyOf(chunk));
    return [...chunk.index.values()].flatMap((index) => [...index]).map(([, offset]) => readRecord(body, offset, ""));
  });
  const video = messages
    .filter(({ channelId }) => channelId === VIDEO.id)
    .toSorted((a, b) => Number(a.logTimeNs - b.logTimeNs));
  const units = video.map(({ bytes }) => (decoder.decode(VIDEO, bytes) as { data: Uint8Array }).data);
  const jpegs = messages.filter(({ channelId }) => channelId === JPEG.id).length;
  return { frames: video.map(({ logTimeNs }) => indexOf(logTimeNs)), units, undecodable, jpegs };
}

const range = (start: number, end: number): number[] =>
  Array.from({ length: end - start }, (_, index) => start + index);

test.each(["h264", "hevc"] as const)("an episode of %s begins at the key frame before its start", (codec) => {
  using rig = record(codec, {}, 33, 45);
  const { frames, undecodable, jpegs } = windowOf(rig, 33, 60);
  expect(KEY_DISTANCE).toBe(20);
  expect(frames).toEqual(range(20, 60));
  expect(undecodable).toEqual([]);
  expect(jpegs).toBe(60 - 33); // the other camera begins where the window does
});

test("a window that begins at a key frame needs nothing before it", () => {
  using rig = record("h264", {}, 40, 45);
  expect(windowOf(rig, 40, 60).frames).toEqual(range(40, 60));
});

test("a class that comes by whole chunks begins at a key frame all the same", () => {
  using rig = record("h264", {}, 33, 45);
  expect(windowOf(rig, 33, 50, { isCut: () => false }).frames.slice(0, 31)).toEqual(range(20, 51));
});

test("a hold that is set again minutes later still protects the key frame it began from", () => {
  using rig = record("h264", { diskMsMax: 1000 }, 33, 45);
  rig.clock.advanceMs(130_000);
  rig.ring.noteKeyFrame(VIDEO.id, rig.nowNs);
  rig.ring.hold("e", frameAt(33), frameAt(59));
  rig.settle();
  expect(windowOf(rig, 33, 59).frames).toEqual(range(20, 60));
});

test("where the memory tier no longer reaches the key frame, frames before the next are left out, and told", () => {
  using rig = record("h264", { memoryMs: 1300 }, 33, 45);
  const { frames, undecodable } = windowOf(rig, 33, 60);
  expect(frames).toEqual(range(40, 60));
  expect(undecodable).toEqual(range(33, 40));
});

test("where the full rate begins in mid-run, only key frames come before it", () => {
  using rig = record("h264", { memoryMs: 1500 }, 0, 45);
  const { frames, undecodable } = windowOf(rig, 0, 60);
  expect(frames).toEqual([0, 20, ...range(40, 60)]);
  expect(undecodable.length).toBeGreaterThan(5);
  expect(undecodable.at(-1)).toBe(39);
});

test("a stretch of two boots begins at a key frame in each", () => {
  using rig = record("h264", { memoryMs: 0 }, 0, 0);
  const again = rig.reopen({ classes: [LIGHT, CAMERA], bootId: "boot-2" });
  again.ring.setFullRate(true);
  for (const [index, unit] of accessUnits("h264").entries()) {
    if (index >= 5) sendFrame(again, VIDEO, "h264", index, unit);
    again.clock.advanceMs(100);
  }
  again.settle();
  const { frames, undecodable } = windowOf(again, 0, 2000);
  expect(frames.slice(0, 60)).toEqual(range(0, 60));
  expect(frames.length - 60).toBe(40);
  expect(undecodable).toHaveLength(15);
  again.remove();
});

const ffmpeg = spawnSync("ffmpeg", ["-version"]).status === 0;

test.each(["h264", "hevc"] as const)(
  "what an episode has of %s decodes from its first frame on without a word of complaint",
  { skip: lacks(ffmpeg) },
  (codec) => {
    using rig = record(codec, {}, 33, 45);
    const decode = (units: readonly Uint8Array[]) =>
      spawnSync("ffmpeg", ["-v", "error", "-f", codec, "-i", "-", "-f", "framemd5", "-"], {
        input: Buffer.concat(units),
      });
    const hashes = (text: string) =>
      text
        .split("\n")
        .filter((line) => /^0,/.test(line))
        .map((line) => line.split(",").at(-1));
    const episode = decode(windowOf(rig, 33, 60).units);
    expect(episode.stderr.toString()).toBe("");
    const whole = decode(accessUnits(codec));
    expect(hashes(episode.stdout.toString())).toEqual(hashes(whole.stdout.toString()).slice(20));
    const naive = decode(accessUnits(codec).slice(33)); // the control: a window that begins in mid-run
    expect(hashes(naive.stdout.toString())).not.toEqual(hashes(whole.stdout.toString()).slice(33));
  },
);
