import { expect, test } from "vitest";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { Definitions } from "../../src/decode/definitions.ts";
import { compileEncoder } from "../../src/decode/encoder.ts";
import { compileField, type FieldReader } from "../../src/decode/field.ts";
import { type ParsedSchema, parseSchema } from "../../src/decode/parsed-schema.ts";
import { compileStamp } from "../../src/decode/stamp.ts";

const definitions = Definitions.open({ folders: [] });

function typeOf(name: string, text = definitions.find(name, 2)): ParsedSchema {
  const parsed = parseSchema({ name, encoding: "ros2msg", text: text ?? "" });
  if ("problem" in parsed) throw new Error(parsed.problem);
  return parsed;
}

function reader(parsed: ParsedSchema, path: string): FieldReader {
  const read = compileField(parsed, "cdr", path);
  if ("problem" in read) throw new Error(read.problem);
  return read;
}

function problem(parsed: ParsedSchema, path: string): string {
  const read = compileField(parsed, "cdr", path);
  return "problem" in read ? read.problem : "no problem";
}

function bytesOf(parsed: ParsedSchema, json: unknown): Uint8Array {
  const encode = compileEncoder(parsed, "cdr");
  if ("problem" in encode) throw new Error(encode.problem);
  return encode(json).bytes;
}

const jointState = typeOf("sensor_msgs/msg/JointState");

function joints(name: string[], effort: number[], frame = "base"): Uint8Array {
  const header = { stamp: { sec: 1_700_000_000, nanosec: 250_000_000 }, frame_id: frame };
  return bytesOf(jointState, { header, name, position: [], velocity: [], effort });
}

test("an element chosen by name is found wherever the name stands, message by message", () => {
  const effort = reader(jointState, 'effort["elbow"]');
  expect(effort(joints(["wrist", "elbow", "thumb"], [1, 2, 3]))).toBe(2);
  expect(effort(joints(["elbow", "wrist", "thumb"], [1, 2, 3]))).toBe(1);
  expect(effort(joints(["wrist", "thumb", "elbow"], [1, 2, 3]))).toBe(3);
  expect(effort(joints(["wrist", "thumb", "ankle"], [1, 2, 3]))).toBeUndefined();
  expect(effort(joints(["wrist", "thumb", "elbow"], [1, 2]))).toBeUndefined();
  expect(effort(joints(["wrist", "elbow"], [4, 5], "another frame"))).toBe(5);
});

test("names of the same length that trade places under a remembered layout are noticed", () => {
  for (const [one, other] of [
    ["elbow", "wrist"],
    ["a", "b"],
    ["joint_1", "joint_2"],
    ["äöü", "äöß"],
  ] as const) {
    const effort = reader(jointState, `effort[${JSON.stringify(one)}]`);
    for (let round = 0; round < 3; round += 1) {
      expect(effort(joints([one, other], [1, 2]))).toBe(1);
      expect(effort(joints([other, one], [1, 2]))).toBe(2);
    }
  }
});

test("a name that only begins like the one asked for is not taken for it", () => {
  const effort = reader(jointState, 'effort["elbow"]');
  expect(effort(joints(["elbow_mimic", "elbo", "elbow"], [1, 2, 3]))).toBe(3);
  expect(effort(joints(["elbow_mimic", "elbo"], [1, 2]))).toBeUndefined();
});

test("two publishers that take turns on one topic are both read", () => {
  const effort = reader(jointState, 'effort["elbow"]');
  const finger = reader(jointState, "effort['finger']");
  for (let round = 1; round < 5; round += 1) {
    const [arm, gripper] = [joints(["wrist", "elbow"], [0, round]), joints(["finger"], [-round])];
    expect([effort(arm), effort(gripper)]).toEqual([round, undefined]);
    expect([finger(arm), finger(gripper)]).toEqual([undefined, -round]);
  }
});

