import { expect, onTestFinished, test } from "vitest";
import { RosbridgeServer, type RosbridgeServerOptions } from "../../src/replay/rosbridge-server.ts";
import { ManualClock } from "../../src/std/clock.ts";
import { channelOf, deps, encode, PlainClient, subscribeWithRoslib, until } from "./harness.ts";

async function openServer(ros: 1 | 2 = 2, more: Partial<RosbridgeServerOptions> = {}, clock = new ManualClock()) {
  const server = await RosbridgeServer.open({ ros, port: 0, ...more }, { ...deps, clock });
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

const WORDS = channelOf("/words", "std_msgs/msg/String");
const cdrString = (data: string): Uint8Array => encode(WORDS, { data });
const RAW = { op: "subscribe", topic: "/words", compression: "cbor-raw" };
const PLAIN = { op: "subscribe", topic: "/words" };

test("a cbor-raw frame is, byte for byte, what rosbridge_suite sends", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send(RAW);
  await client.settle();
  server.publish(words, Uint8Array.of(1, 2, 3));
  server.publish(words, new Uint8Array(300).fill(7));
  await until(() => client.binary.length === 2, "two frames");
  const text = (value: string): string => (0x60 + value.length).toString(16) + Buffer.from(value).toString("hex");
  const head = `a3${text("op")}${text("publish")}${text("topic")}${text("/words")}${text("msg")}a3${text("secs")}1a6b49d200`;
  expect(client.binary[0]?.toString("hex")).toBe(`${head}${text("nsecs")}00${text("bytes")}43010203`);
  expect(client.binary[1]?.toString("hex")).toBe(`${head}${text("nsecs")}00${text("bytes")}59012c${"07".repeat(300)}`);
});

test("a JSON subscriber gets values as rosbridge writes them: base64, null for NaN, numbers for int64", async () => {
  const server = await openServer();
  const image = channelOf("/image", "sensor_msgs/msg/CompressedImage");
  const numbers = channelOf("/numbers", "std_msgs/msg/Float64MultiArray");
  const big = channelOf("/big", "std_msgs/msg/Int64");
  const messages = [
    { channel: image, json: { header: { stamp: { sec: 5, nanosec: 7 }, frame_id: "" }, format: "jpg", data: "CgsM" } },
    { channel: numbers, json: { layout: { dim: [], data_offset: 0 }, data: [null, 1.5] } },
    { channel: big, json: { data: 2 ** 40 } },
  ];
  const client = await PlainClient.open(server.url);
  const publishers = messages.map(({ channel }) => server.advertise(channel));
  for (const { channel } of messages) client.send({ op: "subscribe", topic: channel.topic });
  await client.settle();
  for (const [index, { channel, json }] of messages.entries()) {
    const publisher = publishers[index];
    if (publisher !== undefined) server.publish(publisher, encode(channel, json));
    await until(() => client.published(channel.topic).length === 1, channel.topic);
    expect(client.published(channel.topic)).toEqual([json]);
  }
});

test("in ROS 1 times are secs and nsecs", async () => {
  const server = await openServer(1);
  const channel = channelOf("/header", "std_msgs/Header", 1);
  const publisher = server.advertise(channel);
  const client = await PlainClient.open(server.url);
  client.send({ op: "subscribe", topic: "/header" });
  await client.settle();
  const header = { seq: 9, stamp: { secs: 5, nsecs: 7 }, frame_id: "a" };
  server.publish(publisher, encode(channel, header));
  await until(() => client.published("/header").length === 1, "the header");
  expect(client.published("/header")).toEqual([header]);
});

test("a float throttle, an unknown topic and a wrong type are refused in silence", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send({ ...PLAIN, throttle_rate: 33.3 });
  client.send({ ...PLAIN, type: "std_msgs/msg/Int32" });
  client.send({ op: "subscribe", topic: "/unknown" });
  client.send({ op: "nonsense" });
  client.socket.send("{ not json");
  await client.settle();
  server.publish(words, cdrString("a"));
  await client.settle();
  expect(server.subscribeCount).toBe(0);
  expect(client.json.filter((message) => message.op !== "service_response")).toEqual([]);
});

test("a type may be given short in ROS 2", async () => {
  const server = await openServer();
  server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send({ ...PLAIN, type: "std_msgs/String" });
  await client.settle();
  expect(server.subscriberCount("/words")).toBe(1);
});

