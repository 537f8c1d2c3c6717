/** A recording behind a rosbridge server in this process, and what a recorder must have of it, counted here. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Definitions } from "../../src/decode/definitions.ts";
import { openRecording } from "../../src/replay/open-recording.ts";
import { advertiseAll, play, waitForSubscriptions } from "../../src/replay/player.ts";
import type { Recording } from "../../src/replay/recording.ts";
import { RosbridgeServer } from "../../src/replay/rosbridge-server.ts";
import { systemClock } from "../../src/std/clock.ts";
import { ROOT } from "../support/child.ts";

export class ServedRecording {
  readonly recording: Recording;
  readonly server: RosbridgeServer;

  private constructor(recording: Recording, server: RosbridgeServer) {
    this.recording = recording;
    this.server = server;
  }

  static async open(name: string): Promise<ServedRecording> {
    const definitions = Definitions.open({ folders: [] });
    const recording = await openRecording(join(ROOT, "test/data/recordings", name), {
      findDefinition: (type, ros) => definitions.find(type, ros),
    });
    return new ServedRecording(recording, await RosbridgeServer.open({ ros: recording.ros, port: 0 }));
  }

  /** Plays it to whoever subscribes, and stays connected afterwards. */
  async play(rate: number): Promise<void> {
    const publishers = advertiseAll(this.server, this.recording);
    const signal = AbortSignal.timeout(900_000);
    await waitForSubscriptions(this.server, 1500, systemClock, signal);
    await play(this.recording, publishers, this.server, { rate }, systemClock, signal);
    await this.server.whenDrained(AbortSignal.timeout(30_000));
  }

  /** "topic sha256" → how often: from the file, not from what arrived. */
  async multiset(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for await (const { channelIndex, bytes } of this.recording.messages())
      count(counts, this.recording.channels[channelIndex]?.topic ?? "", bytes);
    return counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.recording[Symbol.asyncDispose]();
  }
}

export function count(counts: Map<string, number>, topic: string, bytes: Uint8Array): void {
  const key = `${topic} ${createHash("sha256").update(bytes).digest("hex")}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** What the one has more of than the other, by topic. */
export function missingFrom(
  expected: ReadonlyMap<string, number>,
  found: ReadonlyMap<string, number>,
): Record<string, number> {
  const missing: Record<string, number> = {};
  for (const [key, amount] of expected) {
    const topic = key.split(" ")[0] ?? "";
    const lack = amount - (found.get(key) ?? 0);
    if (lack > 0) missing[topic] = (missing[topic] ?? 0) + lack;
  }
  return missing;
}
