/**
 * How long messages take from their arrival until every rule has judged them and a firing is decided, over the last ten
 * to twenty seconds. Each eighth message is measured, whatever its topic.
 */
import { createHistogram } from "node:perf_hooks";

export type DecisionDelayStatus = { readonly p99Ms: number; readonly maxMs: number };

const STRIDE = 8;
const WINDOW_NS = 10_000_000_000n;

export class DecisionDelay {
  readonly #histogram = createHistogram();
  #untilMeasured = 0;
  #sinceNs = 0n;
  #previous: DecisionDelayStatus = { p99Ms: 0, maxMs: 0 };

  /** To be called when the rules have judged a message that arrived at `arrivalNs` of the monotonic clock. */
  note(arrivalNs: bigint): void {
    this.#untilMeasured -= 1;
    if (this.#untilMeasured > 0) return;
    this.#untilMeasured = STRIDE;
    const nowNs = process.hrtime.bigint();
    if (nowNs - this.#sinceNs > WINDOW_NS) {
      this.#previous = this.#present();
      this.#histogram.reset();
      this.#sinceNs = nowNs;
    }
    this.#histogram.record(Math.max(1, Number(nowNs - arrivalNs)));
  }

  status(): DecisionDelayStatus {
    const { p99Ms, maxMs } = this.#present();
    return { p99Ms: Math.max(p99Ms, this.#previous.p99Ms), maxMs: Math.max(maxMs, this.#previous.maxMs) };
  }

  #present(): DecisionDelayStatus {
    if (this.#histogram.count === 0) return { p99Ms: 0, maxMs: 0 };
    return { p99Ms: this.#histogram.percentile(99) / 1e6, maxMs: this.#histogram.max / 1e6 };
  }
}
