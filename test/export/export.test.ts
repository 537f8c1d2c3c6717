import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { compileEncoder } from "../../src/decode/encoder.ts";
import { parseSchema } from "../../src/decode/parsed-schema.ts";
import { exportCsv } from "../../src/export/export-csv.ts";
import { type ExportOptions, exportMcap } from "../../src/export/export-mcap.ts";
import { flatten } from "../../src/export/flatten.ts";
import { McapSource } from "../../src/export/mcap-source.ts";
import { readTopicCounts } from "../../src/ledger/ledger.ts";
import { type BootClock, logTimeRanges } from "../../src/model/boot-clock.ts";
import type { Channel, Schema } from "../../src/model/channel.ts";
import { openDatabaseForReading } from "../../src/store/database.ts";
import {
  at,
  EPISODE,
  FRONT,
  IMU,
  JOINTS,
  recordedRig,
  SECRET,
  SIDE,
  sentWithin,
  TF_STATIC,
  write,
} from "../batch/episode-rig.ts";
import { CAMERA, channel, LIGHT, Rig } from "../ring/ring-rig.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";

let rig: Rig;
const S = 1_000_000_000n;

let batchPaths: string[];
let folder: string;

beforeAll(async () => {
  rig = recordedRig();
  folder = makeFolder();
  const { batches } = await write(rig, { heavyBytesMax: 250_000 });
  batchPaths = batches.filter(({ kind }) => kind !== "meta").map(({ path }) => path);
});
afterAll(() => {
  rig[Symbol.dispose]();
  removeFolder(join(folder, ".."));
});

type Changes = Partial<ExportOptions> & { readonly startNs?: bigint; readonly endNs?: bigint };
const options = ({ startNs = at(8), endNs = at(12), ...changes }: Changes = {}): ExportOptions => ({
  ...{ parts: [{ startNs, endNs }], wantsTopic: () => true, signal: new AbortController().signal },
  ...changes,
});
const sent = (known: Channel, startNs = at(8), endNs = at(12)): number => sentWithin(rig, known, startNs, endNs).length;

test("a range of the ring comes out exactly, latched messages and local topics included", async () => {
  using reader = rig.open();
  const path = join(folder, "range.mcap");
  const result = await exportMcap(reader, path, options());
  const file = readMcapBySpec(path);
  expect(result.topics).toEqual({
    ...{ [JOINTS.topic]: sent(JOINTS), [IMU.topic]: sent(IMU), [SECRET.topic]: sent(SECRET), [TF_STATIC.topic]: 1 },
    ...{ [FRONT.topic]: sent(FRONT), [SIDE.topic]: sent(SIDE) },
  });
  expect(file.messages).toHaveLength(result.messages);
  const times = file.messages.filter(({ channelId }) => channelId !== TF_STATIC.id).map(({ logTimeNs }) => logTimeNs);
  expect(times.every((time) => time >= at(8) && time <= at(12))).toBe(true);
});

test("only the wanted topics come out, and their stored chunks are copied where they stand alone", async () => {
  using reader = rig.open();
  const path = join(folder, "front.mcap");
  const result = await exportMcap(reader, path, options({ wantsTopic: (topic) => topic === FRONT.topic }));
  expect(Object.keys(result.topics)).toEqual([FRONT.topic]);
  expect([...readMcapBySpec(path).channels.values()].map(({ topic }) => topic)).toEqual([FRONT.topic]);
  const bytes = readFileSync(path);
  const alone = [...reader.chunks({ startNs: at(9), endNs: at(11) })].filter(
    ({ channels, kind }) => kind === "full" && channels.length === 1 && channels[0]?.channelId === FRONT.id,
  );
  expect(alone.length).toBeGreaterThan(0);
  for (const chunk of alone) if (chunk.startNs >= at(8)) expect(bytes.includes(chunk.read())).toBe(true);
});

