import { expect, test } from "vitest";
import { formatBytes, formatDuration, parseDurationMs, parseTimeNs } from "../../src/std/time-text.ts";

const NOW = 1_767_312_060_000_000_000n;

test("durations are read with their unit, and nothing else is a duration", () => {
  expect(["500ms", "30s", "1.5h", "2d"].map(parseDurationMs)).toEqual([500, 30_000, 5_400_000, 172_800_000]);
  for (const bad of ["30", "s", "-3s", "3 weeks", ""]) expect(() => parseDurationMs(bad)).toThrow("is not a duration");
});

test("times are RFC 3339, before now, now, or nanoseconds", () => {
  expect(parseTimeNs("2026-01-02T00:01:00Z", 0n)).toBe(NOW);
  expect(parseTimeNs("-10m", NOW)).toBe(NOW - 600_000_000_000n);
  expect(parseTimeNs("now", NOW)).toBe(NOW);
  expect(parseTimeNs(String(NOW), 0n)).toBe(NOW);
  for (const bad of ["yesterday", "14:03", "2026-13-45T00:00:00Z"])
    expect(() => parseTimeNs(bad, NOW)).toThrow("is not a time");
});

test("sizes and durations read well at every magnitude", () => {
  expect([0, 354.94, 4100, 22_300_000, 2e12].map(formatBytes)).toEqual(["0 B", "355 B", "4.1 kB", "22 MB", "2.0 TB"]);
  expect([850, 12_340, 250_000, 11_100_000, 187_200_000].map(formatDuration)).toEqual([
    "850ms",
    "12.3s",
    "4m 10s",
    "3h 5m",
    "2d 4h",
  ]);
});
