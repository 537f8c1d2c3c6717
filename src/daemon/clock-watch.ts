/**
 * Watches the wall against the monotonic clock, once a second, for steps and for the moment the true time is known.
 *
 * Linux slews both clocks together, so that their distance is constant but for steps: a change of more than 10 ms
 * between two looks is one (NTP's slew of at most 500 ppm would be 0.5 ms). A sleep of the computer shows as a step as
 * well; `/proc/uptime`, which goes on meanwhile, tells it apart. What changes is written down at once, and a daemon that
 * starts again within the boot sees what happened in between.
 *
 * The true time is known when the kernel says that the wall is synchronised; or, where nothing ever says so, when the
 * wall is set from an impossible time (before 2025, or before an earlier boot that knew its time had ended) to a
 * possible one. Between two possible times nothing tells which was right: the step is listed, and no more is claimed.
 */
import { type BootClock, type ClockStep, PLAUSIBLE_NS_MIN, trueTimeNs } from "../model/boot-clock.ts";
import type { BootAnchor } from "../model/chunk.ts";
import type { BootClocks, KnownTime } from "../ring/boot-clocks.ts";
import { assert } from "../std/assert.ts";
import type { Clock } from "../std/clock.ts";
import { describeError } from "../std/fault.ts";
import { latest, msOfNs, nsOfMs } from "../std/nanoseconds.ts";
import { formatDuration } from "../std/time-text.ts";
import type { Log } from "../telemetry/log.ts";
import { readBoth } from "./boot-anchor.ts";

const STEP_MS_MIN = 10;
/** `/proc/uptime` counts in 10 ms. */
const SLEEP_MS_MIN = 50;
export const LOOK_MS = 1000;
/** A wall that is stepped without end costs a row in so long: what it did meanwhile is one step. */
const REST_MS = 10_000;

export type ClockWatchDeps = {
  readonly clock: Clock;
  readonly log: Log;
  /** The kernel, or who keeps the time, vouches for the wall now. */
  readonly isSynchronised: () => boolean;
  /** Since power-on, sleeps included. */
  readonly uptimeMs: () => number;
  /** Up to where the ring has messages of each boot, in its log_time. */
  readonly lastStored: ReadonlyMap<string, bigint>;
};

export class ClockWatch {
  readonly #clocks: BootClocks;
  readonly #deps: ClockWatchDeps;
  readonly #anchor: BootAnchor;
  readonly #possibleFromNs: bigint;
  /** Wall − log_time as it was noted, and at the last look. */
  #offsetNs: bigint;
  #seenNs: bigint;
  #sleptMs: number;
  /** Those of this boot that were written down. */
  #sleepsNs: bigint;
  #known: KnownTime | undefined;
  #notedNs: bigint | undefined;
  #isRefused = false;

  private constructor(clocks: BootClocks, boot: BootClock, deps: ClockWatchDeps) {
    const { bootId, correctionNs, truth, steps } = boot;
    this.#clocks = clocks;
    this.#anchor = boot;
    this.#deps = deps;
    const earlier = clocks.list().filter((other) => other.bootId !== bootId && other.truth !== undefined);
    const ends = earlier.map((other) => trueTimeNs(other, deps.lastStored.get(other.bootId) ?? other.wallNs));
    this.#possibleFromNs = ends.reduce(latest, PLAUSIBLE_NS_MIN);
    this.#offsetNs = clocks.offsetNs(bootId);
    this.#seenNs = this.#offsetNs;
    this.#sleptMs = this.#readSleptMs();
    const sleeps = steps.filter(({ kind }) => kind === "suspend");
    this.#sleepsNs = sleeps.reduce((sum, { stepMs }) => sum + nsOfMs(stepMs), 0n);
    this.#known = correctionNs === undefined || truth === undefined ? undefined : { correctionNs, truth };
  }

  /** The boot's reading is kept already. Looks at once. */
  static open(clocks: BootClocks, bootId: string, deps: ClockWatchDeps): ClockWatch {
    const boot = clocks.list().find((known) => known.bootId === bootId);
    assert(boot !== undefined, `the reading of boot ${bootId} is kept`);
    const watch = new ClockWatch(clocks, boot, deps);
    watch.look();
    return watch;
  }

