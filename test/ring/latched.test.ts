import { expect, test } from "vitest";
import { CAMERA, channel, LIGHT, MS, Rig, START_NS, topicClass } from "./ring-rig.ts";

const TF_STATIC = channel(1, "/tf_static", "light", { isLatched: true });
const MAP = channel(2, "/map", "light");
const JOINTS = channel(3, "/joint_states", "light");

function textOf(rig: Rig, beforeNs: bigint): Record<number, string> {
  using reader = rig.open();
  const entries = reader.latched(beforeNs).map(({ channelId, bytes }) => [channelId, Buffer.from(bytes).toString()]);
  return Object.fromEntries(entries);
}

function rigWithTopics(): Rig {
  const rig = new Rig();
  for (const added of [TF_STATIC, MAP, JOINTS]) rig.addChannel(added);
  return rig;
}

function runSeconds(rig: Rig, seconds: number): void {
  for (let tick = 0; tick < seconds * 10; tick += 1) {
    rig.send(3, Buffer.from(`joints ${tick}`));
    rig.clock.advanceMs(100);
    rig.flush();
  }
  rig.settle();
}

test("the last message of a latched and of a rarely sent channel is kept, over restarts; of a busy one it is not", () => {
  using rig = rigWithTopics();
  rig.send(1, Buffer.from("frames"));
  rig.send(2, Buffer.from("map 1"));
  runSeconds(rig, 60);
  rig.send(2, Buffer.from("map 2"));
  runSeconds(rig, 5);
  expect(textOf(rig, rig.nowNs)).toEqual({ 1: "frames", 2: "map 2" });
  using again = rig.reopen();
  expect(textOf(again, again.nowNs)).toEqual({ 1: "frames", 2: "map 2" });
});

test("asked for an instant, it is the last one before it, not the last of all", () => {
  using rig = rigWithTopics();
  rig.send(1, Buffer.from("old frames"));
  runSeconds(rig, 10);
  const betweenNs = rig.nowNs;
  rig.clock.advanceMs(1000);
  rig.send(1, Buffer.from("new frames"));
  runSeconds(rig, 1);
  expect(textOf(rig, betweenNs)).toEqual({ 1: "old frames" });
  expect(textOf(rig, rig.nowNs)).toEqual({ 1: "new frames" });
  expect(textOf(rig, START_NS - MS)).toEqual({});
});

test("it outlives the retention of its chunk", () => {
  using rig = new Rig({ classes: [topicClass("light", { diskMsMax: 2000 }), CAMERA] });
  rig.addChannel(TF_STATIC);
  rig.addChannel(JOINTS);
  rig.send(1, Buffer.from("frames"));
  runSeconds(rig, 20);
  expect(rig.readAll().filter(({ channelId }) => channelId === 1)).toEqual([]);
  expect(textOf(rig, rig.nowNs)).toEqual({ 1: "frames" });
});

test("a latched message in a memory class is remembered though it never reached the disk tier", () => {
  using rig = new Rig({ classes: [LIGHT, topicClass("camera", { baselineHz: 0 })] });
  rig.addChannel(channel(4, "/camera/info", "camera", { isLatched: true }));
  rig.send(4, Buffer.from("intrinsics"));
  rig.settle();
  expect(rig.readAll()).toEqual([]);
  expect(textOf(rig, rig.nowNs)).toEqual({ 4: "intrinsics" });
});
