/**
 * How long the window of the last promotion took to be durable: the light topics of it, and all of it.
 */
import { msOfNs } from "../std/nanoseconds.ts";

/** Instants of the monotonic clock and, for the focus, of log_time. */
type Promotion = { readonly atNs: bigint; readonly focusNs: bigint; readonly isLightDurable: boolean };

export class PromotionLag {
  #promotion: Promotion | undefined;
  #lightMs: number | undefined;
  #heavyMs: number | undefined;

  begin(atNs: bigint, focusNs: bigint): void {
    this.#promotion = { atNs, focusNs, isLightDurable: false };
  }

  /** All that was appended is durable, unless some of it is owed; what comes from `waitingNs` on waits to be appended. */
  noteDurable(nowNs: bigint, isOwing: boolean, waitingNs: bigint | undefined): void {
    if (this.#promotion === undefined) return;
    const { atNs, focusNs, isLightDurable } = this.#promotion;
    const lagMs = msOfNs(nowNs - atNs);
    if (!isLightDurable) this.#lightMs = lagMs;
    this.#promotion = { atNs, focusNs, isLightDurable: true };
    // What has come since the firing waits all the time while an episode is open.
    if (isOwing || (waitingNs !== undefined && waitingNs <= focusNs)) return;
    this.#heavyMs = lagMs;
    this.#promotion = undefined;
  }

  get status(): { readonly lightLagMs: number | undefined; readonly heavyLagMs: number | undefined } {
    return { lightLagMs: this.#lightMs, heavyLagMs: this.#heavyMs };
  }
}
