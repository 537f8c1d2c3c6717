/** What the receiver has of the one episode that came, as a person finds it there. */
import { readFileSync } from "node:fs";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { sha256 } from "./live-robot.ts";
import type { Rig } from "./rig.ts";

/** All messages of its MCAP files: "topic sha256". */
export async function receivedMessages(rig: Rig): Promise<Set<string>> {
  const [received] = await rig.receivedEpisodes();
  const files = received?.files.filter((file) => file.endsWith(".mcap")) ?? [];
  const found = files.flatMap((file) => {
    const { channels, messages } = readMcapBySpec(file);
    return messages.map(({ channelId, bytes }) => `${channels.get(channelId)?.topic} ${sha256(bytes)}`);
  });
  return new Set(found);
}

export async function receivedManifest(rig: Rig) {
  const [received] = await rig.receivedEpisodes();
  return JSON.parse(readFileSync(received?.files.find((file) => file.endsWith("manifest.json")) ?? "", "utf8"));
}
