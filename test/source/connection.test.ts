import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/std/clock.ts";
import { waitMs } from "../../src/std/wait.ts";
import { type Log, silentLog } from "../../src/telemetry/log.ts";
import { FakeBridge, rawFrame } from "./fake-bridge.ts";
import { FAST, RunningSource, until } from "./harness.ts";

const IMU = "sensor_msgs/msg/Imu";

async function openBridge(port = 0): Promise<FakeBridge> {
  const bridge = await FakeBridge.open(port);
  bridge.topics.set("/imu", { type: IMU, publishers: ["/driver"] });
  return bridge;
}

/** The connection carries messages now. */
async function untilFlowing(bridge: FakeBridge, running: RunningSource): Promise<void> {
  const before = running.sink.raw.length;
  await until(() => bridge.publish("/imu", Buffer.from([9])) > 0 && running.sink.raw.length > before);
}

describe("a lost connection", () => {
  test("is recorded as a gap, made anew, and the topics are subscribed again", async () => {
    await using bridge = await openBridge();
    await using running = new RunningSource(bridge.url);
    await untilFlowing(bridge, running);
    bridge.dropClients();
    await until(() => running.sink.states.length === 3);
    await untilFlowing(bridge, running);
    const { states, announcements } = running.sink;
    expect(states.map(({ kind }) => kind)).toEqual(["connected", "disconnected", "connected"]);
    expect(Number((states[2]?.atNs ?? 0n) - (states[1]?.atNs ?? 0n))).toBeGreaterThan(0);
    expect(announcements).toHaveLength(1);
    expect(bridge.told("subscribe", "/imu")).toHaveLength(2);
  });

  test("comes back when the bridge process does", async () => {
    const first = await openBridge();
    await using running = new RunningSource(first.url);
    await untilFlowing(first, running);
    const { port } = first;
    await first[Symbol.asyncDispose]();
    await until(() => running.sink.states.at(-1)?.kind === "disconnected");
    await using second = await openBridge(port);
    await untilFlowing(second, running);
  });

  test("that nobody closed (half-open) is noticed by its silence, and its gap begins with that silence", async () => {
    await using bridge = await openBridge();
    await using running = new RunningSource(bridge.url, { pingMs: 60 });
    await untilFlowing(bridge, running);
    const frozenNs = systemClock.monotonicNs();
    bridge.freeze();
    await until(() => running.sink.states.length >= 2);
    const [, lost] = running.sink.states;
    expect(lost?.reason).toMatch(/no ping/);
    expect(Number((lost?.atNs ?? 0n) - frozenNs) / 1e6).toBeLessThan(60);
    await untilFlowing(bridge, running);
  });

  test("is not suspected while anything is heard", async () => {
    await using bridge = await openBridge();
    await using running = new RunningSource(bridge.url, { pingMs: 20 });
    await untilFlowing(bridge, running);
    await waitMs(400);
    expect(bridge.connectionCount).toBe(1);
    expect(running.sink.states).toHaveLength(1);
  });
});

describe("a bridge that is not there", () => {
  test("is said once, tried again and again, and found when it comes", async () => {
    const probe = await openBridge();
    const { port, url } = probe;
    await probe[Symbol.asyncDispose]();
    const warnings: string[] = [];
    const log: Log = { ...silentLog, warn: (sentence) => warnings.push(sentence) };
    await using running = new RunningSource(url, {}, { log });
    await waitMs(300);
    expect(running.sink.states.map(({ kind }) => kind)).toEqual(["disconnected"]);
    expect(running.sink.states[0]?.reason).toMatch(/ECONNREFUSED/);
    expect(warnings).toHaveLength(1);
    await using bridge = await openBridge(port);
    await untilFlowing(bridge, running);
  });

  test("is given more time with each failure, and the waits differ", async () => {
    await using bridge = await openBridge();
    bridge.isRefusing = true;
    const waits = { reconnectMs: 20, reconnectMsMax: 10_000 };
    await using _running = new RunningSource(bridge.url, waits, { random: () => 1 });
    await until(() => bridge.connectionCount >= 3);
    const startMs = performance.now();
    await until(() => bridge.connectionCount >= 5);
    // 80 + 160 ms; without growth it were 40.
    expect(performance.now() - startMs).toBeGreaterThan(150);
  });

  test("does not hold up the end", async () => {
    await using running = new RunningSource("ws://127.0.0.1:1", { reconnectMs: 1e6, reconnectMsMax: 1e6 });
    await until(() => running.sink.states.length === 1);
  });
});

