/**
 * The robot's mind: picks a cup, carries it, sets it down, and mends what goes wrong.
 *
 * It knows what its instruments say (`Readings`, `Sighting`) and nothing else. It holds a cup for lost when the
 * fingers have closed further than on the cup or the palm sees past it, and for slipping when the cup moves away
 * from the palm. A slipping cup is squeezed harder at once, set down and taken anew (on the last try carried on); a lost or missed one is looked
 * for and taken again with a stronger grip. After `TRIES_MAX` tries, or when the cup lies or is out of reach, it
 * gives up.
 */
import {
  between,
  braking,
  type HandPose,
  isInReach,
  type JointVector,
  minimumJerk,
  type Place,
  solveJoints,
} from "./kinematics.ts";
import type { Readings, Sighting } from "./sensors.ts";
import { CUP_RADIUS_M, GRIP_HEIGHT_M, OPEN_GAP_M } from "./world.ts";

export type TaskOrder = { readonly id: number; readonly goal: Place; readonly gripForceN: number };

export type Phase =
  | "idle"
  | "look"
  | "approach"
  | "descend"
  | "close"
  | "lift"
  | "carry"
  | "lower"
  | "release"
  | "retreat"
  | "save"
  | "set_down"
  | "back_off";

export type ControlCommand = {
  readonly positions: JointVector;
  readonly velocities: JointVector;
  readonly gapM: number;
  readonly forceN: number;
};

/** What the controller says about itself. */
export type ControlNote = { readonly level: "info" | "warn" | "error"; readonly text: string };

export type ControlDeps = {
  look(): Sighting;
  onNote(note: ControlNote): void;
  /** `placed` and `gave_up` are what the controller believes. */
  onTaskEnd(end: "placed" | "gave_up"): void;
};

export const CONTROL_HZ = 100;
export const HOME: HandPose = { yaw: 0, radius: 0.24, height: 0.24 };
const TRIES_MAX = 3;
const CARRY_RISE_M = 0.085;
const HOVER_HEIGHT_M = 0.2;
/** A grip holds something if the gap stayed within this of a cup's width. */
const GAP_TOLERANCE_M = 0.008;
/** How far the cup may move away from the palm before that counts as slipping; lifting, it may settle. */
const SLIP_M = { lift: 0.032, carry: 0.013, lower: 0.013 } as const;
/** A moving hand does not stop at once. */
const STOP_S = 0.25;
/** How far before it counts as gone. */
const GONE_M = 0.07;
const STRONGER = 2.2;
const FORCE_N_MAX = 28;
const OPENING_FORCE_N = 12;
/** A cup that slipped is squeezed this much harder until it stands. */
const SAVING = 2;

type Motion = {
  readonly from: HandPose;
  readonly to: HandPose;
  readonly startS: number;
  readonly durationS: number;
  /** Share of the way at a share of the time. */
  readonly course: (share: number) => number;
};

export class Controller {
  readonly #deps: ControlDeps;
  #phase: Phase = "idle";
  #motion: Motion = { from: HOME, to: HOME, startS: 0, durationS: 0.1, course: minimumJerk };
  #order: TaskOrder | undefined;
  #sighting: Sighting | undefined;
  #tries = 0;
  #gapM = OPEN_GAP_M;
  #forceN = OPENING_FORCE_N;
  #gripForceN = 0;
  /** The palm's view of a freshly gripped cup, and the median of its last views. */
  #gripRangeM = 0;
  #ranges: number[] = [];
  #nowS = 0;
  #last: JointVector = solveJoints(HOME);

  constructor(deps: ControlDeps) {
    this.#deps = deps;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get tries(): number {
    return this.#tries;
  }

  accept(order: TaskOrder): void {
    this.#order = order;
    this.#tries = 0;
    this.#gripForceN = order.gripForceN;
    this.#note("info", `Task ${order.id}: carry the cup to (${order.goal.x.toFixed(2)}, ${order.goal.y.toFixed(2)}).`);
    this.#wait("look", 0.3);
  }