test("an episode's files come together as one, what each of them carries only once", async () => {
  using source = await McapSource.open(batchPaths);
  const path = join(folder, "episode.mcap");
  const result = await exportMcap(source, path, options({ startNs: 0n, endNs: at(99) }));
  const file = readMcapBySpec(path);
  expect(result.topics).toMatchObject({ [JOINTS.topic]: sent(JOINTS, at(5), at(15)), [TF_STATIC.topic]: 1 });
  expect(result.topics["/lode/episode"]).toBe(EPISODE.segments.length + EPISODE.firings.length + 1);
  const inFiles = batchPaths.flatMap((one) => readMcapBySpec(one).messages.filter(({ channelId }) => channelId <= 6));
  expect(file.messages.filter(({ channelId }) => channelId <= 6)).toHaveLength(inFiles.length);
});

test("an abort leaves no file", async () => {
  using reader = rig.open();
  const abort = new AbortController();
  const path = join(folder, "aborted.mcap");
  const onProgress = (): void => abort.abort(new Error("Ctrl-C"));
  await expect(exportMcap(reader, path, options({ signal: abort.signal, onProgress }))).rejects.toThrow("Ctrl-C");
  const csvFolder = join(folder, "aborted");
  const again = new AbortController();
  const stop = { signal: again.signal, onProgress: () => again.abort(new Error("Ctrl-C")) };
  await expect(exportCsv(reader, csvFolder, () => ({ a: 1 }), options(stop))).rejects.toThrow("Ctrl-C");
  expect([readdirSync(folder).filter((name) => name.startsWith("aborted.")), readdirSync(csvFolder)]).toEqual([[], []]);
});

test("a file that is no MCAP of ours is refused with its name", async () => {
  const path = join(folder, "..", "journal.txt");
  await expect(McapSource.open([path])).rejects.toMatchObject({ code: "unreadable_mcap" });
});

const JOINT_STATE: Schema = {
  name: "sensor_msgs/msg/JointState",
  encoding: "ros2msg",
  text: `std_msgs/Header header
string[] name
float64[] position
float64[] velocity
float64[] effort
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec`,
};
const IMAGE: Schema = {
  name: "x/msg/Image",
  encoding: "ros2msg",
  text: "string format\nuint8[] data\nfloat32[] ranges\nint64 count",
};

function encode(schema: Schema, message: unknown): Uint8Array {
  const parsed = parseSchema(schema);
  const encoder = "problem" in parsed ? parsed : compileEncoder(parsed, "cdr");
  if ("problem" in encoder) throw new Error(encoder.problem);
  return encoder(message).bytes;
}

/** Two joints, the second of which appears later; an image; a topic whose messages do not decode. */
function tableRig(): Rig {
  const made = new Rig({ classes: [LIGHT, CAMERA] });
  made.addChannel(channel(1, "/arm/joint_states", "light", { schema: JOINT_STATE }));
  made.addChannel(channel(2, "/arm_joint_states", "light", { schema: IMAGE }));
  made.addChannel(channel(3, "/odd", "light", { schema: JOINT_STATE }));
  for (let index = 0; index < 5; index += 1) {
    const name = index < 2 ? ["elbow"] : ["elbow", "wrist, left"];
    const position = name.map((_, joint) => index + joint / 2);
    const header = { stamp: { sec: 7, nanosec: index }, frame_id: 'a "b"\nc' };
    made.send(1, encode(JOINT_STATE, { header, name, position, velocity: [], effort: [0.5, Number.NaN, 2] }));
    const ranges = index === 0 ? Array(3000).fill(1) : [1.5];
    made.send(2, encode(IMAGE, { format: "jpeg", data: "AAAA", ranges, count: "9007199254740993" }));
    made.send(3, new Uint8Array([0, 1, 0, 0, 9]));
    made.clock.advanceMs(100);
  }
  made.settle();
  return made;
}

/** RFC 4180, as a spreadsheet reads it. */
function readCsv(path: string): Record<string, string>[] {
  const cells = [...readFileSync(path, "utf8").matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)];
  const lines: string[][] = [[]];
  for (const [, quoted, plain, end] of cells) {
    lines.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? "");
    if (end === "\r\n") lines.push([]);
  }
  const [header = [], ...rows] = lines.slice(0, -1);
  for (const row of rows) expect(row).toHaveLength(header.length);
  return rows.map((row) => Object.fromEntries(header.map((column, index) => [column, row[index] ?? ""])));
}

