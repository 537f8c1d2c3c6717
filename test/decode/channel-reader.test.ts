import { expect, test } from "vitest";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { packMessage } from "../../src/decode/msgpack.ts";
import type { Channel, MessageEncoding } from "../../src/model/channel.ts";

function channel(messageEncoding: MessageEncoding, text = ""): Channel {
  const encoding = messageEncoding === "cdr" ? "ros2msg" : "";
  const schema = { name: "arm_msgs/msg/Arm", encoding, text } as const;
  return { id: 1, topic: "/arm", schema, messageEncoding, className: "light", isLocal: false, isLatched: false };
}

const message = {
  name: ["wrist", "elbow"],
  effort: [1, 2.5],
  ok: true,
  stamp: { sec: 3, nanosec: 500_000_000 },
  parts: [{ level: 1, tags: ["a"] }, { level: 2, tags: [] }, {}],
};

test.each(["msgpack", "json"] as const)("fields of a %s message are found by the same paths", (encoding) => {
  const bytes = encoding === "msgpack" ? packMessage(message) : Buffer.from(JSON.stringify(message));
  const reader = new ChannelReader();
  const read = (path: string) => {
    const field = reader.fieldAccess(channel(encoding), path);
    return "problem" in field ? field.problem : field(bytes);
  };
  expect(read('effort["elbow"]')).toBe(2.5);
  expect(read("effort[0]")).toBe(1);
  expect(read("effort")).toEqual([1, 2.5]);
  expect(read("name")).toEqual(["wrist", "elbow"]);
  expect(read("parts[*].level")).toEqual([1, 2]);
  expect(read("parts[*].tags[*]")).toEqual(["a"]);
  expect(read("ok")).toBe(true);
  expect(read("stamp")).toBe(3.5);
  for (const path of ["gone", "gone.a", 'effort["ankle"]', "effort[9]", "ok[0]", "parts", "constructor"])
    expect(read(path), path).toBeUndefined();
  expect(read("a b")).toContain("no field path");
  expect(reader.decode(channel(encoding), bytes)).toEqual(message);
});

test("a damaged message that describes itself reads as undefined and decodes to a fault", () => {
  const reader = new ChannelReader();
  for (const encoding of ["msgpack", "json"] as const) {
    const field = reader.fieldAccess(channel(encoding), "ok");
    const broken = new Uint8Array([0xdf, 0xff, 0xff, 0xff, 0xff]);
    expect("problem" in field ? field : field(broken)).toBeUndefined();
    expect(() => reader.decode(channel(encoding), broken)).toThrow(
      expect.objectContaining({ code: "undecodable_message" }),
    );
  }
});

test("a channel whose definition does not parse says so to rules and to who decodes it", () => {
  const reader = new ChannelReader();
  const unknown = channel("cdr", "Missing it\n");
  expect(reader.fieldAccess(unknown, "it")).toHaveProperty("problem", expect.stringContaining("arm_msgs/msg/Arm"));
  expect(() => reader.decode(unknown, new Uint8Array(8))).toThrow(
    expect.objectContaining({ code: "undecodable_message" }),
  );
  expect(reader.stamp(unknown)).toBeUndefined();
});

test("one schema is parsed once, however often it comes", () => {
  const reader = new ChannelReader();
  const parsed = reader.parse(channel("cdr", "uint8 a\n").schema);
  expect(reader.parse({ ...channel("cdr", "uint8 a\n").schema })).toBe(parsed);
  expect(reader.parse(channel("cdr", "uint8 b\n").schema)).not.toBe(parsed);
});
