/**
 * How high a signal usually peaks: the 95th percentile of its one-second peaks over the last minute.
 *
 * A robust maximum: three outliers a minute do not move it, while what happens more often (a gait's steps, a rough
 * floor) is usual. A second counts once it is over, so that a peak never hides itself; seconds without a value do
 * not count. NaN before `secondsMin` of them.
 */
const SECONDS = 60;
const OUTLIERS_SHARE = 0.05;

export class UsualPeak {
  readonly #secondsMin: number;
  readonly #peaks: number[] = [];
  #peak = Number.NaN;
  #endsMs = Number.NaN;
  value = Number.NaN;

  constructor(secondsMin: number) {
    this.#secondsMin = secondsMin;
  }

  /** `magnitude` ≥ 0; NaN is passed over. */
  add(magnitude: number, nowMs: number): void {
    if (Number.isNaN(magnitude)) return;
    if (!(nowMs < this.#endsMs)) {
      if (!Number.isNaN(this.#peak)) this.#close();
      this.#endsMs = nowMs + 1000;
    }
    this.#peak = Number.isNaN(this.#peak) ? magnitude : Math.max(this.#peak, magnitude);
  }

  #close(): void {
    this.#peaks.push(this.#peak);
    this.#peak = Number.NaN;
    if (this.#peaks.length > SECONDS) this.#peaks.shift();
    if (this.#peaks.length < this.#secondsMin) return;
    const sorted = this.#peaks.toSorted((a, b) => b - a);
    this.value = sorted[Math.floor(OUTLIERS_SHARE * sorted.length)] ?? Number.NaN;
  }
}