test("a CSV has a column for every scalar, joints by their names, and what is no table is said", async () => {
  using made = tableRig();
  using reader = made.open();
  const target = join(folder, "csv");
  const decoder = new ChannelReader();
  const files = await exportCsv(reader, target, decoder.decode, options({ startNs: 0n, endNs: at(99) }));
  expect(readdirSync(target).sort()).toEqual(["arm_joint_states-2.csv", "arm_joint_states.csv", "odd.csv"]);
  const rows = readCsv(files[0]?.path ?? "");
  expect(rows).toHaveLength(5);
  expect(rows[1]).toMatchObject({
    ...{ log_time_ns: String(at(0.1)), publish_time_ns: String(at(0.1)), log_time: "2027-01-15T08:00:00.100000000Z" },
    ...{ "header.stamp.sec": "7", "header.frame_id": 'a "b"\nc', "position.elbow": "1", "position.wrist, left": "" },
    ...{ "effort[0]": "0.5", "effort[1]": "NaN" },
  });
  expect(rows[4]).toMatchObject({ "position.elbow": "4", "position.wrist, left": "4.5" });
  expect(Object.keys(rows[0] ?? {}).filter((column) => column.startsWith("name"))).toEqual([]);
  expect(readCsv(files[1]?.path ?? "")[1]).toMatchObject({
    format: "jpeg",
    "ranges[0]": "1.5",
    count: "9007199254740993",
  });
  expect(files[1]?.skipped).toEqual({ data: "bytes", ranges: "more than 2048 elements" });
  expect(files[2]).toMatchObject({ topic: "/odd", messages: 0, undecodable: 5 });
  expect(files[2]?.problem).toContain("JointState");
});

test("an episode's files come out as CSV in order of time", async () => {
  using source = await McapSource.open(batchPaths);
  const target = join(folder, "episode-csv");
  const decode = (known: Channel, bytes: Uint8Array) => ({ text: `${known.topic} ${bytes.length}` });
  const range = options({ startNs: 0n, endNs: at(99), wantsTopic: (topic) => topic === FRONT.topic });
  const [file] = await exportCsv(source, target, decode, range);
  const times = readCsv(file?.path ?? "").map((row) => BigInt(row.log_time_ns ?? 0));
  expect(times.length).toBeGreaterThanOrEqual(sent(FRONT, at(5), at(15)));
  expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
});

test("names that are not distinct do not name columns", () => {
  const row = flatten({ name: ["a", "a"], position: [1, 2], nested: { on: true, list: [{ x: 1n }] } }, () => {});
  expect(Object.fromEntries(row)).toEqual({
    ...{ "name[0]": "a", "name[1]": "a", "position[0]": "1", "position[1]": "2" },
    ...{ "nested.on": "true", "nested.list[0].x": "1" },
  });
});

test("an export says what was lost in its range, which chunks could not be read, and where its topics' messages are", async () => {
  using reader = rig.open();
  const losses = [
    { topic: "", reason: "crash", startNs: at(9), endNs: at(9.5), count: undefined, bytes: undefined },
  ] as const;
  const db = openDatabaseForReading(join(rig.folder, "ring.db"));
  const counters = readTopicCounts(db);
  db.close();
  const path = join(folder, "told.mcap");
  const result = await exportMcap(reader, path, options({ accounting: () => ({ losses, counters }) }));
  expect(result.accounting).toEqual({ losses, counters });
  const metadata = readMcapBySpec(path).metadata.get("lode:accounting");
  const told = (key: string): unknown => JSON.parse(metadata?.get(key) ?? "");
  expect(told("losses")).toMatchObject([{ topic: "", reason: "crash" }]);
  expect(told("counters")).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        topic: JOINTS.topic,
        received: rig.sent.filter(({ channelId }) => channelId === JOINTS.id).length,
      }),
    ]),
  );
  expect(told("unreadable_chunks")).toEqual([]);
});

