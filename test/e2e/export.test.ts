/** `lode export` of the last seconds, beside the daemon that has them in memory and without it. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import type { McapExport } from "../../src/export/export-mcap.ts";
import type { Wire } from "../../src/std/wire.ts";
import { waitFor } from "../support/child.ts";
import { readWithLibrary } from "../support/mcap-library-reader.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { CAMERA, JOINTS, LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

const hashesOf = (path: string, topic: string): string[] => {
  const { channels, messages } = readMcapBySpec(path);
  const own = messages.filter(({ channelId }) => channels.get(channelId)?.topic === topic);
  // The frames of the baseline lie in chunks of their own: the file's index has the order, not its bytes.
  const ordered = own.toSorted((a, b) => Number(a.logTimeNs - b.logTimeNs));
  return ordered.map(({ bytes }) => createHash("sha256").update(bytes).digest("hex"));
};

/** Beside the export nothing is left: no part, no spool. */
const leftBeside = (rig: Rig): string[] =>
  readdirSync(rig.folder).filter((name) => name.endsWith(".part") || name.startsWith(".lode-memory"));

test("an export has what the daemon received up to the instant it names, at full rate, from both tiers", async () => {
  await using robot = await LiveRobot.open({ cameraHz: 20 });
  await using rig = await Rig.open({ bridgePort: robot.port });
  const daemon = await rig.startDaemon();
  await waitFor(() => robot.isSubscribed(CAMERA) && robot.isSubscribed(JOINTS), "the subscriptions", 20_000);
  const fromMs = Date.now();
  await waitFor(() => robot.sentBetween(CAMERA, fromMs, Date.now()).length >= 60, "three seconds of frames", 20_000);
  const path = join(rig.folder, "now.mcap");
  const answer = await rig.lode<Wire<McapExport>>(["export", "--from", "-1h", "--topics", CAMERA, JOINTS, "-o", path]);
  const untilMs = Date.parse(answer.complete_until_time ?? "");
  expect(Date.now() - untilMs).toBeLessThan(20_000);
  expect(answer.damaged).toEqual([]);
  for (const topic of [CAMERA, JOINTS]) {
    const got = hashesOf(path, topic);
    expect(new Set(got).size, "no message twice").toBe(got.length);
    // What was sent half a second before had arrived: the robot's own list, in its order.
    const due = robot.sentBetween(topic, fromMs, untilMs - 500);
    expect(due.length).toBeGreaterThan(40);
    expect(got.filter((hash) => due.includes(hash))).toEqual(due);
  }
  expect((await readWithLibrary(path)).length).toBe(answer.messages);
  expect(leftBeside(rig)).toEqual([]);

  await daemon.stop();
  const alone = await rig.lode<Wire<McapExport>>(["export", "--from", "-1h", "--topics", CAMERA, "-o", path]);
  expect(alone).not.toHaveProperty("complete_until_time");
  expect(alone.messages).toBeLessThan((answer.topics[CAMERA] ?? 0) / 2); // the baseline is what is left of the camera

  const db = new Database(join(rig.dataFolder, "ring.db"));
  db.exec(`UPDATE chunk SET payload = zeroblob(length(payload)) WHERE id =
    (SELECT min(id) FROM chunk WHERE payload IS NOT NULL AND class_name = 'light')`);
  db.close();
  const tables = ["export", "--from", "-1h", "--format", "csv", "-o", join(rig.folder, "csv")];
  const { damaged } = await rig.lode<{ damaged: readonly string[] }>(tables);
  expect(damaged).toEqual([expect.stringContaining("damaged")]); // once, though a table is made in two readings
});

test("a daemon of another ring is not asked for its memory, and an unfinished request costs it nothing", async () => {
  await using robot = await LiveRobot.open({ cameraHz: 20 });
  await using rig = await Rig.open({ bridgePort: robot.port });
  await rig.startDaemon();
  await waitFor(async () => (await rig.status()).accounting.in_memory > 20, "frames in memory", 20_000);
  const other = await Rig.open({ bridgePort: 1 });
  await using _ = other;
  const socketPath = join(rig.folder, "control.sock");
  const ask = (body: object): Promise<{ status: number | undefined; code: string }> =>
    new Promise((resolve, reject) => {
      const headers = { "content-type": "application/json" };
      const outgoing = request({ socketPath, method: "POST", path: "/v1/memory", headers }, (response) => {
        let text = "";
        response.on("data", (part) => {
          text += part;
          if (response.statusCode === 200) response.destroy(); // a reader that goes away in mid-answer
        });
        response.on("close", () =>
          resolve({
            status: response.statusCode,
            code: response.statusCode === 200 ? "" : JSON.parse(text).error.code,
          }),
        );
      });
      outgoing.on("error", reject);
      outgoing.end(JSON.stringify(body));
    });
  const query = { start_ns: "0", end_ns: String(2n ** 63n - 1n), topics: ["**"] };
  expect(await ask({ ...query, folder: other.folder })).toEqual({ status: 400, code: "other_ring" });
  expect(await ask({ ...query, folder: rig.dataFolder, start_ns: "-1" })).toEqual({ status: 400, code: "bad_usage" });
  expect(await ask({ ...query, folder: rig.dataFolder })).toMatchObject({ status: 200 });
  expect((await rig.status()).source.is_connected).toBe(true);
});

test("a reader that stalls in mid-answer does not keep the daemon from stopping", async () => {
  await using robot = await LiveRobot.open({ cameraHz: 20, frameBytes: 200_000 });
  await using rig = await Rig.open({ bridgePort: robot.port });
  const daemon = await rig.startDaemon();
  await waitFor(async () => (await rig.status()).accounting.in_memory > 30, "megabytes in memory", 20_000);
  const headers = { "content-type": "application/json" };
  const body = { folder: rig.dataFolder, start_ns: "0", end_ns: String(2n ** 62n), topics: ["**"] };
  const socketPath = join(rig.folder, "control.sock");
  const stalled = await new Promise<IncomingMessage>((resolve) =>
    request({ socketPath, method: "POST", path: "/v1/memory", headers }, resolve).end(JSON.stringify(body)),
  );
  expect(stalled.statusCode).toBe(200);
  stalled.on("error", () => {}); // cut off, as it must be
  const startMs = performance.now();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(performance.now() - startMs).toBeLessThan(15_000);
});

test("Ctrl-C ends an export without leaving half a file", async () => {
  await using robot = await LiveRobot.open({ cameraHz: 50, frameBytes: 100_000 });
  await using rig = await Rig.open({ bridgePort: robot.port });
  await rig.startDaemon();
  const fromMs = Date.now();
  await waitFor(() => robot.sentBetween(CAMERA, fromMs, Date.now()).length >= 150, "frames", 20_000);
  const path = join(rig.folder, "cut.mcap");
  const config = join(rig.folder, "lode.yaml");
  const child = rig.spawn(["export", "--from", "-1h", "-o", path, "--config", config]);
  await waitFor(
    () => readdirSync(rig.folder).includes("cut.mcap.part"),
    "the file to begin",
    20_000,
    () => child.stderr,
  );
  child.kill("SIGINT");
  expect((await child.exited).code).not.toBe(0);
  expect(leftBeside(rig)).toEqual([]);
  expect(readdirSync(rig.folder)).not.toContain("cut.mcap");
});
