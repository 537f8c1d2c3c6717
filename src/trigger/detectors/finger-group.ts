/**
 * The fingers of one gripper among the joints of a JointState: which they are, and their mean position and effort.
 *
 * Fingers are found by name; joints that share what stands before "gripper" or "hand" belong to one gripper
 * (`l_gripper_l_finger_joint`, `l_gripper_r_finger_joint`). Mirrored fingers, of which one counts down while the
 * other counts up, are turned the same way by the sign of how they move together.
 */

const FINGER = /finger|gripper|claw|jaw|knuckle|thumb|pinch|hand_(?!.*wrist)/i;
const OWNER = /^.*?(gripper|hand)/i;

/** Indices by gripper. */
export function findFingers(names: readonly string[]): ReadonlyMap<string, readonly number[]> {
  const groups = new Map<string, number[]>();
  for (const [index, name] of names.entries()) {
    if (!FINGER.test(name)) continue;
    const owner = OWNER.exec(name)?.[0] ?? "gripper";
    groups.set(owner, [...(groups.get(owner) ?? []), index]);
  }
  return groups;
}

/** Less than this, 2 mm or a tenth of a degree, may be noise. */
const MOVE_MIN = 0.002;
const FORGETTING = 0.9;

export class FingerGroup {
  readonly #indices: readonly number[];
  readonly #last: number[];
  readonly #together: number[];

  constructor(indices: readonly number[]) {
    this.#indices = indices;
    this.#last = indices.map(() => Number.NaN);
    this.#together = indices.map(() => 0);
  }

  /** Mean of the fingers' positions and efforts, each turned as the first finger counts; NaN where one is missing. */
  mean(positions: ArrayLike<number>, efforts: ArrayLike<number>): { readonly x: number; readonly effort: number } {
    this.#learnSigns(positions);
    let x = 0;
    let effort = 0;
    for (const [k, index] of this.#indices.entries()) {
      const sign = (this.#together[k] ?? 0) < 0 ? -1 : 1;
      x += sign * (positions[index] ?? Number.NaN);
      effort += sign * (efforts[index] ?? Number.NaN);
    }
    return { x: x / this.#indices.length, effort: effort / this.#indices.length };
  }

  #learnSigns(positions: ArrayLike<number>): void {
    const first = (positions[this.#indices[0] ?? -1] ?? Number.NaN) - (this.#last[0] ?? Number.NaN);
    if (Math.abs(first) < MOVE_MIN) return;
    for (const [k, index] of this.#indices.entries()) {
      const position = positions[index] ?? Number.NaN;
      const product = first * (position - (this.#last[k] ?? Number.NaN));
      if (!Number.isNaN(product)) this.#together[k] = FORGETTING * (this.#together[k] ?? 0) + product;
      this.#last[k] = position;
    }
  }
}
