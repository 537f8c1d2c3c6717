import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameReader, peekTopic } from "../../src/source/frame-reader.ts";
import { rawFrame } from "./fake-bridge.ts";

const topics = fc.stringMatching(/^\/[a-z_/0-9]{0,300}$/);
const payloads = fc.uint8Array({ maxLength: 70_000 });

test("reads every frame the servers write, whatever the lengths", () => {
  const uint32 = fc.nat(0xffff_ffff);
  fc.assert(
    fc.property(topics, payloads, uint32, uint32, (topic, payload, secs, nsecs) => {
      const reader = new FrameReader();
      expect(reader.read(rawFrame(topic, payload, secs, nsecs))).toBe(true);
      expect({ topic: reader.topic, secs: reader.secs, nsecs: reader.nsecs }).toEqual({ topic, secs, nsecs });
      expect(Buffer.compare(reader.bytes, payload)).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test("hands the payload on as a view into the frame", () => {
  const frame = rawFrame("/imu", Buffer.from("payload"));
  const reader = new FrameReader();
  reader.read(frame);
  expect(reader.bytes.buffer).toBe(frame.buffer);
  expect(reader.bytes.byteOffset + reader.bytes.length).toBe(frame.byteOffset + frame.length);
});

test("of frames in a row, reads each to its own end", () => {
  const frames = [
    rawFrame("/imu", Buffer.from("one")),
    rawFrame("/arm", Buffer.from("two")),
    rawFrame("/imu", Buffer.alloc(0)),
  ];
  const row = Buffer.concat(frames);
  const reader = new FrameReader();
  let start = 0;
  for (const [index, frame] of frames.entries()) {
    const end = start + frame.length;
    expect(reader.read(row, start, end)).toBe(true);
    expect([reader.topic, Buffer.from(reader.bytes).toString()]).toEqual(
      [
        ["/imu", "one"],
        ["/arm", "two"],
        ["/imu", ""],
      ][index],
    );
    for (let size = 0; size < frame.length; size++) expect(reader.read(row, start, start + size)).toBe(false);
    expect(reader.read(row, start, end + 1)).toBe(false);
    start = end;
  }
});

test("refuses every frame that ends too early or too late", () => {
  const frame = rawFrame("/joint_states", Buffer.alloc(300, 7));
  const reader = new FrameReader();
  for (let size = 0; size < frame.length; size++) expect(reader.read(frame.subarray(0, size))).toBe(false);
  expect(reader.read(Buffer.concat([frame, Buffer.from([0])]))).toBe(false);
});

test("survives any damage, and never reads beyond the frame", () => {
  const damage = fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(topics, fc.uint8Array({ maxLength: 40 }), damage, (topic, payload, hits) => {
      const frame = rawFrame(topic, payload);
      for (const [at, value] of hits) frame[at % frame.length] = value;
      const reader = new FrameReader();
      if (reader.read(frame)) expect(reader.bytes.length).toBeLessThan(frame.length);
      peekTopic(frame);
    }),
    { numRuns: 2000 },
  );
});

test("a length of eight bytes beyond any memory is refused, not believed", () => {
  const frame = rawFrame("/imu", Buffer.alloc(0));
  const hostile = Buffer.concat([frame.subarray(0, -1), Buffer.from([0x5b, ...Buffer.alloc(8, 0xff)])]);
  expect(new FrameReader().read(hostile)).toBe(false);
});

test("finds the topic of a frame that is not read", () => {
  expect(peekTopic(rawFrame("/imu", Buffer.alloc(9)))).toBe("/imu");
  const long = `/${"x".repeat(100)}`;
  expect(peekTopic(rawFrame(long, Buffer.alloc(9)))).toBe(long);
  expect(peekTopic(Buffer.from('{"op": "publish", "topic": "/camera", "msg": {}}'))).toBe("/camera");
  expect(peekTopic(Buffer.from("nonsense"))).toBe("");
});
