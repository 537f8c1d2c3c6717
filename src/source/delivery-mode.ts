/**
 * Decides, for one topic on one connection, between cbor-raw and JSON (`none`).
 *
 * A bridge process serves a topic either raw or decoded, to all its clients (rosbridge_suite issue 610): once another
 * client reads it as JSON, a raw subscription stays silent without a word, and the other way round. So a silent topic
 * that somebody publishes is asked for in the other form, with growing gaps:
 *
 * - a form that delivered is kept; silence after that is the publisher's;
 * - JSON that delivers often is left now and then for a short try of raw, which costs a few messages (`lostCount`);
 * - JSON that delivers rarely is never left: the try could cost the one message that matters.
 *
 * Pure: all times come in, in milliseconds of one clock.
 */
export type Compression = "cbor-raw" | "none";

export type DeliveryOptions = {
  /** A published topic may stay silent this long in a form before the other is tried; doubles with each change. */
  readonly silenceMs: number;
  readonly silenceMsMax: number;
  /** First and longest stay with JSON that works before raw is tried again. */
  readonly retryRawMs: number;
  readonly retryRawMsMax: number;
};

export type ModeChange = {
  readonly compression: Compression;
  /** Messages that probably went by while raw was tried in vain. */
  readonly lostCount: number;
};

/** Between two messages: above this share of `silenceMs` a topic counts as rarely sent. */
const RARE_SHARE = 0.25;
/** A try of raw lasts this many message intervals, so that its silence means something. */
const TRY_INTERVALS = 5;
const TRY_MS_MIN = 300;
/** Frames of the form just left may still be under way. */
const LATE_FRAME_MS = 2000;

export class DeliveryMode {
  compression: Compression = "cbor-raw";
  readonly #options: DeliveryOptions;
  #enteredMs: number;
  #firstMs = 0;
  #lastMs = 0;
  /** Messages since this form was entered. */
  #count = 0;
  #silenceMs: number;
  #retryRawMs: number;
  /** Since when somebody publishes: from the beginning, unless the contrary was found. */
  #publishedMs: number | undefined;
  /** Mean interval of the JSON messages, while raw is tried in their stead. */
  #triedIntervalMs: number | undefined;
  #hasChanged = false;

  constructor(options: DeliveryOptions, nowMs: number) {
    this.#options = options;
    this.#enteredMs = nowMs;
    this.#publishedMs = nowMs;
    this.#silenceMs = options.silenceMs;
    this.#retryRawMs = options.retryRawMs;
  }

  onMessage(isRaw: boolean, nowMs: number): void {
    const isLate = isRaw !== (this.compression === "cbor-raw") && this.#hasChanged;
    if (isLate && nowMs - this.#enteredMs < LATE_FRAME_MS) return;
    if (this.#count === 0) this.#firstMs = nowMs;
    this.#count += 1;
    this.#lastMs = nowMs;
  }

  /** Both forms were tried on this connection. */
  get hasTriedBoth(): boolean {
    return this.#hasChanged;
  }

  /**
   * The change that is due, already made. `isPublished` false: silence is no wonder, and nothing changes for it;
   * undefined: not known yet.
   */
  step(nowMs: number, isPublished: boolean | undefined): ModeChange | undefined {
    if (isPublished === false) this.#publishedMs = undefined;
    else if (isPublished) this.#publishedMs ??= nowMs;
    if (this.#count > 0) return this.#stepDelivering(nowMs);
    if (this.#triedIntervalMs !== undefined) return this.#stepTrying(nowMs, this.#triedIntervalMs);
    return isPublished && this.#publishedMs !== undefined ? this.#stepSilent(nowMs, this.#publishedMs) : undefined;
  }

  #stepDelivering(nowMs: number): ModeChange | undefined {
    this.#triedIntervalMs = undefined;
    if (this.compression === "cbor-raw") return undefined;
    const intervalMs = this.#intervalMs();
    if (intervalMs > this.#options.silenceMs * RARE_SHARE || nowMs - this.#enteredMs < this.#retryRawMs)
      return undefined;
    this.#retryRawMs = Math.min(2 * this.#retryRawMs, this.#options.retryRawMsMax);
    this.#enter("cbor-raw", nowMs);
    this.#triedIntervalMs = intervalMs;
    return { compression: "cbor-raw", lostCount: 0 };
  }

  #stepTrying(nowMs: number, intervalMs: number): ModeChange | undefined {
    const triedMs = nowMs - this.#enteredMs;
    if (triedMs < Math.max(TRY_MS_MIN, TRY_INTERVALS * intervalMs)) return undefined;
    this.#enter("none", nowMs);
    return { compression: "none", lostCount: Math.round(triedMs / intervalMs) };
  }

  #stepSilent(nowMs: number, publishedMs: number): ModeChange | undefined {
    if (nowMs - Math.max(this.#enteredMs, publishedMs) < this.#silenceMs) return undefined;
    this.#silenceMs = Math.min(2 * this.#silenceMs, this.#options.silenceMsMax);
    this.#enter(this.compression === "cbor-raw" ? "none" : "cbor-raw", nowMs);
    return { compression: this.compression, lostCount: 0 };
  }

  #enter(compression: Compression, nowMs: number): void {
    this.compression = compression;
    this.#enteredMs = nowMs;
    this.#count = 0;
    this.#hasChanged = true;
    this.#triedIntervalMs = undefined;
  }

  #intervalMs(): number {
    return this.#count < 2 ? Number.POSITIVE_INFINITY : (this.#lastMs - this.#firstMs) / (this.#count - 1);
  }
}
