/**
 * A process to be killed: publishes into a ring and says on stdout what a commit made durable.
 * `node ring-appender.ts FOLDER ROUND`: lines `sent N` before and `durable N` after each commit, N counting its messages.
 */
import { writeSync } from "node:fs";
import { CAMERA, channel, LIGHT, noise, Rig, START_NS, topicClass } from "../ring/ring-rig.ts";

const [folder = "", roundText = "0"] = process.argv.slice(2);
const round = Number(roundText);
const startNs = START_NS + BigInt(round) * 3_600_000_000_000n;
const stored = topicClass("cloud", { tier: "disk", rank: 1, memoryBytesMax: 0 });
const options = {
  classes: [LIGHT, CAMERA, stored],
  segmentBytes: 512 * 1024,
  bytesMax: 60e6,
  bootId: `boot-${round >> 1}`,
};
const rig = new Rig(options, folder, startNs);
for (const [id, className] of [
  [1, "light"],
  [2, "cloud"],
  [3, "camera"],
] as const)
  rig.addChannel(channel(id, `/${className}`, className));

/** Message `index` of a round: its bytes can be told from index and round alone. */
for (let index = 1; ; index += 1) {
  rig.send(1, Buffer.from(`${round} ${index} `.repeat(10)));
  rig.send(2, noise(20_000, round * 1_000_000 + index));
  rig.send(3, noise(5000, round * 1_000_000 + index));
  rig.clock.advanceMs(5);
  if (index % 200 === 100) rig.ring.hold("episode", rig.nowNs - 500_000_000n, rig.nowNs);
  if (index % 200 === 100) rig.ring.promote(rig.nowNs - 500_000_000n, rig.nowNs, rig.nowNs);
  if (index % 10 !== 0) continue;
  rig.builder.flushAll();
  writeSync(1, `sent ${index}\n`);
  rig.ring.step(2);
  rig.ring.commit();
  writeSync(1, `durable ${index}\n`);
}