test("in ROS 1 a raw subscriber may come before the topic", async () => {
  const server = await openServer(1);
  const client = await PlainClient.open(server.url);
  client.send(RAW);
  await client.settle();
  server.publish(server.advertise(channelOf("/words", "std_msgs/String", 1)), Uint8Array.of(0, 0, 0, 0));
  await until(() => client.binary.length === 1, "the message");
});

test("raw and JSON clients exclude each other per topic, until the last one has left", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const dashboard = await PlainClient.open(server.url);
  const recorder = await PlainClient.open(server.url);
  dashboard.send(PLAIN);
  await dashboard.settle();
  recorder.send(RAW);
  await recorder.settle();
  server.publish(words, cdrString("a"));
  await until(() => dashboard.published("/words").length === 1, "the dashboard's message");
  dashboard.send({ op: "unsubscribe", topic: "/words" });
  await dashboard.settle();
  server.publish(words, cdrString("b"));
  await recorder.settle();
  expect(recorder.binary.length).toBe(0); // even after the dashboard left
  recorder.send({ op: "unsubscribe", topic: "/words" });
  recorder.send(RAW);
  await recorder.settle();
  server.publish(words, cdrString("c"));
  await until(() => recorder.binary.length === 1, "the recorder's message");
});

test("a latched message reaches who comes late, and again who asks again", async () => {
  const server = await openServer();
  const words = server.advertise({ ...WORDS, isLatched: true });
  const borrowed = cdrString("still here");
  server.publish(words, borrowed);
  borrowed.fill(0);
  const client = await PlainClient.open(server.url);
  client.send(PLAIN);
  client.send({ ...PLAIN, id: "second" });
  await until(() => client.published("/words").length === 2, "the latched message, twice");
  expect(client.published("/words")[0]).toEqual({ data: "still here" });
});

test("a throttled subscriber gets the first of a burst, and with a queue the rest one by one", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  const queued = await PlainClient.open(server.url);
  client.send({ ...PLAIN, throttle_rate: 60_000 });
  queued.send({ ...PLAIN, throttle_rate: 20, queue_length: 2 });
  await client.settle();
  await queued.settle();
  for (const letter of "abcde") server.publish(words, cdrString(letter));
  await until(() => queued.published("/words").length === 3, "the first and the two youngest");
  expect(queued.published("/words")).toEqual([{ data: "a" }, { data: "d" }, { data: "e" }]);
  expect(client.published("/words")).toEqual([{ data: "a" }]);
  expect(server.sentCounts().get("/words")).toMatchObject({ published: 5, sent: 4, throttled: 4, dropped: 2 });
});

test("several requests of one client on one topic count as one, with the least throttle and cbor-raw first", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send({ ...RAW, id: "a", throttle_rate: 0 });
  client.send({ ...PLAIN, id: "b", throttle_rate: 60_000 });
  await client.settle();
  server.publish(words, cdrString("a"));
  server.publish(words, cdrString("b"));
  await until(() => client.binary.length === 2, "both, raw");
  client.send({ op: "unsubscribe", topic: "/words", id: "b" });
  await client.settle();
  expect(server.subscriberCount("/words")).toBe(1);
  client.send({ op: "unsubscribe", topic: "/words" });
  await client.settle();
  expect(server.subscriberCount("/words")).toBe(0);
});

test("of several requests the least queue counts, and what still waits when the client goes is dropped", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send({ ...PLAIN, id: "a", throttle_rate: 60_000, queue_length: 5 });
  client.send({ ...PLAIN, id: "b", throttle_rate: 60_000, queue_length: 2 });
  await client.settle();
  for (const letter of "abcde") server.publish(words, cdrString(letter));
  expect(server.sentCounts().get("/words")).toMatchObject({ sent: 1, dropped: 2 });
  client.socket.close();
  await until(() => server.clientCount === 0, "the client's leave");
  expect(server.sentCounts().get("/words")).toMatchObject({ sent: 1, dropped: 4 });
});

test("a stalled client loses its oldest messages, each counted, and nobody else is held up", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const stalled = await PlainClient.open(server.url);
  const lively = await PlainClient.open(server.url);
  for (const client of [stalled, lively]) client.send({ ...RAW, queue_length: 3 });
  await stalled.settle();
  await lively.settle();
  stalled.socket.pause();
  const payload = Buffer.alloc(500_000);
  const count = 60;
  for (let index = 0; index < count; index += 1) {
    payload.writeUInt32LE(index, 0);
    server.publish(words, payload);
    await until(() => lively.binary.length === index + 1, "the lively client's message");
  }
  expect(server.isBehind).toBe(true);
  stalled.socket.resume();
  await server.whenDrained();
  const { sent, dropped } = server.sentCounts().get("/words") ?? { sent: 0, dropped: 0 };
  expect(dropped).toBeGreaterThan(0);
  expect(sent + dropped).toBe(2 * count);
  await until(() => stalled.binary.length === sent - count, "all that was sent");
  const numbers = stalled.binary.map((frame) => frame.readUInt32LE(frame.length - payload.length));
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  expect(numbers.slice(-3)).toEqual([count - 3, count - 2, count - 1]);
});

