/** Commands that need no running daemon, as a person or a script starts them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/child.ts";
import { Rig } from "./rig.ts";

test("backtest tells what the rules would have caught, in seconds from the recording's first message", async () => {
  await using rig = await Rig.open({ bridgePort: 1 });
  type Answer = { recordings: { firings: { rule: string; at_s: number }[]; episodes: object[] }[]; totals: object };
  const answer = await rig.lode<Answer>(["backtest", join(ROOT, "test/data/recordings/sim_cup_slip_recover.mcap")]);
  const [recording] = answer.recordings;
  expect(recording?.firings).toMatchObject([{ rule: "lost_grasp" }]);
  // sim_truth.json: the drop is dated 4.37 s.
  expect(Math.abs((recording?.firings[0]?.at_s ?? 0) - 4.37)).toBeLessThan(0.5);
  expect(recording?.episodes).toMatchObject([{ outcome: "recovered", attempts: 2 }]);
});

test("backtest says how it wants to be asked", async () => {
  await using rig = await Rig.open({ bridgePort: 1 });
  const asked = (...args: string[]) => rig.lode(["backtest", ...args]);
  await expect(asked()).rejects.toThrow("Either recordings or --ring");
  await expect(asked("a.mcap", "--from", "-1h")).rejects.toThrow("--from and --to are of --ring");
  await expect(asked("--ring")).rejects.toThrow("There is no ring");
});

test("a receiver enrols robots and readers, and forgets them", async () => {
  await using rig = await Rig.open({ bridgePort: 1 });
  const receiver = <T>(...args: string[]) => rig.lode<T>(["receiver", ...args], "receiver.yaml");
  const { token } = await receiver<{ token: string }>("robots", "add", "arm-8");
  expect(token).toMatch(/^lode-robot-/);
  const { robots } = await receiver<{ robots: { name: string }[] }>("robots");
  expect(robots.map(({ name }) => name).sort()).toEqual(["arm-8", "rig"]);
  await receiver("robots", "remove", "arm-8");
  await expect(receiver("robots", "remove", "arm-8")).rejects.toThrow("No robot");
  expect((await receiver<{ token: string }>("readers", "add", "trainer")).token).toMatch(/^lode-reader-/);
  await receiver("readers", "remove", "trainer");
  expect(await receiver("fsck")).toMatchObject({ batches: 0, problems: [] });
});

test("an export that finds nothing says so and leaves no file", async () => {
  await using rig = await Rig.open({ bridgePort: 1 });
  const path = join(rig.folder, "out.mcap");
  await expect(rig.lode(["export", "--from", "-10m", "-o", path])).rejects.toThrow("There is no ring");
  expect(existsSync(path)).toBe(false);
});
