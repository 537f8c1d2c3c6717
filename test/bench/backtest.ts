/**
 * `backtest`: recordings of sensors judged by the rules that are armed out of the box, against `@mcap/core` that reads the same file and decodes
 * every message (`@foxglove/rosmsg2-serialization`, `@foxglove/rosmsg-serialization`) without judging anything.
 *
 * Each recording of the repository that carries no camera is played over and over, its clock going on, into an MCAP
 * file with zstd chunks: one pass is over before the compiler has begun. Trap: whoever skips messages is fast, so both
 * must have seen all of them; and a file that rules do not bind to is read, not judged, so each file stands for itself.
 */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { parse as parseRos1 } from "@foxglove/rosmsg";
import { MessageReader as Ros1Reader } from "@foxglove/rosmsg-serialization";
import { MessageReader as Ros2Reader } from "@foxglove/rosmsg2-serialization";
import { McapIndexedReader, McapWriter } from "@mcap/core";
import { loadDecompressHandlers } from "@mcap/support";
import { backtest, type RecordingVerdict } from "../../src/daemon/backtest.ts";
import { sourceOfRecording } from "../../src/daemon/backtest-source.ts";
import { Definitions } from "../../src/decode/definitions.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import type { RecordedMessage, Recording } from "../../src/replay/recording.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { combineRules, parseRules, type Rule } from "../../src/trigger/rule.ts";
import type { Benchmark } from "./bench.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** Without a camera, and with definitions that the peer's library parses. */
const NAMES = [
  ...["kobuki_nominal.mcap", "kobuki_left_wheel_fault.mcap", "husky_gps_imu_odom.bag", "kuka_lwr_joint_effort.bag"],
  ...["baxter_multimodal_success.bag", "auv_cougars_short.mcap", "ackermann_gps_nav.db3"],
];
const RULES = join(ROOT, "config/rules");
const RECORDING_BYTES = 20e6;
const CHUNK_BYTES = 1 << 20;
const MB_PER_S_MIN = 300;
const REAL_TIME_MIN = 200;

type Pass = { readonly messages: number; readonly wallS: number; readonly cpuS: number };
type Measured = {
  readonly name: string;
  readonly bytes: number;
  readonly durationS: number;
  readonly firings: number;
  readonly ours: Pass;
  /** With every shipped rule file. */
  readonly all: Pass;
  readonly peer: Pass;
};

