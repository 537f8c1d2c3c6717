/**
 * Learns y ≈ Σ aᵢ·xᵢ from samples: recursive least squares without an intercept and without forgetting, for what is
 * fixed by geometry (a wheel's radius, an axis' sign).
 *
 * `share` is the part of y's energy that the model predicted before it saw the sample, 1 − Σe²/Σy²: near 0 where y has
 * nothing to do with x, 1 where it follows exactly. Source: e.g. S. Haykin, Adaptive Filter Theory, ch. 10.
 */
const START = 1e4; // inverse of how much is believed at first: next to nothing

export class LinearFit {
  readonly #size: number;
  readonly #factors: Float64Array;
  /** Inverse correlation of x, row by row. */
  readonly #inverse: Float64Array;
  readonly #gain: Float64Array;
  #errors = 0;
  #energy = 0;
  samples = 0;

  constructor(size: number) {
    this.#size = size;
    this.#factors = new Float64Array(size);
    this.#gain = new Float64Array(size);
    this.#inverse = new Float64Array(size * size);
    for (let i = 0; i < size; i += 1) this.#inverse[i * size + i] = START;
  }

  get share(): number {
    return this.#energy > 0 ? 1 - this.#errors / this.#energy : 0;
  }

  /** Root mean square of y. */
  get usual(): number {
    return Math.sqrt(this.#energy / this.samples);
  }

  predict(x: readonly number[]): number {
    let y = 0;
    for (let i = 0; i < this.#size; i += 1) y += (this.#factors[i] ?? 0) * (x[i] ?? 0);
    return y;
  }

  /** Samples that are not finite are passed over. */
  learn(x: readonly number[], y: number): void {
    const error = y - this.predict(x);
    if (!Number.isFinite(error)) return;
    this.samples += 1;
    this.#errors += error * error;
    this.#energy += y * y;
    const n = this.#size;
    let scale = 1;
    for (let i = 0; i < n; i += 1) {
      let sum = 0;
      for (let j = 0; j < n; j += 1) sum += (this.#inverse[i * n + j] ?? 0) * (x[j] ?? 0);
      this.#gain[i] = sum;
      scale += sum * (x[i] ?? 0);
    }
    for (let i = 0; i < n; i += 1) {
      this.#factors[i] = (this.#factors[i] ?? 0) + ((this.#gain[i] ?? 0) / scale) * error;
      for (let j = 0; j < n; j += 1)
        this.#inverse[i * n + j] =
          (this.#inverse[i * n + j] ?? 0) - ((this.#gain[i] ?? 0) * (this.#gain[j] ?? 0)) / scale;
    }
  }
}
