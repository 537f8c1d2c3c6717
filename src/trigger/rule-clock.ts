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
  /** The log times that need no tick lie between these; kept, since most messages ask for nothing else. */
  #backNs = 0n;
  #nextNs = 0n;
  #isStarted = false;

  constructor(listener: RuleClockListener) {
    this.#listener = listener;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Whether `logTimeNs` needs no tick; cheap enough for messages that nobody looks at. */
  isWithinTick(logTimeNs: bigint): boolean {
    return logTimeNs < this.#nextNs && logTimeNs > this.#backNs;
  }

  /** Produces the ticks before `logTimeNs`. */
  tickTo(logTimeNs: bigint): void {
    if (this.isWithinTick(logTimeNs)) return;
    if (!this.#isStarted || logTimeNs <= this.#gridNs - STEP_BACK_NS) this.#anchor(logTimeNs);
    const silentMs = Number(logTimeNs - this.#gridNs) / 1e6;
    const lastMs = this.#gridMs + Math.min(silentMs, SILENCE_MS);
    while (this.#gridMs + GRID_MS <= lastMs) this.#tick();
    if (silentMs > SILENCE_MS) this.#gridNs = logTimeNs - (logTimeNs % GRID_NS);
    this.#backNs = this.#gridNs - STEP_BACK_NS;
    this.#nextNs = this.#gridNs + GRID_NS;
    if (silentMs > LONG_SILENCE_MS) this.#listener.onLongSilence();
  }

  /** Moves on to a message's log time, after `tickTo`. */
  moveTo(logTimeNs: bigint): void {
    this.#nowMs = Math.max(this.#nowMs, this.#gridMs + Number(logTimeNs - this.#gridNs) / 1e6);
  }

  #tick(): void {
    this.#gridNs += GRID_NS;
    this.#gridMs += GRID_MS;
    this.#nowMs = Math.max(this.#nowMs, this.#gridMs);
    this.#listener.onTick(this.#gridNs);
  }

  #anchor(logTimeNs: bigint): void {
    this.#gridNs = logTimeNs - (logTimeNs % GRID_NS);
    this.#gridMs = Math.ceil(this.#nowMs / GRID_MS) * GRID_MS;
    if (this.#isStarted) this.#listener.onLongSilence();
    this.#isStarted = true;
  }
}
