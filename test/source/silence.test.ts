import { expect, test } from "vitest";
import { waitMs } from "../../src/std/wait.ts";
import { FakeBridge } from "./fake-bridge.ts";
import { RunningSource, until } from "./harness.ts";

const IMU = "sensor_msgs/msg/Imu";
const PUBLISHED = { type: IMU, publishers: ["/driver"] };

/** Publishes every few ms until the returned function is called; keeps the count. */
function publishSteadily(bridge: FakeBridge, topic: string): { readonly stop: () => void } {
  const timer = setInterval(() => bridge.publish(topic, Buffer.from([1]), { x: 1 }), 5);
  return { stop: () => clearInterval(timer) };
}

test("a topic that another client reads as JSON is asked for as JSON after the silence, and comes", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", PUBLISHED);
  bridge.heldForms.set("/imu", "json");
  await using running = new RunningSource(bridge.url, { retryRawMs: 60_000 });
  await until(() => bridge.isSubscribed("/imu", "none"));
  expect(bridge.told("unsubscribe", "/imu")).toHaveLength(1);
  bridge.publish("/imu", Buffer.from([1]), { x: 1 });
  await until(() => running.sink.json.length === 1);
  const wireBytes = Buffer.byteLength('{"op":"publish","topic":"/imu","msg":{"x":1}}');
  expect(running.sink.json).toEqual([{ topic: "/imu", message: { x: 1 }, wireBytes }]);
  expect(running.status("/imu")?.mode).toBe("none");
});

test("goes back to raw once the other client lets go, and what a try in vain cost is counted", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", PUBLISHED);
  bridge.heldForms.set("/imu", "json");
  await using running = new RunningSource(bridge.url);
  const publisher = publishSteadily(bridge, "/imu");
  await until(() => running.sink.json.length > 0);
  await until(() => running.sink.drops.length > 0);
  expect(running.sink.drops[0]).toMatchObject({ topic: "/imu", reason: "connection_gap" });
  bridge.heldForms.delete("/imu");
  await until(() => running.sink.raw.length > 20);
  publisher.stop();
  expect(running.status("/imu")?.mode).toBe("cbor-raw");
});

test("a topic that nobody publishes is reported, and left as it was asked for", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU, publishers: [] });
  await using running = new RunningSource(bridge.url);
  await until(() => running.status("/imu")?.silentReason === "Nothing publishes it at present.");
  await waitMs(400);
  expect(bridge.told("subscribe", "/imu")).toHaveLength(1);
  bridge.publish("/imu", Buffer.from([1]));
  await until(() => running.status("/imu")?.silentReason === undefined);
});

test("a topic that vanishes is noted, and is there again with its first message", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", PUBLISHED);
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.publish("/imu", Buffer.from([1])) > 0 && running.sink.raw.length > 0);
  bridge.services.delete("/rosapi/publishers");
  bridge.topics.delete("/imu");
  await until(() => running.status("/imu")?.silentReason === "Its publisher is gone.");
  bridge.topics.set("/imu", PUBLISHED);
  bridge.publish("/imu", Buffer.from([1]));
  await until(() => running.status("/imu")?.silentReason === undefined);
  expect(bridge.told("subscribe", "/imu")).toHaveLength(1);
});

test("a rarely sent topic that has come is not taken for silent, nor asked for anew", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/rare", PUBLISHED);
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.publish("/rare", Buffer.from([1])) > 0);
  await until(() => running.status("/rare")?.publishers !== undefined);
  await waitMs(400);
  expect(running.status("/rare")?.silentReason).toBeUndefined();
  expect(bridge.told("subscribe", "/rare")).toHaveLength(1);
});

test("a published topic that is silent in both forms is reported with its likely reasons", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", PUBLISHED);
  bridge.topics.set("/camera", { type: "sensor_msgs/msg/Image", publishers: ["/cam"] });
  await using running = new RunningSource(bridge.url);
  await until(() => running.status("/imu")?.silentReason?.includes("does not know the type") === true);
  await until(() => running.status("/camera")?.silentReason?.includes("max_message_size") === true);
  expect(running.status("/camera")?.silentReason).toMatch(
    /^Published by \/cam, but nothing comes: its messages are larger/,
  );
  expect(running.status("/camera")?.publishers).toEqual(["/cam"]);
});

