/** Plays a recording to a daemon of its own, until all of it is in the ring or named as dropped. */
import { RingReader } from "../../src/ring/ring-reader.ts";
import { waitFor } from "../support/child.ts";
import { Rig } from "./rig.ts";
import { count, ServedRecording } from "./served-recording.ts";

const FULL_RATE = { topics: { classes: { camera: { tier: "disk" }, cloud: { tier: "disk" } } } };

/** Everything the ring has on disk, as the recording's own multiset is written. */
export function readRing(folder: string): Map<string, number> {
  using reader = RingReader.open(folder);
  const channels = reader.channels();
  const found = new Map<string, number>();
  for (const message of reader.messages({ startNs: 0n, endNs: 2n ** 63n - 1n }))
    count(found, channels.get(message.channelId)?.topic ?? "", message.bytes);
  return found;
}

/** A reader sees what is committed: within a second of its arrival, or it is named as dropped. */
async function settled(rig: Rig, messages: number): Promise<void> {
  await waitFor(
    async () => {
      const { accounting } = await rig.status();
      const dropped = Object.values(accounting.dropped).reduce((sum, drops) => sum + drops, 0);
      const stored = [...readRing(rig.dataFolder).values()].reduce((sum, amount) => sum + amount, 0);
      return stored + dropped >= messages;
    },
    "everything in the ring",
    10_000,
  );
}

export async function playThrough(name: string, rate: number) {
  const served = await ServedRecording.open(name);
  const rig = await Rig.open({ bridgePort: served.server.port, config: FULL_RATE });
  await rig.startReceiver();
  await rig.startDaemon();
  await served.play(rate);
  await settled(rig, served.recording.messageCount);
  return { served, rig };
}
