/**
 * Decides, for one topic on one connection, between cbor-raw and JSON (`none`).
 *
 * A bridge process serves a topic either raw or decoded, to all its clients (rosbridge_suite issue 610): once another
 * client reads it as JSON, a raw subscription stays silent without a word, and the other way round. So a silent topic
 * that somebody publishes is asked for in the other form, with growing gaps:
 *
 * - a form that delivered is kept; silence after that is the publisher's;
 * - JSON that delivers often is left now and then for a short try of raw, which costs a few messages (`takeLostCount`);
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
  /** Of the JSON that was left, while raw is tried in its stead. */
  #left: { readonly lastMs: number; readonly intervalMs: number } | undefined;
  #lostCount = 0;
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
    if (this.#left !== undefined) this.#countLost(this.#left, nowMs);
    this.#count += 1;
    this.#lastMs = nowMs;
  }

  /** Raw is asked for and comes: one more raw message changes nothing. */
  get isRawSettled(): boolean {
    return this.compression === "cbor-raw" && this.#count > 0 && this.#left === undefined;
  }

  /** Both forms were tried on this connection. */
  get hasTriedBoth(): boolean {
    return this.#hasChanged;
  }

  /** A form was asked for so lately that its silence means nothing yet. */
  isFresh(nowMs: number): boolean {
    return this.#hasChanged && nowMs - this.#enteredMs < this.#options.silenceMs;
  }

  /** Messages that probably went by, by their interval, while raw was tried; each is told once. */
  takeLostCount(): number {
    const lostCount = this.#lostCount;
    this.#lostCount = 0;
    return lostCount;
  }

  /**
   * Whether the form has just been changed. `isPublished` false: silence is no wonder, and nothing changes for it;
   * undefined: not known yet.
   */
  step(nowMs: number, isPublished: boolean | undefined): boolean {
    if (isPublished === false) this.#onUnpublished();
    else if (isPublished) this.#publishedMs ??= nowMs;
    if (this.#count > 0) return this.#stepDelivering(nowMs);
    if (this.#left !== undefined) return this.#stepTrying(nowMs, this.#left);
    return isPublished === true && this.#stepSilent(nowMs, this.#publishedMs ?? nowMs);
  }

  /** The next publisher may need another subscription: a bridge for ROS 2 fits its QoS to those it finds at the time. */
  #onUnpublished(): void {
    this.#publishedMs = undefined;
    this.#count = 0;
    this.#left = undefined;
  }

  #stepDelivering(nowMs: number): boolean {
    if (this.compression === "cbor-raw") return false;
    const intervalMs = this.#intervalMs();
    if (intervalMs > this.#options.silenceMs * RARE_SHARE || nowMs - this.#enteredMs < this.#retryRawMs) return false;
    this.#retryRawMs = Math.min(2 * this.#retryRawMs, this.#options.retryRawMsMax);
    this.#left = { lastMs: this.#lastMs, intervalMs };
    return this.#enter("cbor-raw", nowMs);
  }

  #stepTrying(nowMs: number, left: { readonly lastMs: number; readonly intervalMs: number }): boolean {
    if (nowMs - this.#enteredMs < Math.max(TRY_MS_MIN, TRY_INTERVALS * left.intervalMs)) return false;
    this.#countLost(left, nowMs);
    return this.#enter("none", nowMs);
  }

  #stepSilent(nowMs: number, publishedMs: number): boolean {
    if (nowMs - Math.max(this.#enteredMs, publishedMs) < this.#silenceMs) return false;
    this.#silenceMs = Math.min(2 * this.#silenceMs, this.#options.silenceMsMax);
    return this.#enter(this.compression === "cbor-raw" ? "none" : "cbor-raw", nowMs);
  }

  #enter(compression: Compression, nowMs: number): true {
    this.compression = compression;
    this.#enteredMs = nowMs;
    this.#count = 0;
    this.#hasChanged = true;
    return true;
  }

  #countLost({ lastMs, intervalMs }: { readonly lastMs: number; readonly intervalMs: number }, nowMs: number): void {
    this.#lostCount += Math.max(0, Math.round((nowMs - lastMs) / Math.max(intervalMs, 0.1)) - 1);
    this.#left = undefined;
  }

  #intervalMs(): number {
    return this.#count < 2 ? Number.POSITIVE_INFINITY : (this.#lastMs - this.#firstMs) / (this.#count - 1);
  }
}