test("rosapi that hangs holds up neither the messages nor the connection", async () => {
  await using bridge = await FakeBridge.open();
  for (const name of ["topics", "topics_and_raw_types", "publishers", "get_ros_version"])
    bridge.services.set(`/rosapi/${name}`, () => undefined);
  const configuredTypes = new Map([["/imu", IMU]]);
  await using running = new RunningSource(bridge.url, { callTimeoutMs: 50 }, { configuredTypes });
  await until(() => bridge.publish("/imu", Buffer.from([1])) > 0 && running.sink.raw.length > 0);
  expect(running.sink.announcements[0]).toMatchObject({ schemaName: IMU, schemaText: undefined, ros: 2 });
});

test("rosapi that comes up after the bridge is found", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { ...PUBLISHED, definition: "float64 x" });
  const list = bridge.services.get("/rosapi/topics");
  bridge.services.delete("/rosapi/topics");
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.told("call_service").length > 4);
  if (list !== undefined) bridge.services.set("/rosapi/topics", list);
  await until(() => running.sink.announcements[0]?.schemaText === "float64 x");
});

test.each([
  ["sends JSON although raw was asked for", () => '{"op":"publish","topic":"/chatter","msg":{"data":"hello"}}'],
  ["answers with a status", (id: unknown) => JSON.stringify({ op: "status", id, level: "error", msg: "no" })],
])("a bridge that %s is never asked for another form", async (_name, frame) => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/quiet", PUBLISHED);
  bridge.topics.set("/chatter", PUBLISHED);
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.isSubscribed("/chatter"));
  bridge.sendFrame(frame(bridge.told("subscribe", "/chatter")[0]?.id));
  await until(() => running.status("/quiet")?.silentReason !== undefined);
  await waitMs(400);
  expect(bridge.told("subscribe", "/quiet")).toHaveLength(1);
});

test("rosapi that dies in the middle of a call costs one reconnection: the bridge may have stopped listening", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", PUBLISHED);
  await using running = new RunningSource(bridge.url, { callTimeoutMs: 30 });
  await until(() => bridge.isSubscribed("/imu"));
  for (const name of bridge.services.keys()) bridge.services.set(name, () => undefined);
  await until(() => bridge.connectionCount === 2);
  expect(running.sink.states[1]?.reason).toMatch(/rosapi stopped answering/);
  await waitMs(500);
  expect(bridge.connectionCount).toBe(2);
  expect(bridge.publish("/imu", Buffer.from([1]))).toBe(1);
  await until(() => running.sink.raw.length + running.sink.json.length === 1);
});

test("what is known of the publishers outlives a rosapi that falls silent", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", PUBLISHED);
  await using running = new RunningSource(bridge.url);
  await until(() => running.status("/imu")?.publishers !== undefined);
  bridge.services.delete("/rosapi/publishers");
  const calls = () => bridge.told("call_service").filter(({ service }) => service === "/rosapi/publishers").length;
  const before = calls();
  await until(() => calls() > before + 1);
  expect(running.status("/imu")?.publishers).toEqual(["/driver"]);
});

test("a text that only says that there is no definition is none", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/odd", { type: "a/msg/B", definition: "# failed to get full definition text for a/msg/B: gone" });
  await using running = new RunningSource(bridge.url);
  await until(() => running.sink.announcements.length === 1);
  expect(running.sink.announcements[0]?.schemaText).toBeUndefined();
});

test("rosapi is asked for the publishers of a silent topic with growing gaps", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU, publishers: [] });
  await using running = new RunningSource(bridge.url);
  await until(() => running.status("/imu")?.publishers !== undefined);
  await waitMs(900);
  const questions = bridge.told("call_service").filter(({ service }) => service === "/rosapi/publishers");
  // At 0, 75, 225, 525 ms after the first; every 75 ms they were 13.
  expect(questions.length).toBeLessThan(7);
});
