/**
 * Follows what a gripper holds, from its fingers' positions and efforts alone.
 *
 * Physics: a finger that stands still while it pushes is pushing against something. If it pushes on and moves on, what
 * it pushed against gave way: it cannot have been an end stop, so it was an object, and the object is gone. If it
 * moves the other way, it was told to open. Nothing here needs to know how wide an object is or where the stops are.
 *
 * x is the fingers' mean position, in whatever unit they report; lengths are shares of the travel seen so far.
 * Contact: x still within `STILL_SHARE` for `settleMs` while |effort| ≥ `PUSH_SHARE` of the most seen, closed by
 * `STROKE_SHARE` and more from the open end. Lost: x passed the contact by `YIELD_SHARE` in the closing direction, faster
 * than what is soft gives way. Released: x went back by as much, no longer pushing.
 */

export type GraspEvent =
  /** A stroke of the fingers: they reach something, or the closed end. Once between two openings. */
  | { readonly kind: "stroke" }
  /** The fingers close on something; it is `x` wide. */
  | { readonly kind: "contact"; readonly x: number }
  /** What was held is gone although the fingers never opened. */
  | { readonly kind: "lost"; readonly x: number; readonly heldMs: number }
  /** Opened while something was held. */
  | { readonly kind: "released"; readonly heldMs: number }
  /** The fingers closed all the way. */
  | { readonly kind: "missed"; readonly x: number };

export type GraspOptions = {
  readonly settleMs: number;
  /** Whether positions fall (metres of opening) or rise (radians of closing) as the fingers close. */
  readonly closes: "down" | "up" | "auto";
  /** Where fingers are that closed on nothing. Unless given: 0 where positions fall; where they rise, it is learnt. */
  readonly closedAt?: number | undefined;
};

const STILL_SHARE = 0.015;
const YIELD_SHARE = 0.05;
const PUSH_SHARE = 0.1;
/** What is soft gives way at no more than this share of the speed that fingers close with in the air … */
const PRESSED_SHARE = 0.05;
/** … or at this one under a grip that becomes firmer than before. */
const PRESSED_FIRMER_SHARE = 0.2;
const FIRMER = 1.3;
const SPEED_MS = 80;
/** Fingers that stop this near to the closed end hold nothing. */
const CLOSED_SHARE = 0.06;
/** A closing of less is a tremble, or a bounce off the open end. */
const STROKE_SHARE = 0.2;
/** Below this a range of positions is not yet a travel: 5 mm, or a third of a degree. */
const TRAVEL_MIN = 0.005;
/** Prismatic fingers travel centimetres and report their opening; revolute ones turn further than this as they close. */
const PRISMATIC_MAX = 0.2;

type Holding = { readonly kind: "holding"; x: number; effort: number; readonly sign: number; readonly sinceMs: number };
type State =
  | { readonly kind: "open"; hasStroked: boolean }
  | Holding
  /** Closed on nothing, or on what was left after a loss: until it opens. */
  | { readonly kind: "empty"; furthest: number };

export class Grasp {
  readonly #options: GraspOptions;
  readonly #onEvent: (event: GraspEvent) => void;
  #state: State = { kind: "open", hasStroked: false };
  #lowest = Number.POSITIVE_INFINITY;
  #highest = Number.NEGATIVE_INFINITY;
  #effortMax = 0;
  /** The closed end, where positions rise; NaN while unknown. */
  #end: number;
  /** The furthest that fingers closed on something; NaN before they did. */
  #thinnest = Number.NaN;
  /** The fastest closing seen, per ms. */
  #speedMax = 0;
  #mark = { x: Number.NaN, atMs: 0 };
  #lastMs = Number.NaN;
  /** Where and since when x stands still. */
  #still = { x: Number.NaN, sinceMs: 0 };
  /** Since when the effort has one sign: noise around zero pushes nothing. */
  #steady = { sign: 0, sinceMs: 0 };

  constructor(options: GraspOptions, onEvent: (event: GraspEvent) => void) {
    this.#options = options;
    this.#onEvent = onEvent;
    this.#end = options.closedAt ?? Number.NaN;
  }

  get isHolding(): boolean {
    return this.#state.kind === "holding";
  }

  /** What was learnt stays; what is in the hand is no longer known. */
  forget(): void {
    this.#state = { kind: "open", hasStroked: false };
    this.#still = { x: Number.NaN, sinceMs: 0 };
  }

