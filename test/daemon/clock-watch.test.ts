import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ClockWatch, LOOK_MS } from "../../src/daemon/clock-watch.ts";
import { openJournal } from "../../src/daemon/journal.ts";
import { type BootClock, clockWords, logTimeRanges, trueTimeNs } from "../../src/model/boot-clock.ts";
import type { BootAnchor } from "../../src/model/chunk.ts";
import { BootClocks } from "../../src/ring/boot-clocks.ts";
import { assert } from "../../src/std/assert.ts";
import { ManualClock } from "../../src/std/clock.ts";
import type { Db } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";

const S = 1_000_000_000n;
const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;
const NOW_2026 = 1_790_000_000n * S;

let folder: string;
let journal: Db;
beforeEach(() => {
  folder = makeFolder();
  journal = openJournal(folder);
});
afterEach(() => {
  journal.close();
  removeFolder(join(folder, ".."));
});

/** A robot whose clocks a test moves, and the daemon's watch on them. */
class Robot {
  readonly clock: ManualClock;
  readonly clocks = new BootClocks(journal);
  readonly bootId: string;
  readonly lastStored = new Map<string, bigint>();
  isSynchronised = false;
  sleptMs = 0;
  anchor: BootAnchor;
  watch: ClockWatch;

  constructor(wallNs: bigint, bootId = "boot") {
    this.bootId = bootId;
    this.clock = new ManualClock(wallNs);
    this.clock.advanceMs(20_000); // a daemon starts some time after power-on
    this.anchor = this.#read();
    this.watch = this.#open();
  }

  run(seconds: number): void {
    for (let second = 0; second < seconds; second += 1) {
      this.clock.advanceMs(LOOK_MS);
      this.watch.look();
    }
  }

  /** `kill -9`, and a start after a while. */
  restart(meanwhile: () => void = () => {}): void {
    meanwhile();
    this.anchor = this.#read();
    this.watch = this.#open();
  }

  get logNs(): bigint {
    return this.anchor.wallNs + this.clock.monotonicNs() - this.anchor.monotonicNs;
  }

  get known(): BootClock {
    const clock = this.clocks.list().find(({ bootId }) => bootId === this.bootId);
    assert(clock !== undefined, "the boot is known");
    return clock;
  }

  get steps(): (string | number)[][] {
    return this.known.steps.map(({ kind, stepMs }) => [kind, Math.round(stepMs)]);
  }

  #read(): BootAnchor {
    const { bootId, clock } = this;
    return this.clocks.keep({ bootId, wallNs: clock.wallNs(), monotonicNs: clock.monotonicNs() });
  }

  #open(): ClockWatch {
    return ClockWatch.open(this.clocks, this.bootId, {
      ...{ clock: this.clock, log: silentLog, lastStored: this.lastStored },
      isSynchronised: () => this.isSynchronised,
      uptimeMs: () => Number(this.clock.monotonicNs()) / 1e6 + this.sleptMs,
    });
  }
}

test("a first boot in 1970: the jump to the true time is a step, and the boot gets its correction", () => {
  const robot = new Robot(0n);
  robot.run(100);
  expect(clockWords(robot.known).state).toBe("impossible");
  const [beforeNs, trueNs] = [robot.logNs, NOW_2026];
  robot.clock.stepWallMs(Number((NOW_2026 - robot.clock.wallNs()) / 1_000_000n));
  robot.isSynchronised = true;
  robot.run(10);
  expect(clockWords(robot.known).state).toBe("synchronised");
  expect(robot.steps).toEqual([["set", Number(NOW_2026 / 1_000_000n) - 120_000]]);
  expect(trueTimeNs(robot.known, beforeNs)).toBe(trueNs);
});

test("set by hand from an impossible time to a possible one is believed; between two possible times nothing is", () => {
  const robot = new Robot(0n);
  robot.run(5);
  robot.clock.stepWallMs(Number(NOW_2026 / 1_000_000n));
  robot.run(5);
  expect(robot.known).toMatchObject({ truth: "set", correctionNs: NOW_2026 });
  robot.clock.stepWallMs(YEAR_MS);
  robot.run(5);
  expect(robot.known).toMatchObject({ truth: "set", correctionNs: NOW_2026 });
  const other = new Robot(NOW_2026, "other");
  other.run(5);
  other.clock.stepWallMs(-YEAR_MS);
  other.run(5);
  expect(other.known).toMatchObject({ truth: undefined, correctionNs: undefined });
  expect(other.steps).toEqual([["set", -YEAR_MS]]);
});

