import { join } from "node:path";
import { expect, test } from "vitest";
import { Definitions } from "../../src/decode/definitions.ts";
import { parseSchema } from "../../src/decode/parsed-schema.ts";
import { type SequenceGap, SequenceGaps } from "../../src/decode/sequence-gaps.ts";
import { compileSequence } from "../../src/decode/stamp.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import { seededRandom } from "../../src/std/random.ts";

const FOLDER = join(import.meta.dirname, "../data/recordings");

/** The numbers come a nanosecond apart. */
function gapsOf(sequences: Iterable<number>, gaps = new SequenceGaps()): SequenceGap[] {
  let atNs = 0n;
  return [...sequences].flatMap((sequence) => gaps.note(sequence, atNs++) ?? []);
}

function* run(from: number, count: number, step = 1): Generator<number> {
  for (let index = 0; index < count; index += 1) yield (from + index * step) >>> 0;
}

test("what a steady publisher numbered and did not arrive is counted exactly, and where", () => {
  expect(gapsOf([...run(500, 100), ...run(603, 100)])).toEqual([{ count: 3, startNs: 99n, endNs: 100n }]);
  const two = gapsOf([...run(500, 100), ...run(603, 3), ...run(610, 100)]);
  expect(two).toEqual([{ count: 7, startNs: 99n, endNs: 103n }]);
});

test("a bridge that drops every second message from some moment on is counted to the last", () => {
  const gaps = gapsOf([...run(1, 100), ...run(101, 200, 2)]);
  const missing = gaps.reduce((sum, { count }) => sum + count, 0);
  expect(missing).toBeGreaterThanOrEqual(199 - 11); // the last ones wait to be sure
  expect(missing).toBeLessThanOrEqual(199);
});

test("the numbers may wrap", () => {
  expect(gapsOf(run(2 ** 32 - 100, 300))).toEqual([]);
  expect(gapsOf([...run(2 ** 32 - 100, 98), ...run(5, 100)]).map(({ count }) => count)).toEqual([7]);
});

test("a publisher that begins again is no gap, at whatever number it was", () => {
  expect(gapsOf([...run(900, 200), ...run(0, 200), ...run(0, 200), ...run(90, 200)])).toEqual([]);
  expect(gapsOf([...run(0, 60), ...run(500_000, 200)])).toEqual([]);
});

test("a topic that is relayed in part, or not numbered, or numbered at random has no gaps", () => {
  expect(gapsOf(run(0, 500, 3))).toEqual([]);
  expect(gapsOf(Array.from({ length: 500 }, () => 0))).toEqual([]);
  const random = seededRandom(5);
  expect(gapsOf(Array.from({ length: 5000 }, () => Math.floor(random() * 100_000)))).toEqual([]);
});

test("several publishers on one topic, whatever their rates and numbers, raise no alarm", () => {
  const random = seededRandom(7);
  for (let round = 0; round < 300; round += 1) {
    const publishers = Array.from({ length: 2 + Math.floor(random() * 3) }, () => ({
      next: Math.floor(random() * (round % 2 === 0 ? 300 : 20_000)),
      share: random() ** 3,
    }));
    const total = publishers.reduce((sum, { share }) => sum + share, 0);
    const sequences = Array.from({ length: 2000 }, () => {
      let pick = random() * total;
      const publisher = publishers.find(({ share }) => {
        pick -= share;
        return pick <= 0;
      });
      return publisher === undefined ? 0 : publisher.next++;
    });
    expect(gapsOf(sequences)).toEqual([]);
  }
});

test("after another publisher has gone, the one that stays must prove itself anew before it has gaps", () => {
  const both = [...run(100, 100), 5, ...run(200, 40), ...run(245, 100)];
  expect(gapsOf(both)).toEqual([]);
  expect(gapsOf([...both, ...run(350, 20)]).map(({ count }) => count)).toEqual([5]);
});

test("a message that came and could not be read is no gap: it is counted elsewhere", () => {
  const gaps = new SequenceGaps();
  const before = gapsOf(run(0, 100), gaps);
  gaps.excuse(2);
  expect([...before, ...gapsOf(run(102, 100), gaps)]).toEqual([]);
});

/** As the bridge brings them: all publishers of a topic together. `isLost` by the message's place in its topic. */
async function replay(
  file: string,
  isLost: (index: number) => boolean,
): Promise<{ seen: number; lost: number; told: number }> {
  const definitions = Definitions.open({ folders: [] });
  await using recording = await openRecording(join(FOLDER, file), {
    findDefinition: (name, ros) => definitions.find(name, ros),
  });
  const topics = new Map(recording.channels.map(({ topic }) => [topic, { gaps: new SequenceGaps(), index: 0 }]));
  const readers = recording.channels.map(({ schemaName, schemaText = "" }) => {
    const parsed = parseSchema({ name: schemaName, encoding: "ros1msg", text: schemaText });
    return "problem" in parsed ? undefined : compileSequence(parsed, "ros1");
  });
  const result = { seen: 0, lost: 0, told: 0 };
  for await (const { channelIndex, bytes, logTimeNs } of recording.messages()) {
    const lane = topics.get(recording.channels[channelIndex]?.topic ?? "");
    const sequence = readers[channelIndex]?.(bytes) ?? -1;
    if (lane === undefined || sequence < 0) continue;
    lane.index += 1;
    if (isLost(lane.index)) result.lost += 1;
    else {
      result.seen += 1;
      result.told += lane.gaps.note(sequence, logTimeNs)?.count ?? 0;
    }
  }
  return result;
}

/** In each of them every publisher counts by one throughout. */
test.for([
  ["baxter_multimodal_success.bag", 3160],
  ["husky_gps_imu_odom.bag", 16_806],
  ["kuka_lwr_joint_effort.bag", 4101],
  ["raspicam_compressed_1frame.bag", 16],
  ["turtlesim_lz4.bag", 10],
] as const)("%s raises no alarm whole, and every message left out of it is told", async ([file, numbered]) => {
  expect(await replay(file, () => false)).toEqual({ seen: numbered, lost: 0, told: 0 });
  // Not those at the beginning, which prove the numbers, nor at the end, where nothing follows.
  const { lost, told } = await replay(file, (index) => index > 100 && index < 900 && index % 97 < 3);
  expect(told).toBe(lost);
});
