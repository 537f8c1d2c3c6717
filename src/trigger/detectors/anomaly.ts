/**
 * Anomaly: a number is far from what it was lately.
 *
 * z = |x − median| / max(1.4826 × MAD, `floor`), with median and MAD (median absolute deviation) of the last `window_ms`, one
 * sample each `sample_ms`; 1.4826 × MAD estimates the standard deviation of what is normally distributed. Condition
 * per field, of an array per element: z > `z`, known after half a window. Both hold out against outliers up to half
 * of the window; after that a lasting new level is the usual one. Without `floor` a value that never changed is unknown.
 * Meant for chosen fields with a level of their own (temperatures, voltages, latencies, tracking errors): what moves
 * as the robot moves is no anomaly when it begins to.
 * Source: modified z-score, Iglewicz & Hoaglin, How to Detect and Handle Outliers (1993), whose limit of 3.5 is for one
 * look at few samples; a stream at 100 Hz has 8.6 million a day.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numbersOf,
  readerOf,
  type Subject,
} from "../detector.ts";

const parametersSchema = z.strictObject({
  /** Paths in the messages of `values`. */
  fields: z.array(z.string().min(1)).min(1),
  z: z.number().min(1).default(10),
  window_ms: z.number().min(1000).default(60_000),
  sample_ms: z.number().min(10).default(100),
  /** Least deviation that counts as 1, in the field's unit. */
  floor: z.number().min(0).default(0),
});
type Parameters = z.infer<typeof parametersSchema>;

const NORMAL = 1.4826; // 1 / Φ⁻¹(3/4)
const SAMPLES_MAX = 3600;
const REFRESH_MS = 1000;
const ELEMENTS_MAX = 128;

export const anomaly: DetectorKind = {
  name: "anomaly",
  parameters: parametersSchema,
  roles: ["values"],
  needs: "the topic that the rule names under inputs.values, with the fields of parameters.fields",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 5000,
  open: (parameters, deps) => new Anomaly(parametersSchema.parse(parameters), deps),
};

class Anomaly implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #watched = new Map<string, Baseline>();
  #bound: readonly string[] = [];

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const { topic } = channel;
    if (topic !== this.#deps.topicOf("values")) return undefined;
    const fields = this.#parameters.fields.flatMap((path) => {
      const read = readerOf(this.#deps.fields, channel, path);
      return read === undefined ? [] : [{ path, read }];
    });
    this.#bound = fields.map(({ path }) => `${topic}: ${path}`);
    if (fields.length === 0) return undefined;
    return (message, nowMs) => {
      for (const { path, read } of fields) {
        const value = read(message);
        if (typeof value === "number") this.#baseline(topic, path)?.take(value, nowMs);
        else
          for (const [index, x] of Array.from(numbersOf(value)).entries())
            this.#baseline(topic, `${path}[${index}]`)?.take(x, nowMs);
      }
    };
  }

  describe(): readonly string[] {
    return this.#bound;
  }

  #baseline(topic: string, name: string): Baseline | undefined {
    const known = this.#watched.get(name);
    if (known !== undefined || this.#watched.size >= ELEMENTS_MAX) return known;
    const baseline = new Baseline(this.#parameters, this.#deps.watch(topic, name));
    this.#watched.set(name, baseline);
    return baseline;
  }
}

class Baseline {
  readonly #parameters: Parameters;
  readonly #subject: Subject;
  readonly #samples: Float64Array;
  #count = 0;
  #nextMs = Number.NEGATIVE_INFINITY;
  #refreshMs = Number.NEGATIVE_INFINITY;
  #median = Number.NaN;
  #deviation = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.#subject = subject;
    const { window_ms, sample_ms } = parameters;
    this.#samples = new Float64Array(Math.min(SAMPLES_MAX, Math.ceil(window_ms / sample_ms)));
  }

  take(x: number, nowMs: number): void {
    if (!Number.isFinite(x)) {
      this.#subject.condition = undefined;
      return;
    }
    this.#judge(x);
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + Math.max(this.#parameters.sample_ms, this.#parameters.window_ms / SAMPLES_MAX);
    this.#samples[this.#count++ % this.#samples.length] = x;
    if (nowMs >= this.#refreshMs && this.#count >= this.#samples.length / 2) this.#refresh(nowMs);
  }

  #judge(x: number): void {
    const deviations = Math.abs(x - this.#median) / this.#deviation;
    this.#subject.condition = this.#deviation > 0 ? deviations > this.#parameters.z : undefined;
    const [median, score] = [this.#median, Math.round(deviations * 10) / 10];
    if (this.#subject.condition)
      this.#subject.values = () => ({ field: this.#subject.name, value: x, median, z: score });
  }

  #refresh(nowMs: number): void {
    this.#refreshMs = nowMs + REFRESH_MS;
    const sorted = this.#samples.slice(0, Math.min(this.#count, this.#samples.length)).sort();
    this.#median = middleOf(sorted);
    const spread = NORMAL * middleOf(sorted.map((x) => Math.abs(x - this.#median)).sort());
    this.#deviation = Math.max(spread, this.#parameters.floor);
  }
}

function middleOf(sorted: Float64Array): number {
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
}
