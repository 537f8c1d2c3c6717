import { expect, test } from "vitest";
import { z } from "zod";
import { nearestHint, parseYaml } from "../../src/std/yaml-file.ts";

const schema = z.strictObject({ robot: z.strictObject({ id: z.string(), size: z.number().min(0).default(1) }) });

test("what is right is parsed, with its defaults", () => {
  expect(parseYaml("f.yaml", "robot: {id: a}\n", schema)).toMatchObject({
    kind: "ok",
    value: { robot: { id: "a", size: 1 } },
  });
});

test("a missing key is told at its parent", () => {
  expect(parseYaml("f.yaml", "robot:\n  size: 2\n", schema)).toMatchObject({
    kind: "bad",
    findings: [{ place: "f.yaml:2:3" }],
  });
});

test("a key given twice is an error at the second", () => {
  expect(parseYaml("f.yaml", "robot: {id: a}\nrobot: {id: b}\n", schema)).toMatchObject({
    kind: "bad",
    findings: [{ place: "f.yaml:2:1" }],
  });
});

test("a slip of the finger is answered with the nearest key, anything else with the list", () => {
  expect(nearestHint("baseline_hs", ["baseline_hz", "rank"])).toBe('Did you mean "baseline_hz"?');
  expect(nearestHint("colour", ["baseline_hz", "rank"])).toBe("Known here: baseline_hz, rank.");
});
