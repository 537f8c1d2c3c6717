import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BatchStore, createBatchTables } from "../../src/batch/batch-store.ts";
import { batchPriority, type EpisodeBatchesResult } from "../../src/batch/episode-batches.ts";
import { readTopicCounts } from "../../src/ledger/ledger.ts";
import { openDatabase, openDatabaseForReading } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { CAMERA, channel, LIGHT, Rig } from "../ring/ring-rig.ts";
import { openWithLibrary, readWithLibrary } from "../support/mcap-library-reader.ts";
import { readMcapBySpec, type SpecFile } from "../support/mcap-spec-reader.ts";
import {
  at,
  decodeImage,
  EPISODE,
  FRONT,
  IMU,
  JOINTS,
  parse,
  recordedRig,
  SECRET,
  SIDE,
  sentWithin,
  TF_STATIC,
  write,
} from "./episode-rig.ts";

let rig: Rig;
let result: EpisodeBatchesResult;

beforeAll(async () => {
  rig = recordedRig();
  result = await write(rig, { heavyBytesMax: 250_000 });
});
afterAll(() => rig[Symbol.dispose]());

const pathOf = (kind: string, index = 0): string => {
  const found = result.batches.find((batch) => batch.kind === kind && batch.index === index);
  if (found === undefined) throw new Error(`no ${kind}-${index}`);
  return found.path;
};
const heavyPaths = (): string[] => result.batches.filter(({ kind }) => kind === "heavy").map(({ path }) => path);
const allPaths = (): string[] => [pathOf("light"), ...heavyPaths()];

/** `time digest`, so that two lists can be compared. */
const sign = (logTimeNs: bigint, bytes: Uint8Array): string =>
  `${logTimeNs} ${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`;
const ofChannel = (files: readonly SpecFile[], channelId: number): string[] =>
  files
    .flatMap(({ messages }) => messages)
    .filter((message) => message.channelId === channelId)
    .map(({ logTimeNs, bytes }) => sign(logTimeNs, bytes))
    .sort();
const expected = (known: typeof JOINTS, startNs = EPISODE.startNs, endNs = EPISODE.endNs): string[] =>
  sentWithin(rig, known, startNs, endNs)
    .map(({ logTimeNs, bytes }) => sign(logTimeNs, bytes))
    .sort();

test("every file is valid by the letter of the specification, read with another lz4", () => {
  expect(heavyPaths().length).toBeGreaterThan(2);
  for (const path of allPaths()) {
    const file = readMcapBySpec(path);
    expect([file.profile, file.library]).toEqual(["ros2", "lode"]);
    expect([...file.channels.values()].map(({ messageEncoding }) => messageEncoding)).toSatisfy((all: string[]) =>
      all.every((encoding) => encoding === "cdr" || encoding === "json"),
    );
  }
});

test("light topics are there to the message, once each, as they were sent", () => {
  const light = readMcapBySpec(pathOf("light"));
  expect(ofChannel([light], JOINTS.id)).toEqual(expected(JOINTS));
  expect(ofChannel([light], IMU.id)).toEqual(expected(IMU));
});

test("heavy topics are there at full rate, once each, never less than asked", () => {
  const heavy = heavyPaths().map(readMcapBySpec);
  for (const camera of [FRONT, SIDE]) {
    const got = ofChannel(heavy, camera.id);
    expect(new Set(got).size).toBe(got.length);
    expect(got).toEqual(expect.arrayContaining(expected(camera)));
  }
});

test("the library reads the same messages through the index, in order of time", async () => {
  for (const path of allPaths()) {
    const messages = await readWithLibrary(path);
    const bySpec = readMcapBySpec(path);
    const topicOf = (id: number): string => bySpec.channels.get(id)?.topic ?? "";
    expect(messages.map(({ logTimeNs }) => logTimeNs)).toEqual(
      messages.map(({ logTimeNs }) => logTimeNs).toSorted((a, b) => Number(a - b)),
    );
    expect(messages.map(({ topic, logTimeNs, bytes }) => `${topic} ${sign(logTimeNs, bytes)}`).sort()).toEqual(
      bySpec.messages.map((one) => `${topicOf(one.channelId)} ${sign(one.logTimeNs, one.bytes)}`).sort(),
    );
  }
});

