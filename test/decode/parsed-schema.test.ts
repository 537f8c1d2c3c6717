import { expect, test } from "vitest";
import { parseSchema } from "../../src/decode/parsed-schema.ts";

function problemOf(text: string, encoding: "ros1msg" | "ros2msg" | "" | "jsonschema" = "ros1msg"): string {
  const parsed = parseSchema({ name: "test_msgs/Type", encoding, text });
  return "problem" in parsed ? parsed.problem : "no problem";
}

const part = (name: string, text: string) => `${"=".repeat(80)}\nMSG: ${name}\n${text}\n`;

test("a definition that does not parse is a problem", () => {
  expect(problemOf("float32 9lives\n")).toContain("does not parse");
  expect(problemOf("other_msgs/Missing it\n")).toContain("Missing");
  expect(problemOf(part("test_msgs/Only", "uint8 a"))).not.toBe("");
  expect(problemOf("\u0000\uffff{}", "ros2msg")).toContain("does not parse");
});

test("a definition that is not there is a problem, but an empty message is none", () => {
  expect(problemOf("")).toContain("not known");
  expect(problemOf("uint8 a", "")).toContain("no ROS definition");
  expect(problemOf("{}", "jsonschema")).toContain("no ROS definition");
  expect(parseSchema({ name: "std_msgs/msg/Empty", encoding: "ros2msg", text: "" })).toHaveProperty("root.fields", []);
  expect(problemOf("uint8 ONLY_A_CONSTANT=1\n")).toBe("no problem");
});

test("a type that contains itself is a problem, at any distance", () => {
  expect(problemOf(`test_msgs/A a\n${part("test_msgs/A", "test_msgs/A again")}`)).toContain("contains itself");
  const ring = part("test_msgs/A", "test_msgs/B[] b") + part("test_msgs/B", "test_msgs/A[] a");
  expect(problemOf(`test_msgs/A a\n${ring}`)).toContain("contains itself");
});

test("a definition that lets a small message stand for endless work is a problem", () => {
  expect(problemOf(`test_msgs/Nothing[] many\n${part("test_msgs/Nothing", "")}`)).toContain("empty type");
  const levels = Array.from({ length: 30 }, (_, level) =>
    part(`test_msgs/L${level}`, `test_msgs/L${level + 1} a\ntest_msgs/L${level + 1} b`),
  );
  expect(problemOf(`test_msgs/L0 top\n${levels.join("")}${part("test_msgs/L30", "")}`)).toContain("fields");
  const deep = Array.from({ length: 5000 }, (_, level) => part(`t/L${level}`, `t/L${level + 1} a`));
  expect(problemOf(`t/L0 top\n${deep.slice(0, 300).join("")}${part("t/L300", "uint8 a")}`)).toContain("deep");
  expect(problemOf("uint8 a\n".repeat(200_000))).toContain("too long");
});

test("names that are no names never reach the library that compiles them", () => {
  const hostile = "x/y){} globalThis.harmed=1; function z(";
  expect(problemOf(`uint8 a\n${part(hostile, "uint8 b")}`)).toContain("no type name");
  expect(globalThis).not.toHaveProperty("harmed");
});

test("a name that would keep the library busy for seconds is refused at once, a long comment is none", () => {
  const schema = { name: "a/Whole", encoding: "ros2msg" } as const;
  const startedMs = performance.now();
  expect(parseSchema({ ...schema, text: `int8 ${"x".repeat(5000)}X${"x".repeat(5000)}\n` })).toMatchObject({
    problem: expect.stringContaining("255"),
  });
  expect(performance.now() - startedMs).toBeLessThan(1000);
  expect(parseSchema({ ...schema, text: `int8 x # ${"y".repeat(5000)}\n` })).not.toHaveProperty("problem");
});
