/**
 * Time-stamp jump: a sensor's stamps step forward or back while its messages go on coming.
 *
 * With lateness = log_time − stamp, per topic:
 * - *forward*: the lateness falls by more than `step_ms` below the least of the last 10 to 20 s. A message can be later
 *   than any before it, but never that much fresher.
 * - *back*: a stamp is more than `step_ms` older than the one before it. A late message never is.
 *
 * Either counts once all messages of `lasts_ms`, two at least, are nearer to the new lateness than to the old, so that an
 * outlier, or a second publisher on the topic, is none; and only of a topic that had no such step for `history_ms`. Fires once for each
 * step. A constant offset, drift, growing latency and stamps of zero are none.
 * `step_ms`: ntpd steps a clock that is off by more than 128 ms (RFC 5905, STEPT) and slews it below; the default leaves
 * room for drivers that synchronise a sensor's own clock. Keep the rule's `for_ms` at 0: the condition lasts a tick.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import { type DetectorDeps, type DetectorKind, readerOf, type Subject } from "../detector.ts";
import type { FieldReader } from "../seams.ts";
import { PerTopic, type Stream } from "./per-topic.ts";

const parametersSchema = z.strictObject({
  step_ms: z.number().min(10).default(500),
  history_ms: z.number().min(0).default(1500),
  lasts_ms: z.number().min(0).default(200),
});
type Parameters = z.infer<typeof parametersSchema>;

const STRETCH_MS = 10_000;

export const stampJump: DetectorKind = {
  name: "stamp_jump",
  parameters: parametersSchema,
  roles: ["topic"],
  needs: "a sensor topic with header.stamp",
  recoversWhen: "never",
  clearForMs: 0,
  coolDownMs: 10_000,
  open: (given, deps) => {
    const parameters = parametersSchema.parse(given);
    return new PerTopic(deps, (channel, subject) => openStamps(parameters, deps, channel, subject));
  },
};

function openStamps(parameters: Parameters, { fields }: DetectorDeps, channel: Channel, subject: Subject) {
  const stamp = readerOf(fields, channel, "header.stamp");
  return stamp === undefined ? undefined : new Stamps(parameters, stamp, subject);
}

type Step = { readonly fromMs: number; readonly toMs: number; readonly sinceMs: number };

class Stamps implements Stream {
  readonly #parameters: Parameters;
  readonly #stamp: FieldReader;
  readonly #subject: Subject;
  #lastStampMs = Number.NaN;
  #lastLateMs = Number.NaN;
  /** Least lateness of this stretch, and of the one before. */
  #leastMs = Number.POSITIVE_INFINITY;
  #leastBeforeMs = Number.POSITIVE_INFINITY;
  #stretchMs = 0;
  #steadySinceMs = Number.NaN;
  #step: Step | undefined;
  #isTold = false;

  constructor(parameters: Parameters, stamp: FieldReader, subject: Subject) {
    this.#parameters = parameters;
    this.#stamp = stamp;
    this.#subject = subject;
  }

  forget(): void {
    this.#begin(Number.NaN);
    this.#isTold = false;
  }

  /** A step is an event: true at one tick. */
  tick(): void {
    if (this.#isTold) this.#subject.condition = false;
    this.#isTold = this.#subject.condition === true;
  }

  hear(message: Uint8Array, nowMs: number, atNs: bigint): void {
    const seconds = this.#stamp(message);
    if (typeof seconds !== "number" || !(seconds > 0)) return;
    const stampMs = seconds * 1000;
    const lateMs = Number(atNs) / 1e6 - stampMs;
    if (Number.isNaN(this.#steadySinceMs)) this.#begin(nowMs);
    this.#subject.condition ??= false;
    if (this.#step !== undefined) this.#confirm(this.#step, lateMs, nowMs);
    else if (this.#isStep(stampMs, lateMs)) this.#step = { fromMs: this.#lastLateMs, toMs: lateMs, sinceMs: nowMs };
    if (this.#step === undefined) this.#learn(lateMs, nowMs);
    this.#lastStampMs = stampMs;
    this.#lastLateMs = lateMs;
  }

  #isStep(stampMs: number, lateMs: number): boolean {
    const { step_ms } = this.#parameters;
    const leastMs = Math.min(this.#leastMs, this.#leastBeforeMs);
    const isFresher = leastMs !== Number.POSITIVE_INFINITY && lateMs < leastMs - step_ms;
    return isFresher || stampMs < this.#lastStampMs - step_ms;
  }

  #confirm(step: Step, lateMs: number, nowMs: number): void {
    const { lasts_ms, history_ms } = this.#parameters;
    const agrees = Math.abs(lateMs - step.toMs) <= Math.abs(step.toMs - step.fromMs) / 2;
    if (agrees && nowMs - step.sinceMs < lasts_ms) return;
    const isSteady = nowMs - this.#steadySinceMs >= history_ms;
    this.#begin(nowMs);
    if (!agrees || !isSteady) return;
    this.#subject.condition = true;
    this.#subject.values = () => ({ stamp_step_ms: Math.round(step.fromMs - lateMs), lateness_ms: Math.round(lateMs) });
  }

  #learn(lateMs: number, nowMs: number): void {
    if (nowMs - this.#stretchMs >= STRETCH_MS) {
      this.#leastBeforeMs = this.#leastMs;
      this.#leastMs = Number.POSITIVE_INFINITY;
      this.#stretchMs = nowMs;
    }
    this.#leastMs = Math.min(this.#leastMs, lateMs);
  }

  /** What was known of this topic's stamps no longer holds. */
  #begin(nowMs: number): void {
    this.#steadySinceMs = nowMs;
    this.#stretchMs = nowMs;
    this.#leastMs = Number.POSITIVE_INFINITY;
    this.#leastBeforeMs = Number.POSITIVE_INFINITY;
    this.#lastStampMs = Number.NaN;
    this.#step = undefined;
  }
}