test("a latched message from before the window is in, with its own time", () => {
  const light = readMcapBySpec(pathOf("light"));
  expect(ofChannel([light], TF_STATIC.id)).toEqual(expected(TF_STATIC, at(0), at(20)));
  expect(light.chunks[1]?.endNs).toBe(at(1));
});

test("a local topic is in no file and in no manifest", () => {
  for (const path of result.batches.map((batch) => batch.path)) {
    const text = readFileSync(path).toString("latin1");
    expect(text).not.toContain(SECRET.topic);
    expect(text).not.toContain("secret 1000");
  }
});

test("light topics are cut to the message and heavy ones to the chunk, and both are said", () => {
  const told = new Map(result.episode.completeness.map(({ topic, cutTo }) => [topic, cutTo]));
  expect([JOINTS, IMU, FRONT, SIDE].map(({ topic }) => told.get(topic))).toEqual([
    ...["message", "message", "chunk", "chunk"],
  ]);
});

test("an episode keeps the topics that its rules keep, and what is latched", async () => {
  const folder = join(rig.folder, "kept");
  mkdirSync(folder);
  const kept = { ...EPISODE, topics: ["/joint*", "/camera/side"] };
  const { episode, batches } = await write(rig, { folder }, kept);
  expect(episode.completeness.map(({ topic }) => topic)).toEqual(["/camera/side", "/joint_states", "/tf_static"]);
  const files = batches.filter(({ kind }) => kind !== "meta").map(({ path }) => readMcapBySpec(path));
  expect(ofChannel(files, JOINTS.id)).toEqual(expected(JOINTS));
  expect(files.flatMap(({ messages }) => messages).filter(({ channelId }) => channelId === FRONT.id)).toEqual([]);
  rmSync(folder, { recursive: true });
});

test("what was lost of a local topic is not told either", async () => {
  using own = recordedRig();
  const loss = { reason: "queue_full", startNs: at(6), endNs: at(7), count: 3, bytes: 30 } as const;
  const losses = [SECRET, IMU].map(({ topic }) => ({ ...loss, topic }));
  const { completeness } = (await write(own, { losses })).episode;
  expect(completeness.map(({ topic }) => topic)).not.toContain(SECRET.topic);
  expect(completeness.find(({ topic }) => topic === IMU.topic)?.dropped).toEqual({ queue_full: 3 });
});

test("stored chunks within the window are copied as they lie", () => {
  using reader = rig.open();
  const files = allPaths().map((path) => readFileSync(path));
  const inside = [...reader.chunks({ startNs: at(5.5), endNs: at(14.5) })].filter(
    (chunk) => chunk.kind === "full" && !chunk.isLocal && chunk.startNs > at(5) && chunk.endNs < at(15),
  );
  expect(inside.length).toBeGreaterThan(20);
  for (const chunk of inside) expect(files.some((file) => file.includes(chunk.read()))).toBe(true);
});

test("the heavy files go outward from the firing and each stays within its size", () => {
  const distances = heavyPaths().map((path) => {
    const frames = readMcapBySpec(path).messages.filter(({ channelId }) => channelId === FRONT.id);
    const times = frames.map(({ logTimeNs }) => Math.abs(Number(logTimeNs - at(10))) / 1e9);
    return Math.min(...times);
  });
  expect(distances).toEqual(distances.toSorted((a, b) => a - b));
  for (const batch of result.batches) expect(batch.sizeBytes).toBeLessThan(400_000);
});

