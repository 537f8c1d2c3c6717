/**
 * The time that rules run on: the messages' own log time, so that live and replay agree.
 *
 * Ticks lie on a fixed grid of log time and are produced only when a later message arrives: a recording that ends
 * makes nothing stale. While *everything* is silent the clock stands still after `SILENCE_MS`, so that a lost
 * connection or a pause between two recordings ages nothing; after `LONG_SILENCE_MS` listeners are told, since what
 * a stream did before says little about it now. A log time that steps back counts as a long silence.
 */

const GRID_NS = 50_000_000n;
const GRID_MS = 50;
/** Bridges deliver in bursts of about 40 ms and a slow robot may send nothing for half a second. */
const SILENCE_MS = 1000;
const LONG_SILENCE_MS = 5000;
const STEP_BACK_MS = 1000;
const STEP_BACK_NS = 1_000_000_000n;

export interface RuleClockListener {
  onTick(atNs: bigint): void;
  onLongSilence(): void;
}

export class RuleClock {
  readonly #listener: RuleClockListener;
  /** Rule time in ms: log time since the first message, less the silences. */
  #nowMs = 0;
  #gridMs = 0;
  #gridNs = 0n;
  #isStarted = false;
  #reachedNs = 0n;

  constructor(listener: RuleClockListener) {
    this.#listener = listener;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Log time of the last message or tick. */
  get reachedNs(): bigint {
    return this.#reachedNs;
  }

  /**
   * Produces the ticks before `logTimeNs`. Returns how far it lies behind the last one, in ms, for `moveTo`. Most
   * messages need no tick: those cost one subtraction of bigints, whether a rule looks at them or not.
   */
  tickTo(logTimeNs: bigint): number {
    let sinceMs = Number(logTimeNs - this.#gridNs) / 1e6;
    if (!this.#isStarted || sinceMs >= GRID_MS || sinceMs <= -STEP_BACK_MS) {
      this.#makeTicks(logTimeNs);
      sinceMs = Number(logTimeNs - this.#gridNs) / 1e6;
    }
    this.#reachedNs = logTimeNs;
    return sinceMs;
  }

  /** Moves on to the log time that `tickTo` was told. */
  moveTo(sinceMs: number): void {
    const nowMs = this.#gridMs + sinceMs;
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
  }

  #makeTicks(logTimeNs: bigint): void {
    if (!this.#isStarted || logTimeNs <= this.#gridNs - STEP_BACK_NS) this.#anchor(logTimeNs);
    const silentMs = Number(logTimeNs - this.#gridNs) / 1e6;
    const lastMs = this.#gridMs + Math.min(silentMs, SILENCE_MS);
    while (this.#gridMs + GRID_MS <= lastMs) this.#tick();
    if (silentMs > SILENCE_MS) this.#gridNs = logTimeNs - (logTimeNs % GRID_NS);
    if (silentMs > LONG_SILENCE_MS) this.#listener.onLongSilence();
  }

  #tick(): void {
    this.#gridNs += GRID_NS;
    this.#gridMs += GRID_MS;
    this.#nowMs = Math.max(this.#nowMs, this.#gridMs);
    this.#reachedNs = this.#gridNs;
    this.#listener.onTick(this.#gridNs);
  }

  #anchor(logTimeNs: bigint): void {
    this.#gridNs = logTimeNs - (logTimeNs % GRID_NS);
    this.#gridMs = Math.ceil(this.#nowMs / GRID_MS) * GRID_MS;
    if (this.#isStarted) this.#listener.onLongSilence();
    this.#isStarted = true;
  }
}
