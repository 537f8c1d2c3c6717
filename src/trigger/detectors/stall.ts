/**
 * Stall: the robot is told to move, or its wheels push, and nothing moves.
 *
 * - A *base*, command without motion: its velocity commands ask for at least `speed_min` (m/s plus rad/s) while its
 *   odometry shows less than `moved_share` of it. A command counts only while it keeps coming (a driver stops its base
 *   when it ceases, typically after 0.5 s). Of several that come at once the least counts: where one stands before a
 *   multiplexer or a collision monitor, another stands behind it. Judged only once the odometry has followed a
 *   command: a base that never moved is switched off, not stalled.
 * - Each *wheel* (a joint named so), command without motion and effort without motion: see wheels.ts. Other joints hold
 *   loads at rest as part of their work; `tracking_error` watches those.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numbersOf,
  readerOf,
  type Subject,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";
import { layoutReaderOf } from "./joint-layout.ts";
import { commandReaderOf, odometryReaderOf } from "./plane-motion.ts";
import { Wheel } from "./wheels.ts";

const parametersSchema = z.strictObject({
  speed_min: z.number().positive().default(0.1).describe("smaller commands do not count (m/s plus rad/s)"),
  moved_share: z
    .number()
    .min(0)
    .max(0.9)
    .default(0.15)
    .describe("less than this share of the command, or of the usual speed, is standing"),
  push_factor: z.number().min(1).default(2).describe("times the effort that a wheel needs while it turns"),
});
type Parameters = z.infer<typeof parametersSchema>;

const COMMAND_MS = 500;
const ODOMETRY_MS = 1000;

export const stall: DetectorKind = {
  name: "stall",
  parameters: parametersSchema,
  roles: ["command", "odometry", "joints"],
  needs: "a velocity command with an Odometry or with wheel joints, or wheel joints with effort",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 2000,
  open: (parameters, deps) => new Stall(parametersSchema.parse(parameters), deps),
};

/** The latest of one topic: forwards, sideways, turning. */
type Plane = { readonly topic: string; motion: readonly number[]; atMs: number };

class Stall implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #commands: Plane[] = [];
  readonly #odometries: Plane[] = [];
  readonly #wheels: Wheel[] = [];
  #base: Subject | undefined;
  #hasFollowed = false;

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const command = commandReaderOf(channel, this.#deps);
    if (command !== undefined) return this.#listenToPlane(channel.topic, this.#commands, command);
    const odometry = odometryReaderOf(channel, this.#deps);
    if (odometry !== undefined) return this.#listenToPlane(channel.topic, this.#odometries, odometry);
    return this.#listenToWheels(channel);
  }

  onTick(nowMs: number): void {
    this.#judge(nowMs);
  }

  onLongSilence(): void {
    for (const plane of [...this.#commands, ...this.#odometries]) plane.atMs = Number.NaN;
    if (this.#base !== undefined) this.#base.condition = undefined;
  }

  describe(): readonly string[] {
    const topics = (planes: readonly Plane[]): string => planes.map(({ topic }) => topic).join(", ");
    const base = this.#base === undefined ? [] : [`${topics(this.#commands)} against ${topics(this.#odometries)}`];
    return [...base, ...this.#wheels.map(({ subject }) => `${subject.topic}: ${subject.name}`)];
  }

  #listenToPlane(topic: string, planes: Plane[], read: (message: Uint8Array) => readonly number[]): Listener {
    const known = planes.find((plane) => plane.topic === topic);
    const plane: Plane = known ?? { topic, motion: [], atMs: Number.NaN };
    if (known === undefined) planes.push(plane);
    const [command] = this.#commands;
    if (command !== undefined && this.#odometries.length > 0) this.#base ??= this.#deps.watch(command.topic, "base");
    return (message, nowMs) => {
      plane.motion = read(message);
      plane.atMs = nowMs;
      this.#judge(nowMs);
    };
  }

  #judge(nowMs: number): void {
    if (this.#base === undefined) return;
    const wanted = sizeOf(this.#command(nowMs) ?? []);
    const moved = Math.max(
      ...this.#odometries.filter(isWithin(nowMs, ODOMETRY_MS)).map(({ motion }) => sizeOf(motion)),
    );
    const { speed_min, moved_share } = this.#parameters;
    if (Number.isNaN(wanted) || !Number.isFinite(moved)) {
      this.#base.condition = undefined;
      return;
    }
    const isCommanded = wanted >= speed_min;
    if (isCommanded && moved > 0.5 * wanted) this.#hasFollowed = true;
    this.#base.condition = isCommanded && this.#hasFollowed && moved < moved_share * wanted;
    if (this.#base.condition) this.#base.values = () => ({ commanded: wanted, moved });
  }

  /** The least of the commands that keep coming. */
  #command(nowMs: number): readonly number[] | undefined {
    let least: readonly number[] | undefined;
    for (const plane of this.#commands)
      if (nowMs - plane.atMs <= COMMAND_MS && !(least !== undefined && sizeOf(least) <= sizeOf(plane.motion)))
        least = plane.motion;
    return least;
  }

  #listenToWheels(channel: Channel): Listener | undefined {
    const named = this.#deps.topicOf("joints");
    if (plainTypeName(channel.schema.name) !== "sensor_msgs/JointState") return undefined;
    if (named === undefined ? !/joint/i.test(channel.topic) : channel.topic !== named) return undefined;
    const [velocities, efforts] = ["velocity", "effort"].map((path) => readerOf(this.#deps.fields, channel, path));
    const wheelsOf = layoutReaderOf(channel, this.#deps, "name", (names) => this.#openWheels(channel.topic, names));
    if (wheelsOf === undefined || velocities === undefined || efforts === undefined) return undefined;
    return (message, nowMs) => {
      const wheels = wheelsOf(message);
      if (wheels.length === 0) return;
      const command = this.#command(nowMs);
      const [speed, effort] = [numbersOf(velocities(message)), numbersOf(efforts(message))];
      for (const { index, wheel } of wheels)
        wheel.feel(speed[index] ?? Number.NaN, effort[index] ?? Number.NaN, command);
    };
  }

  #openWheels(topic: string, names: readonly string[]): readonly { index: number; wheel: Wheel }[] {
    return names.flatMap((name, index) => (/wheel/i.test(name) ? [{ index, wheel: this.#wheel(topic, name) }] : []));
  }

  #wheel(topic: string, name: string): Wheel {
    const known = this.#wheels.find(({ subject }) => subject.topic === topic && subject.name === name);
    if (known !== undefined) return known;
    const { moved_share, push_factor } = this.#parameters;
    const options = { movedShare: moved_share, pushFactor: push_factor };
    const wheel = new Wheel(options, this.#deps.watch(topic, name));
    this.#wheels.push(wheel);
    return wheel;
  }
}

function isWithin(nowMs: number, ms: number): (plane: Plane) => boolean {
  return ({ atMs }) => nowMs - atMs <= ms;
}

/** m/s plus rad/s: for telling motion from rest. */
function sizeOf([x = 0, y = 0, turn = 0]: readonly number[]): number {
  return Math.hypot(x, y) + Math.abs(turn);
}
