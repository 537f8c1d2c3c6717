/** What `lode status` says of a running daemon, as text and as JSON. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

async function statusText(rig: Rig): Promise<string> {
  const child = rig.spawn(["status", "--config", join(rig.folder, "lode.yaml")]);
  await child.exited;
  return child.stdout;
}

test("status is one screen: what each class has and will have, and what the disk takes, over a restart", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open({ cameraHz: 5, frameBytes: 20_000 });
  await using rig = await Rig.open({ bridgePort: robot.port });
  const daemon = await rig.startDaemon();
  const classOf = (status: Awaited<ReturnType<Rig["status"]>>, name: string) =>
    status.ring.classes.find(({ class_name }) => class_name === name);
  const first = await waitFor(
    async () => {
      const status = await rig.status();
      const isStored = ["light", "camera"].every((name) => (classOf(status, name)?.disk_bytes ?? 0) > 0);
      return isStored && status;
    },
    "both classes on the disk",
    20_000,
    () => daemon.stderr,
  );
  expect(first.wear).toMatchObject({ source: expect.stringMatching(/^(block|process)$/), budget_bytes: 50e9 });
  expect(classOf(first, "light")).toMatchObject({ rank: 0, compression_ratio: expect.any(Number) });
  expect(classOf(first, "light")?.forecast_ms).toBeUndefined(); // too early to say
  const lines = (await statusText(rig)).split("\n");
  expect(lines.length).toBeLessThanOrEqual(24);
  expect(lines.map((line) => line.length).every((length) => length <= 120)).toBe(true);
  const head = lines.findIndex((line) => /class +back +will reach +on disk +per day +packed to +in memory$/.test(line));
  const ends = lines.slice(head, head + 5).map((line) => line.length);
  expect(new Set(ends).size).toBe(1);
  expect(lines.slice(head + 1, head + 5).map((line) => line.trim().split(" ")[0])).toEqual(Object.keys(RANKS));
  expect(lines.some((line) => /^wear +\S+ \S+ today .*budget 50 GB$/.test(line))).toBe(true);

  expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  const [saved] = rig.journal<{ bytes: number }>("SELECT bytes FROM wear_day");
  expect(saved?.bytes).toBeGreaterThan(0);
  await rig.startDaemon();
  const again = (await rig.status()).wear;
  expect(again.days.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThanOrEqual(saved?.bytes ?? 0);
});

/** In the order of the screen. */
const RANKS = { light: 0, camera: 50, cloud: 60, debug: 80 };
