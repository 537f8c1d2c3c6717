import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import type { RobotNote, RobotOrder, RobotThreadOptions } from "../../src/demo/robot-thread.ts";
import { PlainClient, until } from "../replay/harness.ts";

function startRobot(options: RobotThreadOptions): { notes: RobotNote[]; order(order: RobotOrder): void } {
  const worker = new Worker(new URL("../../src/demo/robot-thread.ts", import.meta.url), { workerData: options });
  onTestFinished(async () => void (await worker.terminate()));
  const notes: RobotNote[] = [];
  worker.on("message", (note: RobotNote) => notes.push(note));
  worker.on("error", (error) => notes.push({ kind: "failed", message: String(error) }));
  return { notes, order: (order) => worker.postMessage(order) };
}

const find = <Kind extends RobotNote["kind"]>(notes: readonly RobotNote[], kind: Kind) =>
  notes.find((note): note is Extract<RobotNote, { kind: Kind }> => note.kind === kind);

test("the live robot waits for its subscriber, serves it all, and stops when told", async () => {
  const { notes, order } = startRobot({ seed: 1, port: 0 });
  await until(() => find(notes, "listening") !== undefined, "the bridge listens", 20_000);
  expect(find(notes, "started")).toBeUndefined();
  const client = await PlainClient.open(find(notes, "listening")?.url ?? "");
  const { topics } = Object(await client.call("/rosapi/topics")).values;
  expect(topics).toEqual(
    expect.arrayContaining(["/joint_states", "/gripper/command", "/camera/wrist/image/compressed"]),
  );
  for (const topic of topics) client.send({ op: "subscribe", topic, compression: "cbor-raw" });
  await until(() => find(notes, "started") !== undefined, "the robot moves", 20_000);
  await until(
    () => notes.some((note) => note.kind === "story" && note.event.kind === "task_started"),
    "a task",
    20_000,
  );
  await until(() => client.binary.length > 500, "messages", 20_000);
  order({ kind: "stop" });
  await until(() => find(notes, "stopped") !== undefined, "the end", 20_000);
  expect(find(notes, "failed")).toBeUndefined();
  const published = find(notes, "stopped")?.published ?? {};
  const sum = Object.values(published).reduce((total, count) => total + count, 0);
  await until(() => client.binary.length >= sum, "every message that was published", 10_000);
  expect(published["/camera/scene/image/compressed"]).toBeGreaterThan(0);
  expect(published["/tf_static"]).toBe(1);
});

test("a port that is taken is told, not thrown", async () => {
  const { notes } = startRobot({ seed: 1, port: 0 });
  await until(() => find(notes, "listening") !== undefined, "the bridge listens", 20_000);
  const port = Number(new URL(find(notes, "listening")?.url ?? "").port);
  const second = startRobot({ seed: 1, port });
  await until(() => find(second.notes, "failed") !== undefined, "the failure", 20_000);
  expect(find(second.notes, "failed")?.message).toContain(String(port));
});
