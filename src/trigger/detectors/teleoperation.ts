/**
 * Teleoperation and take-over: a person moves the robot, or takes it over while it acts by itself.
 *
 * A person's hand is seen in a Joy (a button held, or a stick off its rest), in a Twist that is not zero on a topic named
 * after its device, and in a JointState named so (a leader arm) that moves. A stick that stands still for `hold_ms` is
 * at rest: triggers rest at their end.
 * - `teleoperation`: true from the first such sign until there was none for `idle_ms`: a demonstration.
 * - `take_over`: true from then on, if the robot acted by itself within `auto_ms` before: a goal of an action was under
 *   way, or another Twist was not zero while nobody's hand had been seen for `idle_ms`. Says that a person took over.
 * Source: sensor_msgs/Joy; topic names of teleop_twist_joy, teleop_twist_keyboard, key_teleop, twist_mux, spacenav, ALOHA, GELLO.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numberOf,
  numbersOf,
  readerOf,
  type Subject,
} from "../detector.ts";
import { type FieldReader, plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  idle_ms: z.number().min(100).default(2000),
  hold_ms: z.number().min(100).default(5000),
  auto_ms: z.number().min(100).default(2000),
});
type Parameters = z.infer<typeof parametersSchema>;

const DEVICE = /teleop|joy|key_?(board|op|vel)|leader|master|gello|space_?(nav|mouse)|operator|manual|remote/i;
const OWN_COMMAND = /cmd|command|nav|auto|planner|mux/i;
const COMMAND_MS = 1000; // a command holds so long; keyboards send one a key
const STICK_MIN = 0.15; // of 1; below lies a worn stick's dead zone
const LEADER_MIN = 0.02; // rad or m within LEADER_MS: a hand, not an encoder's noise
const LEADER_MS = 500;

const base = {
  parameters: parametersSchema,
  roles: ["operator", "command"],
  coolDownMs: 1000,
} as const;

export const teleoperation: DetectorKind = {
  ...base,
  name: "teleoperation",
  needs:
    "a sensor_msgs/Joy, or a Twist or JointState on a topic named after a device (teleop, joy, keyboard, leader …)",
  recoversWhen: "never",
  clearForMs: 5000,
  open: (parameters, deps) => new Teleoperation("teleoperation", parametersSchema.parse(parameters), deps),
};

export const takeOver: DetectorKind = {
  ...base,
  name: "take_over",
  needs: `${teleoperation.needs}; and a Twist command or an action's status, which tell that the robot acts by itself`,
  recoversWhen: "never",
  clearForMs: 1000,
  open: (parameters, deps) => new Teleoperation("take_over", parametersSchema.parse(parameters), deps),
};

class Teleoperation implements Detector {
  readonly #kind: "teleoperation" | "take_over";
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #hands = new Map<string, Hand>();
  readonly #own = new Map<string, { readonly holdsMs: number; isActive: boolean; heardMs: number }>();
  #subject: Subject | undefined;
  #handMs = Number.NEGATIVE_INFINITY;
  #ownMs = Number.NEGATIVE_INFINITY;
  #isTold = true;

  constructor(kind: "teleoperation" | "take_over", parameters: Parameters, deps: DetectorDeps) {
    this.#kind = kind;
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const { topic } = channel;
    const named = this.#deps.topicOf("operator");
    const isDevice = named === undefined ? isDeviceTopic(channel) : topic === named;
    if (isDevice) return this.#listenToHand(channel);
    const command = this.#deps.topicOf("command");
    if (this.#kind === "teleoperation" || (command !== undefined && topic !== command)) return undefined;
    return this.#listenToOwn(channel);
  }

  onTick(nowMs: number): void {
    const subject = this.#subject;
    if (subject === undefined) return;
    if (subject.condition === true && !this.#isTold) {
      this.#isTold = true;
      this.#deps.signal("took_over");
    }
    const isHand = [...this.#hands.values()].some((hand) => hand.isActive(nowMs));
    if (!isHand && nowMs - this.#handMs > this.#parameters.idle_ms) {
      subject.condition = false;
      const own = [...this.#own.values()];
      if (own.some(({ isActive, heardMs, holdsMs }) => isActive && nowMs - heardMs <= holdsMs)) this.#ownMs = nowMs;
    } else if (isHand && subject.condition !== true && nowMs - this.#handMs > this.#parameters.idle_ms)
      this.#begin(subject, nowMs);
    if (isHand) this.#handMs = nowMs;
  }

  onLongSilence(): void {
    for (const hand of this.#hands.values()) hand.forget();
    this.#ownMs = Number.NEGATIVE_INFINITY;
  }

  describe(): readonly string[] {
    const isComplete = this.#kind === "teleoperation" || this.#own.size > 0;
    return isComplete && this.#hands.size > 0 ? [...this.#hands.keys(), ...this.#own.keys()] : [];
  }

  #begin(subject: Subject, nowMs: number): void {
    const isOver = this.#kind === "teleoperation" || nowMs - this.#ownMs <= this.#parameters.auto_ms;
    subject.condition = isOver;
    this.#isTold = this.#kind === "teleoperation" || !isOver;
    const device = [...this.#hands].find(([, hand]) => hand.isActive(nowMs))?.[0] ?? "";
    subject.values = () => ({ device });
  }

  #listenToHand(channel: Channel): Listener | undefined {
    const hand = openHand(channel, this.#deps, this.#parameters.hold_ms);
    if (hand === undefined) return undefined;
    this.#hands.set(channel.topic, hand);
    this.#subject ??= this.#deps.watch(channel.topic, "operator");
    return (message, nowMs, atNs) => hand.hear(message, nowMs, atNs);
  }

  /** What the robot does by itself: velocities that no device gave, and goals under way. */
  #listenToOwn(channel: Channel): Listener | undefined {
    const isCommand = this.#deps.topicOf("command") !== undefined || OWN_COMMAND.test(channel.topic);
    const twist = isCommand ? twistOf(channel, this.#deps) : undefined;
    const isActive = twist ?? goalsOf(channel, this.#deps);
    if (isActive === undefined) return undefined;
    // A status is sent when it changes, a velocity again and again.
    const holdsMs = twist === undefined ? Number.POSITIVE_INFINITY : COMMAND_MS;
    const own = { holdsMs, isActive: false, heardMs: Number.NEGATIVE_INFINITY };
    this.#own.set(channel.topic, own);
    return (message, nowMs) => {
      own.isActive = isActive(message);
      own.heardMs = nowMs;
    };
  }
}