test("a clock behind the end of a boot that knew its time is impossible, though it is no 1970", () => {
  const first = new Robot(NOW_2026, "first");
  first.isSynchronised = true;
  first.run(100);
  const second = new Robot(NOW_2026 - 3600n * S, "second"); // as a machine without RTC goes on from a saved time
  second.lastStored.set("first", first.logNs);
  second.restart();
  second.run(5);
  second.clock.stepWallMs(5 * HOUR_MS);
  second.run(1);
  expect(second.known).toMatchObject({ truth: "set", correctionNs: BigInt(5 * HOUR_MS) * 1_000_000n });
});

test.for([
  ["a year ahead", YEAR_MS],
  ["a year back", -YEAR_MS],
  ["a second back", -1000],
  ["11 ms", 11],
] as const)("a step of %s in mid-recording moves no log_time, and is listed where it happened", ([, stepMs]) => {
  const robot = new Robot(NOW_2026);
  robot.isSynchronised = true;
  robot.run(50);
  robot.isSynchronised = false; // the kernel forgets whoever sets the clock
  const beforeNs = robot.logNs;
  robot.clock.stepWallMs(stepMs);
  expect(robot.logNs).toBe(beforeNs);
  robot.run(50);
  expect(robot.steps).toEqual([["set", stepMs]]);
  expect(robot.known.steps[0]?.atNs).toBe(beforeNs + S);
  expect(robot.known).toMatchObject({ truth: "synchronised", correctionNs: 0n });
});

test.for([500, -500])("a slew of %d ppm is no step, however long it goes on, and none after a clean restart", (ppm) => {
  const robot = new Robot(NOW_2026);
  for (let second = 0; second < 600; second += 1) {
    robot.clock.stepWallMs(ppm / 1000);
    robot.run(1);
  }
  expect(robot.steps).toEqual([]);
  robot.restart(() => robot.watch[Symbol.dispose]());
  expect(robot.steps).toEqual([]);
});

test("a daemon that starts again within a boot goes on in the same log_time, and lists the step it did not see", () => {
  const robot = new Robot(NOW_2026);
  robot.run(10);
  const { anchor } = robot;
  robot.restart(() => {
    robot.clock.advanceMs(60_000);
    robot.clock.stepWallMs(-2 * HOUR_MS);
  });
  expect(robot.anchor).toEqual(anchor);
  expect(robot.steps).toEqual([["set", -2 * HOUR_MS]]);
  robot.restart();
  expect(robot.steps).toHaveLength(1);
});

test("of a boot whose true time nothing tells, a range is where its wall showed it: twice, if it was set back", () => {
  const robot = new Robot(NOW_2026);
  const shown: { logNs: bigint; wallNs: bigint }[] = [];
  const run = (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      robot.run(1);
      shown.push({ logNs: robot.logNs, wallNs: robot.clock.wallNs() });
    }
  };
  run(60);
  robot.clock.stepWallMs(-30_000);
  run(60);
  robot.clock.stepWallMs(HOUR_MS);
  run(60);
  for (const fromS of [20, 45, 60, 100, 3600, 3700]) {
    const [startNs, endNs] = [NOW_2026 + BigInt(fromS) * S, NOW_2026 + BigInt(fromS + 20) * S];
    const ranges = logTimeRanges([robot.known], startNs, endNs);
    const inRanges = (logNs: bigint) => ranges.filter((range) => logNs >= range.startNs && logNs <= range.endNs).length;
    for (const { logNs, wallNs } of shown) expect(inRanges(logNs)).toBe(wallNs >= startNs && wallNs <= endNs ? 1 : 0);
  }
  expect(logTimeRanges([robot.known], NOW_2026 + 55n * S, NOW_2026 + 65n * S)).toHaveLength(2);
});

