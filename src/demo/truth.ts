/**
 * What really happened, from the simulator's state alone: the controller is never asked.
 *
 * Definitions (a *stroke* is one closing of the fingers, from wide open):
 * - `drop`: both pads pressed on the cup for `HELD_S`, and then the cup was gone from between them without the
 *   fingers opening, or they opened while it was still sliding out or more than `SET_DOWN_M` above the table.
 * - `slip`: the cup slid at least `SLIP_M` out of the hand while both pads pressed on it, and was still held when the
 *   slide ended. One a stroke at most; a slide that ends in a drop is a drop.
 * - `missed_grasp`: a stroke closed the fingers, or ended, without ever having held the cup.
 * A task's outcome: the cup stands upright, free and at rest within `PLACED_M` of its goal when the robot reports the
 * end → `recovered` if one of these happened on the way, else `succeeded`; anything else is `failed`.
 */

import type { Place } from "./kinematics.ts";
import { cupClearance, cupDepthInHand, cupUprightness, gapOf, padForces, type WorldState } from "./simulation.ts";
import type { TaskConditions } from "./variation.ts";
import { OPEN_GAP_M } from "./world.ts";

export type TruthEventKind = "drop" | "slip" | "missed_grasp";

export type TruthEvent = {
  readonly kind: TruthEventKind;
  /** Seconds since the start: of a slip when it passed `SLIP_M`, of a drop when contact was lost. */
  readonly atS: number;
  /** Which stroke of the task, from 1. */
  readonly attempt: number;
  /** How far the cup had slid in the hand, m. */
  readonly slideM: number;
};

type TruthOutcome = "succeeded" | "recovered" | "failed";

export type TaskTruth = {
  readonly task: number;
  readonly startS: number;
  readonly endS: number;
  readonly conditions: TaskConditions;
  readonly goal: Place;
  readonly events: readonly TruthEvent[];
  /** Strokes of the task, the failed ones included. */
  readonly attempts: number;
  readonly outcome: TruthOutcome;
  /** Afterwards a person had to stand the cup up or bring it back. */
  readonly isResetByOperator: boolean;
};

const OPEN_SHARE = 0.86;
const CLOSED_GAP_M = 0.012;
const PRESSED_N = 0.3;
export const HELD_S = 0.12;
const LOST_S = 0.06;
export const SLIP_M = 0.01;
const SLIP_ENDED_S = 0.3;
const STILL_S = 0.06;
const RELEASED_GAP_M = 0.003;
const SET_DOWN_M = 0.012;
export const PLACED_M = 0.035;

/** A stroke of the fingers as it stands. */
type Stroke =
  | { readonly kind: "open" }
  | { readonly kind: "closing"; readonly pressedSinceS: number | undefined }
  | Held
  | { readonly kind: "over" };

type Held = {
  readonly kind: "held";
  readonly gapM: number;
  readonly depthM: number;
  slideM: number;
  slipAtS: number | undefined;
  grewAtS: number;
  isReported: boolean;
  lastPressedS: number;
  clearanceM: number;
};

export class TruthObserver {
  readonly #onEvent: (event: TruthEvent) => void;
  #stroke: Stroke = { kind: "over" };
  #strokes = 0;
  #hasLifted = false;
  #events: TruthEvent[] = [];

