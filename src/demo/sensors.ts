/**
 * What the robot can feel and see: the world's state through noisy instruments.
 *
 * This is the only way from the world to the controller and to the published topics.
 */
import type { Random } from "../std/random.ts";
import type { Place } from "./kinematics.ts";
import { cupUprightness, type WorldState } from "./simulation.ts";
import { ARM_JOINTS, FINGER_JOINTS, SENSOR_AT } from "./world.ts";

/** Arm joints first, then the fingers. SI units; finger efforts are negative while they squeeze. */
export type Readings = {
  readonly timeS: number;
  readonly positions: readonly number[];
  readonly velocities: readonly number[];
  readonly efforts: readonly number[];
  /** Motor currents, A, without sign. */
  readonly currents: readonly number[];
  readonly gapM: number;
  /** In the hand's frame; z is along the hand, more negative the more hangs on it. */
  readonly force: readonly number[];
  readonly torque: readonly number[];
  /** From the palm to whatever is under it. */
  readonly rangeM: number;
};

/** Of the unit in the hand: acceleration with gravity's reaction, rate of turn, orientation as w, x, y, z. */
export type ImuReadings = {
  readonly acceleration: readonly number[];
  readonly rate: readonly number[];
  readonly orientation: readonly number[];
};

/** What the camera's cup detector says. */
export type Sighting = Place & { readonly isUpright: boolean };

/** One sigma of each instrument. */
const NOISE = {
  position: 2e-5,
  fingerPosition: 6e-5,
  velocity: 2e-3,
  effort: 0.015,
  current: 0.02,
  force: 0.06,
  torque: 0.004,
  range: 6e-4,
  acceleration: 0.04,
  rate: 0.003,
  sight: 0.0012,
} as const;

/** A per N·m of the arm's geared motors, A per N of the fingers'; idle current of the drives. */
const AMPERE_PER_EFFORT = [1.1, 1.1, 1.15, 1.3, 0.1, 0.1] as const;
const IDLE_AMPERE = 0.06;
/** What the distance sensor can see. */
export const RANGE_M_MAX = 0.4;
export const RANGE_M_MIN = 0.01;
const MOTORS = ARM_JOINTS.length + FINGER_JOINTS.length;

export class Sensors {
  readonly #random: Random;
  #spare: number | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  read(state: WorldState): Readings {
    const fingersFrom = ARM_JOINTS.length;
    const positions = Array.from(state.positions, (value, index) =>
      this.#noisy(value, index < fingersFrom ? NOISE.position : NOISE.fingerPosition),
    );
    const range = this.#noisy(this.#at(state, SENSOR_AT.range), NOISE.range);
    return {
      timeS: state.timeS,
      positions,
      velocities: Array.from(state.velocities, (value) => this.#noisy(value, NOISE.velocity)),
      efforts: Array.from(state.torques, (value) => this.#noisy(value, NOISE.effort)),
      currents: Array.from({ length: MOTORS }, (_, index) => this.#current(state.torques[index] ?? 0, index)),
      gapM: Math.max(0, (positions[fingersFrom] ?? 0) + (positions[fingersFrom + 1] ?? 0)),
      force: this.#vector(state, SENSOR_AT.force, 3, NOISE.force),
      torque: this.#vector(state, SENSOR_AT.torque, 3, NOISE.torque),
      rangeM: range < 0 || range > RANGE_M_MAX ? RANGE_M_MAX : Math.max(RANGE_M_MIN, range),
    };
  }

  readImu(state: WorldState): ImuReadings {
    return {
      acceleration: this.#vector(state, SENSOR_AT.acceleration, 3, NOISE.acceleration),
      rate: this.#vector(state, SENSOR_AT.rate, 3, NOISE.rate),
      orientation: this.#vector(state, SENSOR_AT.orientation, 4, 0),
    };
  }

  /** Looks for the cup; `errorM` is a mistake along the arm's radius. */
  look(state: WorldState, errorM: number): Sighting {
    const x = this.#noisy(state.cup.position[0] ?? 0, NOISE.sight);
    const y = this.#noisy(state.cup.position[1] ?? 0, NOISE.sight);
    const stretch = 1 + errorM / Math.hypot(x, y);
    return { x: x * stretch, y: y * stretch, isUpright: cupUprightness(state) > 0.97 };
  }

  #current(effort: number, index: number): number {
    return Math.abs(this.#noisy(Math.abs(effort) * (AMPERE_PER_EFFORT[index] ?? 1) + IDLE_AMPERE, NOISE.current));
  }

  #at(state: WorldState, at: number): number {
    return state.sensors[at] ?? 0;
  }

  #vector(state: WorldState, at: number, count: number, sigma: number): number[] {
    return Array.from({ length: count }, (_, index) => this.#noisy(this.#at(state, at + index), sigma));
  }

  /** Normal noise by the polar method (Marsaglia & Bray, SIAM Review 6, 1964), which yields two at a time. */
  #noisy(value: number, sigma: number): number {
    if (sigma === 0) return value;
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return value + sigma * spare;
    }
    for (;;) {
      const u = 2 * this.#random() - 1;
      const v = 2 * this.#random() - 1;
      const square = u * u + v * v;
      if (square >= 1 || square === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(square)) / square);
      this.#spare = v * factor;
      return value + sigma * u * factor;
    }
  }
}
