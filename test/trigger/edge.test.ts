import fc from "fast-check";
import { expect, test } from "vitest";
import { Edge, type EdgeOptions, type Truth } from "../../src/trigger/edge.ts";

type Sample = readonly [atMs: number, condition: Truth];

function run(options: Partial<EdgeOptions>, samples: readonly Sample[]): string[] {
  const edge = new Edge({ holdMs: 0, clearMs: 0, coolDownMs: 0, ...options });
  return samples.flatMap(([atMs, condition]) => {
    const step = edge.step(condition, atMs);
    return step === undefined ? [] : [`${step} ${atMs}`];
  });
}

test("a condition fires once however long it lasts, and clears once", () => {
  const samples: Sample[] = [
    [0, false],
    [10, true],
    [20, true],
    [30, true],
    [40, false],
    [50, false],
  ];
  expect(run({}, samples)).toEqual(["fired 10", "cleared 40"]);
});

test("a condition shorter than the hold never fires", () => {
  expect(
    run({ holdMs: 100 }, [
      [0, true],
      [60, true],
      [90, false],
      [100, true],
      [190, true],
    ]),
  ).toEqual([]);
});

test("no hold time accrues across an unknown condition", () => {
  expect(
    run({ holdMs: 100 }, [
      [0, true],
      [60, undefined],
      [70, true],
      [120, true],
      [170, true],
    ]),
  ).toEqual(["fired 170"]);
});

test("a condition that is high does not clear across an unknown one", () => {
  expect(
    run({ clearMs: 50 }, [
      [0, true],
      [10, false],
      [40, undefined],
      [70, false],
      [100, false],
      [120, false],
    ]),
  ).toEqual(["fired 0", "cleared 120"]);
});

test("a rise inside the cool-down fires once when the quiet time ends", () => {
  const samples: Sample[] = [
    [0, true],
    [10, false],
    [20, true],
    [60, true],
    [99, true],
    [100, true],
    [110, true],
  ];
  expect(run({ coolDownMs: 100 }, samples)).toEqual(["fired 0", "cleared 10", "fired 100"]);
});

test("a rise inside the cool-down that is over before it ends never fires", () => {
  expect(
    run({ coolDownMs: 100 }, [
      [0, true],
      [10, false],
      [20, true],
      [30, false],
      [120, false],
    ]),
  ).toEqual(["fired 0", "cleared 10"]);
});

test("with a condition of the end of its own, the contrary of the first ends nothing", () => {
  const edge = new Edge({ holdMs: 0, clearMs: 0, coolDownMs: 0 });
  expect(edge.stepBetween(true, false, 0)).toBe("fired");
  expect(edge.stepBetween(false, false, 10)).toBeUndefined();
  expect(edge.stepBetween(false, true, 20)).toBe("cleared");
});

const samplesOf = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.constantFrom(true, false, undefined)), {
  maxLength: 80,
});
const optionsOf = fc.record({ holdMs: fc.nat(120), clearMs: fc.nat(120), coolDownMs: fc.nat(200) });

function timed(steps: readonly (readonly [gapMs: number, condition: Truth])[]): Sample[] {
  let atMs = 0;
  return steps.map(([gapMs, condition]) => {
    atMs += gapMs;
    return [atMs, condition];
  });
}

/** The promises, from the definition alone and without a state machine. */
function firingsByDefinition(options: EdgeOptions, samples: readonly Sample[]): string[] {
  const told: string[] = [];
  let isHigh = false;
  let firedMs = Number.NEGATIVE_INFINITY;
  let turnedAt = -1; // index of the sample that turned the state
  for (const [index, [atMs]] of samples.entries()) {
    const wanted = !isHigh;
    let first = index;
    while (first > turnedAt && samples[first]?.[1] === wanted) first -= 1;
    const run = samples.slice(first + 1, index + 1);
    if (run.length === 0) continue;
    const lastedMs = atMs - (run[0]?.[0] ?? atMs);
    if (lastedMs < (isHigh ? options.clearMs : options.holdMs)) continue;
    if (!isHigh && atMs - firedMs < options.coolDownMs) continue;
    told.push(`${isHigh ? "cleared" : "fired"} ${atMs}`);
    if (!isHigh) firedMs = atMs;
    isHigh = !isHigh;
    turnedAt = index;
  }
  return told;
}

test("any sequence of conditions: firings and clearings are those of the definition", () => {
  fc.assert(
    fc.property(optionsOf, samplesOf, (options, steps) => {
      const samples = timed(steps);
      expect(run(options, samples)).toEqual(firingsByDefinition(options, samples));
    }),
  );
});

test("any sequence of conditions: firings are at least the cool-down apart", () => {
  fc.assert(
    fc.property(optionsOf, samplesOf, (options, steps) => {
      const told = run(options, timed(steps));
      const fired = told.filter((line) => line.startsWith("fired")).map((line) => Number(line.split(" ")[1]));
      for (const [index, at] of fired.entries())
        expect(at - (fired[index - 1] ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(options.coolDownMs);
    }),
  );
});