/** Two boots that both began in 1970; of the second the true time is known. */
function twoBoots(): { rig: Rig; clocks: BootClock[]; shiftNs: bigint } {
  const home = join(folder, "boots");
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home);
  const record = (bootId: string) => {
    const boots = new Rig({ bootId }, home, 20n * S);
    if (boots.ring.channels.length === 0) for (const known of [JOINTS, TF_STATIC]) boots.addChannel(known);
    if (bootId === "a") boots.send(TF_STATIC.id, Buffer.from("base_link -> tool"));
    for (let tick = 0; tick < 50; tick += 1) {
      const stampNs = tick % 2 === 0 ? boots.nowNs : 5n * S; // every other one was stamped by its publisher
      boots.builder.append(JOINTS.id, boots.nowNs, stampNs, Buffer.from(`${bootId} ${tick}`));
      boots.clock.advanceMs(100);
      boots.flush();
    }
    boots.settle();
    return boots;
  };
  record("a")[Symbol.dispose]();
  const shiftNs = 1_790_000_000n * S;
  const anchor = { wallNs: 20n * S, monotonicNs: 0n, steps: [] };
  const clocks: BootClock[] = [
    { ...anchor, bootId: "a", correctionNs: undefined, truth: undefined },
    { ...anchor, bootId: "b", correctionNs: shiftNs, truth: "synchronised" },
  ];
  return { rig: record("b"), clocks, shiftNs };
}

test("a range of true time is that of the boot that has it, though another's log_time is the same", async () => {
  const { rig: boots, clocks, shiftNs } = twoBoots();
  using reader = boots.open();
  const read = async (startNs: bigint, endNs: bigint) => {
    const path = join(folder, "boots.mcap");
    await exportMcap(reader, path, options({ parts: logTimeRanges(clocks, startNs, endNs), clocks }));
    const { messages, metadata } = readMcapBySpec(path);
    const texts = messages.map(({ bytes }) => Buffer.from(bytes).toString());
    return { texts, clocks: [...metadata.keys()].filter((name) => name.startsWith("lode:clock:")) };
  };
  const named = (name: string, from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, index) => `${name} ${from + index}`);
  expect(await read(21n * S, 22n * S)).toEqual({
    texts: ["base_link -> tool", ...named("a", 10, 20)],
    clocks: ["lode:clock:a"],
  });
  const inB = await read(shiftNs + 21n * S, shiftNs + 22n * S);
  expect(inB).toEqual({
    texts: ["base_link -> tool", ...named("b", 10, 20)],
    clocks: ["lode:clock:a", "lode:clock:b"],
  });
  const all = await read(0n, 2n ** 61n);
  expect(all.texts).toEqual(["base_link -> tool", ...named("a", 0, 49), ...named("b", 0, 49)]);
  boots[Symbol.dispose]();
});

test("corrected, log_time is the true time; a publisher's stamp stays; the file says what was done", async () => {
  const { rig: boots, clocks, shiftNs } = twoBoots();
  using reader = boots.open();
  const path = join(folder, "corrected.mcap");
  const parts = [{ bootId: "b", startNs: 20n * S + 1n, endNs: 2n ** 61n }];
  await exportMcap(reader, path, options({ parts, clocks, isCorrected: true }));
  const { messages, metadata } = readMcapBySpec(path);
  const joints = messages.filter(({ channelId }) => channelId === JOINTS.id);
  expect(joints).toHaveLength(49);
  for (const [tick, { logTimeNs, publishTimeNs }] of joints.entries()) {
    expect(logTimeNs).toBe(shiftNs + 20n * S + BigInt(tick + 1) * 100_000_000n);
    expect(publishTimeNs).toBe(tick % 2 === 1 ? logTimeNs : 5n * S);
  }
  expect(messages.find(({ channelId }) => channelId === TF_STATIC.id)?.logTimeNs).toBe(20n * S); // of boot a: unknown
  expect(Object.fromEntries(metadata.get("lode:clock:b") ?? [])).toMatchObject({
    ...{ boot: "b", correction_ns: String(shiftNs), applied: "true" },
  });
  const [table] = await exportCsv(reader, join(folder, "tables"), () => ({ ok: true }), {
    ...options({ parts, clocks, isCorrected: true, wantsTopic: (topic) => topic === JOINTS.topic }),
  });
  expect(readFileSync(table?.path ?? "", "utf8")).toContain(String(shiftNs + 24n * S));
  boots[Symbol.dispose]();
});
