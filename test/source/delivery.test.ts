import { expect, test } from "vitest";
import { compileGlobs } from "../../src/std/glob.ts";
import { FakeBridge, rawFrame } from "./fake-bridge.ts";
import { KeepingSink, PLAN, RunningSource, until } from "./harness.ts";

const IMU = "sensor_msgs/msg/Imu";
const ON_DEMAND = { ...PLAN, isOnDemand: true };

test("finds the topics of the bridge and delivers their raw bytes", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU, definition: "float64 x", publishers: ["/driver"] });
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.isSubscribed("/imu", "cbor-raw"));
  const sent = Array.from({ length: 200 }, (_, index) => Buffer.from([index, 1, 2, 3]));
  for (const payload of sent) bridge.publish("/imu", payload);
  await until(() => running.sink.raw.length === sent.length);
  expect(running.sink.raw.map(({ bytes }) => bytes)).toEqual(sent);
  expect(running.sink.announcements).toEqual([
    { topic: "/imu", schemaName: IMU, schemaText: "float64 x", ros: 2, isLatched: false },
  ]);
  expect(running.status("/imu")).toMatchObject({ mode: "cbor-raw", received: 200, silentReason: undefined });
});

test("leaves out what the plan leaves out, and says so", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU });
  bridge.topics.set("/secret", { type: IMU });
  const planTopic = (topic: string) => (topic === "/imu" ? PLAN : undefined);
  await using running = new RunningSource(bridge.url, {}, { planTopic });
  await until(() => bridge.isSubscribed("/imu") && running.status("/secret") !== undefined);
  expect(bridge.isSubscribed("/secret")).toBe(false);
  expect(running.status("/secret")?.mode).toBe("not_recorded");
});

test("asks in a way no server refuses: integers only, a bounded queue, no fragments, one subscription per topic", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU });
  const topicClass = { ...PLAN.topicClass, queueLength: 2.6 };
  await using running = new RunningSource(bridge.url, {}, { planTopic: () => ({ ...PLAN, topicClass }) });
  await until(() => bridge.isSubscribed("/imu") && bridge.told("call_service").length > 12);
  expect(running.status("/imu")).toBeDefined();
  expect(bridge.told("subscribe")).toHaveLength(1);
  expect(bridge.told("subscribe")[0]).toMatchObject({ topic: "/imu", type: IMU, queue_length: 3, throttle_rate: 0 });
  expect(bridge.told("subscribe")[0]).not.toHaveProperty("fragment_size");
});

test("an unbounded queue is never asked for", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU });
  const planTopic = () => ({ ...PLAN, topicClass: { ...PLAN.topicClass, queueLength: 0 } });
  await using _running = new RunningSource(bridge.url, {}, { planTopic });
  await until(() => bridge.isSubscribed("/imu"));
  expect(bridge.told("subscribe")[0]?.queue_length).toBe(1);
});

test("topics that turn up later join; a topic that changes its type is opened anew", async () => {
  await using bridge = await FakeBridge.open();
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.told("call_service").length > 3);
  bridge.topics.set("/late", { type: IMU, definition: "one" });
  await until(() => bridge.isSubscribed("/late"));
  bridge.topics.set("/late", { type: "a_msgs/msg/Other", definition: "two" });
  await until(() => running.sink.announcements.length === 2 && bridge.told("subscribe", "/late").length === 2);
  expect(running.sink.announcements[1]).toMatchObject({ schemaName: "a_msgs/msg/Other", schemaText: "two" });
  expect(bridge.told("unsubscribe", "/late")).toHaveLength(1);
});

test("on-demand topics are subscribed only while they are asked for", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/debug/a", { type: IMU });
  bridge.topics.set("/imu", { type: IMU });
  const planTopic = (topic: string) => (topic.startsWith("/debug") ? ON_DEMAND : PLAN);
  await using running = new RunningSource(bridge.url, {}, { planTopic });
  await until(() => bridge.isSubscribed("/imu"));
  expect(bridge.isSubscribed("/debug/a")).toBe(false);
  expect(running.status("/debug/a")?.mode).toBe("on_demand");
  running.source.subscribeOnDemand(compileGlobs(["/debug/**"]));
  bridge.topics.set("/debug/b", { type: IMU });
  await until(() => bridge.isSubscribed("/debug/a") && bridge.isSubscribed("/debug/b"));
  running.source.subscribeOnDemand(() => false);
  await until(() => !bridge.isSubscribed("/debug/a") && !bridge.isSubscribed("/debug/b"));
  expect(bridge.isSubscribed("/imu")).toBe(true);
});

test("a definition that does not parse is passed on as it is, and the bytes come", async () => {
  await using bridge = await FakeBridge.open();
  const definition = "Header header\n====\nMSG: roslib/Header\n<<< not a definition";
  bridge.topics.set("/odom", { type: "nav_msgs/Odometry", definition });
  bridge.services.delete("/rosapi/get_ros_version");
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.isSubscribed("/odom"));
  bridge.publish("/odom", Buffer.from([1]));
  await until(() => running.sink.raw.length === 1);
  expect(running.sink.announcements[0]).toMatchObject({ schemaText: definition, ros: 1 });
});

test("without definitions topics are recorded all the same, and get theirs when the bridge has them", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU, definition: "float64 x" });
  const whole = bridge.services.get("/rosapi/topics_and_raw_types");
  bridge.services.set("/rosapi/topics_and_raw_types", () => {
    throw new Error("no such type");
  });
  await using running = new RunningSource(bridge.url);
  await until(() => bridge.isSubscribed("/imu"));
  expect(running.sink.announcements[0]?.schemaText).toBeUndefined();
  if (whole !== undefined) bridge.services.set("/rosapi/topics_and_raw_types", whole);
  await until(() => running.sink.announcements[1]?.schemaText === "float64 x");
  expect(bridge.told("subscribe")).toHaveLength(1);
});

test("latched topics are known by their names and types", async () => {
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/tf_static", { type: "tf2_msgs/msg/TFMessage" });
  bridge.topics.set("/robot_description", { type: "std_msgs/msg/String" });
  bridge.topics.set("/front/info", { type: "sensor_msgs/msg/CameraInfo" });
  bridge.topics.set("/map", { type: "nav_msgs/msg/OccupancyGrid" });
  bridge.topics.set("/tf", { type: "tf2_msgs/msg/TFMessage" });
  await using running = new RunningSource(bridge.url);
  await until(() => running.sink.announcements.length === 5);
  const latched = running.sink.announcements.filter(({ isLatched }) => isLatched).map(({ topic }) => topic);
  expect(latched.sort()).toEqual(["/front/info", "/map", "/robot_description", "/tf_static"]);
});

test("a sink that throws costs the message it was given, counted, and nothing else", async () => {
  class ThrowingSink extends KeepingSink {
    override onBytes(handle: number, bytes: Uint8Array, arrivalNs: bigint): void {
      if (bytes[0] === 1) throw new Error("no");
      super.onBytes(handle, bytes, arrivalNs);
    }
  }
  await using bridge = await FakeBridge.open();
  bridge.topics.set("/imu", { type: IMU });
  await using running = new RunningSource(bridge.url, {}, {}, new ThrowingSink());
  await until(() => bridge.isSubscribed("/imu"));
  for (const value of [0, 1, 2]) bridge.publish("/imu", Buffer.from([value]));
  await until(() => running.sink.raw.length === 2);
  const bytes = rawFrame("/imu", Buffer.from([1])).length;
  expect(running.sink.drops).toEqual([{ topic: "/imu", reason: "malformed_frame", count: 1, bytes }]);
  expect(bridge.connectionCount).toBe(1);
});