  constructor(onEvent: (event: TruthEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Whether the cup left the table in this task. */
  get hasLifted(): boolean {
    return this.#hasLifted;
  }

  startTask(): void {
    this.#strokes = 0;
    this.#hasLifted = false;
    this.#events = [];
  }

  observe(state: WorldState): void {
    const gapM = gapOf(state);
    const isPressed = padForces(state).every((force) => force > PRESSED_N);
    if (isPressed && cupClearance(state) > 0.01) this.#hasLifted = true;
    const stroke = this.#stroke;
    if (gapM > OPEN_SHARE * OPEN_GAP_M) this.#reopen(state, stroke);
    else if (stroke.kind === "open") {
      this.#strokes += 1;
      this.#stroke = { kind: "closing", pressedSinceS: undefined };
    } else if (stroke.kind === "closing") this.#observeClosing(state, stroke.pressedSinceS, isPressed, gapM);
    else if (stroke.kind === "held") this.#observeHeld(state, stroke, isPressed, gapM);
  }

  endTask(state: WorldState, goal: Place): Pick<TaskTruth, "attempts" | "events" | "outcome"> {
    const isPlaced = isCupAt(state, goal);
    const outcome = !isPlaced ? "failed" : this.#events.length > 0 ? "recovered" : "succeeded";
    return { attempts: this.#strokes, events: this.#events, outcome };
  }

  #reopen(state: WorldState, stroke: Stroke): void {
    if (stroke.kind === "closing") this.#report("missed_grasp", state.timeS, 0);
    if (stroke.kind === "held") this.#release(stroke);
    this.#stroke = { kind: "open" };
  }

  #observeClosing(state: WorldState, pressedSinceS: number | undefined, isPressed: boolean, gapM: number): void {
    const sinceS = isPressed ? (pressedSinceS ?? state.timeS) : undefined;
    this.#stroke = { kind: "closing", pressedSinceS: sinceS };
    if (sinceS !== undefined && state.timeS - sinceS >= HELD_S) this.#stroke = heldFrom(state, gapM);
    else if (gapM < CLOSED_GAP_M) this.#finish("missed_grasp", state.timeS, 0);
  }

  #observeHeld(state: WorldState, held: Held, isPressed: boolean, gapM: number): void {
    if (isPressed) {
      held.lastPressedS = state.timeS;
      held.clearanceM = cupClearance(state);
      this.#followSlide(state, held);
    } else if (gapM > held.gapM + RELEASED_GAP_M) this.#release(held);
    else if (state.timeS - held.lastPressedS > LOST_S) this.#finish("drop", held.lastPressedS, held.slideM);
  }

  #followSlide(state: WorldState, held: Held): void {
    const slideM = cupDepthInHand(state) - held.depthM;
    if (slideM > held.slideM + 5e-4) {
      held.slideM = slideM;
      held.grewAtS = state.timeS;
    }
    if (held.slideM >= SLIP_M) held.slipAtS ??= state.timeS;
    if (state.timeS - held.grewAtS > SLIP_ENDED_S) this.#reportSlip(held);
  }

  /** The fingers open while the cup is between them. */
  #release(held: Held): void {
    const isSliding = held.slideM >= SLIP_M && held.lastPressedS - held.grewAtS < STILL_S;
    if (!isSliding) this.#reportSlip(held);
    if (isSliding || held.clearanceM > SET_DOWN_M) this.#report("drop", held.lastPressedS, held.slideM);
    this.#stroke = { kind: "over" };
  }

  #reportSlip(held: Held): void {
    if (held.slipAtS === undefined || held.isReported) return;
    held.isReported = true;
    this.#report("slip", held.slipAtS, held.slideM);
  }

  #finish(kind: TruthEventKind, atS: number, slideM: number): void {
    this.#report(kind, atS, slideM);
    this.#stroke = { kind: "over" };
  }

  #report(kind: TruthEventKind, atS: number, slideM: number): void {
    const event: TruthEvent = { kind, atS, attempt: this.#strokes, slideM };
    this.#events.push(event);
    this.#onEvent(event);
  }
}

function heldFrom(state: WorldState, gapM: number): Held {
  return {
    kind: "held",
    gapM,
    depthM: cupDepthInHand(state),
    slideM: 0,
    slipAtS: undefined,
    grewAtS: state.timeS,
    isReported: false,
    lastPressedS: state.timeS,
    clearanceM: cupClearance(state),
  };
}

/** Upright, at rest and near enough. */
function isCupAt(state: WorldState, goal: Place): boolean {
  const [x = 0, y = 0] = state.cup.position;
  const speed = Math.hypot(...state.cup.velocity.subarray(0, 3));
  const isStanding = cupUprightness(state) > 0.97 && cupClearance(state) < 0.005 && speed < 0.15; // a cup that was set down askew rocks for a while
  return isStanding && Math.hypot(x - goal.x, y - goal.y) <= PLACED_M;
}

/** As it stands in a truth file; `slide_mm` is how far the cup had slid in the hand. */
export function truthToWire(truth: TaskTruth): Readonly<Record<string, unknown>> {
  const { task, startS, endS, conditions, goal, events, attempts, outcome, isResetByOperator } = truth;
  return {
    task,
    start_s: startS,
    end_s: endS,
    outcome,
    attempts,
    events: events.map(({ kind, atS, attempt, slideM }) => ({ kind, at_s: atS, attempt, slide_mm: slideM * 1000 })),
    goal,
    reset_by_operator: isResetByOperator,
    conditions: {
      kind: conditions.kind,
      mass_kg: conditions.cup.massKg,
      friction: conditions.cup.friction,
      grip_force_n: conditions.gripForceN,
      sight_error_m: conditions.sightErrorM,
      push: conditions.push,
    },
  };
}
