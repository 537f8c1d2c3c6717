/**
 * Lost grasp, slip and missed grasp: three detectors over one picture of the hand (`Grasp`).
 *
 * - `lost_grasp`: the fingers yield where they held something, without having been told to open; or they are opened
 *   while the palm still sees the object on its way out.
 * - `slip`: while the fingers hold, a distance sensor in the palm sees the object move away by more than `slip_m`
 *   and stay; what ends as a loss is a loss and no slip.
 * - `missed_grasp`: the fingers closed all the way where they meant to hold something.
 *
 * Attempt: after such a failure the fingers close again. Recovered: they then held for at least `carry_ms` and were
 * opened; or, after a slip that was carried through without a new grip, they opened and stayed so for `rest_ms`.
 * Gave up: with nothing in the hand the arm's other joints stood still for `give_up_ms`.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import { unreachable } from "../../std/assert.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numbersOf,
  readerOf,
  type Subject,
  textsOf,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";
import { FingerGroup, findFingers } from "./finger-group.ts";
import { Grasp, type GraspEvent } from "./grasp.ts";

const parametersSchema = z.strictObject({
  /** How long fingers must push without moving before they count as holding. */
  settle_ms: z.number().min(20).default(120),
  /** Whether finger positions fall or rise as they close. */
  closes: z.enum(["auto", "down", "up"]).default("auto"),
  /** Where fingers are that closed on nothing; unless given, 0 where positions fall, and learnt where they rise. */
  closed_at: z.number().optional(),
  /** The object tilting in the hand and the sensor's noise account for several millimetres. */
  slip_m: z.number().positive().default(0.01),
  carry_ms: z.number().min(0).default(1500),
  rest_ms: z.number().min(0).default(4000),
  give_up_ms: z.number().min(100).default(6000),
});
type Parameters = z.infer<typeof parametersSchema>;
type Failure = "lost" | "slip" | "missed";

const base = {
  parameters: parametersSchema,
  roles: ["joints", "currents", "range"],
  needs: "a JointState with finger joints, their positions and efforts",
  recoversWhen: "explicit",
  clearForMs: 0,
  coolDownMs: 0,
} as const;

const openAs = (failure: Failure) => (parameters: unknown, deps: DetectorDeps) =>
  new GraspDetector(failure, parametersSchema.parse(parameters), deps);

export const lostGrasp: DetectorKind = { ...base, name: "lost_grasp", open: openAs("lost") };
export const slip: DetectorKind = { ...base, name: "slip", open: openAs("slip") };
export const missedGrasp: DetectorKind = { ...base, name: "missed_grasp", open: openAs("missed") };

class GraspDetector implements Detector {
  readonly #failure: Failure;
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #hands: Hand[] = [];