  /** One tick of 1/`CONTROL_HZ` seconds. */
  step(readings: Readings): ControlCommand {
    this.#nowS = readings.timeS;
    this.#ranges = [...this.#ranges.slice(-4), readings.rangeM];
    if (this.#order !== undefined) {
      this.#watch(readings);
      if (this.#nowS >= this.#motion.startS + this.#motion.durationS) this.#arrive(readings, this.#order);
    }
    return this.#command();
  }

  #command(): ControlCommand {
    const positions = solveJoints(this.#poseAt(this.#nowS));
    const last = this.#last;
    this.#last = positions;
    const speed = (index: 0 | 1 | 2 | 3): number => (positions[index] - last[index]) * CONTROL_HZ;
    return {
      positions,
      velocities: [speed(0), speed(1), speed(2), speed(3)],
      gapM: this.#gapM,
      forceN: this.#forceN,
    };
  }

  /** The end of a phase decides the next one. */
  #arrive(readings: Readings, order: TaskOrder): void {
    const over = (heightM: number): HandPose => ({ ...poseOver(order.goal), height: GRIP_HEIGHT_M + heightM });
    const next: Readonly<Record<Phase, () => void>> = {
      idle: () => undefined,
      look: () => this.#startTry(),
      approach: () => this.#move("descend", { ...this.#target(), height: GRIP_HEIGHT_M }, 0.8),
      descend: () => this.#grip(),
      close: () => this.#judgeGrip(readings),
      lift: () => this.#move("carry", over(CARRY_RISE_M), 1.5),
      carry: () => this.#move("lower", over(this.#slideM() + 0.001), 0.9),
      lower: () => this.#open("release", 0.45),
      release: () => this.#move("retreat", { ...this.#motion.to, height: HOVER_HEIGHT_M }, 0.7),
      retreat: () => this.#end("placed"),
      save: () => this.#move("set_down", { ...this.#motion.to, height: GRIP_HEIGHT_M + this.#slideM() + 0.002 }, 0.9),
      set_down: () => this.#open("back_off", 0.5),
      back_off: () => this.#backOff(),
    };
    next[this.#phase]();
  }

  /** Looks after a held cup while it is in the air. */
  #watch(readings: Readings): void {
    const phase = this.#phase;
    const isHolding = phase === "lift" || phase === "carry" || phase === "lower";
    if (!isHolding && phase !== "save" && phase !== "set_down") return;
    const isGone = readings.gapM < 2 * CUP_RADIUS_M - GAP_TOLERANCE_M || this.#slideM() > GONE_M;
    if (isGone) this.#lose();
    else if (isHolding && this.#slideM() > SLIP_M[phase]) this.#save();
  }

  #startTry(): void {
    const sighting = this.#deps.look();
    this.#sighting = sighting;
    const obstacle = this.#obstacleTo(sighting);
    if (obstacle === undefined) this.#reachFor(sighting);
    else {
      this.#note("error", `Giving up: ${obstacle}.`);
      this.#end("gave_up");
    }
  }

