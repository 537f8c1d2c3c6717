/** Rates of topics over the last few seconds, from their running totals. */
import type { TopicTraffic } from "./ingest.ts";

export type TopicRate = Omit<TopicTraffic, "messages" | "bytes"> & {
  readonly rateHz: number;
  readonly bytesPerS: number;
};

type Sample = { readonly atMs: number; readonly traffic: ReadonlyMap<string, TopicTraffic> };

/** A window of this many steps: long enough for a 1 Hz topic, short enough to see a change. */
const SAMPLES_MAX = 10;

export class RateMeter {
  readonly #read: () => readonly TopicTraffic[];
  #samples: Sample[] = [];

  constructor(read: () => readonly TopicTraffic[]) {
    this.#read = read;
  }

  /** To be called at an even pace; `nowMs` is monotonic. */
  step(nowMs: number): void {
    const traffic = new Map(this.#read().map((entry) => [entry.topic, entry]));
    this.#samples = [...this.#samples, { atMs: nowMs, traffic }].slice(-SAMPLES_MAX);
  }

  rates(): TopicRate[] {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined) return [];
    const seconds = Math.max(1e-3, (last.atMs - first.atMs) / 1000);
    return [...last.traffic.values()].map(({ topic, className, isLocal, messages, bytes }) => {
      const before = first.traffic.get(topic);
      const rateHz = (messages - (before?.messages ?? 0)) / seconds;
      return { topic, className, isLocal, rateHz, bytesPerS: (bytes - (before?.bytes ?? 0)) / seconds };
    });
  }
}
