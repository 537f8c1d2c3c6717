import { expect, test } from "vitest";
import { formatTimeNs, toWire } from "../../src/std/wire.ts";

test("names become snake_case, instants RFC 3339 with every nanosecond, and undefined is left out", () => {
  const wire = toWire({ startNs: 1_767_312_060_000_000_001n, sizeBytes: 12, rateHz: undefined, isOpen: true });
  expect(wire).toEqual({ start_time: "2026-01-02T00:01:00.000000001Z", size_bytes: 12, is_open: true });
});

test("keys that are not ours stay: topics, labels, values", () => {
  const given = {
    topics: { "/joint_states": { messageCount: 1 } },
    labels: { objectType: "cup" },
    values: { slideM: 0.02 },
  };
  expect(toWire(given)).toEqual({
    topics: { "/joint_states": { message_count: 1 } },
    labels: { objectType: "cup" },
    values: { slideM: 0.02 },
  });
});

test("an integer that JSON cannot carry exactly is text", () => {
  expect(toWire({ small: 7n, large: 2n ** 60n })).toEqual({ small: 7, large: "1152921504606846976" });
});

test("maps and lists are walked, NaN is null", () => {
  expect(toWire({ counts: new Map([["/a", 1]]), list: [{ atNs: 0n }], value: Number.NaN })).toEqual({
    counts: { "/a": 1 },
    list: [{ at_time: "1970-01-01T00:00:00.000000000Z" }],
    value: null,
  });
});

test("a pre-roll that reaches before 1970 is a time like any other", () => {
  expect(formatTimeNs(-1n)).toBe("1969-12-31T23:59:59.999999999Z");
  expect(formatTimeNs(-22_500_000_000n)).toBe("1969-12-31T23:59:37.500000000Z");
  expect(formatTimeNs(-2_000_000_000n)).toBe("1969-12-31T23:59:58.000000000Z");
});
