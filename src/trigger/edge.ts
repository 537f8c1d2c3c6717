/**
 * Turns a condition that flickers into firings.
 *
 * Promises: one firing per rise that lasted `holdMs`; none within `coolDownMs` of the last one (a rise inside the
 * cool-down fires when it ends, if it is still there); one `cleared` per firing, once the end of the condition lasted
 * `clearMs`. An unknown condition starts and ends nothing, and no hold or clear time accrues across it.
 * The caller brings the time, so live and back-test agree.
 */

/** Three-valued: `undefined` is unknown. */
export type Truth = boolean | undefined;

export type EdgeOptions = {
  /** How long the condition must last before it counts. */
  readonly holdMs: number;
  /** How long its end must last before it may rise again. */
  readonly clearMs: number;
  /** Quiet time between two firings. */
  readonly coolDownMs: number;
};

export type EdgeStep = "fired" | "cleared" | undefined;

export class Edge {
  readonly #options: EdgeOptions;
  #isHigh = false;
  /** Since when the state has been contradicted without a break; NaN: it is not. */
  #sinceMs = Number.NaN;
  #firedMs = Number.NEGATIVE_INFINITY;

  /** `isHigh`: as another stood before it, whose place it takes. */
  constructor(options: EdgeOptions, isHigh = false) {
    this.#options = options;
    this.#isHigh = isHigh;
  }

  get isHigh(): boolean {
    return this.#isHigh;
  }

  /** A step of a condition that is false, as most are: whether there is nothing more to it. */
  staysLow(): boolean {
    this.#sinceMs = this.#isHigh ? this.#sinceMs : Number.NaN;
    return !this.#isHigh;
  }

  /** Its end is the contrary of `isOn`. `nowMs` never goes back. */
  step(isOn: Truth, nowMs: number): EdgeStep {
    return this.stepBetween(isOn, isOn === undefined ? undefined : !isOn, nowMs);
  }

  /** With a condition of its own for the end. */
  stepBetween(isOn: Truth, isOver: Truth, nowMs: number): EdgeStep {
    if ((this.#isHigh ? isOver : isOn) !== true) {
      this.#sinceMs = Number.NaN;
      return undefined;
    }
    if (Number.isNaN(this.#sinceMs)) this.#sinceMs = nowMs;
    return this.#isHigh ? this.#fall(nowMs) : this.#rise(nowMs);
  }

  /** Nobody looked for a while. */
  forget(): void {
    this.#sinceMs = Number.NaN;
  }

  #rise(nowMs: number): EdgeStep {
    if (nowMs - this.#sinceMs < this.#options.holdMs || nowMs - this.#firedMs < this.#options.coolDownMs)
      return undefined;
    this.#turn(true);
    this.#firedMs = nowMs;
    return "fired";
  }

  #fall(nowMs: number): EdgeStep {
    if (nowMs - this.#sinceMs < this.#options.clearMs) return undefined;
    this.#turn(false);
    return "cleared";
  }

  #turn(isHigh: boolean): void {
    this.#isHigh = isHigh;
    this.#sinceMs = Number.NaN;
  }
}
