import { describe, expect, test } from "vitest";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { compileEncoder, type Encoder } from "../../src/decode/encoder.ts";
import { compileField } from "../../src/decode/field.ts";
import { parseSchema } from "../../src/decode/parsed-schema.ts";
import { Fault } from "../../src/std/fault.ts";

function codec(text: string, ros: 1 | 2 = 2) {
  const parsed = parseSchema({ name: "test_msgs/msg/Type", encoding: ros === 1 ? "ros1msg" : "ros2msg", text });
  if ("problem" in parsed) throw new Error(parsed.problem);
  const encode = compileEncoder(parsed, ros === 1 ? "ros1" : "cdr");
  if ("problem" in encode) throw new Error(encode.problem);
  return { parsed, encode, decode: compileDecoder(parsed, ros === 1 ? "ros1" : "cdr") };
}

function refusal(encode: Encoder, json: unknown): string {
  try {
    encode(json);
  } catch (error) {
    expect(error).toBeInstanceOf(Fault);
    expect(error).toHaveProperty("code", "undecodable_json");
    return error instanceof Error ? error.message : "";
  }
  return "accepted";
}

test("null in a float field is NaN and counted, anywhere else it is a misfit", () => {
  const { encode, decode } = codec("float32 a\nfloat64[] b\nint32 c\n");
  const { bytes, nulls } = encode({ a: null, b: [1, null], c: 1 });
  expect(nulls).toBe(2);
  expect(decode(bytes)).toEqual({ a: Number.NaN, b: new Float64Array([1, Number.NaN]), c: 1 });
  expect(encode({ a: 1, b: [], c: 1 }).nulls).toBe(0);
  expect(refusal(encode, { a: 1, b: [], c: null })).toContain("c should be an int32 and is null");
});

test("bytes come in base64 or as numbers", () => {
  const { encode, decode } = codec("uint8[] data\nuint8[4] four\n");
  const expected = { data: new Uint8Array([0, 255, 7]), four: new Uint8Array([1, 2, 3, 4]) };
  expect(decode(encode({ data: "AP8H", four: "AQIDBA==" }).bytes)).toEqual(expected);
  expect(decode(encode({ data: [0, 255, 7], four: [1, 2, 3, 4] }).bytes)).toEqual(expected);
  expect(refusal(encode, { data: "AP8", four: [1, 2, 3, 4] })).toContain("base64");
  expect(refusal(encode, { data: "", four: "AQID" })).toContain("needs 4");
  expect(refusal(encode, { data: [256], four: [1, 2, 3, 4] })).toContain("data should be an uint8 and is 256");
});

test("strings keep their UTF-8, read back as they were", () => {
  for (const ros of [1, 2] as const) {
    const { encode, decode, parsed } = codec("string text\nuint32 after\n", ros);
    const json = { text: "größe 𝛼 ✓", after: 9 };
    expect(decode(encode(json).bytes)).toEqual(json);
    const read = compileField(parsed, ros === 1 ? "ros1" : "cdr", "text");
    expect("problem" in read ? read : read(encode(json).bytes)).toBe(json.text);
  }
});

test("64-bit integers come as numbers or text, and the greatest ones as JSON rounds them", () => {
  const { encode, decode } = codec("int64 a\nuint64 b\n");
  const greatest: unknown = JSON.parse('{"a":9223372036854775807,"b":18446744073709551615}');
  expect(decode(encode(greatest).bytes)).toEqual({ a: 2n ** 63n - 1n, b: 2n ** 64n - 1n });
  expect(decode(encode({ a: "-9007199254740993", b: 5 }).bytes)).toEqual({ a: -9007199254740993n, b: 5n });
  expect(refusal(encode, { a: 1.5, b: 0 })).toContain("int64");
  expect(refusal(encode, { a: 0, b: -1 })).toContain("uint64");
});

test("times come with the field names of either ROS", () => {
  for (const ros of [1, 2] as const) {
    const { encode, decode } = codec(ros === 1 ? "time t\n" : "builtin_interfaces/Time t\n", ros);
    const expected = ros === 1 ? { t: { sec: 5, nsec: 6 } } : { t: { sec: 5, nanosec: 6 } };
    expect(decode(encode({ t: { secs: 5, nsecs: 6 } }).bytes)).toEqual(expected);
    expect(decode(encode({ t: { sec: 5, nanosec: 6 } }).bytes)).toEqual(expected);
    expect(refusal(encode, { t: 5 })).toContain("t should be a time");
  }
});

describe("a message that is not of its type is refused, with the place", () => {
  const nested =
    "test_msgs/Part[] parts\nbool ok\nstring<=3 short\nint32[<=2] few\n===\nMSG: test_msgs/Part\nfloat64 x\n";
  const { encode } = codec(nested);
  const good = { parts: [{ x: 1 }], ok: true, short: "abc", few: [1] };

  test.each([
    ["a missing member", { ...good, ok: undefined, parts: [{}] }, 'parts has no member "x"'],
    ["an unknown member", { ...good, more: 1 }, 'the member "more"'],
    ["a wrong type", { ...good, parts: [{ x: "1" }] }, "parts.x should be a number and is string"],
    ["an object for an array", { ...good, parts: {} }, "parts should be an array"],
    ["a number for a bool", { ...good, ok: 2 }, "ok should be a bool"],
    ["a string over its bound", { ...good, short: "abcd" }, "longer than 3"],
    ["a sequence over its bound", { ...good, few: [1, 2, 3] }, "more than 2"],
    ["no object at all", null, "should be an object and is null"],
    ["a list", [], "should be an object and is an array"],
  ])("%s", (_, json, why) => {
    expect(refusal(encode, good)).toBe("accepted");
    expect(refusal(encode, json)).toContain(why);
  });
});

test("a refused message leaves nothing behind in the next one", () => {
  const { encode } = codec("string a\nfloat64 b\n");
  const clean = Buffer.from(encode({ a: "x", b: 1 }).bytes);
  expect(refusal(encode, { a: "a text that fills the buffer with other bytes", b: "no" })).toContain("b should be");
  expect(Buffer.from(encode({ a: "x", b: 1 }).bytes)).toEqual(clean);
});

test("a type with a wstring has no encoder, as its form is not settled", () => {
  const parsed = parseSchema({ name: "test_msgs/msg/Wide", encoding: "ros2msg", text: "wstring text\n" });
  if ("problem" in parsed) throw new Error(parsed.problem);
  expect(compileEncoder(parsed, "cdr")).toHaveProperty("problem", expect.stringContaining("wstring"));
});