type IsActive = (message: Uint8Array) => boolean;

const TWISTS = new Map([
  ["geometry_msgs/Twist", ""],
  ["geometry_msgs/TwistStamped", "twist."],
]);
const AXES = ["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"];

function isDeviceTopic({ topic, schema }: Channel): boolean {
  const type = plainTypeName(schema.name);
  return type === "sensor_msgs/Joy" || ((TWISTS.has(type) || type === "sensor_msgs/JointState") && DEVICE.test(topic));
}

/** Whether a velocity is other than zero; a command, not a measurement. */
function twistOf(channel: Channel, { fields }: DetectorDeps): IsActive | undefined {
  const prefix = TWISTS.get(plainTypeName(channel.schema.name));
  if (prefix === undefined) return undefined;
  const readers = AXES.map((axis) => readerOf(fields, channel, `${prefix}${axis}`));
  return (message) => readers.some((read) => Math.abs(numberOf(read?.(message))) > 1e-3);
}

const ACTIVE_GOALS = new Map([
  ["actionlib_msgs/GoalStatusArray", [0, 1]], // PENDING, ACTIVE
  ["action_msgs/GoalStatusArray", [1, 2]], // ACCEPTED, EXECUTING
]);

function goalsOf(channel: Channel, { fields }: DetectorDeps): IsActive | undefined {
  const active = ACTIVE_GOALS.get(plainTypeName(channel.schema.name));
  const states = readerOf(fields, channel, "status_list[*].status");
  if (active === undefined || states === undefined) return undefined;
  return (message) => Array.from(numbersOf(states(message))).some((state) => active.includes(state));
}

