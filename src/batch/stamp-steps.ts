/**
 * Finds where the stamps of a topic's publisher jump against the time of arrival: its clock was set.
 *
 * A step is where, of two messages that follow each other, the lag (log_time − publish_time) changes by 0.5 s or more,
 * and the five before and the five after it agree: backward, if the stamps themselves go back; forward, if the lag falls
 * below the least that it ever was. A message that comes late raises the lag for a while and is none, a pause is none, and
 * neither are publishers that take turns. Topics without stamps have no lag.
 */
import type { TopicCompleteness } from "../model/episode.ts";
import { recordPublishTimeNs, viewOf } from "../ring/message-record.ts";
import { bodyOf, type WindowChunk } from "../ring/window.ts";

const STEP_MS_MIN = 500;
const AGREEING = 5;
const NS_PER_MS = 1e6;
const LOOK_NS = 50_000_000n;

type Stamped = { readonly atNs: bigint; readonly lagMs: number };
export type ClockStep = TopicCompleteness["clockSteps"][number];

export class StampSteps {
  readonly #stamps = new Map<number, Stamped[]>();

  /** Before the next chunk of the window is asked for: its bytes are at hand then. */
  note(chunk: WindowChunk): void {
    if (chunk.origin === "latched") return;
    const body = viewOf(bodyOf(chunk));
    for (const [channelId, records] of chunk.index) {
      const stamps = this.#list(channelId);
      let nextNs = 0n;
      for (const [atNs, offset] of records) {
        if (atNs < nextNs) continue;
        nextNs = atNs + LOOK_NS;
        const publishTimeNs = recordPublishTimeNs(body, offset);
        if (publishTimeNs !== atNs) stamps.push({ atNs, lagMs: Number(atNs - publishTimeNs) / NS_PER_MS });
      }
    }
  }

  of(channelIds: readonly number[]): ClockStep[] {
    return channelIds.flatMap((id) => stepsOf(this.#list(id).toSorted((a, b) => Number(a.atNs - b.atNs))));
  }

  #list(channelId: number): Stamped[] {
    const known = this.#stamps.get(channelId) ?? [];
    this.#stamps.set(channelId, known);
    return known;
  }
}

/** In the order of arrival. */
export function stepsOf(stamped: readonly Stamped[]): ClockStep[] {
  const steps: ClockStep[] = [];
  let leastMs = Number.POSITIVE_INFINITY;
  for (let index = 0; index < stamped.length; index += 1) {
    const stepMs = index < AGREEING ? undefined : stepAt(stamped, index, leastMs);
    const { atNs, lagMs } = stamped[index] ?? { atNs: 0n, lagMs: 0 };
    if (stepMs === undefined) {
      leastMs = Math.min(leastMs, lagMs);
      continue;
    }
    steps.push({ atNs, stepMs });
    leastMs = lagMs;
  }
  return steps;
}

function stepAt(stamped: readonly Stamped[], index: number, leastMs: number): number | undefined {
  const [last, now] = [stamped[index - 1], stamped[index]];
  if (last === undefined || now === undefined || Math.abs(now.lagMs - last.lagMs) < STEP_MS_MIN) return undefined;
  const before = lags(stamped, index - AGREEING);
  const after = lags(stamped, index);
  if (after.length < AGREEING) return undefined;
  const stepMs = Math.min(...before) - Math.min(...after);
  const stampsMs = Number(now.atNs - last.atNs) / NS_PER_MS - (now.lagMs - last.lagMs);
  const isBackward = stepMs <= -STEP_MS_MIN && stampsMs <= 0 && Math.min(...after) - Math.max(...before) >= STEP_MS_MIN;
  const isForward = stepMs >= STEP_MS_MIN && Math.max(...after) <= leastMs - STEP_MS_MIN;
  return isBackward || isForward ? stepMs : undefined;
}

const lags = (stamped: readonly Stamped[], from: number): number[] =>
  stamped.slice(from, from + AGREEING).map(({ lagMs }) => lagMs);
