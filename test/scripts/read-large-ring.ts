/**
 * What it costs to read a ring of several GB from end to end: time, CPU and the most memory it held.
 *
 * `node test/scripts/read-large-ring.ts [GB]` makes a ring of 100 light topics and two cameras in a temporary folder and
 * reads it in processes of its own: message by message, and as an MCAP export.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportMcap } from "../../src/export/export-mcap.ts";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { CAMERA, channel, LIGHT, noise, Rig } from "../ring/ring-rig.ts";

const EVER = { startNs: 0n, endNs: 2n ** 62n };
const FRAME = noise(250_000, 1);
const TOPICS = 100;

function fill(sizeBytes: number): Rig {
  const camera = { ...CAMERA, tier: "disk" } as const;
  const rig = new Rig({ classes: [LIGHT, camera], bytesMax: sizeBytes * 2, segmentBytes: 64 * 1024 * 1024 });
  for (let id = 1; id <= TOPICS; id += 1) rig.addChannel(channel(id, `/light/${id}`, "light"));
  for (const id of [201, 202]) rig.addChannel(channel(id, `/camera/${id}`, "camera"));
  const light = Buffer.from("0.123456789 ".repeat(40));
  for (let step = 0; rig.ring.status().diskBytes < sizeBytes; step += 1) {
    for (let id = 1; id <= TOPICS; id += 1) rig.builder.append(id, rig.nowNs, rig.nowNs, light);
    if (step % 2 === 0) for (const id of [201, 202]) rig.builder.append(id, rig.nowNs, rig.nowNs, FRAME);
    rig.clock.advanceMs(20);
    if (step % 5 === 0) rig.flush();
    if (step % 25 === 0) rig.ring.commit();
  }
  rig.settle();
  return rig;
}

const rssBytes = (name: "VmRSS" | "VmHWM"): number =>
  Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;

async function read(folder: string, how: string): Promise<void> {
  const reader = RingReader.open(folder);
  for (const chunk of reader.chunks({ ...EVER, endNs: 0n })) reader.decompress(chunk);
  writeFileSync("/proc/self/clear_refs", "5"); // the high-water mark begins here
  const [base, cpu, startMs] = [rssBytes("VmRSS"), process.cpuUsage(), performance.now()];
  let messages = 0;
  if (how === "messages") for (const _ of reader.messages(EVER)) messages += 1;
  else {
    const options = { parts: [EVER], wantsTopic: () => true, signal: new AbortController().signal };
    messages = (await exportMcap(reader, join(folder, "export.mcap"), options)).messages;
  }
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - startMs) / 1000;
  const peak = ((rssBytes("VmHWM") - base) / 1e6).toFixed(0);
  console.log(
    `${how}: ${messages} messages, ${seconds.toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} CPU-s, peak ${peak} MB over ${(base / 1e6).toFixed(0)} MB`,
  );
}

const [first = "3", how] = process.argv.slice(2);
if (how !== undefined) await read(first, how);
else {
  const rig = fill(Number(first) * 1e9);
  const { chunks, diskBytes } = rig.ring.status();
  console.log(`a ring of ${(diskBytes / 1e9).toFixed(2)} GB in ${chunks} chunks`);
  for (const way of ["messages", "export"])
    spawnSync(process.execPath, [import.meta.filename, rig.folder, way], { stdio: "inherit" });
  rig.remove();
}
