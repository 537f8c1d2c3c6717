/** The gate as a table: every input alone, then the hysteresis. */
import { expect, test } from "vitest";
import { compileWindows, decideGate, type GateInput, type GatePolicy } from "../../src/upload/gate.ts";

const policy: GatePolicy = { dailyBytesMax: { free: 0, metered: 1_000_000 }, linkSettledMs: 5_000 };
const open: GateInput = {
  ...{ link: "free", linkForMs: 60_000, isInWindow: true, sentBytes: 0, pause: undefined, hasReceiver: true },
};
const wasOpen = { isOpen: true, bytesAllowed: 1, reasons: [] };
const wasClosed = { isOpen: false, bytesAllowed: 0, reasons: ["x"] };

test.each<[string, Partial<GateInput>, boolean, number, string]>([
  ["nothing against it", {}, true, Number.POSITIVE_INFINITY, ""],
  ["no receiver", { hasReceiver: false }, false, Number.POSITIVE_INFINITY, "No receiver"],
  ["offline", { link: "offline" }, false, 0, "no network"],
  ["metered, budget untouched", { link: "metered" }, true, 1_000_000, ""],
  ["metered, budget used in part", { link: "metered", sentBytes: 400_000 }, true, 600_000, ""],
  ["metered, budget used up", { link: "metered", sentBytes: 1_000_000 }, false, 0, "1.0 MB for the metered link"],
  ["metered, budget overdrawn", { link: "metered", sentBytes: 9_000_000 }, false, 0, "metered"],
  ["free has no bound here", { sentBytes: 9e12 }, true, Number.POSITIVE_INFINITY, ""],
  ["outside the windows", { isInWindow: false }, false, Number.POSITIVE_INFINITY, "time windows"],
  ["paused until a person resumes", { pause: { untilNs: undefined } }, false, Number.POSITIVE_INFINITY, "paused"],
  ["a link that has only just come", { linkForMs: 100 }, false, Number.POSITIVE_INFINITY, "only just come"],
])("%s", (_name, change, isOpen, bytesAllowed, words) => {
  const decision = decideGate({ ...open, ...change }, policy, undefined);
  expect(decision).toMatchObject({ isOpen, bytesAllowed });
  expect(decision.reasons.join(" ")).toContain(words);
  expect(decision.reasons.length === 0).toBe(isOpen);
});

test("all reasons are told at once", () => {
  const input: GateInput = { ...open, link: "offline", isInWindow: false, pause: { untilNs: 1n }, hasReceiver: false };
  expect(decideGate(input, policy, wasOpen).reasons).toHaveLength(4);
});

test("a flapping link opens the gate only when it has settled, and an open gate does not mind a change", () => {
  expect(decideGate({ ...open, linkForMs: 4_999 }, policy, wasClosed).isOpen).toBe(false);
  expect(decideGate({ ...open, linkForMs: 5_000 }, policy, wasClosed).isOpen).toBe(true);
  expect(decideGate({ ...open, linkForMs: 0 }, policy, wasOpen).isOpen).toBe(true);
});

test("a used-up budget opens again at a twentieth, not at the first byte", () => {
  const metered: GateInput = { ...open, link: "metered" };
  expect(decideGate({ ...metered, sentBytes: 990_000 }, policy, wasOpen).isOpen).toBe(true);
  expect(decideGate({ ...metered, sentBytes: 990_000 }, policy, wasClosed).isOpen).toBe(false);
  expect(decideGate({ ...metered, sentBytes: 950_000 }, policy, wasClosed).isOpen).toBe(true);
});

test("time windows are cron expressions in local time, to the minute", () => {
  const at = (hour: number, minute: number, second = 0) => new Date(2026, 2, 2, hour, minute, second); // a Monday
  const night = compileWindows(["* 1-5 * * *"]);
  expect([at(0, 59, 59), at(1, 0), at(3, 30, 17), at(5, 59, 59), at(6, 0)].map(night)).toEqual([
    false,
    true,
    true,
    true,
    false,
  ]);
  const either = compileWindows(["* 12 * * 1-5", "* * * * 6,7"]);
  expect([at(12, 5), at(11, 5), new Date(2026, 2, 7, 11, 5)].map(either)).toEqual([true, false, true]);
  expect(compileWindows([])(at(0, 0))).toBe(true);
  expect(() => compileWindows(["every night"])).toThrow(expect.objectContaining({ code: "bad_window" }));
});
