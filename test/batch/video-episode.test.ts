import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type EpisodeBatchesResult, writeEpisodeBatches } from "../../src/batch/episode-batches.ts";
import { exportMcap } from "../../src/export/export-mcap.ts";
import { McapSource } from "../../src/export/mcap-source.ts";
import type { Episode } from "../../src/model/episode.ts";
import type { Rig } from "../ring/ring-rig.ts";
import { decoder, frameAt, record, VIDEO } from "../ring/video-rig.ts";
import { openWithLibrary, readWithLibrary } from "../support/mcap-library-reader.ts";
import { EPISODE } from "./episode-rig.ts";

const START_INDEX = 33;
const VIDEO_EPISODE: Episode = {
  ...EPISODE,
  ...{ startNs: frameAt(START_INDEX), endNs: frameAt(59), segments: [] },
  firings: EPISODE.firings.map((firing) => ({ ...firing, atNs: frameAt(45) })),
};

async function write(rig: Rig): Promise<EpisodeBatchesResult> {
  const folder = join(rig.folder, "batches");
  mkdirSync(folder);
  using reader = rig.open();
  let count = 0;
  return await writeEpisodeBatches(VIDEO_EPISODE, reader, {
    ...{ folder, robot: { id: "r", site: "", embodiment: "", labels: {} }, lodeVersion: "0", losses: [] },
    ...{ heavyClasses: new Set(["camera"]), notRecorded: [], newId: () => `batch-${++count}`, nowNs: frameAt(99) },
    ...{ decode: decoder.decode, videoFrames: decoder.videoFrames },
  });
}

const paths = ({ batches }: EpisodeBatchesResult): string[] =>
  batches.filter(({ kind }) => kind !== "meta").map(({ path }) => path);

async function framesOf(files: readonly string[]): Promise<bigint[]> {
  const messages = await Promise.all(files.map((path) => readWithLibrary(path)));
  const video = messages.flat().filter(({ topic }) => topic === VIDEO.topic);
  return video.map(({ logTimeNs }) => logTimeNs).sort((a, b) => Number(a - b));
}

const stretch = (start: number, end: number): bigint[] =>
  Array.from({ length: end - start }, (_, index) => frameAt(start + index));

test("an episode's video begins at the key frame before its window, and so does what is exported of its files", async () => {
  using rig = record("h264", {}, START_INDEX, 45);
  const result = await write(rig);
  expect(await framesOf(paths(result))).toEqual(stretch(20, 60));
  const video = result.episode.completeness.find(({ topic }) => topic === VIDEO.topic);
  expect(video).toMatchObject({ dropped: {}, preRollMs: 1200, coverage: "full" });

  using source = await McapSource.open(paths(result));
  const path = join(rig.folder, "cut.mcap");
  const options = { parts: [{ startNs: frameAt(47), endNs: frameAt(50) }], wantsTopic: () => true };
  const { signal } = new AbortController();
  const cut = await exportMcap(source, path, { ...options, signal, videoFrames: decoder.videoFrames });
  expect(cut.undecodable).toEqual({});
  expect(await framesOf([path])).toEqual(stretch(40, 51));
  expect((await openWithLibrary(path)).statistics?.messageCount).toBe(BigInt(cut.messages));
});

test("an episode whose key frame was gone says which frames it lacks", async () => {
  using rig = record("hevc", { memoryMs: 1300 }, START_INDEX, 45);
  const result = await write(rig);
  expect(await framesOf(paths(result))).toEqual(stretch(40, 60));
  const video = result.episode.completeness.find(({ topic }) => topic === VIDEO.topic);
  expect(video).toMatchObject({ preRollMs: 500, dropped: { no_key_frame: 7 } });
  expect(video?.gaps).toContainEqual({ startNs: frameAt(33), endNs: frameAt(39), reason: "no_key_frame" });
});
