/**
 * How long the robot moved: a moment counts if a joint went further than 0.01 rad (or m) within half a second, or the
 * odometry of a base says more than 0.02 m/s or 0.05 rad/s, since the last look.
 *
 * Looks at each topic about twice a second, however fast it comes, and where arms share one, at each arm: 0.01 rad is
 * three times the step of a cheap servo's encoder. A robot that sends neither JointState nor Odometry has no time that
 * is `watched`, and so none that is known.
 */
import type { Channel } from "../model/channel.ts";
import { layoutReaderOf } from "../trigger/detectors/joint-layout.ts";
import type { FieldAccess, FieldReader, MessageListener } from "./message-listener.ts";

const LOOK_NS = 500_000_000n;
const JOINT_MIN = 0.01; // rad, m
const SPEED_MIN = 0.02; // m/s
const TURN_MIN = 0.05; // rad/s
/** A topic has so many sets of joints: beyond, a broken publisher makes names up. */
const ARMS_MAX = 32;

const JOINTS = /^sensor_msgs\/(msg\/)?JointState$/;
const ODOMETRY = /^nav_msgs\/(msg\/)?Odometry$/;
const TWIST = ["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"];

export class MotionMeter {
  readonly #fields: FieldAccess;
  #isHeard = false;
  #hasMoved = false;

  constructor(fields: FieldAccess) {
    this.#fields = fields;
  }

  /** Since the last call: whether anything told about motion, and whether there was any. */
  take(): { readonly isWatched: boolean; readonly hasMoved: boolean } {
    const taken = { isWatched: this.#isHeard, hasMoved: this.#hasMoved };
    this.#isHeard = false;
    this.#hasMoved = false;
    return taken;
  }

  listenersOf(channel: Channel): MessageListener[] {
    const { name } = channel.schema;
    if (ODOMETRY.test(name)) return this.#odometry(channel);
    // Commands come as JointState too, and say what is wanted, not what is.
    return JOINTS.test(name) && !/cmd|command|goal|target|desired/i.test(channel.topic) ? this.#joints(channel) : [];
  }

  #joints(channel: Channel): MessageListener[] {
    const read = this.#fields(channel, "position");
    if (typeof read !== "function") return [];
    const arms = new Map<string, MessageListener>();
    const armOf = (names: readonly string[]): MessageListener => {
      const key = names.join();
      const known = arms.get(key);
      if (known !== undefined) return known;
      if (arms.size >= ARMS_MAX) arms.clear();
      const look = this.#armLook(read);
      arms.set(key, look);
      return look;
    };
    const lookOf = layoutReaderOf(channel, { fields: this.#fields }, "name", armOf);
    return [lookOf === undefined ? armOf([]) : (message, atNs) => lookOf(message)(message, atNs)];
  }

  /** At messages of the same joints. */
  #armLook(read: FieldReader): MessageListener {
    let last: readonly number[] = [];
    return everyLook((message) => {
      const positions = numbersOf(read(message));
      if (positions.length === 0) return;
      const isSame = positions.length === last.length;
      this.#note(isSame && positions.some((position, index) => Math.abs(position - (last[index] ?? 0)) > JOINT_MIN));
      last = positions;
    });
  }

  #odometry(channel: Channel): MessageListener[] {
    const readers = TWIST.map((path) => this.#fields(channel, `twist.twist.${path}`));
    const [x, y, z, turnX, turnY, turnZ] = readers.map((read) => (typeof read === "function" ? read : () => undefined));
    const sizeOf = (message: Uint8Array, parts: readonly (FieldReader | undefined)[]): number =>
      Math.hypot(...parts.map((read) => Number(read?.(message) ?? Number.NaN)));
    return [
      everyLook((message) => {
        const isFast = sizeOf(message, [x, y, z]) > SPEED_MIN;
        this.#note(isFast || sizeOf(message, [turnX, turnY, turnZ]) > TURN_MIN);
      }),
    ];
  }

  #note(hasMoved: boolean): void {
    this.#isHeard = true;
    this.#hasMoved ||= hasMoved;
  }
}

function everyLook(look: (message: Uint8Array) => void): MessageListener {
  let nextNs = 0n;
  return (message, atNs) => {
    if (atNs < nextNs) return;
    nextNs = atNs + LOOK_NS;
    look(message);
  };
}

function numbersOf(value: ReturnType<FieldReader>): readonly number[] {
  return typeof value === "object" ? [...value].map(Number) : [];
}
