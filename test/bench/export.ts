/**
 * `export`: an MCAP file of what the ring has stored, by copying its chunks, against `@mcap/core` that reads the same
 * messages out of such a file and writes them anew with the same lz4: CPU of each, for the nominal robot at full rate
 * and for its sensors alone.
 *
 * Trap: JPEG is not compressed by either, so cameras alone flatter nobody; the sensors are where a re-encode costs. And
 * whoever writes less is fast: both files must have all the messages that were sent.
 */
import { closeSync, fsyncSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { McapIndexedReader, McapWriter } from "@mcap/core";
import { compressFrame, decompressFrame } from "../../src/ring/lz4-frame.ts";
import { McapFile } from "../../src/ring/mcap-file.ts";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { windowChunks } from "../../src/ring/window.ts";
import type { Benchmark } from "./bench.ts";
import { RingFeed } from "./ring-feed.ts";
import { nominalStreams, type RobotStream } from "./robot-streams.ts";

type Written = { readonly cpuS: number; readonly messages: number };

const RATIO_MAX = 0.3;
/** Of traffic: some 220 MB, and 90 MB of sensors. */
const NOMINAL_SECONDS = 10;
const SENSOR_SECONDS = 240;

export async function benchmarkExport(): Promise<Benchmark> {
  const streams = await nominalStreams();
  const nominal = await measureBoth(streams, NOMINAL_SECONDS);
  const sensors = await measureBoth(
    streams.filter(({ className }) => className === "light"),
    SENSOR_SECONDS,
  );
  const isWhole = [nominal, sensors].every(({ sent, ours, peer }) => ours.messages === sent && peer.messages === sent);
  const ratios = [nominal, sensors].map(({ ours, peer }) => ours.cpuS / peer.cpuS);
  return {
    name: "export",
    about:
      "an MCAP file of stored chunks, copied and indexed anew, against @mcap/core reading and writing the same messages; " +
      "value and ratio of the sensors, CPU s per GB of payload. Trap: who writes less is fast, so both must have all messages.",
    value: round(perGb(sensors.ours, sensors.bytes)),
    unit: "CPU s/GB",
    goal: `≤ ${RATIO_MAX} of the re-encode, cameras too`,
    holds: isWhole && ratios.every((ratio) => ratio <= RATIO_MAX),
    peers: { mcap_core_reencode: round(perGb(sensors.peer, sensors.bytes)) },
    ratio: ratios[1],
    detail: {
      with_cameras: round(perGb(nominal.ours, nominal.bytes)),
      with_cameras_mcap_core: round(perGb(nominal.peer, nominal.bytes)),
      with_cameras_ratio: round(ratios[0] ?? 0),
      messages: [nominal.sent, sensors.sent],
      gb: [nominal.bytes, sensors.bytes].map((bytes) => round(bytes / 1e9)),
    },
  };
}

async function measureBoth(streams: readonly RobotStream[], seconds: number) {
  const folder = mkdtempSync(join(tmpdir(), "lode-export-"));
  try {
    const feed = new RingFeed({ folder, streams, bytesMax: 4e9, isEverythingStored: true });
    feed.run(seconds * 1000);
    feed[Symbol.dispose]();
    const sent = [...feed.sent.values()].reduce((sum, count) => sum + count, 0);
    const path = join(folder, "copied.mcap");
    // The best of three each: the first pays for the compiler.
    const ours = await bestOf(async () => copyChunks(folder, path));
    const peer = await bestOf(() => reencode(path, join(folder, "written.mcap")));
    return { ours, peer, sent, bytes: feed.sentBytes };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function bestOf(run: () => Promise<Written>): Promise<Written> {
  let best = await run();
  for (let again = 0; again < 2; again += 1) {
    const next = await run();
    if (next.cpuS < best.cpuS) best = next;
  }
  return best;
}

function copyChunks(folder: string, path: string): Written {
  const startCpu = process.cpuUsage();
  using reader = RingReader.open(folder);
  const channels = reader.channels();
  using file = McapFile.create(path, "ros2");
  const query = { startNs: 0n, endNs: 2n ** 62n, wants: () => true, isCut: () => true };
  const onDamaged = (_: unknown, reason: Error) => {
    throw reason;
  };
  for (const chunk of windowChunks(reader, { ...query, onDamaged })) file.addChunk(chunk, channels);
  const messages = [...file.counts.values()].reduce((sum, count) => sum + count, 0n);
  file.finish();
  return { cpuS: cpuSince(startCpu), messages: Number(messages) };
}

async function reencode(from: string, to: string): Promise<Written> {
  const startCpu = process.cpuUsage();
  const input = openSync(from, "r");
  const output = openSync(to, "w");
  const reader = await McapIndexedReader.Initialize({
    readable: {
      size: async () => BigInt(statSync(from).size),
      read: async (offset, size) => {
        const bytes = new Uint8Array(Number(size));
        readSync(input, bytes, 0, bytes.length, Number(offset));
        return bytes;
      },
    },
    decompressHandlers: { lz4: (bytes, size) => decompressFrame(bytes, Number(size)) },
  });
  let position = 0n;
  const writer = new McapWriter({
    writable: {
      write: async (bytes) => {
        writeSync(output, bytes);
        position += BigInt(bytes.length);
      },
      position: () => position,
    },
    compressChunk: (chunk) => {
      const frame = compressFrame(chunk);
      const isSmaller = frame !== undefined;
      return { compression: isSmaller ? "lz4" : "", compressedData: frame ?? chunk };
    },
  });
  await writer.start({ profile: "ros2", library: "" });
  const ids = new Map<number, number>();
  for (const channel of reader.channelsById.values()) {
    const schema = reader.schemasById.get(channel.schemaId);
    const schemaId = schema === undefined ? 0 : await writer.registerSchema(schema);
    ids.set(channel.id, await writer.registerChannel({ ...channel, schemaId }));
  }
  let messages = 0;
  for await (const message of reader.readMessages()) {
    await writer.addMessage({ ...message, channelId: ids.get(message.channelId) ?? 0 });
    messages += 1;
  }
  await writer.end();
  fsyncSync(output);
  closeSync(output);
  closeSync(input);
  return { cpuS: cpuSince(startCpu), messages };
}

function cpuSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

function perGb({ cpuS }: Written, bytes: number): number {
  return cpuS / (bytes / 1e9);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
