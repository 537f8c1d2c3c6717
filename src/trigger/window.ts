/**
 * A sliding window over a number: minimum, maximum, mean or standard deviation of its last `lengthMs`.
 *
 * Incremental (amortised constant time per sample) and bounded: beyond `SAMPLES_MAX` samples the oldest leave early.
 * NaN samples are passed over. The value is NaN (unknown) until samples have come for the whole length, and when
 * none is left in it: half a window must not stand for a whole one.
 */

export type WindowKind = "min" | "max" | "mean" | "stddev";

const SAMPLES_MAX = 8192; // eight seconds at 1 kHz, 128 KiB a window
const CANCELLED = 1.0001; // of a leaving sample's own square: less would be left than rounding leaves

export class SlidingWindow {
  readonly #kind: WindowKind;
  readonly #isExtreme: boolean;
  readonly #lengthMs: number;
  /** Ring buffers of the same capacity; for an extreme they hold only the candidates (a monotonic queue). */
  #times = new Float64Array(64);
  #values = new Float64Array(64);
  #head = 0;
  #count = 0;
  #firstMs = Number.NaN;
  #evictedMs = Number.NaN;
  #mean = 0;
  #squares = 0;
  #removals = 0;

  constructor(kind: WindowKind, lengthMs: number) {
    this.#kind = kind;
    this.#isExtreme = kind === "min" || kind === "max";
    this.#lengthMs = lengthMs;
  }

  /** What came before no longer counts, after a long silence for instance. */
  reset(): void {
    this.#count = 0;
    this.#firstMs = Number.NaN;
    this.#mean = 0;
    this.#squares = 0;
  }

  push(value: number, nowMs: number): void {
    if (Number.isNaN(value)) return;
    if (Number.isNaN(this.#firstMs)) this.#firstMs = nowMs;
    this.#evict(nowMs);
    if (this.#isExtreme) this.#dropDominated(value);
    if (this.#count === this.#times.length) this.#makeRoom();
    const at = (this.#head + this.#count) & (this.#times.length - 1);
    this.#times[at] = nowMs;
    this.#values[at] = value;
    this.#count += 1;
    if (!this.#isExtreme) this.#addMoment(value);
  }

  value(nowMs: number): number {
    if (nowMs !== this.#evictedMs) this.#evict(nowMs);
    if (this.#count === 0 || !(nowMs - this.#firstMs >= this.#lengthMs)) return Number.NaN;
    if (this.#isExtreme) return this.#values[this.#head] ?? Number.NaN;
    if (this.#kind === "mean") return this.#mean;
    return Math.sqrt(Math.max(0, this.#squares) / this.#count);
  }

  #evict(nowMs: number): void {
    this.#evictedMs = nowMs;
    const firstMs = nowMs - this.#lengthMs;
    while (this.#count > 0 && (this.#times[this.#head] ?? 0) < firstMs) this.#removeOldest();
  }

  /** A candidate that is older and no better than the new sample can never be the extreme again. */
  #dropDominated(value: number): void {
    const isMin = this.#kind === "min";
    const mask = this.#times.length - 1;
    let count = this.#count;
    for (; count > 0; count -= 1) {
      const last = this.#values[(this.#head + count - 1) & mask] ?? 0;
      if (isMin ? last < value : last > value) break;
    }
    this.#count = count;
  }

  #makeRoom(): void {
    if (this.#times.length >= SAMPLES_MAX) {
      this.#removeOldest();
      return;
    }
    this.#times = this.#grown(this.#times);
    this.#values = this.#grown(this.#values);
    this.#head = 0;
  }

  #grown(ring: Float64Array): Float64Array<ArrayBuffer> {
    const grown = new Float64Array(ring.length * 2);
    for (let i = 0; i < this.#count; i += 1) grown[i] = ring[(this.#head + i) & (ring.length - 1)] ?? 0;
    return grown;
  }

  #removeOldest(): void {
    const value = this.#values[this.#head] ?? 0;
    this.#head = (this.#head + 1) & (this.#times.length - 1);
    this.#count -= 1;
    if (!this.#isExtreme) this.#removeMoment(value);
  }

  /** Welford's recurrence, forwards and backwards (B. P. Welford, Technometrics 4(3), 1962). */
  #addMoment(value: number): void {
    const difference = value - this.#mean;
    this.#mean += difference / this.#count;
    this.#squares += difference * (value - this.#mean);
  }

  #removeMoment(value: number): void {
    this.#removals += 1;
    // Rounding errors add up over removals, and drown what is left when a large value leaves: sum afresh.
    const isDrowned = this.#squares < CANCELLED * (value - this.#mean) ** 2;
    if (this.#count === 0 || isDrowned || this.#removals >= SAMPLES_MAX) {
      this.#sumAfresh();
      return;
    }
    const difference = value - this.#mean;
    this.#mean -= difference / this.#count;
    this.#squares -= difference * (value - this.#mean);
  }

  #sumAfresh(): void {
    const count = this.#count;
    this.#removals = 0;
    this.#mean = 0;
    this.#squares = 0;
    for (this.#count = 1; this.#count <= count; this.#count += 1)
      this.#addMoment(this.#values[(this.#head + this.#count - 1) & (this.#times.length - 1)] ?? 0);
    this.#count = count;
  }
}