test("what a client leaves behind when it goes is dropped, and counted", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send({ ...RAW, queue_length: 1000 });
  await client.settle();
  client.socket.pause();
  for (let index = 0; index < 40; index += 1) server.publish(words, Buffer.alloc(500_000));
  server.disconnectAll();
  await until(() => server.clientCount === 0, "the client's end");
  const counts = server.sentCounts().get("/words");
  expect(counts?.dropped).toBeGreaterThan(0);
  expect((counts?.sent ?? 0) + (counts?.dropped ?? 0)).toBe(40);
  expect(server.subscriberCount("/words")).toBe(0);
  await server.whenDrained();
});

test("a frame over max_message_size never arrives, and fragment_size sticks to the connection", async () => {
  const server = await openServer(2, { frameBytesMax: 1000 });
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send(RAW);
  await client.settle();
  server.publish(words, new Uint8Array(1000));
  server.publish(words, new Uint8Array(100));
  await until(() => client.binary.length === 1, "the small one");
  await client.call("/rosapi/topics");
  client.send({ op: "unsubscribe", topic: "/other", fragment_size: 50 });
  await client.settle();
  server.publish(words, new Uint8Array(100));
  await client.settle();
  expect(client.binary.length).toBe(1);
  expect(server.sentCounts().get("/words")?.oversized).toBe(2);
});

test("cbor brings typed arrays, bigint and NaN to a stock roslib client", async () => {
  const server = await openServer();
  const joints = channelOf("/joints", "sensor_msgs/msg/JointState");
  const publisher = server.advertise(joints);
  const received = await subscribeWithRoslib(server.url, joints, "cbor");
  await until(() => server.subscriberCount("/joints") === 1, "the subscription");
  const header = { stamp: { sec: 1, nanosec: 2 }, frame_id: "base" };
  const some = { header, name: ["elbow", "wrist"], position: [null, 0.25], velocity: [], effort: [-1e300] };
  server.publish(publisher, encode(joints, some));
  await until(() => received.length === 1, "the message");
  expect(received[0]).toMatchObject({
    header,
    name: ["elbow", "wrist"],
    position: Float64Array.of(Number.NaN, 0.25),
    effort: Float64Array.of(-1e300),
  });
});

test.each([
  { ros: 2, type: "sensor_msgs/msg/Imu", what: "arrays of fixed length", size: 400 },
  { ros: 1, type: "sensor_msgs/Imu", what: "arrays of fixed length", size: 400 },
] as const)(
  "cbor brings nothing where rosbridge's conversion fails: $what in ROS $ros",
  async ({ ros, type, size }) => {
    const server = await openServer(ros);
    const publisher = server.advertise(channelOf("/some", type, ros));
    const client = await PlainClient.open(server.url);
    client.send({ op: "subscribe", topic: "/some", compression: "cbor" });
    await client.settle();
    server.publish(publisher, ros === 2 ? Uint8Array.of(0, 1, 0, 0, ...new Uint8Array(size)) : new Uint8Array(size));
    await client.settle();
    expect(server.sentCounts().get("/some")).toMatchObject({ published: 1, sent: 0, unencodable: 1 });
  },
);

test("cbor fails on lists of strings in ROS 1 alone", async () => {
  const server = await openServer(1);
  const joints = channelOf("/joints", "sensor_msgs/JointState", 1);
  const publisher = server.advertise(joints);
  const client = await PlainClient.open(server.url);
  client.send({ op: "subscribe", topic: "/joints", compression: "cbor" });
  await client.settle();
  const header = { seq: 1, stamp: { secs: 1, nsecs: 2 }, frame_id: "" };
  for (const name of [["elbow"], []])
    server.publish(publisher, encode(joints, { header, name, position: [1], velocity: [], effort: [] }));
  await until(() => client.binary.length === 1, "the one without names");
  expect(server.sentCounts().get("/joints")).toMatchObject({ sent: 1, unencodable: 1 });
});