  /** To be called once a second. What cannot be written (a full disk) is seen again at the next look. */
  look(): void {
    const { wallNs, monotonicNs } = readBoth(this.#deps.clock);
    const logNs = this.#anchor.wallNs + monotonicNs - this.#anchor.monotonicNs;
    const offsetNs = wallNs - logNs;
    const steps = this.#stepsTo(offsetNs, logNs);
    const known = this.#knownAt(wallNs, offsetNs, steps);
    if (known === this.#known && steps.length === 0) {
      this.#offsetNs = offsetNs; // a drift is no step, however long it goes on
      this.#seenNs = offsetNs;
      return;
    }
    const isResting = this.#notedNs !== undefined && msOfNs(monotonicNs - this.#notedNs) < REST_MS;
    if (known === this.#known && isResting && steps.every(({ kind }) => kind === "set")) {
      this.#seenNs = offsetNs;
      return;
    }
    try {
      this.#clocks.note(this.#anchor.bootId, offsetNs, { steps, known });
      this.#tell(steps, known);
      this.#take(offsetNs, steps, known);
      this.#notedNs = monotonicNs;
    } catch (error) {
      if (!this.#isRefused)
        this.#deps.log.warn("A step of the clock cannot be written down yet.", { reason: describeError(error) });
      this.#isRefused = true;
    }
  }

  /** Writes down how far the wall has drifted, so that the next start does not take it for a step. */
  [Symbol.dispose](): void {
    try {
      this.#clocks.note(this.#anchor.bootId, this.#offsetNs, {});
    } catch (error) {
      this.#deps.log.warn("The clock's last state cannot be written down.", { reason: describeError(error) });
    }
  }

  #take(offsetNs: bigint, steps: readonly ClockStep[], known: KnownTime | undefined): void {
    this.#offsetNs = offsetNs;
    this.#seenNs = offsetNs;
    this.#known = known;
    this.#sleptMs = this.#readSleptMs();
    for (const { kind, stepMs } of steps) if (kind === "suspend") this.#sleepsNs += nsOfMs(stepMs);
    this.#isRefused = false;
  }

  #stepsTo(offsetNs: bigint, atNs: bigint): ClockStep[] {
    const stepMs = msOfNs(offsetNs - this.#offsetNs);
    if (Math.abs(stepMs) <= STEP_MS_MIN) return [];
    const sleptMs = this.#readSleptMs() - this.#sleptMs;
    if (sleptMs < SLEEP_MS_MIN) return [{ kind: "set", atNs, stepMs }];
    const jumpMs = msOfNs(offsetNs - this.#seenNs);
    const sleepMs = Math.abs(jumpMs - sleptMs) < SLEEP_MS_MIN ? jumpMs : sleptMs;
    const setMs = stepMs - sleepMs;
    const set = Math.abs(setMs) <= STEP_MS_MIN ? [] : [{ kind: "set", atNs, stepMs: setMs } as const];
    return [{ kind: "suspend", atNs, stepMs: sleepMs }, ...set];
  }

  /** The same object as before while nothing better is known. */
  #knownAt(wallNs: bigint, offsetNs: bigint, steps: readonly ClockStep[]): KnownTime | undefined {
    const before = this.#known;
    const sleptNs = steps.reduce((sum, { kind, stepMs }) => (kind === "suspend" ? sum + nsOfMs(stepMs) : sum), 0n);
    const correctionNs = offsetNs - this.#sleepsNs - sleptNs;
    if (this.#deps.isSynchronised()) {
      const isSame =
        before?.truth === "synchronised" && Math.abs(msOfNs(correctionNs - before.correctionNs)) <= STEP_MS_MIN;
      return isSame ? before : { correctionNs, truth: "synchronised" };
    }
    const set = steps.find(({ kind }) => kind === "set");
    const wasImpossible = set !== undefined && wallNs - nsOfMs(set.stepMs) < this.#possibleFromNs;
    const isSetRight = before === undefined && wasImpossible && wallNs >= this.#possibleFromNs;
    return isSetRight ? { correctionNs, truth: "set" } : before;
  }

  #readSleptMs(): number {
    return this.#deps.uptimeMs() - msOfNs(this.#deps.clock.monotonicNs());
  }

  #tell(steps: readonly ClockStep[], known: KnownTime | undefined): void {
    const { log } = this.#deps;
    for (const { kind, stepMs } of steps)
      log.warn(kind === "suspend" ? "The computer slept." : "The wall clock was stepped.", {
        by: `${stepMs < 0 ? "-" : "+"}${formatDuration(Math.abs(stepMs))}`,
      });
    if (known === undefined || known === this.#known) return;
    log.info("The true time of this boot is known.", {
      truth: known.truth,
      correction_ms: msOfNs(known.correctionNs),
    });
  }
}
