import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ros1, ros2jazzy } from "@foxglove/rosmsg-msgs-common";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Definitions } from "../../src/decode/definitions.ts";
import { parseSchema } from "../../src/decode/parsed-schema.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-definitions-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(join(folder, path, ".."), { recursive: true });
  writeFileSync(join(folder, path), text);
}

function fieldsOf(name: string, ros: 1 | 2, definitions: Definitions): string[] {
  const parsed = parseSchema(definitions.schema(name, ros, undefined));
  if ("problem" in parsed) throw new Error(parsed.problem);
  return parsed.root.fields.map((field) => field.name);
}

test("every bundled type comes with all it needs and parses", () => {
  const definitions = Definitions.open({ folders: [] });
  for (const [ros, bundle] of [
    [1, ros1],
    [2, ros2jazzy],
  ] as const) {
    const problems = Object.keys(bundle)
      .map((name) => parseSchema(definitions.schema(name, ros, undefined)))
      .filter((parsed) => "problem" in parsed);
    expect(problems).toEqual([]);
  }
});

test("a type is found under both of its names, in the flavour asked for", () => {
  const definitions = Definitions.open({ folders: [] });
  expect(definitions.find("sensor_msgs/msg/JointState", 2)).toBe(definitions.find("sensor_msgs/JointState", 2));
  expect(fieldsOf("std_msgs/Header", 1, definitions)).toEqual(["seq", "stamp", "frame_id"]);
  expect(fieldsOf("std_msgs/msg/Header", 2, definitions)).toEqual(["stamp", "frame_id"]);
  expect(definitions.find("std_msgs/msg/Header", 2)).toContain("builtin_interfaces/Time stamp");
  expect(definitions.find("robot_msgs/msg/Unheard", 2)).toBeUndefined();
});

test("files of the configured folders are found in both layouts, with what they need, and win over the bundle", () => {
  write(
    "arm_msgs/msg/Arm.msg",
    "# an arm\nstd_msgs/Header header\nJoint[<=7] joints # bounded\nuint8 MODE=3\nuint8 mode 1\n",
  );
  write("arm_msgs/Joint.msg", "float64 current\nbuiltin_interfaces/Duration age\nstring<=8 label");
  write("std_msgs/msg/Bool.msg", "bool data\nuint8 extra\n");
  const definitions = Definitions.open({ folders: [folder] });
  expect(fieldsOf("arm_msgs/msg/Arm", 2, definitions)).toEqual(["header", "joints", "mode"]);
  expect(definitions.find("arm_msgs/Arm", 2)?.match(/^MSG: .*$/gm)).toEqual([
    "MSG: std_msgs/Header",
    "MSG: arm_msgs/Joint",
    "MSG: builtin_interfaces/Time",
    "MSG: builtin_interfaces/Duration",
  ]);
  expect(fieldsOf("std_msgs/Bool", 2, definitions)).toEqual(["data", "extra"]);
});

test("a ROS 1 file may say Header alone", () => {
  write("old_msgs/Scan.msg", "Header header\ntime when\nfloat32[] ranges\n");
  expect(fieldsOf("old_msgs/Scan", 1, Definitions.open({ folders: [folder] }))).toEqual(["header", "when", "ranges"]);
});

test("a type that needs an unknown one is not found", () => {
  write("arm_msgs/msg/Arm.msg", "arm_msgs/Missing missing\n");
  expect(Definitions.open({ folders: [folder] }).find("arm_msgs/Arm", 2)).toBeUndefined();
});

test("no type name leads out of the folder", () => {
  write("secret.msg", "uint8 a\n");
  mkdirSync(join(folder, "inner"));
  const definitions = Definitions.open({ folders: [join(folder, "inner")] });
  for (const name of ["../secret", "..", "a/../../secret", "/etc/passwd", "a/msg/../secret", ""])
    expect(definitions.find(name, 2), name).toBeUndefined();
});

test("a folder that is not there is a fault that names it", () => {
  expect(() => Definitions.open({ folders: [join(folder, "gone")] })).toThrow("gone");
});

test("what the bridge brought is the schema's text, under the name MCAP uses", () => {
  const definitions = Definitions.open({ folders: [] });
  expect(definitions.schema("a_msgs/B", 2, "uint8 x\n")).toEqual({
    name: "a_msgs/msg/B",
    encoding: "ros2msg",
    text: "uint8 x\n",
  });
  expect(definitions.schema("a_msgs/msg/B", 1, undefined)).toEqual({ name: "a_msgs/B", encoding: "ros1msg", text: "" });
});
