import { expect, test } from "vitest";
import { type ChannelDeclaration, ChannelRegistry } from "../../src/decode/channel-registry.ts";

const imu: ChannelDeclaration = {
  topic: "/imu",
  schema: { name: "sensor_msgs/msg/Imu", encoding: "ros2msg", text: "uint8 a\n" },
  messageEncoding: "cdr",
  className: "light",
  isLocal: false,
  isLatched: false,
};

test("the same channel keeps its id, across a restart too", () => {
  const registry = ChannelRegistry.open([]);
  const channel = registry.declare(imu);
  expect(channel).toEqual({ ...imu, id: 1 });
  expect(registry.declare({ ...imu })).toBe(channel);
  expect(ChannelRegistry.open([channel]).declare(imu)).toBe(channel);
});

test("a topic whose schema, encoding, class or locality changes gets a new id, and its old one back when it returns", () => {
  const registry = ChannelRegistry.open([]);
  const ids = [
    imu,
    { ...imu, schema: { ...imu.schema, text: "uint8 b\n" } },
    { ...imu, messageEncoding: "msgpack" as const },
    { ...imu, className: "debug" },
    { ...imu, isLocal: true },
    { ...imu, topic: "/imu2" },
    imu,
  ].map((declaration) => registry.declare(declaration).id);
  expect(ids).toEqual([1, 2, 3, 4, 5, 6, 1]);
});

test("learning that a topic is latched keeps its id", () => {
  const registry = ChannelRegistry.open([]);
  const { id } = registry.declare(imu);
  expect(registry.declare({ ...imu, isLatched: true })).toEqual({ ...imu, id, isLatched: true });
});

test("an id is never given twice, and the last one is followed by a fault", () => {
  const registry = ChannelRegistry.open([{ ...imu, id: 65_534 }]);
  expect(registry.declare({ ...imu, topic: "/last" }).id).toBe(65_535);
  expect(() => registry.declare({ ...imu, topic: "/more" })).toThrow(/\/more.*65535/);
  expect(registry.declare(imu).id).toBe(65_534);
});

test("where the free ids are used up, none is left: the highest known one does not lead on", () => {
  const registry = ChannelRegistry.open([{ ...imu, id: 60_001 }], [60_002]);
  expect(registry.declare({ ...imu, topic: "/last" }).id).toBe(60_002);
  expect(() => registry.declare({ ...imu, topic: "/more" })).toThrow(/\/more.*65535/);
});
