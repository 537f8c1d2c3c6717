/** A connection that is lost and made anew two hundred times costs nothing that stays. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { FakeBridge } from "./fake-bridge.ts";
import { RunningSource, until } from "./harness.ts";

test("two hundred connections leave no descriptor, timer or listener behind", { timeout: 60_000 }, async () => {
  await using bridge = await FakeBridge.open(0);
  bridge.topics.set("/imu", { type: "sensor_msgs/msg/Imu", publishers: ["/driver"] });
  await using running = new RunningSource(bridge.url);
  const { sink } = running;
  const flowing = async () => {
    const before = sink.raw.length;
    await until(() => bridge.publish("/imu", Buffer.from([9])) > 0 && sink.raw.length > before);
  };
  const open = () => ({
    descriptors: readdirSync("/proc/self/fd").length,
    resources: process.getActiveResourcesInfo().filter((kind) => kind === "Timeout" || kind === "TCPSocketWrap").length,
    listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
  });
  const reconnect = async () => {
    const states = sink.states.length;
    bridge.dropClients();
    await until(() => sink.states.length >= states + 2);
    await flowing();
  };
  await flowing();
  for (let round = 0; round < 10; round += 1) await reconnect();
  const before = open();
  for (let round = 0; round < 200; round += 1) await reconnect();
  // A socket may still be closing, and a wait with its deadline may still run out.
  await until(() => open().descriptors <= before.descriptors + 1 && open().resources <= before.resources + 2);
  expect(open().listeners).toBe(before.listeners);
});
