/** A stop is no failure: what was under way is told again at the next start. */
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

test("a clean stop while batch files are written is no error, and they are written at the next start", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open({ cameraHz: 20, frameBytes: 200_000 });
  await using rig = await Rig.open({ bridgePort: robot.port, config: { upload: { receivers: [] } } });
  const daemon = await rig.startDaemon();
  await waitFor(async () => (await rig.status()).accounting.stored > 100, "recording");
  await rig.lode(["capture", "--pre", "30s", "--post", "2s"]);
  await waitFor(() => daemon.stderr.includes("An episode was sealed."), "the end of the episode", 20_000);
  expect((await daemon.stop()).code).toBe(0);
  expect(daemon.stderr).not.toContain('"level":"error"');
  await rig.startDaemon();
  await waitFor(async () => (await rig.episodes())[0]?.state === "batched", "its files", 20_000);
});
