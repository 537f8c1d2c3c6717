import { expect, test } from "vitest";
import { FakeBridge } from "./fake-bridge.ts";
import { PLAN, RunningSource, until } from "./harness.ts";

const IMU = "sensor_msgs/msg/Imu";

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
  await using running = new RunningSource(
    bridge.url,
    {},
    { planTopic: (topic) => (topic === "/imu" ? PLAN : undefined) },
  );
  await until(() => bridge.isSubscribed("/imu") && running.status("/secret") !== undefined);
  expect(bridge.isSubscribed("/secret")).toBe(false);
  expect(running.status("/secret")?.mode).toBe("not_recorded");
});