  #obstacleTo(sighting: Sighting): string | undefined {
    if (!sighting.isUpright) return "the cup lies on its side";
    if (!isInReach(sighting)) return "the cup is out of reach";
    return this.#tries >= TRIES_MAX ? `${TRIES_MAX} tries failed` : undefined;
  }

  #reachFor(sighting: Sighting): void {
    this.#tries += 1;
    this.#note("info", `Try ${this.#tries}: cup seen at (${sighting.x.toFixed(3)}, ${sighting.y.toFixed(3)}).`);
    this.#move("approach", { ...this.#target(), height: HOVER_HEIGHT_M }, 1.2);
  }

  #grip(): void {
    this.#gapM = 0;
    this.#forceN = this.#gripForceN;
    this.#wait("close", 0.7);
  }

  #judgeGrip(readings: Readings): void {
    if (Math.abs(readings.gapM - 2 * CUP_RADIUS_M) > GAP_TOLERANCE_M) {
      this.#note("warn", `The fingers closed on nothing: gap ${(readings.gapM * 1000).toFixed(0)} mm.`);
      this.#open("back_off", 0.4);
    } else {
      this.#gripRangeM = median(this.#ranges);
      this.#note("info", `Gripped with ${this.#gripForceN.toFixed(1)} N.`);
      this.#move("lift", { ...this.#motion.to, height: GRIP_HEIGHT_M + CARRY_RISE_M }, 0.9);
    }
  }

  /** Squeezes harder at once; while there are tries left, the cup is then set down and taken anew. */
  #save(): void {
    const isLastTry = this.#tries >= TRIES_MAX;
    const forceN = Math.min(FORCE_N_MAX, this.#gripForceN * SAVING);
    if (this.#forceN === forceN && isLastTry) return;
    this.#forceN = forceN;
    const slide = `The cup slips: ${(this.#slideM() * 1000).toFixed(0)} mm in the hand.`;
    this.#note("warn", `${slide} ${isLastTry ? "Holding it tight." : "Setting it down."}`);
    if (!isLastTry) this.#halt("save");
  }

  #lose(): void {
    this.#note("error", "The cup is lost: nothing between the fingers.");
    this.#halt("back_off");
    this.#gapM = OPEN_GAP_M;
    this.#forceN = OPENING_FORCE_N;
  }

  /** Up and out of the way, to look again; the next grip is stronger. */
  #backOff(): void {
    this.#gripForceN = Math.min(FORCE_N_MAX, this.#gripForceN * STRONGER);
    this.#move("look", { ...this.#motion.to, height: HOVER_HEIGHT_M + 0.02 }, 0.9);
  }

  #end(end: "placed" | "gave_up"): void {
    if (end === "placed") this.#note("info", `The cup stands at its place; tries: ${this.#tries}.`);
    this.#order = undefined;
    this.#move("idle", end === "placed" ? this.#motion.to : HOME, 1.5);
    this.#deps.onTaskEnd(end);
  }

  #open(phase: Phase, durationS: number): void {
    this.#gapM = OPEN_GAP_M;
    this.#forceN = OPENING_FORCE_N;
    this.#wait(phase, durationS);
  }

  /** Comes to rest from full motion in `STOP_S`. */
  #halt(phase: Phase): void {
    const here = this.#poseAt(this.#nowS);
    const before = this.#poseAt(this.#nowS - 1 / CONTROL_HZ);
    const to = between(here, before, (-CONTROL_HZ * STOP_S) / 2);
    this.#motion = { from: here, to, startS: this.#nowS, durationS: STOP_S, course: braking };
    this.#phase = phase;
  }

  #poseAt(timeS: number): HandPose {
    const { from, to, startS, durationS, course } = this.#motion;
    return between(from, to, course(Math.max(0, (timeS - startS) / durationS)));
  }

  #wait(phase: Phase, durationS: number): void {
    this.#move(phase, this.#motion.to, durationS);
  }

  #move(phase: Phase, to: HandPose, durationS: number): void {
    this.#phase = phase;
    this.#motion = { from: this.#motion.to, to, startS: this.#nowS, durationS, course: minimumJerk };
  }

  #target(): HandPose {
    return poseOver(this.#sighting ?? { x: HOME.radius, y: 0 });
  }

  #slideM(): number {
    return median(this.#ranges) - this.#gripRangeM;
  }

  #note(level: ControlNote["level"], text: string): void {
    this.#deps.onNote({ level, text });
  }
}

function poseOver(place: Place): HandPose {
  return { yaw: Math.atan2(place.y, place.x), radius: Math.hypot(place.x, place.y), height: HOVER_HEIGHT_M };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
