/**
 * What differs from task to task: the cup, the robot's first grip, its eyesight, and people who bump into things.
 *
 * Everything is drawn from one seed, and nothing here says what happens: a wet cup may hold and a dry one fall.
 */
import type { Random } from "../std/random.ts";
import type { Place } from "./kinematics.ts";
import type { CupTraits, Push } from "./simulation.ts";

export type TaskConditions = {
  /** In words, for the story and the truth file. */
  readonly kind: "dry" | "damp" | "wet" | "bumped" | "misseen" | "oily";
  readonly cup: CupTraits;
  /** The force of each finger at the first try, N. */
  readonly gripForceN: number;
  /** How wrong the robot's first look at the cup is, m along the arm's radius. */
  readonly sightErrorM: number;
  /** A push on the cup that begins this long after it was lifted. */
  readonly push: { readonly afterLiftS: number; readonly durationS: number; readonly force: Push } | undefined;
};

/** The place the arm reaches well: a ring segment before it. */
const RADIUS_M = [0.24, 0.36] as const;
const YAW_MAX = 0.9;
/** A task carries the cup at least this far. */
const WAY_M_MIN = 0.14;

const GRAVITY = 9.81;

/** Shares of the kinds, in per cent. */
const KINDS: readonly (readonly [kind: TaskConditions["kind"], share: number])[] = [
  ["dry", 50],
  ["damp", 12],
  ["wet", 14],
  ["bumped", 12],
  ["misseen", 10],
  ["oily", 2],
];

/** What a robot meets: everything, or only cups that friction holds and nobody bumps into. */
export type Mix = "everyday" | "nominal";

export function drawConditions(random: Random, cup: Place, mix: Mix): TaskConditions {
  const kind = mix === "nominal" ? "dry" : drawKind(random);
  const massKg = within(random, 0.22, 0.42);
  const gripForceN = within(random, 5, 8);
  const friction = (massKg * GRAVITY * drawGripMargin(kind, random)) / (2 * gripForceN);
  return {
    kind,
    cup: { massKg, friction },
    gripForceN,
    sightErrorM: kind === "misseen" ? within(random, 0.05, 0.065) * (Math.hypot(cup.x, cup.y) > 0.3 ? -1 : 1) : 0,
    push: kind === "bumped" ? drawPush(massKg, random) : undefined,
  };
}

/** How many times its weight friction could hold at the first grip: below 1 the cup must slide. */
function drawGripMargin(kind: TaskConditions["kind"], random: Random): number {
  if (kind === "oily") return within(random, 0.12, 0.22);
  if (kind === "wet") return within(random, 0.3, 0.75);
  if (kind === "damp") return within(random, 0.8, 0.97);
  return within(random, 1.5, 2.6);
}

/** Somebody's elbow: mostly downwards, some of it sideways, a tenth of a second and more. */
function drawPush(massKg: number, random: Random): TaskConditions["push"] {
  const weightN = massKg * GRAVITY;
  const angle = within(random, 0, 2 * Math.PI);
  const sideways = within(random, 0.3, 1) * weightN;
  return {
    afterLiftS: within(random, 0.5, 1.6),
    durationS: within(random, 0.03, 0.2),
    force: { x: sideways * Math.cos(angle), y: sideways * Math.sin(angle), z: -within(random, 0.3, 4.5) * weightN },
  };
}

function drawKind(random: Random): TaskConditions["kind"] {
  let left = random() * 100;
  for (const [kind, share] of KINDS) {
    left -= share;
    if (left < 0) return kind;
  }
  return "dry";
}

/** A place in reach, far enough from where the cup is now. */
export function drawPlace(random: Random, away: Place | undefined): Place {
  for (;;) {
    const radius = within(random, RADIUS_M[0], RADIUS_M[1]);
    const yaw = within(random, -YAW_MAX, YAW_MAX);
    const place = { x: radius * Math.cos(yaw), y: radius * Math.sin(yaw) };
    if (away === undefined || Math.hypot(place.x - away.x, place.y - away.y) >= WAY_M_MIN) return place;
  }
}

function within(random: Random, low: number, high: number): number {
  return low + (high - low) * random();
}
