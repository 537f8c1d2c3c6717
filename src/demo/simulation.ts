/**
 * The physical world: MuJoCo steps it, the servo loop of the motors included.
 *
 * What happens to the cup follows from contact forces alone. `state()` is the truth and goes to the sensor
 * models, the truth observer and the renderer; the controller never gets it.
 */

import type { MainModule, MjData, MjModel } from "@mujoco/mujoco";
import loadMujoco from "@mujoco/mujoco";
import { assert } from "../std/assert.ts";
import type { JointVector } from "./kinematics.ts";
import {
  ARM_JOINTS,
  CUP_HEIGHT_M,
  CUP_RADIUS_M,
  FINGER_JOINTS,
  OPEN_GAP_M,
  PHYSICS_HZ,
  SENSOR_AT,
  WORLD_XML,
} from "./world.ts";

export type ServoCommand = {
  readonly positions: JointVector;
  readonly velocities: JointVector;
  /** Distance between the pads to go to, and the force each finger may use for it. */
  readonly gapM: number;
  readonly forceN: number;
};

/** A force on the cup's centre from outside, in world axes. */
export type Push = { readonly x: number; readonly y: number; readonly z: number };

export type CupTraits = { readonly friction: number; readonly massKg: number };

/** Views of MuJoCo's memory, valid until the next step; positions in world axes. */
export type WorldState = {
  readonly timeS: number;
  /** Arm joints, then the two fingers (each one's way from the middle). */
  readonly positions: Float64Array;
  readonly velocities: Float64Array;
  readonly torques: Float64Array;
  readonly sensors: Float64Array;
  readonly cup: { readonly position: Float64Array; readonly rotation: Float64Array; readonly velocity: Float64Array };
  readonly hand: { readonly position: Float64Array; readonly rotation: Float64Array };
  /** Position and rotation of every body, by body id, for the renderer. */
  readonly bodyPositions: Float64Array;
  readonly bodyRotations: Float64Array;
};

const ARM = ARM_JOINTS.length;
const MOTORS = ARM + FINGER_JOINTS.length;
const STIFFNESS = [220, 260, 200, 60] as const;
const DAMPING = [16, 18, 12, 3] as const;
/** The strongest a joint's motor gets, N·m. */
const TORQUE_MAX = [12, 20, 14, 5] as const;
const FINGER_STIFFNESS = 1500;
const FINGER_DAMPING = 30;
/** How fast a finger's force may rise: a geared gripper takes time to squeeze harder. */
const FORCE_SLEW_N_PER_S = 30;

export class Simulation {
  readonly #mujoco: MainModule;
  readonly #model: MjModel;
  readonly #data: MjData;
  readonly #handId: number;
  readonly #cupId: number;
  #fingerForceN = 0;
  #steps = 0;

  private constructor(mujoco: MainModule, model: MjModel, data: MjData) {
    this.#mujoco = mujoco;
    this.#model = model;
    this.#data = data;
    this.#handId = this.bodyId("hand");
    this.#cupId = this.bodyId("cup");
  }

  /** One wasm instance each: a world can be thrown away whole. */
  static async open(): Promise<Simulation> {
    const mujoco = await loadMujoco();
    const model = mujoco.MjModel.from_xml_string(WORLD_XML);
    return new Simulation(mujoco, model, new mujoco.MjData(model));
  }

  bodyId(name: string): number {
    const id = this.#mujoco.mj_name2id(this.#model, 1, name);
    assert(id > 0, `the world has a body ${name}`);
    return id;
  }

  get timeS(): number {
    return this.#steps / PHYSICS_HZ;
  }

