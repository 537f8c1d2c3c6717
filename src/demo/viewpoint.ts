/** Where the two cameras sit and look: in world coordinates, and in those of the hand. */

export type Vector = readonly [number, number, number];

/** A camera's place and axes: right, down, and ahead into the picture (ROS's optical frame). */
export type Viewpoint = { readonly eye: Vector; readonly right: Vector; readonly down: Vector; readonly ahead: Vector };

export const SCENE_VIEW = lookFrom([0.94, -0.58, 0.54], [0.17, -0.01, 0.185], [0, 0, 1]);
/** Fixed to the hand, on its far side, looking between the fingers. */
export const WRIST_MOUNT = lookFrom([-0.1, 0, 0.02], [-0.012, 0, 0.15], [-1, 0, 0]);

function lookFrom(eye: Vector, target: Vector, up: Vector): Viewpoint {
  const ahead = normalized([target[0] - eye[0], target[1] - eye[1], target[2] - eye[2]]);
  const right = normalized(cross(ahead, up));
  return { eye, right, down: cross(ahead, right), ahead };
}

/** The same viewpoint after its carrier was turned (row-major matrix) and moved. */
export function carried(view: Viewpoint, rotation: ArrayLike<number>, position: ArrayLike<number>): Viewpoint {
  const turn = (v: Vector): Vector => {
    const row = (i: number): number =>
      (rotation[i * 3] ?? 0) * v[0] + (rotation[i * 3 + 1] ?? 0) * v[1] + (rotation[i * 3 + 2] ?? 0) * v[2];
    return [row(0), row(1), row(2)];
  };
  const [x, y, z] = turn(view.eye);
  const eye: Vector = [x + (position[0] ?? 0), y + (position[1] ?? 0), z + (position[2] ?? 0)];
  return { eye, right: turn(view.right), down: turn(view.down), ahead: turn(view.ahead) };
}

/** The axes as a unit quaternion x, y, z, w (for rotations whose trace is above −1, as both cameras' are). */
export function quaternionOf({ right, down, ahead }: Viewpoint): readonly [number, number, number, number] {
  const w = Math.sqrt(Math.max(1e-12, 1 + right[0] + down[1] + ahead[2])) / 2;
  return [(down[2] - ahead[1]) / (4 * w), (ahead[0] - right[2]) / (4 * w), (right[1] - down[0]) / (4 * w), w];
}

export function dot(a: Vector, b: Vector): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function cross(a: Vector, b: Vector): Vector {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

export function normalized(v: Vector): Vector {
  const length = Math.hypot(...v);
  return [v[0] / length, v[1] / length, v[2] / length];
}