  feel(x: number, effort: number, nowMs: number): void {
    if (Number.isNaN(x) || Number.isNaN(effort)) return;
    this.#lowest = Math.min(this.#lowest, x);
    this.#highest = Math.max(this.#highest, x);
    this.#effortMax = Math.max(this.#effortMax, Math.abs(effort));
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    this.#learnSpeed(x, nowMs);
    this.#follow(x, Math.sign(effort), nowMs);
    const state = this.#state;
    if (state.kind === "holding") {
      if (this.#isPushing(effort) && Math.sign(effort) === state.sign)
        this.#press(state, x, Math.abs(effort), elapsedMs);
      this.#hold(state, x, effort, nowMs);
    } else if (state.kind === "empty") this.#closeFurther(state, x);
    else this.#close(state, effort, nowMs);
  }

  /** The way seen so far; fingers that report their opening could close down to zero. */
  get #travel(): number {
    const lowest = this.#closing < 0 ? Math.min(0, this.#lowest) : this.#lowest;
    return Math.max(TRAVEL_MIN, this.#highest - lowest);
  }

  /** +1 where positions rise as the fingers close. */
  get #closing(): number {
    if (this.#options.closes !== "auto") return this.#options.closes === "up" ? 1 : -1;
    return Math.max(Math.abs(this.#lowest), Math.abs(this.#highest)) < PRISMATIC_MAX ? -1 : 1;
  }

  /** Over stretches longer than the bursts in which bridges deliver, which would make any speed of it. */
  #learnSpeed(x: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#mark.atMs;
    if (elapsedMs < SPEED_MS) return;
    const speed = ((x - this.#mark.x) * this.#closing) / elapsedMs;
    if (speed > this.#speedMax) this.#speedMax = speed;
    this.#mark = { x, atMs: nowMs };
  }

  #follow(x: number, sign: number, nowMs: number): void {
    if (sign !== this.#steady.sign) this.#steady = { sign, sinceMs: nowMs };
    if (!(Math.abs(x - this.#still.x) <= STILL_SHARE * this.#travel)) this.#still = { x, sinceMs: nowMs };
  }

  #close(state: Extract<State, { kind: "open" }>, effort: number, nowMs: number): void {
    const { x, sinceMs } = this.#still;
    if (!this.#hasClosed(x)) return;
    const isClosed = this.#isClosed(x, effort);
    if (isClosed) this.#tellStroke(state);
    if (nowMs - sinceMs < this.#options.settleMs) return;
    if (isClosed) {
      this.#state = { kind: "empty", furthest: x };
      this.#onEvent({ kind: "missed", x });
      return;
    }
    if (!this.#isPushing(effort) || nowMs - this.#steady.sinceMs < this.#options.settleMs) return;
    this.#tellStroke(state);
    this.#state = { kind: "holding", x, effort: Math.abs(effort), sign: Math.sign(effort), sinceMs };
    if (!(this.#thinnest >= x)) this.#thinnest = x;
    this.#onEvent({ kind: "contact", x });
  }

  #tellStroke(state: Extract<State, { kind: "open" }>): void {
    if (!state.hasStroked) this.#onEvent({ kind: "stroke" });
    state.hasStroked = true;
  }

  #isPushing(effort: number): boolean {
    return this.#effortMax > 0 && Math.abs(effort) >= PUSH_SHARE * this.#effortMax;
  }

  /** Away from the open end by more than a tremble. */
  #hasClosed(x: number): boolean {
    const open = this.#closing < 0 ? this.#highest : this.#lowest;
    return (x - open) * this.#closing > STROKE_SHARE * this.#travel;
  }

  /** Where positions rise: at an end that is known, or further than all that was held, and pushing nothing. */
  #isClosed(x: number, effort: number): boolean {
    const near = CLOSED_SHARE * this.#travel;
    if (this.#closing < 0) return Math.abs(x - (this.#options.closedAt ?? 0)) <= near;
    if (x > this.#end + near) this.#end = Number.NaN; // it was none
    if (Math.abs(x - this.#end) <= near) return true;
    return !this.#isPushing(effort) && x > this.#thinnest + near && x >= this.#highest - near;
  }

  #press(state: Holding, x: number, effort: number, elapsedMs: number): void {
    const share = effort > FIRMER * state.effort ? PRESSED_FIRMER_SHARE : PRESSED_SHARE;
    const most = share * this.#speedMax * elapsedMs;
    state.x += Math.max(-most, Math.min(most, x - state.x));
    state.effort += (effort - state.effort) * Math.min(1, elapsedMs / this.#options.settleMs);
  }

  #hold(state: Holding, x: number, effort: number, nowMs: number): void {
    const closed = (x - state.x) * this.#closing;
    const heldMs = nowMs - state.sinceMs;
    // A knock may push the fingers open a little; what opens on command no longer pushes.
    const opened = -closed / this.#travel;
    const isOpening = !this.#isPushing(effort) || Math.sign(effort) !== state.sign || opened > STROKE_SHARE;
    if (opened > YIELD_SHARE && isOpening) {
      this.#state = { kind: "open", hasStroked: false };
      this.#onEvent({ kind: "released", heldMs });
    } else if (closed > YIELD_SHARE * this.#travel) {
      this.#state = { kind: "empty", furthest: x };
      this.#onEvent({ kind: "lost", x, heldMs });
    }
  }

  #closeFurther(state: Extract<State, { kind: "empty" }>, x: number): void {
    if ((x - state.furthest) * this.#closing > 0) state.furthest = x;
    else if ((state.furthest - x) * this.#closing > 2 * YIELD_SHARE * this.#travel) {
      if (state.furthest >= this.#highest - CLOSED_SHARE * this.#travel) this.#end = state.furthest;
      this.#state = { kind: "open", hasStroked: false };
    }
  }
}