test("names may stand in the struct around the arrays, or behind them", () => {
  const text = "Point actual\nstring[] joint_names\n===\nMSG: control_msgs/Point\nfloat64[] velocities\n";
  const parsed = typeOf("control_msgs/msg/State", text);
  const read = reader(parsed, 'actual.velocities["b"]');
  expect(read(bytesOf(parsed, { actual: { velocities: [1.5, 2.5] }, joint_names: ["a", "b"] }))).toBe(2.5);
  expect(read(bytesOf(parsed, { actual: { velocities: [1.5, 2.5] }, joint_names: ["b", "a"] }))).toBe(1.5);
});

test("a message buffer that is filled again with another message is read anew", () => {
  const first = joints(["wrist", "elbow"], [1, 2]);
  const effort = reader(jointState, 'effort["elbow"]');
  expect(effort(first)).toBe(2);
  first.set(joints(["elbow", "wrist"], [7, 8]));
  expect(effort(first)).toBe(7);
});

test("times are seconds and the stamp is nanoseconds", () => {
  const message = joints([], []);
  expect(reader(jointState, "header.stamp")(message)).toBe(1_700_000_000.25);
  expect(compileStamp(jointState, "cdr")?.(message)).toBe(1_700_000_000_250_000_000n);
  expect(compileStamp(jointState, "cdr")?.(message.slice(0, 11))).toBe(0n);
  const before1970 = message.slice();
  new DataView(before1970.buffer).setInt32(4, -1, true);
  expect(compileStamp(jointState, "cdr")?.(before1970)).toBe(0n);
  expect(compileStamp(typeOf("geometry_msgs/msg/Twist"), "cdr")).toBeUndefined();
});

test("a value never refers to the message's memory", () => {
  const message = joints(["a"], [4]);
  const values = reader(jointState, "effort")(message);
  message.fill(0);
  expect(values).toEqual(new Float64Array([4]));
});

test("strings, lists of strings and fields of every element are read, UTF-8 included", () => {
  const parsed = typeOf("diagnostic_msgs/msg/DiagnosticArray");
  const status = (name: string, level: number, keys: string[]) => ({
    level,
    name,
    message: "",
    hardware_id: "",
    values: keys.map((key) => ({ key, value: "1" })),
  });
  const header = { stamp: { sec: 1, nanosec: 0 }, frame_id: "" };
  const message = bytesOf(parsed, { header, status: [status("größe 𝛼", 0, ["a"]), status("b", 2, ["c", "d"])] });
  expect(reader(parsed, "status[0].name")(message)).toBe("größe 𝛼");
  expect(reader(parsed, "status[*].level")(message)).toEqual([0, 2]);
  expect(reader(parsed, "status[*].values[*].key")(message)).toEqual(["a", "c", "d"]);
  expect(reader(parsed, "status[*].values[1].key")(message)).toEqual(["d"]);
  expect(reader(jointState, "name")(joints(["x", ""], []))).toEqual(["x", ""]);
});

/** XCDR by hand: uint8, double (aligned to `align`), then a sequence of one uint16. */
function handMade(kind: number, isLittleEndian: boolean, align: 4 | 8): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 + align + 8 + 4 + 2));
  view.setUint8(1, kind);
  view.setUint8(4, 7);
  view.setFloat64(4 + align, 0.1, isLittleEndian);
  view.setUint32(12 + align, 1, isLittleEndian);
  view.setUint16(16 + align, 513, isLittleEndian);
  return new Uint8Array(view.buffer);
}

test("big-endian and XCDR2 messages are read, other encapsulations are not", () => {
  const parsed = typeOf("test_msgs/msg/Mixed", "uint8 small\nfloat64 wide\nuint16[] list\n");
  const paths = ["small", "wide", "list[0]"].map((path) => reader(parsed, path));
  const decode = compileDecoder(parsed, "cdr");
  for (const [kind, isLittle, align] of [
    [0, false, 8],
    [1, true, 8],
    [6, false, 4],
    [7, true, 4],
  ] as const) {
    const message = handMade(kind, isLittle, align);
    expect(paths.map((read) => read(message))).toEqual([7, 0.1, 513]);
    expect(decode(message)).toEqual({ small: 7, wide: 0.1, list: new Uint16Array([513]) });
  }
  for (const kind of [2, 3, 9, 255])
    expect(paths.map((read) => read(handMade(kind, true, 8)))).toEqual(Array(3).fill(undefined));
});

