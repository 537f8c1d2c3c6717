/** What a bridge that goes away costs an episode is said in the episode, whether or not the bridge has come back. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseManifest } from "../../src/protocol/manifest.ts";
import { waitFor } from "../support/child.ts";
import { JOINTS, LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

test("an episode that is sealed while the bridge is away lists the gap", { timeout: 60_000 }, async () => {
  const robot = await LiveRobot.open();
  await using rig = await Rig.open({ bridgePort: robot.port, config: { upload: { receivers: [] } } });
  await rig.startDaemon();
  await waitFor(async () => (await rig.status()).accounting.stored > 0, "recording");
  await rig.lode(["capture", "--pre", "1s", "--post", "4s"]);
  await robot[Symbol.asyncDispose]();
  await waitFor(async () => (await rig.episodes())[0]?.state === "batched", "its files", 20_000);
  expect((await rig.status()).source.is_connected).toBe(false);
  const batches = join(rig.dataFolder, "batches");
  const meta = readdirSync(batches).find((name) => name.endsWith("meta.json")) ?? "";
  const { episode } = parseManifest(readFileSync(join(batches, meta), "utf8"));
  const joints = episode.completeness.find(({ topic }) => topic === JOINTS);
  expect(joints?.gaps).toMatchObject([{ reason: "connection_gap", endNs: episode.endNs }]);
});