describe("a bad frame costs itself and a counter, never the connection", () => {
  const truncated = rawFrame("/imu", Buffer.alloc(100)).subarray(0, -3);
  const tooLong = Buffer.concat([rawFrame("/imu", Buffer.alloc(100)), Buffer.from("junk")]);
  const hugeClaim = Buffer.concat([
    rawFrame("/imu", Buffer.alloc(0)).subarray(0, -1),
    Buffer.from([0x5b, ...Buffer.alloc(8, 0xff)]),
  ]);
  const oversized = rawFrame("/imu", Buffer.alloc(FAST.frameBytesMax + 1));
  const bigJson = JSON.stringify({ op: "publish", topic: "/imu", msg: "x".repeat(FAST.frameBytesMax) });
  test.each([
    ["a truncated frame", truncated, "malformed_frame", "/imu"],
    ["a frame with something behind its end", tooLong, "malformed_frame", "/imu"],
    ["a frame that claims more than any memory", hugeClaim, "malformed_frame", "/imu"],
    ["an oversized frame", oversized, "oversized_frame", "/imu"],
    ["an oversized JSON frame", bigJson, "oversized_frame", "/imu"],
    ["binary noise", Buffer.alloc(50, 0xff), "malformed_frame", ""],
    ["an empty frame", Buffer.alloc(0), "malformed_frame", ""],
    ["deeply nested CBOR", Buffer.alloc(60_000, 0x81), "malformed_frame", ""],
    ["JSON cut off", '{"op":"publish","topic":"/imu","msg":{', "malformed_frame", "/imu"],
    ["JSON that is no operation", "[1,2,3]", "malformed_frame", ""],
    ["a PNG that is none", '{"op":"png","data":"AAAA"}', "malformed_frame", ""],
  ])("%s", async (_name, frame, reason, topic) => {
    await using bridge = await openBridge();
    await using running = new RunningSource(bridge.url);
    await untilFlowing(bridge, running);
    bridge.sendFrame(frame);
    await until(() => running.sink.drops.length > 0);
    await untilFlowing(bridge, running);
    const bytes = Buffer.byteLength(frame);
    expect(running.sink.drops).toEqual([{ topic, reason, count: 1, bytes }]);
    expect(bridge.connectionCount).toBe(1);
  });

  test("operations for nobody are passed over", async () => {
    await using bridge = await openBridge();
    await using running = new RunningSource(bridge.url);
    await untilFlowing(bridge, running);
    bridge.sendFrame(rawFrame("/stranger", Buffer.from([1])));
    bridge.sendFrame('{"op":"service_response","id":"unknown","values":{},"result":true}');
    bridge.sendFrame('{"op":"fragment","id":"0","data":"x","num":0,"total":2}');
    await untilFlowing(bridge, running);
    expect(running.sink.drops).toEqual([]);
  });

  test("a JSON message that the bridge cut into pieces without an id is counted once, under its topic", async () => {
    await using bridge = await openBridge();
    await using running = new RunningSource(bridge.url);
    await untilFlowing(bridge, running);
    const whole = JSON.stringify({ op: "publish", topic: "/imu", msg: { data: "x".repeat(900) } });
    const piece = (num: number, data: string) =>
      `{"op": "fragment", "id": 0, "data": ${JSON.stringify(data)}, "num": ${num}, "total": 1.9}`;
    bridge.sendFrame(piece(0, whole.slice(0, 500)));
    bridge.sendFrame(piece(1, whole.slice(500)));
    await untilFlowing(bridge, running);
    const bytes = piece(0, whole.slice(0, 500)).length;
    expect(running.sink.drops).toEqual([{ topic: "/imu", reason: "oversized_frame", count: 1, bytes }]);
  });

  test("only one beyond the hard bound closes the connection: counted, and made anew", async () => {
    await using bridge = await openBridge();
    await using running = new RunningSource(bridge.url);
    await untilFlowing(bridge, running);
    bridge.sendFrame(Buffer.alloc(FAST.socketBytesMax + 1));
    await until(() => running.sink.states.length === 3);
    expect(running.sink.drops).toEqual([{ topic: "", reason: "oversized_frame", count: 1, bytes: 0 }]);
    await untilFlowing(bridge, running);
  });
});

describe("a service call", () => {
  test("is answered, with the type in its operation", async () => {
    await using bridge = await openBridge();
    bridge.services.set("/add", ({ a, b }) => ({ sum: Number(a) + Number(b) }));
    await using running = new RunningSource(bridge.url);
    await untilFlowing(bridge, running);
    const answer = await running.source.callService("/add", "example/AddTwoInts", { a: 2, b: 3 });
    expect(answer).toEqual({ kind: "ok", values: { sum: 5 } });
    expect(bridge.told("call_service").every(({ type }) => typeof type === "string")).toBe(true);
    expect(await running.source.callService("/none", "x/Y", {})).toMatchObject({ kind: "failed" });
  });

  test("that nobody answers ends at its deadline", async () => {
    await using bridge = await openBridge();
    bridge.services.set("/mute", () => undefined);
    await using running = new RunningSource(bridge.url, { callTimeoutMs: 50 });
    await untilFlowing(bridge, running);
    const answer = await running.source.callService("/mute", "x/Y", {});
    expect(answer).toEqual({ kind: "unanswered", reason: "no answer within 50 ms" });
  });

  test("in flight at a disconnect is answered at once, not at its deadline", async () => {
    await using bridge = await openBridge();
    bridge.services.set("/mute", () => undefined);
    await using running = new RunningSource(bridge.url, { callTimeoutMs: 60_000 });
    await untilFlowing(bridge, running);
    const answer = running.source.callService("/mute", "x/Y", {});
    bridge.dropClients();
    expect(await answer).toEqual({ kind: "failed", reason: "the connection ended" });
  });

  test("without a connection fails at once", async () => {
    await using running = new RunningSource("ws://127.0.0.1:1");
    expect(await running.source.callService("/x", "x/Y", {})).toMatchObject({ kind: "failed" });
  });
});

test("of topics that come and go only so many names are kept; those that are there, or configured, are not forgotten", async () => {
  await using bridge = await openBridge();
  const configuredTypes = new Map([["/configured", IMU]]);
  await using running = new RunningSource(bridge.url, { namesMax: 20 }, { configuredTypes });
  const names = () => running.source.topics().map(({ topic }) => topic);
  for (let round = 0; round < 5; round += 1) {
    const added = Array.from({ length: 15 }, (_, index) => `/anonymous_${round}_${index}`);
    for (const topic of added) bridge.topics.set(topic, { type: IMU, publishers: ["/somebody"] });
    await until(() => added.every((topic) => names().includes(topic)));
    for (const topic of added) bridge.topics.delete(topic);
  }
  await until(() => names().length <= 20);
  expect(names()).toEqual(expect.arrayContaining(["/imu", "/configured", "/anonymous_4_14"]));
  expect(running.sink.closed.length).toBe(77 - names().length);
  await untilFlowing(bridge, running);
});