  state(): WorldState {
    const data = this.#data;
    const doubles = (view: Float64Array, start: number, count: number): Float64Array =>
      view.subarray(start, start + count);
    const positions: Float64Array = data.xpos;
    const rotations: Float64Array = data.xmat;
    const of = (id: number) => ({
      position: doubles(positions, id * 3, 3),
      rotation: doubles(rotations, id * 9, 9),
    });
    return {
      timeS: this.timeS,
      positions: doubles(data.qpos, 0, MOTORS),
      velocities: doubles(data.qvel, 0, MOTORS),
      torques: doubles(data.ctrl, 0, MOTORS),
      sensors: data.sensordata,
      cup: { ...of(this.#cupId), velocity: doubles(data.qvel, MOTORS, 6) },
      hand: of(this.#handId),
      bodyPositions: positions,
      bodyRotations: rotations,
    };
  }

  /** Puts the arm somewhere at rest with an open hand; for the start. */
  placeArm(joints: JointVector): void {
    const positions: Float64Array = this.#data.qpos;
    positions.set([...joints, OPEN_GAP_M / 2, OPEN_GAP_M / 2]);
    this.#mujoco.mj_forward(this.#model, this.#data);
  }

  /** Somebody stands the cup upright at a place on the table. */
  placeCup(x: number, y: number): void {
    const positions: Float64Array = this.#data.qpos;
    const velocities: Float64Array = this.#data.qvel;
    positions.set([x, y, CUP_HEIGHT_M / 2, 1, 0, 0, 0], MOTORS);
    velocities.fill(0, MOTORS, MOTORS + 6);
    this.#mujoco.mj_forward(this.#model, this.#data);
  }

  /** A cup that is fuller or emptier, drier or wetter: friction is that between cup and finger pads. */
  setCup(traits: CupTraits): void {
    const { massKg, friction } = traits;
    const masses: Float64Array = this.#model.body_mass;
    const inertias: Float64Array = this.#model.body_inertia;
    const frictions: Float64Array = this.#model.geom_friction;
    masses[this.#cupId] = massKg;
    const across = (massKg * (3 * CUP_RADIUS_M ** 2 + CUP_HEIGHT_M ** 2)) / 12;
    inertias.set([across, across, (massKg * CUP_RADIUS_M ** 2) / 2], this.#cupId * 3);
    for (const pad of ["pad_l", "pad_r"]) {
      const id = this.#mujoco.mj_name2id(this.#model, 5, pad);
      frictions.set([friction, friction * 0.02, 0.0001], id * 3);
    }
    const { qpos, qvel } = this.#data;
    const [positions, velocities] = [Float64Array.from(qpos), Float64Array.from(qvel)];
    this.#mujoco.mj_setConst(this.#model, this.#data); // works in the reference pose, and leaves it in the data
    qpos.set(positions);
    qvel.set(velocities);
    this.#mujoco.mj_forward(this.#model, this.#data);
  }

  /** One step of 1/`PHYSICS_HZ` seconds. */
  step(command: ServoCommand, push: Push | undefined): void {
    this.#driveArm(command);
    this.#driveFingers(command);
    const applied: Float64Array = this.#data.xfrc_applied;
    applied[this.#cupId * 6] = push?.x ?? 0;
    applied[this.#cupId * 6 + 1] = push?.y ?? 0;
    applied[this.#cupId * 6 + 2] = push?.z ?? 0;
    this.#mujoco.mj_step(this.#model, this.#data);
    this.#steps += 1;
  }

  /** Stiff position servos over the arm's own weight; what the hand carries is not compensated. */
  #driveArm(command: ServoCommand): void {
    const { qpos, qvel, ctrl, qfrc_bias } = this.#data;
    for (let i = 0; i < ARM; i++) {
      const pull = (STIFFNESS[i] ?? 0) * ((command.positions[i] ?? 0) - qpos[i]);
      const brake = (DAMPING[i] ?? 0) * ((command.velocities[i] ?? 0) - qvel[i]);
      const limit = TORQUE_MAX[i] ?? 0;
      ctrl[i] = Math.min(limit, Math.max(-limit, pull + brake + qfrc_bias[i]));
    }
  }

  #driveFingers(command: ServoCommand): void {
    const { qpos, qvel, ctrl } = this.#data;
    const slew = FORCE_SLEW_N_PER_S / PHYSICS_HZ;
    this.#fingerForceN = Math.min(command.forceN, this.#fingerForceN + slew);
    for (let i = ARM; i < MOTORS; i++) {
      const wanted = FINGER_STIFFNESS * (command.gapM / 2 - qpos[i]) - FINGER_DAMPING * qvel[i];
      ctrl[i] = Math.min(this.#fingerForceN, Math.max(-this.#fingerForceN, wanted));
    }
  }
}

/** Left and right normal force of the pads on the cup, N. */
export function padForces(state: WorldState): readonly [left: number, right: number] {
  return [state.sensors[SENSOR_AT.touchLeft] ?? 0, state.sensors[SENSOR_AT.touchRight] ?? 0];
}

/** 1 upright, 0 lying. */
export function cupUprightness(state: WorldState): number {
  return state.cup.rotation[8] ?? 0;
}

/** How high the lowest point of the cup is above the table, m. */
export function cupClearance(state: WorldState): number {
  const cosine = Math.abs(cupUprightness(state));
  const sine = Math.sqrt(Math.max(0, 1 - cosine * cosine));
  return (state.cup.position[2] ?? 0) - (CUP_HEIGHT_M / 2) * cosine - CUP_RADIUS_M * sine;
}

/** How far the cup is below the hand along the hand's own axis, m: grows while the cup slides out. */
export function cupDepthInHand(state: WorldState): number {
  const { hand, cup } = state;
  let depth = 0;
  for (let i = 0; i < 3; i++) {
    depth += ((cup.position[i] ?? 0) - (hand.position[i] ?? 0)) * (hand.rotation[i * 3 + 2] ?? 0);
  }
  return depth;
}

export function gapOf(state: WorldState): number {
  return (state.positions[ARM] ?? 0) + (state.positions[ARM + 1] ?? 0);
}
