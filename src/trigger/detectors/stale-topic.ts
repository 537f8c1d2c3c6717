/**
 * Stale topic: a sensor that sent regularly has stopped, while others go on.
 *
 * Condition per topic: silence > max(`silent_ms`, `gap_factor` × the longest gap seen, `period_factor` × mean period),
 * known only after `history_ms` and `messages` messages. Only sensor-like types count; commands, events and
 * anything named like a command may stop at will. Rule time stands still while everything is silent, so neither the
 * end of a recording nor a lost connection counts; after a long silence a topic must be heard again first.
 */
import { z } from "zod";
import type { DetectorKind, Subject } from "../detector.ts";
import { PerTopic, type Stream } from "./per-topic.ts";

const parametersSchema = z.strictObject({
  silent_ms: z.number().min(100).default(3000),
  gap_factor: z.number().min(1).default(5),
  period_factor: z.number().min(1).default(20),
  history_ms: z.number().min(0).default(10_000),
  messages: z.number().int().min(2).default(50),
});
type Parameters = z.infer<typeof parametersSchema>;

export const staleTopic: DetectorKind = {
  name: "stale_topic",
  parameters: parametersSchema,
  roles: ["topic"],
  needs: "a sensor topic",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 10_000,
  open: (given, deps) => {
    const parameters = parametersSchema.parse(given);
    return new PerTopic(deps, (_channel, subject) => new Rhythm(parameters, subject));
  },
};

class Rhythm implements Stream {
  readonly #parameters: Parameters;
  readonly #subject: Subject;
  #firstMs = Number.NaN;
  #lastMs = Number.NaN;
  #count = 0;
  #gapMaxMs = 0;
  #isHeard = false;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.#subject = subject;
  }

  forget(): void {
    this.#isHeard = false;
  }

  /** A gap that was reported as stale, or lay in a silence of everything, is not part of the rhythm. */
  hear(_message: Uint8Array, nowMs: number): void {
    if (this.#isHeard && this.#subject.condition !== true)
      this.#gapMaxMs = Math.max(this.#gapMaxMs, nowMs - this.#lastMs);
    if (Number.isNaN(this.#firstMs)) this.#firstMs = nowMs;
    this.#isHeard = true;
    this.#lastMs = nowMs;
    this.#count += 1;
  }

  tick(nowMs: number): void {
    const { silent_ms, gap_factor, period_factor, history_ms, messages } = this.#parameters;
    const spanMs = this.#lastMs - this.#firstMs;
    if (!this.#isHeard || this.#count < messages || !(spanMs >= history_ms)) return;
    const periodMs = spanMs / (this.#count - 1);
    const silentMs = nowMs - this.#lastMs;
    const subject = this.#subject;
    subject.condition = silentMs > Math.max(silent_ms, gap_factor * this.#gapMaxMs, period_factor * periodMs);
    if (subject.condition) subject.values = () => ({ silent_ms: silentMs, period_ms: periodMs });
  }
}
