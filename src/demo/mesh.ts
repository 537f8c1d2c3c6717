/** Triangle meshes of simple bodies. Triangles run counter-clockwise seen from outside; lengths in metres. */

export type Mesh = {
  readonly points: Float32Array;
  /** Unit vectors, one a point. */
  readonly normals: Float32Array;
  readonly triangles: Uint16Array;
};

type Point = readonly [number, number, number];

/** A box about a centre, by half sizes. */
export function boxMesh(half: Point, centre: Point): Mesh {
  const points: number[] = [];
  const normals: number[] = [];
  const triangles: number[] = [];
  for (let axis = 0; axis < 3; axis++) {
    for (const side of [1, -1]) {
      const base = points.length / 3;
      for (const [p, q] of [
        [-1, -1],
        [1, -1],
        [1, 1],
        [-1, 1],
      ] as const) {
        const corner = [0, 0, 0];
        corner[axis] = side;
        corner[(axis + 1) % 3] = p * side;
        corner[(axis + 2) % 3] = q;
        points.push(...corner.map((value, index) => value * (half[index] ?? 0) + (centre[index] ?? 0)));
        normals.push(...[0, 1, 2].map((index) => (index === axis ? side : 0)));
      }
      triangles.push(base, base + 1, base + 2, base, base + 2, base + 3);
    }
  }
  return meshFrom(points, normals, triangles);
}

/** A profile of (radius, height) points, turned about the z axis; the body is on the left of the profile's way. */
export function latheMesh(profile: readonly (readonly [radius: number, z: number])[], sides = 20): Mesh {
  const points: number[] = [];
  const normals: number[] = [];
  const triangles: number[] = [];
  for (let piece = 0; piece + 1 < profile.length; piece++) {
    const [r1 = 0, z1 = 0] = profile[piece] ?? [];
    const [r2 = 0, z2 = 0] = profile[piece + 1] ?? [];
    const length = Math.hypot(r2 - r1, z2 - z1) || 1;
    const [out, up] = [(z2 - z1) / length, (r1 - r2) / length];
    const base = points.length / 3;
    for (let side = 0; side <= sides; side++) {
      const [cosine, sine] = [Math.cos((side / sides) * 2 * Math.PI), Math.sin((side / sides) * 2 * Math.PI)];
      points.push(r1 * cosine, r1 * sine, z1, r2 * cosine, r2 * sine, z2);
      for (let end = 0; end < 2; end++) normals.push(out * cosine, out * sine, up);
      if (side < sides) {
        const at = base + side * 2;
        triangles.push(at, at + 2, at + 1, at + 1, at + 2, at + 3);
      }
    }
  }
  return meshFrom(points, normals, triangles);
}

/** A solid cylinder along z, or along y. */
export function cylinderMesh(radius: number, from: number, to: number, axis: "y" | "z" = "z"): Mesh {
  const upright = latheMesh([
    [0, from],
    [radius, from],
    [radius, to],
    [0, to],
  ]);
  return axis === "z" ? upright : { ...upright, points: tipped(upright.points), normals: tipped(upright.normals) };
}

/** Turns z towards y about the x axis. */
function tipped(vectors: Float32Array): Float32Array {
  return vectors.map((value, index) => {
    if (index % 3 === 0) return value;
    return index % 3 === 1 ? (vectors[index + 1] ?? 0) : -(vectors[index - 1] ?? 0);
  });
}

function meshFrom(points: readonly number[], normals: readonly number[], triangles: readonly number[]): Mesh {
  return {
    points: Float32Array.from(points),
    normals: Float32Array.from(normals),
    triangles: Uint16Array.from(triangles),
  };
}