export async function benchmarkBacktest(): Promise<Benchmark> {
  const folder = mkdtempSync(join(tmpdir(), "lode-backtest-"));
  try {
    const measured: Measured[] = [];
    for (const name of NAMES) measured.push(await measure(name, join(folder, `${name}.mcap`)));
    return toBenchmark(measured);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function toBenchmark(measured: readonly Measured[]): Benchmark {
  const bytes = measured.reduce((sum, one) => sum + one.bytes, 0);
  const rateOf = (pick: (one: Measured) => Pass) =>
    bytes / 1e6 / measured.reduce((sum, one) => sum + pick(one).wallS, 0);
  const [ours, peer] = [rateOf((one) => one.ours), rateOf((one) => one.peer)];
  const realTimes = measured.map(({ durationS, ours: { wallS } }) => durationS / wallS);
  const isWhole = measured.every((one) => one.ours.messages === one.peer.messages);
  return {
    name: "backtest",
    about:
      "recordings of sensors through the default rules, against @mcap/core and a full decode of each message that judges " +
      "nothing; MB of payload a second, of all recordings together. Trap: both must have seen every message.",
    value: Math.round(ours),
    unit: "MB/s",
    goal: `≥ ${MB_PER_S_MIN}, and ≥ ${REAL_TIME_MIN} × real time`,
    holds: isWhole && ours >= MB_PER_S_MIN && realTimes.every((factor) => factor >= REAL_TIME_MIN),
    peers: { mcap_core_full_decode: Math.round(peer) },
    ratio: ours / peer,
    detail: Object.fromEntries(
      measured.map((one, index) => [
        one.name,
        {
          mb_per_s: Math.round(one.bytes / 1e6 / one.ours.wallS),
          all_rules_mb_per_s: Math.round(one.bytes / 1e6 / one.all.wallS),
          peer_mb_per_s: Math.round(one.bytes / 1e6 / one.peer.wallS),
          times_real_time: Math.round(realTimes[index] ?? 0),
          us_per_message: Math.round((one.ours.wallS * 1e8) / one.ours.messages) / 100,
          cpu_us_per_message: Math.round((one.ours.cpuS * 1e8) / one.ours.messages) / 100,
          bytes_per_message: Math.round(one.bytes / one.ours.messages),
          messages: one.ours.messages,
          firings: one.firings,
        },
      ]),
    ),
  };
}

async function measure(name: string, path: string): Promise<Measured> {
  const definitions = Definitions.open({ folders: [] });
  const deps = { findDefinition: (type: string, ros: 1 | 2) => definitions.find(type, ros) };
  {
    await using recording = await openRecording(join(ROOT, "test/data/recordings", name), deps);
    await writeLong(recording, path);
  }
  await using long = await openRecording(path, deps);
  const source = sourceOfRecording(long);
  const optionsOf = (files: readonly string[]) => ({ rules: rulesOf(files), isExcluded: () => false, log: silentLog });
  const [armed, shipped] = [optionsOf(["default.yaml"]), optionsOf(readdirSync(RULES))];
  await backtest(source, [armed]); // the compiler's turn
  let verdict: RecordingVerdict | undefined;
  const ours = await timed(async () => {
    [verdict] = await backtest(source, [armed]);
    return verdict?.messages ?? 0;
  });
  const all = await timed(async () => (await backtest(source, [shipped]))[0]?.messages ?? 0);
  const peer = await timed(() => decodeAll(path));
  const { bytes = 0, firings = [], startNs = 0n, endNs = 0n } = verdict ?? {};
  return { name, bytes, durationS: Number(endNs - startNs) / 1e9, firings: firings.length, ours, all, peer };
}

function rulesOf(files: readonly string[]): Rule[] {
  const texts = files.filter((file) => file.endsWith(".yaml")).map((file) => [file, join(RULES, file)] as const);
  return combineRules(texts.map(([file, path]) => parseRules(file, readFileSync(path, "utf8"))));
}

async function timed(run: () => Promise<number>): Promise<Pass> {
  const [startMs, startCpu] = [performance.now(), process.cpuUsage()];
  const messages = await run();
  const { user, system } = process.cpuUsage(startCpu);
  return { messages, wallS: (performance.now() - startMs) / 1000, cpuS: (user + system) / 1e6 };
}

/** The recording over and over, each time later by its own length. */
async function writeLong(recording: Recording, path: string): Promise<void> {
  const fd = openSync(path, "w");
  let position = 0n;
  const writer = new McapWriter({
    writable: {
      position: () => position,
      write: async (bytes) => {
        writeSync(fd, bytes);
        position += BigInt(bytes.length);
      },
    },
    chunkSize: CHUNK_BYTES,
    compressChunk: (bytes) => ({ compression: "zstd", compressedData: zstdCompressSync(bytes) }),
  });
  await writer.start({ profile: "", library: "bench" });
  const ids = await registerChannels(writer, recording);
  const once = await Array.fromAsync(recording.messages());
  const spanNs = recording.endNs - recording.startNs + 100_000_000n;
  let written = 0;
  for (let lap = 0n; written < RECORDING_BYTES; lap += 1n)
    for (const message of once) written += await write(writer, ids, message, lap * spanNs);
  await writer.end();
  closeSync(fd);
}

async function registerChannels(writer: McapWriter, { channels }: Recording): Promise<number[]> {
  const ids: number[] = [];
  for (const { topic, schemaName, schemaText = "", encoding } of channels) {
    const schemaEncoding = encoding === "ros1" ? "ros1msg" : "ros2msg";
    const data = new TextEncoder().encode(schemaText);
    const schemaId = await writer.registerSchema({ name: schemaName, encoding: schemaEncoding, data });
    ids.push(await writer.registerChannel({ topic, schemaId, messageEncoding: encoding, metadata: new Map() }));
  }
  return ids;
}

async function write(
  writer: McapWriter,
  ids: readonly number[],
  { channelIndex, logTimeNs, bytes }: RecordedMessage,
  laterNs: bigint,
): Promise<number> {
  const logTime = logTimeNs + laterNs;
  const channelId = ids[channelIndex] ?? 0;
  await writer.addMessage({ channelId, sequence: 0, logTime, publishTime: logTime, data: bytes });
  return bytes.length;
}

/** Every message as an object, as a script over these libraries has it. */
async function decodeAll(path: string): Promise<number> {
  const fd = openSync(path, "r");
  const reader = await McapIndexedReader.Initialize({
    readable: {
      size: async () => BigInt(statSync(path).size),
      read: async (offset, size) => {
        const bytes = new Uint8Array(Number(size));
        readSync(fd, bytes, 0, bytes.length, Number(offset));
        return bytes;
      },
    },
    decompressHandlers: await loadDecompressHandlers(),
  });
  const decoders = new Map<number, (bytes: Uint8Array) => unknown>();
  for (const channel of reader.channelsById.values()) {
    const schema = reader.schemasById.get(channel.schemaId);
    const text = new TextDecoder().decode(schema?.data);
    if (text !== "") decoders.set(channel.id, decoderOf(channel.messageEncoding, text));
  }
  let messages = 0;
  for await (const { channelId, data } of reader.readMessages()) {
    decoders.get(channelId)?.(data);
    messages += 1;
  }
  closeSync(fd);
  return messages;
}

function decoderOf(encoding: string, text: string): (bytes: Uint8Array) => unknown {
  const isRos1 = encoding === "ros1";
  const definition = parseRos1(text, { ros2: !isRos1 });
  const reader = isRos1 ? new Ros1Reader(definition) : new Ros2Reader(definition);
  return (bytes) => reader.readMessage(bytes);
}
