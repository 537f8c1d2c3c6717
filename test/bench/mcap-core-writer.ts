/**
 * A peer that only writes: `@mcap/core` with chunks of 1 MiB, a file, an fsync at the end. No socket, no daemon: the
 * messages lie in memory. Its lz4 is ours, which is faster than the frames of lz4-napi.
 *
 * Usage: mcap-core-writer.ts camera|sensors FILE GIGABYTES ; prints {"seconds", "cpuSeconds", "bytes", "messages"}
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { McapWriter } from "@mcap/core";
import { compressFrame } from "../../src/ring/lz4-frame.ts";
import { type MixName, openMix, stretchOf } from "./robot-streams.ts";

const [name = "camera", path = "", gigabytes = "1"] = process.argv.slice(2);
const mix = await openMix(name as MixName);
const stretches = Array.from({ length: 8 }, (_, index) => stretchOf(mix, 0.2, index));
const fd = openSync(path, "w");
let position = 0n;
const writer = new McapWriter({
  writable: {
    write: async (bytes) => {
      writeSync(fd, bytes);
      position += BigInt(bytes.length);
    },
    position: () => position,
  },
  compressChunk: (chunk) => {
    const frame = compressFrame(chunk);
    return frame === undefined
      ? { compression: "", compressedData: chunk }
      : { compression: "lz4", compressedData: frame };
  },
});

const startMs = performance.now();
const cpuAtStart = process.cpuUsage();
await writer.start({ profile: "", library: "" });
const channels = new Map<string, number>();
for (const { topic, schemaName, schemaText } of mix) {
  const data = new TextEncoder().encode(schemaText);
  const schemaId = await writer.registerSchema({ name: schemaName, encoding: "ros2msg", data });
  const channel = { topic, schemaId, messageEncoding: "cdr", metadata: new Map<string, string>() };
  channels.set(topic, await writer.registerChannel(channel));
}
let bytes = 0;
let messages = 0;
for (let index = 0; bytes < Number(gigabytes) * 1e9; index += 1)
  for (const { stream, payload } of stretches[index % stretches.length] ?? []) {
    const channelId = channels.get(stream.topic) ?? 0;
    const atNs = BigInt(messages) * 1_000n;
    await writer.addMessage({ channelId, sequence: messages, logTime: atNs, publishTime: atNs, data: payload });
    bytes += payload.length;
    messages += 1;
  }
await writer.end();
fsyncSync(fd);
closeSync(fd);
const { user, system } = process.cpuUsage(cpuAtStart);
const seconds = (performance.now() - startMs) / 1000;
console.log(JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, bytes, messages }));
