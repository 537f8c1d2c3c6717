/** How late a thread's event loop is, over the last ten to twenty seconds: what a message waits before it is read. */
import { monitorEventLoopDelay } from "node:perf_hooks";

export type LoopDelayStatus = { readonly p99Ms: number; readonly maxMs: number };

/** Each look wakes the thread. */
const RESOLUTION_MS = 20;
const WINDOW_MS = 10_000;

export class LoopDelay implements Disposable {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #timer: NodeJS.Timeout;
  #previous: LoopDelayStatus = { p99Ms: 0, maxMs: 0 };

  constructor() {
    this.#histogram.enable();
    this.#timer = setInterval(() => {
      this.#previous = this.#present();
      this.#histogram.reset();
    }, WINDOW_MS);
  }

  status(): LoopDelayStatus {
    const { p99Ms, maxMs } = this.#present();
    return { p99Ms: Math.max(p99Ms, this.#previous.p99Ms), maxMs: Math.max(maxMs, this.#previous.maxMs) };
  }

  /** The histogram's intervals hold the resolution itself. */
  #present(): LoopDelayStatus {
    const lateMs = (ns: number) => Math.max(0, ns / 1e6 - RESOLUTION_MS);
    return { p99Ms: lateMs(this.#histogram.percentile(99)), maxMs: lateMs(this.#histogram.max) };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#histogram.disable();
  }
}