test("a wall that is stepped every second costs a row in ten, and their sum is what it did", () => {
  const robot = new Robot(NOW_2026);
  for (let second = 0; second < 100; second += 1) {
    robot.clock.stepWallMs(20);
    robot.run(1);
  }
  robot.run(10);
  expect(robot.steps.length).toBeLessThanOrEqual(12);
  expect(robot.steps.reduce((sum, [, stepMs]) => sum + Number(stepMs), 0)).toBe(2000);
});

test("a sleep of the computer is told from a set clock, and true time jumps with it", () => {
  const robot = new Robot(NOW_2026);
  robot.isSynchronised = true;
  robot.run(10);
  const beforeNs = robot.logNs;
  robot.sleptMs += HOUR_MS;
  robot.clock.stepWallMs(HOUR_MS);
  robot.run(10);
  expect(robot.steps).toEqual([["suspend", HOUR_MS]]);
  expect(trueTimeNs(robot.known, beforeNs)).toBe(beforeNs);
  expect(trueTimeNs(robot.known, robot.logNs)).toBe(robot.clock.wallNs());
});

test("whatever the wall does, true time is the wall wherever that was right, and ranges of true time come back exactly", {
  timeout: 30_000,
}, () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant("run" as const), seconds: fc.integer({ min: 1, max: 20 }) }),
    fc.record({ kind: fc.constant("step" as const), ms: fc.integer({ min: -YEAR_MS, max: YEAR_MS }) }),
    fc.record({ kind: fc.constant("sleep" as const), ms: fc.integer({ min: 100, max: HOUR_MS }) }),
    fc.record({ kind: fc.constant("restart" as const) }),
  );
  let round = 0;
  const property = fc.property(
    fc.array(event, { maxLength: 12 }),
    fc.integer(),
    fc.integer(),
    (events, from, length) => {
      const robot = new Robot(NOW_2026 + BigInt(from) * S, `boot-${round++}`);
      const seen: { logNs: bigint; trueNs: bigint; monotonicNs: bigint }[] = [];
      let trueOffsetNs = BigInt(-from) * S; // true time runs beside the wall, and only sleeps move it
      let wallErrorNs = BigInt(from) * S;
      const note = () =>
        seen.push({
          logNs: robot.logNs,
          trueNs: robot.anchor.wallNs + robot.clock.monotonicNs() + trueOffsetNs,
          monotonicNs: robot.clock.monotonicNs(),
        });
      for (const one of events) {
        if (one.kind === "run") robot.run(one.seconds);
        if (one.kind === "step") {
          robot.clock.stepWallMs(one.ms);
          wallErrorNs += BigInt(one.ms) * 1_000_000n;
          robot.run(1);
        }
        if (one.kind === "sleep") {
          note();
          robot.sleptMs += one.ms;
          robot.clock.stepWallMs(one.ms);
          trueOffsetNs += BigInt(one.ms) * 1_000_000n;
          robot.run(1);
        }
        if (one.kind === "restart") robot.restart();
        note();
      }
      robot.clock.stepWallMs(Number(-wallErrorNs / 1_000_000n));
      robot.isSynchronised = true;
      robot.run(2);
      note();
      const { known } = robot;
      const [first] = seen;
      assert(first !== undefined, "something was noted");
      for (const one of seen) {
        expect(one.logNs - first.logNs).toBe(one.monotonicNs - first.monotonicNs);
        expect(trueTimeNs(known, one.logNs) - one.trueNs).toBe(trueTimeNs(known, first.logNs) - first.trueNs);
      }
      expect(trueTimeNs(known, robot.logNs)).toBe(robot.clock.wallNs());
      const startNs = first.trueNs + BigInt(length % 100) * S;
      const endNs = startNs + 10n * S;
      const [range] = logTimeRanges([known], startNs, endNs);
      for (const { logNs } of seen) {
        const isInside = trueTimeNs(known, logNs) >= startNs && trueTimeNs(known, logNs) <= endNs;
        expect(range !== undefined && logNs >= range.startNs && logNs <= range.endNs).toBe(isInside);
      }
    },
  );
  fc.assert(property, { numRuns: 100 });
});
