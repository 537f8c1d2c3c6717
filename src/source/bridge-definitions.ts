/**
 * The message definitions that a bridge gives, by type. One answer has them all and is slow to make, so it is asked
 * for only when a type is new, and after a failure again with growing gaps.
 */
import type { Log } from "../telemetry/log.ts";
import type { Rosapi } from "./rosapi.ts";

const GAP_MS_MAX = 600_000;

export class BridgeDefinitions {
  readonly #firstGapMs: number;
  readonly #log: Log;
  #textsByType: ReadonlyMap<string, string> = new Map();
  #retry: { readonly atMs: number; readonly gapMs: number } | undefined;

  constructor(firstGapMs: number, log: Log) {
    this.#firstGapMs = firstGapMs;
    this.#log = log;
  }

  /** undefined: not known, or the bridge has none. */
  find(type: string): string | undefined {
    return this.#textsByType.get(type) || undefined;
  }

  /** Asks if one of these new types was never answered for, or if a failure is to be tried again. */
  async refresh(newTypes: readonly string[], rosapi: Rosapi, nowMs: number): Promise<void> {
    const isRetryDue = this.#retry !== undefined && this.#retry.atMs <= nowMs;
    if (!isRetryDue && newTypes.every((type) => this.#textsByType.has(type))) return;
    const texts = await rosapi.listDefinitions();
    if (texts !== undefined) {
      this.#textsByType = texts;
      this.#retry = undefined;
    } else this.#retryLater(rosapi.failure, nowMs);
  }

  #retryLater(reason: string, nowMs: number): void {
    if (this.#retry === undefined) this.#log.warn("rosapi does not give the message definitions.", { reason });
    const gapMs = Math.min(2 * (this.#retry?.gapMs ?? this.#firstGapMs), GAP_MS_MAX);
    this.#retry = { gapMs, atMs: nowMs + gapMs };
  }
}
