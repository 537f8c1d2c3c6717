/** Promises over random types, messages and damage. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { compileEncoder } from "../../src/decode/encoder.ts";
import { compileField, type FieldReader } from "../../src/decode/field.ts";
import { Layouts } from "../../src/decode/field-location.ts";
import { compileStamp } from "../../src/decode/stamp.ts";
import { Fault } from "../../src/std/fault.ts";
import { type Generated, generated } from "./generated.ts";
import { isSame, leavesOf, toJson } from "./plain.ts";

describe.each([
  { ros: 1, encoding: "ros1" },
  { ros: 2, encoding: "cdr" },
] as const)("$encoding", ({ ros, encoding }) => {
  const readersOf = ({ parsed }: Generated): { path: string; reader: FieldReader }[] =>
    leavesOf(parsed.root).map(({ path }) => {
      const reader = compileField(parsed, encoding, path);
      if ("problem" in reader) throw new Error(reader.problem);
      return { path, reader };
    });

  test("every field of any message reads as it was written", () => {
    fc.assert(
      fc.property(generated(ros), (sample) => {
        const { message, bytes, parsed } = sample;
        const expected = new Map(leavesOf(parsed.root).map(({ path, read }) => [path, read(message)]));
        for (const { path, reader } of readersOf(sample)) {
          if (!isSame(reader(bytes), expected.get(path))) expect(reader(bytes), path).toEqual(expected.get(path));
          if (!isSame(reader(bytes), expected.get(path))) expect.unreachable(`${path} differs when it is read again`);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("a reader that knows one message's layout reads any other message of the type", () => {
    const pairs = fc.tuple(generated(ros), fc.integer()).map(([sample, seed]) => {
      const encode = compileEncoder(sample.parsed, encoding);
      if ("problem" in encode) throw new Error(encode.problem);
      const other = resized(toJson(sample.parsed.root, sample.message, ros), seed);
      return { sample, other: encode(other).bytes };
    });
    fc.assert(
      fc.property(pairs, ({ sample, other }) => {
        const decoded = compileDecoder(sample.parsed, encoding)(other);
        for (const { path, read } of leavesOf(sample.parsed.root)) {
          const reader = compileField(sample.parsed, encoding, path);
          if ("problem" in reader) throw new Error(reader.problem);
          for (const bytes of [sample.bytes, other, sample.bytes, other]) reader(bytes);
          if (!isSame(reader(other), read(decoded))) expect(reader(other), path).toEqual(read(decoded));
        }
      }),
      { numRuns: 100 },
    );
  });

  test("readers that share what a channel's messages look like read what each would alone", () => {
    const damage = fc.record({ cut: fc.nat(), flips: fc.array(fc.nat(), { maxLength: 3 }) });
    const script = fc.array(fc.tuple(fc.nat(2), fc.option(damage), fc.nat()), { minLength: 4, maxLength: 12 });
    fc.assert(
      fc.property(generated(ros), fc.integer(), script, (sample, seed, steps) => {
        const { parsed } = sample;
        const encode = compileEncoder(parsed, encoding);
        if ("problem" in encode) throw new Error(encode.problem);
        const json = toJson(parsed.root, sample.message, ros);
        const others = [seed, seed + 1].map((other) => encode(resized(json, other)).bytes.slice());
        const messages = [sample.bytes, ...others];
        const layouts = new Layouts(parsed, encoding);
        const shared = leavesOf(parsed.root).map(({ path }) => compileField(parsed, encoding, path, layouts));
        for (const [which, hurt, first] of steps) {
          const message = (messages[which] ?? sample.bytes).slice();
          const bytes = hurt === null ? message : damaged(message, hurt.cut, hurt.flips);
          for (let k = 0; k < shared.length; k += 1) {
            const index = (first + k) % shared.length; // nobody is always the first
            const [reader, { path } = { path: "" }] = [shared[index], leavesOf(parsed.root)[index]];
            const alone = compileField(parsed, encoding, path);
            if (typeof reader !== "function" || typeof alone !== "function") throw new Error("no reader");
            if (!isSame(reader(bytes), alone(bytes))) expect(reader(bytes), path).toEqual(alone(bytes));
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test("JSON becomes exactly the bytes that the reference writer writes", () => {
    fc.assert(
      fc.property(generated(ros), ({ parsed, message, bytes }) => {
        const encode = compileEncoder(parsed, encoding);
        if ("problem" in encode) throw new Error(encode.problem);
        const json: unknown = JSON.parse(JSON.stringify(toJson(parsed.root, message, ros)));
        expect(Buffer.from(encode(json).bytes)).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 150 },
    );
  });

  test("no truncation and no bit flip makes a reader throw, and a truncated field is undefined or whole", () => {
    const damage = fc.record({ cut: fc.nat(), flips: fc.array(fc.nat(), { maxLength: 4 }), isFresh: fc.boolean() });
    fc.assert(
      fc.property(generated(ros), fc.array(damage, { minLength: 1, maxLength: 8 }), (sample, damages) => {
        const readers = readersOf(sample);
        const decode = compileDecoder(sample.parsed, encoding);
        const stampOf = compileStamp(sample.parsed, encoding);
        for (const hurt of damages.map((each) => damaged(sample.bytes, each.cut, each.flips))) {
          for (const { reader } of readers) reader(hurt);
          stampOf?.(hurt);
          expectFaultOrValue(() => decode(hurt));
        }
        for (const { path, reader } of readers) {
          const whole = reader(sample.bytes);
          for (let size = 0; size < sample.bytes.length; size += 1) {
            const value = reader(sample.bytes.slice(0, size));
            if (value !== undefined && !isSame(value, whole)) expect(value, `${path} of ${size} bytes`).toEqual(whole);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});

function damaged(bytes: Uint8Array, cut: number, flips: readonly number[]): Uint8Array {
  const hurt = bytes.slice(0, cut % 3 === 0 ? cut % (bytes.length + 1) : bytes.length);
  for (const flip of flips) {
    const at = (flip >>> 3) % Math.max(1, hurt.length);
    if (at < hurt.length) hurt[at] = (hurt[at] ?? 0) ^ (1 << (flip & 7));
  }
  return hurt;
}

function expectFaultOrValue(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    expect(error).toBeInstanceOf(Fault);
  }
}

/** The same message with other string and array lengths. */
function resized(json: unknown, seed: number): unknown {
  if (typeof json === "string") return seed % 2 === 0 ? json : `${json}AAAA`;
  if (Array.isArray(json)) return json.map((item) => resized(item, seed));
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(Object.entries(json).map(([name, value], index) => [name, resized(value, seed + index)]));
}
