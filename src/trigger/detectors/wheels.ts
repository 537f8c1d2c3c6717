/**
 * Wheels of a JointState, and whether each turns as the base's motion has it turn.
 *
 * A wheel's speed is a linear function of the base's plane motion (forwards, sideways, turning), whatever the drive:
 * differential, skid, mecanum. Its factors are learnt from the commands that the base followed (linear-fit.ts), so
 * neither radius nor track width need be known. A wheel that does not follow (a caster, a steering axle) fits badly
 * and is not judged.
 * - *command without motion*: the command has the wheel turn with at least `USUAL_SHARE` of its usual speed, and it
 *   turns with less than `movedShare` of that.
 * - *effort without motion*: it pushes harder than `pushFactor` × the mean of what it needs while it turns, and turns
 *   slower than `movedShare` of its usual speed.
 */
import type { Subject } from "../detector.ts";
import { LinearFit } from "./linear-fit.ts";

export type WheelOptions = { readonly movedShare: number; readonly pushFactor: number };

const LEARN_SAMPLES = 200;
/** Of the energy of a wheel's speed that the command explains. */
const FIT_SHARE = 0.8;
/** Slow commands may be lost in the drive's dead band. */
const USUAL_SHARE = 0.3;
const TURNING_MIN = 0.05; // rad/s

export class Wheel {
  readonly subject: Subject;
  readonly #options: WheelOptions;
  readonly #byCommand = new LinearFit(3);
  #samples = 0;
  #usualSpeed = 0;
  #usualEffort = 0;

  constructor(options: WheelOptions, subject: Subject) {
    this.#options = options;
    this.subject = subject;
  }

  /** rad/s; effort NaN where it is not reported; `command` is forwards, sideways and turning, if there is one. */
  feel(velocity: number, effort: number, command: readonly number[] | undefined): void {
    if (Number.isNaN(velocity)) {
      this.subject.condition = undefined;
      return;
    }
    const isIdle = this.#isIdleAgainst(command, velocity);
    const isBlocked = this.#isBlocked(Math.abs(velocity), Math.abs(effort));
    if (command !== undefined && isIdle !== true) this.#byCommand.learn(command, velocity);
    this.subject.condition = isIdle === true || isBlocked === true ? true : (isIdle ?? isBlocked);
  }

  #isIdleAgainst(command: readonly number[] | undefined, velocity: number): boolean | undefined {
    const fit = this.#byCommand;
    if (fit.samples < LEARN_SAMPLES || fit.share < FIT_SHARE) return undefined;
    if (command === undefined) return false;
    const wanted = fit.predict(command);
    const isIdle =
      Math.abs(wanted) > USUAL_SHARE * fit.usual && Math.abs(velocity) < this.#options.movedShare * Math.abs(wanted);
    if (isIdle) this.subject.values = () => ({ joint: this.subject.name, wanted_rad_s: wanted, rad_s: velocity });
    return isIdle;
  }

  #isBlocked(speed: number, push: number): boolean | undefined {
    const { movedShare, pushFactor } = this.#options;
    const isTurning = speed > Math.max(TURNING_MIN, movedShare * this.#usualSpeed);
    if (isTurning) this.#learn(speed, push);
    // A wheel without a torque sensor reports zero effort for ever.
    if (this.#samples < LEARN_SAMPLES || !(this.#usualEffort > 0) || Number.isNaN(push)) return undefined;
    const usual = this.#usualEffort;
    const isBlocked = !isTurning && push > pushFactor * usual;
    if (isBlocked) this.subject.values = () => ({ joint: this.subject.name, effort: push, usual_effort: usual });
    return isBlocked;
  }

  /** Running means over the samples in motion, slow after a while. */
  #learn(speed: number, push: number): void {
    if (Number.isNaN(push)) return;
    this.#samples += 1;
    const share = 1 / Math.min(this.#samples, 10 * LEARN_SAMPLES);
    this.#usualSpeed += share * (speed - this.#usualSpeed);
    this.#usualEffort += share * (push - this.#usualEffort);
  }
}