test("rows say what the files are, and the files are whole", () => {
  for (const batch of result.batches) {
    const bytes = readFileSync(batch.path);
    expect(batch.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(batch.sizeBytes).toBe(bytes.length);
    expect(batch).toMatchObject({ state: "queued", bootId: "boot-1", episodeId: EPISODE.id });
  }
  expect(readdirSync(join(rig.folder, "batches")).filter((name) => name.endsWith(".part"))).toEqual([]);
});

test("the meta batch is the episode's manifest, with the hashes of all others", () => {
  const manifest = parse(readFileSync(pathOf("meta")));
  expect(manifest.robot).toEqual({ id: "arm-7", site: "lab", embodiment: "arm", labels: { ownerTeam: "red" } });
  expect(manifest.episode).toEqual(result.episode);
  expect(manifest.episode).toMatchObject({ labels: { taskType: "pick" }, firings: [{ values: { gapM: 0.004 } }] });
  const others = result.batches.filter(({ kind }) => kind !== "meta");
  expect(manifest.batches.map(({ id, sha256, sizeBytes }) => [id, sha256, sizeBytes])).toEqual(
    others.map(({ id, sha256, sizeBytes }) => [id, sha256, sizeBytes]),
  );
});

test("each MCAP carries its own manifest and the episode as metadata", () => {
  for (const path of allPaths()) {
    const { attachments, metadata } = readMcapBySpec(path);
    const manifest = parse(attachments.get("manifest.json")?.content ?? Buffer.alloc(0));
    expect(manifest.batches.map(({ sha256, sizeBytes }) => [sha256, sizeBytes])).toEqual([[undefined, undefined]]);
    expect(result.batches.map(({ id }) => id)).toContain(manifest.batches[0]?.id);
    expect(Object.fromEntries(metadata.get("lode:episode") ?? [])).toMatchObject({
      ...{ id: EPISODE.id, robot: "arm-7", outcome: "recovered", attempts: "2", "label.taskType": "pick" },
    });
  }
});

test.each(["light", "heavy"])("a viewer of a %s file sees the story on the timeline", async (kind) => {
  const messages = await readWithLibrary(pathOf(kind, kind === "heavy" ? 1 : 0));
  const story = messages.filter(({ topic }) => topic === "/lode/episode");
  const events = story.map(({ bytes }) => JSON.parse(Buffer.from(bytes).toString()));
  expect(events.map(({ event, segment, attempt, outcome }) => [event, segment ?? outcome, attempt])).toEqual([
    ...[
      ["segment", "before", undefined],
      ["segment", "failure", undefined],
      ["firing", undefined, undefined],
    ],
    ...[
      ["segment", "recovery", 1],
      ["segment", "after", undefined],
      ["outcome", "recovered", undefined],
    ],
  ]);
});

test("what is known of the boot's clock travels beside the data, in every file and manifest", async () => {
  using rig = recordedRig();
  const steps = [{ kind: "set", atNs: at(7), stepMs: -3_600_000 }] as const;
  const clock = { bootId: "boot-1", state: "synchronised", correctionNs: String(2n ** 60n), steps } as const;
  const { batches } = await write(rig, { clock });
  for (const { path, kind } of batches) {
    if (kind === "meta") {
      expect(parse(readFileSync(path)).clock).toEqual(clock);
      continue;
    }
    const { attachments, metadata } = readMcapBySpec(path);
    expect(parse(attachments.get("manifest.json")?.content ?? Buffer.alloc(0)).clock).toEqual(clock);
    expect(Object.fromEntries(metadata.get("lode:clock:boot-1") ?? [])).toEqual({
      ...{ boot: "boot-1", state: "synchronised", correction_ns: String(2n ** 60n), applied: "false" },
      steps: JSON.stringify([{ kind: "set", at_ns: String(at(7)), step_ms: -3_600_000 }]),
    });
  }
});

test("schemas are those of the channels, each once, in Foxglove's terms", async () => {
  const reader = await openWithLibrary(pathOf("light"));
  expect([...reader.schemasById.values()].map(({ name, encoding }) => [name, encoding])).toEqual([
    ["lode.EpisodeEvent", "jsonschema"],
    ["std_msgs/msg/String", "ros2msg"],
  ]);
});

test("previews show before, at, after and the end of the first camera, and the firing of the other", async () => {
  const { previews } = parse(readFileSync(pathOf("meta")));
  expect(previews.map(({ topic, moment }) => [topic, moment])).toEqual([
    ...["before", "at", "after", "end"].map((moment) => [FRONT.topic, moment]),
    [SIDE.topic, "at"],
  ]);
  const sent = sentWithin(rig, FRONT, at(5), at(15)).map(({ bytes }) => Buffer.from(bytes).toString("base64"));
  expect(sent).toContain(previews[1]?.base64);
  const raw = sharp(Buffer.from(previews[4]?.base64 ?? "", "base64"));
  const { channels } = await raw.stats();
  expect(channels.map(({ mean }) => Math.round(mean / 10))).toEqual([2, 1, 25]);
});

test("the completeness says what was asked and is there", () => {
  const { completeness } = result.episode;
  expect(completeness.map(({ topic, coverage }) => [topic, coverage])).toEqual([
    ...[
      [FRONT.topic, "full"],
      [SIDE.topic, "full"],
      [IMU.topic, "full"],
      [JOINTS.topic, "full"],
    ],
    [TF_STATIC.topic, "latched"],
  ]);
  const joints = completeness.find(({ topic }) => topic === JOINTS.topic);
  expect(joints).toMatchObject({ preRollMs: 5000, postRollMs: 5000, messages: 1001, gaps: [], dropped: {} });
});

test("what is missing is stated: losses, silence, what is left out by the configuration", async () => {
  const losses = [
    { topic: JOINTS.topic, reason: "queue_full", startNs: at(7), endNs: at(8), count: 12, bytes: 900 },
    { topic: "", reason: "connection_gap", startNs: at(2), endNs: at(6), count: undefined, bytes: undefined },
    { topic: "/gone", reason: "oversized_frame", startNs: at(9), endNs: at(9), count: 1, bytes: 9e7 },
    { topic: IMU.topic, reason: "queue_full", startNs: at(16), endNs: at(17), count: 1, bytes: 9 },
  ] as const;
  const { episode } = await write(rig, { losses, notRecorded: ["/private"] });
  const of = (topic: string) => episode.completeness.find((one) => one.topic === topic);
  expect(of(JOINTS.topic)).toMatchObject({
    dropped: { queue_full: 12 },
    gaps: [
      { startNs: at(7), endNs: at(8), reason: "queue_full" },
      { startNs: at(5), endNs: at(6), reason: "connection_gap" },
    ],
  });
  expect(of(IMU.topic)?.dropped).toEqual({});
  expect(of("/gone")).toMatchObject({ messages: 0, dropped: { oversized_frame: 1 }, preRollMs: undefined });
  expect(of("/private")).toMatchObject({ coverage: "not_recorded", messages: 0 });
});

test("where the memory tier did not reach, the baseline is in, never twice, and said so", async () => {
  using short = recordedRig(2000);
  const { batches, episode } = await write(short);
  const files = batches.filter(({ kind }) => kind === "heavy").map(({ path }) => readMcapBySpec(path));
  const got = ofChannel(files, FRONT.id);
  const full = sentWithin(short, FRONT, at(7.6), at(15)).map(({ logTimeNs, bytes }) => sign(logTimeNs, bytes));
  expect(new Set(got).size).toBe(got.length);
  expect(got).toEqual(expect.arrayContaining(full));
  const early = got.filter((line) => BigInt(line.split(" ")[0] ?? 0) < at(6.5));
  expect(early.length).toBeGreaterThan(0);
  expect(early.length).toBeLessThan(4);
  const front = episode.completeness.find(({ topic }) => topic === FRONT.topic);
  expect(front?.coverage).toBe("baseline");
  expect(front?.gaps.filter(({ reason }) => reason === "baseline")).toHaveLength(1);
});

test("a damaged chunk costs its own messages, is named, and the rest goes on", async () => {
  using hurt = recordedRig();
  using reader = hurt.open();
  const victim = [...reader.chunks({ startNs: at(8), endNs: at(8.2) })].find((chunk) =>
    chunk.channels.some(({ channelId }) => channelId === JOINTS.id),
  );
  const db = new Database(join(hurt.folder, "ring.db"));
  db.prepare("UPDATE chunk SET payload = zeroblob(length(payload)) WHERE id = ?").run(victim?.id);
  db.close();
  const { batches, damaged, episode } = await write(hurt);
  expect(damaged.map(({ chunkId }) => chunkId)).toEqual([victim?.id]);
  const light = batches.find(({ kind }) => kind === "light");
  const got = ofChannel([readMcapBySpec(light?.path ?? "")], JOINTS.id);
  const lost = victim?.channels.find(({ channelId }) => channelId === JOINTS.id)?.count ?? 0;
  expect(got).toHaveLength(1001 - lost);
  const joints = episode.completeness.find(({ topic }) => topic === JOINTS.topic);
  expect(joints).toMatchObject({ dropped: { corrupt_chunk: lost } });
});

test("an abort leaves no file under its final name but finished ones, and no part", async () => {
  using fresh = recordedRig();
  const abort = new AbortController();
  let ids = 0;
  const newId = (): string => {
    ids += 1;
    if (ids === 2) abort.abort(new Error("asked to stop"));
    return `batch-${ids}`;
  };
  await expect(write(fresh, { newId, signal: abort.signal, heavyBytesMax: 250_000 })).rejects.toThrow("asked to stop");
  const names = readdirSync(join(fresh.folder, "batches"));
  expect(names.sort()).toEqual([`${EPISODE.id}-heavy-1.mcap`, `${EPISODE.id}-light.mcap`]);
  for (const name of names) readMcapBySpec(join(fresh.folder, "batches", name));
});

test("a latched message in a whole chunk across the window's start is not in twice", async () => {
  using mapped = new Rig({ classes: [LIGHT, CAMERA] });
  const map = channel(9, "/map", "camera", { isLatched: true });
  mapped.addChannel(map);
  for (const seconds of [0, 4.8, 5.2]) {
    mapped.clock.advanceMs(Number(at(seconds) - mapped.nowNs) / 1e6);
    mapped.send(map.id, Buffer.from(`map ${seconds}`));
  }
  mapped.ring.setFullRate(true);
  mapped.settle();
  const { batches } = await write(mapped, {}, EPISODE);
  const heavy = batches.filter(({ kind }) => kind === "heavy").map(({ path }) => readMcapBySpec(path));
  const maps = heavy.flatMap(({ messages }) => messages.filter(({ channelId }) => channelId === map.id));
  expect(maps.map(({ bytes }) => bytes.toString()).sort()).toEqual(["map 4.8", "map 5.2"]);
});

test("the last latched message before the window is the last one, even of a chunk that goes on into the window", async () => {
  using fixed = new Rig({ classes: [LIGHT, CAMERA] });
  fixed.addChannel(TF_STATIC);
  for (const seconds of [0, 4.8, 5.2]) {
    fixed.clock.advanceMs(Number(at(seconds) - fixed.nowNs) / 1e6);
    fixed.send(TF_STATIC.id, Buffer.from(`tf ${seconds}`));
  }
  fixed.settle();
  const { batches } = await write(fixed);
  const light = readMcapBySpec(batches.find(({ kind }) => kind === "light")?.path ?? "");
  const frames = light.messages.filter(({ channelId }) => channelId === TF_STATIC.id);
  expect(frames.map(({ bytes }) => bytes.toString())).toEqual(["tf 4.8", "tf 5.2"]);
});

test("a crash at any point leaves what a restart clears away, and the next run makes all of it", async () => {
  using crashing = recordedRig();
  const folder = join(crashing.folder, "batches");
  const db = openDatabase(join(crashing.folder, "batches.db"), [createBatchTables]);
  const store = BatchStore.open(db, folder, silentLog);
  for (let crashAt = 1; crashAt <= 6; crashAt += 1) {
    let ids = 0;
    const newId = (): string => {
      ids += 1;
      if (ids === crashAt) throw new Error("power cut");
      return `batch-${ids}`;
    };
    await expect(write(crashing, { newId, heavyBytesMax: 250_000 })).rejects.toThrow("power cut");
    writeFileSync(join(folder, `${EPISODE.id}-heavy-9.mcap.part`), "torn");
    store.reconcile();
    expect(readdirSync(folder)).toEqual([]);
  }
  const { batches } = await write(crashing, { heavyBytesMax: 250_000 });
  store.add(batches);
  store.reconcile();
  expect(store.ofEpisode(EPISODE.id)).toHaveLength(batches.length);
  expect(readdirSync(folder)).toHaveLength(batches.length);
  db.close();
});

test("a picture that does not decode costs its preview and nothing else", async () => {
  const decode = (known: typeof FRONT, message: Uint8Array): unknown => {
    if (known.id === FRONT.id) throw new Error("odd definition");
    return decodeImage(known, message);
  };
  const { batches } = await write(rig, { decode });
  const meta = batches.find(({ kind }) => kind === "meta");
  expect(parse(readFileSync(meta?.path ?? "")).previews.map(({ topic }) => topic)).toEqual([SIDE.topic]);
});

test("an episode without any message still has a light batch and a manifest", async () => {
  const empty = { ...EPISODE, startNs: at(-50), endNs: at(-40), firings: [], segments: [] };
  const { batches } = await write(rig, {}, empty);
  expect(batches.map(({ kind }) => kind)).toEqual(["light", "meta"]);
  expect(readMcapBySpec(batches[0]?.path ?? "").messages).toHaveLength(1);
});

test("manifests go first, then failures' light topics, then their frames nearest first, then the rest", () => {
  const failure = { kind: "failure", priority: 10 } as const;
  const sample = { kind: "sample", priority: 999 } as const;
  const order = [
    ...[batchPriority(failure, "meta", 0), batchPriority(sample, "meta", 0), batchPriority(failure, "light", 0)],
    ...[batchPriority(failure, "heavy", 1), batchPriority(failure, "heavy", 2), batchPriority(sample, "light", 0)],
    batchPriority(sample, "heavy", 1),
  ];
  expect(order).toEqual(order.toSorted((a, b) => b - a));
  expect(new Set(order).size).toBe(order.length);
});

test("every file says what was lost around it and where its topics' messages are, local ones left out", async () => {
  const losses = [
    { topic: IMU.topic, reason: "sequence_gap", startNs: at(7), endNs: at(8), count: 3, bytes: undefined },
    { topic: IMU.topic, reason: "rate_drop", startNs: at(7), endNs: at(8), count: undefined, bytes: undefined },
    { topic: SECRET.topic, reason: "queue_full", startNs: at(7), endNs: at(8), count: 1, bytes: 1 },
  ] as const;
  const db = openDatabaseForReading(join(rig.folder, "ring.db"));
  const counters = readTopicCounts(db, "boot-1");
  db.close();
  expect(counters.map(({ topic }) => topic)).toContain(SECRET.topic);
  const { batches, episode } = await write(rig, { losses, counters });
  const public_ = counters.filter(({ topic }) => topic !== SECRET.topic);
  for (const { kind, path } of batches) {
    if (kind === "meta") {
      expect(parse(readFileSync(path)).counters).toEqual(public_);
      continue;
    }
    const metadata = readMcapBySpec(path).metadata.get("lode:accounting");
    const told = (key: string): unknown => JSON.parse(metadata?.get(key) ?? "");
    expect(told("losses")).toMatchObject([
      { topic: IMU.topic, reason: "sequence_gap", count: 3, is_hint: true },
      { topic: IMU.topic, reason: "rate_drop" },
    ]);
    expect(told("counters")).toHaveLength(public_.length);
    expect(told("unreadable_chunks")).toEqual([]);
  }
  const imu = episode.completeness.find(({ topic }) => topic === IMU.topic);
  expect(imu?.dropped).toEqual({ sequence_gap: 3 });
  expect(imu?.gaps.map(({ reason }) => reason)).toEqual(["sequence_gap", "rate_drop"]);
});

test("an episode keeps the topics that its rules name, and latched ones; of others it says nothing", async () => {
  using small = recordedRig();
  const losses = [IMU, JOINTS].map(({ topic }) => ({
    ...{ topic, reason: "queue_full" as const, bootId: "boot-1", startNs: at(8), endNs: at(9), count: 3, bytes: 300 },
  }));
  const options = { losses, notRecorded: ["/joint_raw", "/camera/depth"] };
  const { batches, episode } = await write(small, options, { ...EPISODE, topics: ["/joint_*"] });
  expect(batches.map(({ kind }) => kind)).toEqual(["light", "meta"]);
  expect(episode.completeness.map(({ topic }) => topic)).toEqual(["/joint_raw", "/joint_states", "/tf_static"]);
  const light = batches.find(({ kind }) => kind === "light")?.path ?? "";
  const { channels } = readMcapBySpec(light);
  expect([...channels.values()].map(({ topic }) => topic).sort()).toEqual([
    "/joint_states",
    "/lode/episode",
    "/tf_static",
  ]);
});
