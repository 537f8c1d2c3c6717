/**
 * Rate drop: a sensor that kept an even rate goes on, but far slower.
 *
 * Messages are counted by whole seconds of rule time. `usual` is the second-lowest count of the last `history_s`
 * undisturbed seconds (the lowest one may be the second in which the topic began); it is known once all of them have
 * passed, for topics of at least `rate_min` messages a second whose `usual` is at least `even_share` of the
 * median. Condition per topic: the last second's count < `share` × usual; unknown of a second with none, for a topic
 * that stops is stale and not slow. Of images the share is two thirds of that: automatic exposure halves the rate of
 * a camera in the dark. Seconds that are low teach nothing until there are `history_s` of them in a row.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import type { DetectorKind, Subject } from "../detector.ts";
import { plainTypeName } from "../seams.ts";
import { PerTopic, type Stream } from "./per-topic.ts";

const parametersSchema = z.strictObject({
  share: z.number().min(0.05).max(0.95).default(0.6),
  history_s: z.number().int().min(5).max(3600).default(10),
  rate_min: z.number().min(2).default(8),
  even_share: z.number().min(0).max(1).default(0.7),
});
type Parameters = z.infer<typeof parametersSchema>;

const SECOND_MS = 1000;
const IMAGE_SHARE = 2 / 3;

export const rateDrop: DetectorKind = {
  name: "rate_drop",
  parameters: parametersSchema,
  roles: ["topic"],
  needs: "a sensor topic",
  recoversWhen: "cleared",
  clearForMs: 2000,
  coolDownMs: 30_000,
  open: (given, deps) => {
    const parameters = parametersSchema.parse(given);
    return new PerTopic(deps, (channel, subject) => new Rate(shareOf(channel, parameters), subject));
  },
};

function shareOf({ schema }: Channel, parameters: Parameters): Parameters {
  const isImage = /^sensor_msgs\/(Compressed)?Image$/.test(plainTypeName(schema.name));
  return isImage ? { ...parameters, share: IMAGE_SHARE * parameters.share } : parameters;
}

class Rate implements Stream {
  readonly #parameters: Parameters;
  readonly #subject: Subject;
  /** Counts of the last undisturbed seconds, and of those that are too low in a row. */
  #usual: number[] = [];
  #low: number[] = [];
  #count = 0;
  #sinceMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.#subject = subject;
  }

  forget(): void {
    this.#sinceMs = Number.NaN;
    this.#low = [];
  }

  hear(_message: Uint8Array, nowMs: number): void {
    if (Number.isNaN(this.#sinceMs)) this.#begin(nowMs);
    this.#count += 1;
  }

  tick(nowMs: number): void {
    if (!(nowMs - this.#sinceMs >= SECOND_MS)) return;
    this.#judge((this.#count * SECOND_MS) / (nowMs - this.#sinceMs));
    this.#begin(nowMs);
  }

  #begin(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#count = 0;
  }

  #judge(rateHz: number): void {
    const { share, history_s } = this.#parameters;
    const usualHz = this.#usualHz();
    const isLow = usualHz !== undefined && rateHz < share * usualHz;
    this.#subject.condition = usualHz === undefined || rateHz === 0 ? undefined : isLow;
    if (isLow) {
      this.#subject.values = () => ({ rate_hz: rateHz, usual_hz: usualHz });
      this.#low.push(rateHz);
      if (this.#low.length < history_s) return;
      this.#usual = this.#low;
    } else this.#usual.push(rateHz);
    this.#low = [];
    if (this.#usual.length > history_s) this.#usual.shift();
  }

  #usualHz(): number | undefined {
    const { history_s, rate_min, even_share } = this.#parameters;
    if (this.#usual.length < history_s) return undefined;
    const sorted = this.#usual.toSorted((a, b) => a - b);
    const [, usual = 0] = sorted;
    const median = sorted[sorted.length >> 1] ?? 0;
    return usual >= rate_min && usual >= even_share * median ? usual : undefined;
  }
}