test("rosapi tells topics, types, definitions and publishers, in the words of its ROS", async () => {
  const server = await openServer(2, { node: "/arm" });
  server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  const values = async (service: string, args = {}) => (await client.call(service, args)).values;
  expect(await values("/rosapi/topics")).toEqual({ topics: ["/words"], types: ["std_msgs/msg/String"] });
  expect(await values("rosapi/topics_and_raw_types")).toEqual({
    topics: ["/words"],
    types: ["std_msgs/msg/String"],
    typedefs_full_text: [WORDS.schemaText],
  });
  expect(await values("/rosapi/topic_type", { topic: "/words" })).toEqual({ type: "std_msgs/msg/String" });
  expect(await values("/rosapi/topic_type", { topic: "/none" })).toEqual({ type: "" });
  expect(await values("/rosapi/topics_for_type", { type: "std_msgs/msg/String" })).toEqual({ topics: ["/words"] });
  expect(await values("/rosapi/publishers", { topic: "/words" })).toEqual({ publishers: ["/arm"] });
  expect(await values("/rosapi/nodes")).toEqual({ nodes: ["/arm", "/rosbridge_websocket", "/rosapi"] });
  expect(await values("/rosapi/get_ros_version")).toEqual({ version: 2, distro: "humble" });
  expect(await values("/rosapi/get_time")).toEqual({ time: { sec: 1_800_000_000, nanosec: 0 } });
  expect(await values("/rosapi/service_type", { service: "/rosapi/topics" })).toEqual({
    type: "rosapi_msgs/srv/Topics",
  });
});

test("a service that is not there answers so; in ROS 1 that goes for get_ros_version", async () => {
  const server = await openServer(1);
  const client = await PlainClient.open(server.url);
  const answer = await client.call("/rosapi/get_ros_version");
  expect(answer).toMatchObject({ result: false, values: "Service /rosapi/get_ros_version does not exist" });
  const time = await client.call("/rosapi/get_time");
  expect(time.values).toEqual({ time: { secs: 1_800_000_000, nsecs: 0 } });
});

test("a vanished publisher leaves its topic in the graph while the bridge is subscribed", async () => {
  const server = await openServer();
  const words = server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send(PLAIN);
  await client.settle();
  server.unadvertise(words);
  expect((await client.call("/rosapi/topics")).values).toMatchObject({ topics: ["/words"] });
  expect((await client.call("/rosapi/publishers", { topic: "/words" })).values).toEqual({ publishers: [] });
  client.send({ op: "unsubscribe", topic: "/words" });
  expect((await client.call("/rosapi/topics")).values).toMatchObject({ topics: [] });
});

test("what a client publishes as JSON reaches other clients as if the robot had sent it", async () => {
  const server = await openServer();
  const recorder = await PlainClient.open(server.url);
  const person = await PlainClient.open(server.url);
  person.send({ op: "advertise", topic: "/lode/capture", type: "std_msgs/String" });
  person.send({ op: "advertise", topic: "/odd", type: "own_msgs/Unknown" });
  expect((await person.call("/rosapi/topics")).values).toMatchObject({ topics: ["/lode/capture"] });
  recorder.send({ ...RAW, topic: "/lode/capture" });
  await recorder.settle();
  person.send({ op: "publish", topic: "/lode/capture", msg: { data: "look" } });
  person.send({ op: "publish", topic: "/lode/capture", msg: { data: 5 } });
  person.send({ op: "publish", topic: "/nowhere", msg: { data: "x" } });
  await until(() => recorder.binary.length === 1, "the capture message");
  const frame = recorder.binary[0]?.toString("hex");
  expect(frame?.endsWith(Buffer.from(cdrString("look")).toString("hex"))).toBe(true);
  person.socket.close();
  await until(() => server.clientCount === 1, "the person's leave");
  expect((await recorder.call("/rosapi/publishers", { topic: "/lode/capture" })).values).toEqual({ publishers: [] });
});

test("a type that the bridge lacks is refused in silence", async () => {
  const server = await openServer(2, { isRefused: (topic) => topic === "/words" });
  server.advertise(WORDS);
  const client = await PlainClient.open(server.url);
  client.send(RAW);
  await client.settle();
  expect(server.subscriberCount("/words")).toBe(0);
});

test("a topic has one type, and a port one server", async () => {
  const server = await openServer();
  server.advertise(WORDS);
  expect(() => server.advertise(channelOf("/words", "std_msgs/msg/Int32"))).toThrow(/is std_msgs\/msg\/String already/);
  await expect(openServer(2, { port: server.port })).rejects.toMatchObject({ code: "port_taken" });
});