  constructor(failure: Failure, parameters: Parameters, deps: DetectorDeps) {
    this.#failure = failure;
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const type = plainTypeName(channel.schema.name);
    if (
      type === "sensor_msgs/JointState" &&
      this.#isFor("joints", channel.topic, /^(?!.*(command|current|goal|target))/i)
    )
      return this.#listenToJoints(channel);
    if (type === "sensor_msgs/Range" && this.#isFor("range", channel.topic, /palm|grip|hand|finger/i))
      return this.#listenToRange(channel);
    return undefined;
  }

  onTick(nowMs: number): void {
    for (const hand of this.#hands) hand.tick(nowMs);
  }

  onLongSilence(): void {
    for (const hand of this.#hands) hand.forget();
  }

  describe(): readonly string[] {
    return this.#hands.map((hand) => `${hand.subject.topic}: ${hand.subject.name}`);
  }

  #isFor(role: string, topic: string, pattern: RegExp): boolean {
    const named = this.#deps.topicOf(role);
    return named === undefined ? pattern.test(topic) : topic === named;
  }

  #listenToJoints(channel: Channel): Listener | undefined {
    const { fields } = this.#deps;
    const [names, positions, efforts] = ["name", "position", "effort"].map((path) => readerOf(fields, channel, path));
    if (names === undefined || positions === undefined || efforts === undefined) return undefined;
    let hands: readonly { readonly hand: Hand; readonly fingers: FingerGroup }[] | undefined;
    const arm = new Stillness();
    return (message, nowMs) => {
      if (hands?.length === 0) return; // no fingers among these joints
      const position = numbersOf(positions(message));
      const effort = numbersOf(efforts(message));
      if (position.length === 0 || effort.length === 0) return;
      if (hands === undefined) {
        const texts = textsOf(names(message));
        hands = this.#openHands(channel.topic, texts);
        arm.choose(texts);
      }
      const idleMs = arm.follow(position, nowMs);
      for (const { hand, fingers } of hands) {
        hand.rest(idleMs);
        const { x, effort: push } = fingers.mean(position, effort);
        hand.feel(x, push, nowMs);
      }
    };
  }

  #openHands(topic: string, names: readonly string[]): { hand: Hand; fingers: FingerGroup }[] {
    return [...findFingers(names).values()].map((indices) => {
      const name = indices.map((index) => names[index]).join(", ");
      const subject = this.#deps.watch(topic, name);
      const hand = new Hand(this.#failure, this.#parameters, subject, (signal, values) =>
        this.#deps.signal(signal, values),
      );
      this.#hands.push(hand);
      return { hand, fingers: new FingerGroup(indices) };
    });
  }

  /** A palm's sensor belongs to the only hand there is; with two hands nobody can tell. */
  #listenToRange(channel: Channel): Listener | undefined {
    const range = readerOf(this.#deps.fields, channel, "range");
    if (range === undefined) return undefined;
    return (message, nowMs) => {
      const metres = range(message);
      const [hand, other] = this.#hands;
      if (hand !== undefined && other === undefined && typeof metres === "number") hand.see(metres, nowMs);
    };
  }
}

const STILL_MAX = 0.01; // radians, or metres of a lift

/** How long the joints that are no fingers have stood still. */
class Stillness {
  #joints: readonly number[] = [];
  #at: number[] = [];
  #sinceMs = 0;

  choose(names: readonly string[]): void {
    const fingers = new Set([...findFingers(names).values()].flat());
    this.#joints = names.flatMap((_, index) => (fingers.has(index) ? [] : [index]));
  }