test("an empty sequence aligns nothing behind its count", () => {
  const parsed = typeOf("test_msgs/msg/Gap", "float64[] none\nuint32 after\n");
  const message = new Uint8Array([0, 1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0]);
  expect(reader(parsed, "after")(message)).toBe(9);
});

test("a struct without fields is one byte in CDR", () => {
  const parsed = typeOf(
    "test_msgs/msg/Holder",
    "test_msgs/Nothing nothing\nuint8 after\n===\nMSG: test_msgs/Nothing\n",
  );
  expect(reader(parsed, "after")(new Uint8Array([0, 1, 0, 0, 0, 5]))).toBe(5);
  const empty = typeOf("std_msgs/msg/Empty");
  expect([...bytesOf(empty, {})]).toEqual([0, 1, 0, 0, 0]);
  expect(compileDecoder(empty, "cdr")(new Uint8Array([0, 1, 0, 0, 0]))).toEqual({});
});

test("a count of four thousand million costs nothing and gives undefined", () => {
  const huge = new Uint8Array([0, 1, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]);
  for (const type of ["uint8", "float64", "string", "test_msgs/Nothing"]) {
    const parsed = typeOf("test_msgs/msg/Huge", `${type}[] many\nuint8 after\n===\nMSG: test_msgs/Nothing\n`);
    const startMs = performance.now();
    expect(reader(parsed, "after")(huge)).toBeUndefined();
    if (!type.includes("/")) expect(reader(parsed, "many")(huge)).toBeUndefined();
    expect(() => compileDecoder(parsed, "cdr")(huge)).toThrow("do not hold the fields");
    expect(performance.now() - startMs).toBeLessThan(1000);
  }
});

test("a message whose memory was given away reads as undefined", () => {
  const message = joints(["a"], [4]);
  const effort = reader(jointState, "effort[0]");
  expect(effort(message)).toBe(4);
  structuredClone(message.buffer, { transfer: [message.buffer as ArrayBuffer] });
  expect(effort(message)).toBeUndefined();
  expect(effort(joints(["a"], [5]))).toBe(5);
  expect(effort(message)).toBeUndefined();
});

test("a field in front of a wstring is read, one behind it is a problem", () => {
  const parsed = typeOf("test_msgs/msg/Wide", "uint8 before\nwstring text\nuint8 after\n");
  expect(reader(parsed, "before")(new Uint8Array([0, 1, 0, 0, 5, 0, 0, 0]))).toBe(5);
  expect(problem(parsed, "after")).toContain('behind the wstring "text"');
  expect(problem(parsed, "text")).toContain("wstring");
  const parts = typeOf("test_msgs/msg/Parts", "Part[] parts\n===\nMSG: test_msgs/Part\nuint8 a\nwstring b\n");
  expect(problem(parts, "parts[*].a")).toContain("hold a wstring");
});

test("what is wrong with a path is said, with what there is instead", () => {
  expect(problem(jointState, "efort")).toContain("which has header, name, position, velocity, effort");
  expect(problem(jointState, "header")).toContain("stamp, frame_id");
  expect(problem(jointState, "header.stamp.sec")).toContain("no parts");
  expect(problem(jointState, "header[0]")).toContain("no array");
  expect(problem(jointState, "effort.x")).toContain("effort[0]");
  expect(problem(typeOf("tf2_msgs/msg/TFMessage"), "transforms.header")).toContain("transforms[*]");
  expect(problem(typeOf("sensor_msgs/msg/Imu"), "orientation_covariance[9]")).toContain("9 elements");
  expect(problem(typeOf("sensor_msgs/msg/Imu"), 'orientation_covariance["x"]')).toContain("no array of strings");
  for (const path of ["", ".a", "a..b", "a[", "a[-1]", 'a["x]', "a b", "[0]", "1a", "a[*", "a.[0]", 'a["\\q"]'])
    expect(problem(jointState, path), path).toContain("is no field path");
});
