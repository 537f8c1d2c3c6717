/** Random message types with random messages of them, for properties; the Foxglove writers serialize them. */
import { MessageWriter as Ros1Writer } from "@foxglove/rosmsg-serialization";
import { MessageWriter as Ros2Writer } from "@foxglove/rosmsg2-serialization";
import fc from "fast-check";
import { type ParsedSchema, parseSchema } from "../../src/decode/parsed-schema.ts";

export type Generated = { readonly parsed: ParsedSchema; readonly message: unknown; readonly bytes: Uint8Array };

type Kind = { readonly type: string; readonly value: fc.Arbitrary<unknown> };
type Member = { readonly line: string; readonly value: fc.Arbitrary<unknown> };

const whole = (min: number, max: number) => fc.integer({ min, max });
// The reference CDR writer takes a string's length for its UTF-8 size.
const words = { 1: ["a", "z", "ä", "✓", "𝛼", " "], 2: ["a", "z", " "] } as const;

function kinds(ros: 1 | 2): Kind[] {
  const seconds = ros === 1 ? whole(0, 2 ** 32 - 1) : whole(-(2 ** 31), 2 ** 31 - 1);
  const time = fc.record({ sec: seconds, [ros === 1 ? "nsec" : "nanosec"]: whole(0, 999_999_999) });
  return [
    { type: "bool", value: fc.boolean() },
    { type: "int8", value: whole(-128, 127) },
    { type: "uint8", value: whole(0, 255) },
    { type: "int16", value: whole(-32_768, 32_767) },
    { type: "uint16", value: whole(0, 65_535) },
    { type: "int32", value: whole(-(2 ** 31), 2 ** 31 - 1) },
    { type: "uint32", value: whole(0, 2 ** 32 - 1) },
    { type: "int64", value: fc.bigInt({ min: -(2n ** 53n), max: 2n ** 53n }) },
    { type: "uint64", value: fc.bigInt({ min: 0n, max: 2n ** 53n }) },
    { type: "float32", value: fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0) },
    { type: "float64", value: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0) },
    { type: "string", value: fc.string({ maxLength: 9, unit: fc.constantFrom(...words[ros]) }) },
    { type: ros === 1 ? "time" : "builtin_interfaces/Time", value: time },
  ];
}

/** A field of a kind: alone, in an array of fixed length, or in a dynamic one. */
function memberOf({ type, value }: Kind, name: string): fc.Arbitrary<Member> {
  const fixed = fc.array(value, { minLength: 3, maxLength: 3 });
  return fc.constantFrom<Member>(
    { line: `${type} ${name}`, value },
    { line: `${type}[3] ${name}`, value: fixed },
    { line: `${type}[] ${name}`, value: fc.array(value, { maxLength: 4 }) },
  );
}

function structOf(choices: readonly Kind[], prefix: string): fc.Arbitrary<Member> {
  const fields = fc.array(fc.constantFrom(...choices), { minLength: 1, maxLength: 6 });
  return fields
    .chain((chosen) => fc.tuple(...chosen.map((kind, index) => memberOf(kind, `${prefix}${index}`))))
    .map((members) => ({
      line: members.map(({ line }) => `${line}\n`).join(""),
      value: fc.record(Object.fromEntries(members.map((member, index) => [`${prefix}${index}`, member.value]))),
    }));
}

export function generated(ros: 1 | 2): fc.Arbitrary<Generated> {
  const inner = structOf(kinds(ros), "inner_");
  const outer = inner.chain((part) =>
    structOf([...kinds(ros), { type: "test_msgs/Part", value: part.value }], "outer_").map((whole) => ({
      text: `${whole.line}${"=".repeat(80)}\nMSG: test_msgs/Part\n${part.line}`,
      value: whole.value,
    })),
  );
  return outer.chain(({ text, value }) => value.map((message) => serialize(text, message, ros)));
}

function serialize(text: string, message: unknown, ros: 1 | 2): Generated {
  const parsed = parseSchema({ name: "test_msgs/Whole", encoding: ros === 1 ? "ros1msg" : "ros2msg", text });
  if ("problem" in parsed) throw new Error(`${parsed.problem}\n${text}`);
  const definitions = [...parsed.definitions];
  const writer = ros === 1 ? new Ros1Writer(definitions) : new Ros2Writer(definitions);
  return { parsed, message, bytes: writer.writeMessage(message) };
}
