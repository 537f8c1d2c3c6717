/** Two daemons on one data folder: the second ends before it has touched anything of the first. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

test("a second daemon on the same folder is refused, and the first one's open episode goes on", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open();
  await using rig = await Rig.open({ bridgePort: robot.port, config: { upload: { receivers: [] } } });
  await rig.startDaemon();
  await waitFor(async () => (await rig.status()).accounting.stored > 0, "recording");
  await rig.lode(["capture", "--pre", "1s", "--post", "5m"]);
  const second = rig.spawn(["run", "--json", "--config", join(rig.folder, "lode.yaml")]);
  expect((await second.exited).code).toBe(1);
  await expect(second.firstJson()).resolves.toMatchObject({ error: { code: "already_running" } });
  expect(second.stderr).toMatch(/Another Lode daemon works in .*\nhint: Stop it first/);
  expect(await rig.episodes()).toMatchObject([{ state: "open" }]);
  expect((await rig.status()).losses).toEqual([]);
  await rig.daemon?.killHard();
  await rig.startDaemon();
});