/** What one device tells of the hand on it. */
interface Hand {
  readonly hear: Listener;
  isActive(nowMs: number): boolean;
  forget(): void;
}

function openHand(channel: Channel, deps: DetectorDeps, holdMs: number): Hand | undefined {
  const type = plainTypeName(channel.schema.name);
  const read = (path: string) => readerOf(deps.fields, channel, path);
  if (type === "sensor_msgs/Joy") return new JoyHand(read("buttons"), read("axes"), holdMs);
  if (type === "sensor_msgs/JointState") return new LeaderHand(read("position"));
  const isActive = twistOf(channel, deps);
  return isActive === undefined ? undefined : new TwistHand(isActive);
}

class TwistHand implements Hand {
  readonly #isActive: IsActive;
  #activeMs = Number.NEGATIVE_INFINITY;

  constructor(isActive: IsActive) {
    this.#isActive = isActive;
  }

  hear(message: Uint8Array, nowMs: number): void {
    this.#activeMs = this.#isActive(message) ? nowMs : Number.NEGATIVE_INFINITY;
  }

  isActive(nowMs: number): boolean {
    return nowMs - this.#activeMs <= COMMAND_MS;
  }

  forget(): void {
    this.#activeMs = Number.NEGATIVE_INFINITY;
  }
}

/** A Joy is often sent only when something changes: what was held is held until a message says otherwise. */
class JoyHand implements Hand {
  readonly #buttons: FieldReader | undefined;
  readonly #axes: FieldReader | undefined;
  readonly #holdMs: number;
  #restButtons: readonly number[] | undefined;
  #restAxes: readonly number[] = [];
  #lastAxes: readonly number[] = [];
  #changedMs = Number.NEGATIVE_INFINITY;
  #isPressed = false;
  #isDeflected = false;

  constructor(buttons: FieldReader | undefined, axes: FieldReader | undefined, holdMs: number) {
    this.#buttons = buttons;
    this.#axes = axes;
    this.#holdMs = holdMs;
  }

  hear(message: Uint8Array, nowMs: number): void {
    const buttons = Array.from(numbersOf(this.#buttons?.(message)));
    const axes = Array.from(numbersOf(this.#axes?.(message)));
    if (this.#restButtons === undefined) {
      this.#restButtons = buttons;
      this.#restAxes = axes;
    }
    if (differ(axes, this.#lastAxes, 0.01)) this.#changedMs = nowMs;
    else if (nowMs - this.#changedMs > this.#holdMs) this.#restAxes = axes;
    this.#lastAxes = axes;
    this.#isPressed = differ(buttons, this.#restButtons, 0);
    this.#isDeflected = differ(axes, this.#restAxes, STICK_MIN);
  }

  isActive(nowMs: number): boolean {
    return this.#isPressed || (this.#isDeflected && nowMs - this.#changedMs <= this.#holdMs);
  }

  forget(): void {
    this.#isPressed = false;
    this.#isDeflected = false;
  }
}

class LeaderHand implements Hand {
  readonly #position: FieldReader | undefined;
  #from: readonly number[] = [];
  #fromMs = Number.NaN;
  #movedMs = Number.NEGATIVE_INFINITY;

  constructor(position: FieldReader | undefined) {
    this.#position = position;
  }

  hear(message: Uint8Array, nowMs: number): void {
    const position = Array.from(numbersOf(this.#position?.(message)));
    const isSame = this.#from.length === position.length;
    if (isSame && differ(position, this.#from, LEADER_MIN)) this.#movedMs = nowMs;
    if (isSame && nowMs - this.#fromMs < LEADER_MS && this.#movedMs !== nowMs) return;
    this.#from = position;
    this.#fromMs = nowMs;
  }

  isActive(nowMs: number): boolean {
    return nowMs - this.#movedMs <= LEADER_MS;
  }

  forget(): void {
    this.#from = [];
    this.#movedMs = Number.NEGATIVE_INFINITY;
  }
}

function differ(a: readonly number[], b: readonly number[], by: number): boolean {
  return a.length === b.length && a.some((x, index) => Math.abs(x - (b[index] ?? 0)) > by);
}