  /** ms; 0 for a gripper that reports without its arm: then nobody can tell. */
  follow(positions: ArrayLike<number>, nowMs: number): number {
    if (this.#joints.length === 0) return 0;
    const isStill = this.#joints.every(
      (joint, k) => Math.abs((positions[joint] ?? 0) - (this.#at[k] ?? 0)) <= STILL_MAX,
    );
    if (!isStill || this.#at.length === 0) {
      this.#at = this.#joints.map((joint) => positions[joint] ?? 0);
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs;
  }
}

const VIEWS = 7; // the median of so many views is what the palm sees
const SLIDE_OVER_MS = 300;
const SLIDE_STEP_M = 0.001;

class Hand {
  readonly subject: Subject;
  readonly #failure: Failure;
  readonly #parameters: Parameters;
  readonly #signal: DetectorDeps["signal"];
  readonly #grasp: Grasp;
  #nowMs = 0;
  /** A failure of any kind since the last recovery, and whether the fingers closed again after it. */
  #hasFailed = false;
  #isRetrying = false;
  #releasedMs = Number.NaN;
  #views: number[] = [];
  #slide: { readonly fromM: number; atM: number; grewMs: number; isTold: boolean } | undefined;

  constructor(failure: Failure, parameters: Parameters, subject: Subject, signal: DetectorDeps["signal"]) {
    this.#failure = failure;
    this.#parameters = parameters;
    this.subject = subject;
    this.#signal = signal;
    const options = { settleMs: parameters.settle_ms, closes: parameters.closes, closedAt: parameters.closed_at };
    this.#grasp = new Grasp(options, (event) => this.#onGrasp(event));
    subject.condition = false;
  }

  forget(): void {
    this.#grasp.forget();
    this.#slide = undefined;
    this.#views = [];
  }

  feel(x: number, effort: number, nowMs: number): void {
    this.#nowMs = nowMs;
    if (!this.#grasp.isHolding) this.subject.condition = false;
    this.#grasp.feel(x, effort, nowMs);
  }

  see(metres: number, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#views = [...this.#views.slice(1 - VIEWS), metres];
    if (!this.#grasp.isHolding || this.#views.length < VIEWS) return;
    const seenM = medianOf(this.#views);
    this.#slide ??= { fromM: seenM, atM: seenM, grewMs: nowMs, isTold: false };
    if (seenM - this.#slide.atM > SLIDE_STEP_M) {
      this.#slide.atM = seenM;
      this.#slide.grewMs = nowMs;
    }
    if (nowMs - this.#slide.grewMs >= SLIDE_OVER_MS) this.#tellSlide();
  }

  tick(nowMs: number): void {
    if (nowMs - this.#releasedMs < this.#parameters.rest_ms || !this.#hasFailed) return;
    if (!Number.isNaN(this.#releasedMs)) this.#end("recovered", { open_ms: nowMs - this.#releasedMs });
  }

  /** How long the arm has stood still. */
  rest(idleMs: number): void {
    if (this.#hasFailed && !this.#grasp.isHolding && idleMs >= this.#parameters.give_up_ms)
      this.#end("gave_up", { idle_ms: idleMs });
  }

  #onGrasp(event: GraspEvent): void {
    switch (event.kind) {
      case "stroke":
        this.#startStroke();
        break;
      case "contact":
        this.#slide = undefined;
        this.#views = [];
        break;
      case "missed":
        this.#fail("missed", { position: event.x });
        break;
      case "lost":
        this.#fail("lost", { position: event.x, held_ms: event.heldMs });
        break;
      case "released":
        this.#release(event.heldMs);
        break;
      default:
        unreachable(event);
    }
  }

  #startStroke(): void {
    this.#releasedMs = Number.NaN;
    if (!this.#hasFailed) return;
    this.#isRetrying = true;
    this.#signal("attempt");
  }

  #release(heldMs: number): void {
    const slideM = this.#slidM();
    const isLeaving = this.#nowMs - (this.#slide?.grewMs ?? 0) < SLIDE_OVER_MS && slideM >= this.#parameters.slip_m;
    if (isLeaving && this.#slide?.isTold === false) this.#fail("lost", { slide_m: slideM, held_ms: heldMs });
    else this.#letGo(heldMs);
  }

  #letGo(heldMs: number): void {
    this.#tellSlide();
    this.#slide = undefined;
    if (!this.#hasFailed) return;
    if (this.#isRetrying && heldMs >= this.#parameters.carry_ms) this.#end("recovered", { held_ms: heldMs });
    else this.#releasedMs = this.#nowMs;
  }

  #end(how: "recovered" | "gave_up", values: Readonly<Record<string, number>>): void {
    this.#hasFailed = false;
    this.#isRetrying = false;
    this.#releasedMs = Number.NaN;
    this.#signal(how, values);
  }

  #tellSlide(): void {
    const slideM = this.#slidM();
    if (this.#slide === undefined || this.#slide.isTold || slideM < this.#parameters.slip_m) return;
    this.#slide.isTold = true;
    this.#fail("slip", { slide_m: slideM });
  }

  #slidM(): number {
    return this.#slide === undefined ? 0 : this.#slide.atM - this.#slide.fromM;
  }

  #fail(failure: Failure, values: Readonly<Record<string, number>>): void {
    this.#hasFailed = true;
    this.#isRetrying = false;
    if (failure !== this.#failure) return;
    this.subject.condition = true;
    this.subject.values = () => ({ ...values, fingers: this.subject.name });
  }
}

function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
