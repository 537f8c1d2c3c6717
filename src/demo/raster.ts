/**
 * A small z-buffer rasteriser: shaded triangles, a checkered ground and shadows on it, in plain memory.
 *
 * Light is one sun and some sky; a vertex has a brightness, a triangle a colour, both mixed along scan lines.
 * Depth is kept as 1/distance, which is linear on the screen. Triangles that reach behind the lens are left out.
 */
import type { Mesh } from "./mesh.ts";
import { dot, normalized, type Vector, type Viewpoint } from "./viewpoint.ts";

export type Colour = readonly [red: number, green: number, blue: number];

/** A rigid body's rotation (row major) and place. */
export type Placement = { readonly rotation: ArrayLike<number>; readonly position: ArrayLike<number> };

const NEAR_M = 0.02;
/** Towards the sun. */
const SUN = normalized([0.5, -0.75, 1]);
const SKY = 0.5;
const SHADOW = 0.55;
const TILE_M = 0.05;
const TILES: readonly [Colour, Colour] = [
  [222, 216, 204],
  [166, 158, 146],
];
const TABLE_HALF_M = 0.55;
const FLOOR: Colour = [70, 74, 82];
const HAZE: Colour = [128, 138, 150];

/** What is left of a picture when nothing stands on the table. */
type Ground = {
  readonly view: Viewpoint;
  readonly pixels: Uint8ClampedArray;
  readonly depths: Float32Array;
  readonly isShaded: Uint8Array;
};

export class Raster {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue of each pixel, row by row; valid until the next picture. */
  readonly pixels: Uint8ClampedArray;
  readonly #depths: Float32Array;
  readonly #isShaded: Uint8Array;
  readonly #focal: number;
  #view: Viewpoint = { eye: [0, 0, 0], right: [1, 0, 0], down: [0, 1, 0], ahead: [0, 0, 1] };
  #ground: Ground | undefined;
  /** Of the mesh being drawn: screen x, y, depth and brightness of each vertex. */
  #screen = new Float64Array(0);

  /** `fieldOfView`: horizontal, in radians. */
  constructor(width: number, height: number, fieldOfView: number) {
    this.width = width;
    this.height = height;
    this.pixels = new Uint8ClampedArray(width * height * 3);
    this.#depths = new Float32Array(width * height);
    this.#isShaded = new Uint8Array(width * height);
    this.#focal = width / 2 / Math.tan(fieldOfView / 2);
  }

  /** Starts a picture: sky, floor and the table's checkered top. A still camera's is painted once. */
  begin(view: Viewpoint, isStill: boolean): void {
    this.#view = view;
    if (this.#ground?.view === view) {
      this.pixels.set(this.#ground.pixels);
      this.#depths.set(this.#ground.depths);
      this.#isShaded.set(this.#ground.isShaded);
      return;
    }
    for (let row = 0; row < this.height; row++) this.#paintGroundRow(row);
    if (!isStill) return;
    const [pixels, depths, isShaded] = [this.pixels.slice(), this.#depths.slice(), this.#isShaded.slice()];
    this.#ground = { view, pixels, depths, isShaded };
  }

  /** The ray of each pixel meets the table's plane, or the floor and the haze beyond. */
  #paintGroundRow(row: number): void {
    const { eye, right, down, ahead } = this.#view;
    const v = (row + 0.5 - this.height / 2) / this.#focal;
    const [rowX, rowY, rowZ] = [ahead[0] + v * down[0], ahead[1] + v * down[1], ahead[2] + v * down[2]];
    const beyond = mixed(HAZE, FLOOR, Math.min(1, (row / this.height) * 1.6));
    let at = row * this.width;
    for (let column = 0; column < this.width; column++, at++) {
      const u = (column + 0.5 - this.width / 2) / this.#focal;
      const distance = -eye[2] / Math.min(-1e-6, rowZ + u * right[2]);
      const x = eye[0] + distance * (rowX + u * right[0]);
      const y = eye[1] + distance * (rowY + u * right[1]);
      const inside = TABLE_HALF_M - Math.max(Math.abs(x), Math.abs(y));
      this.#isShaded[at] = inside > 0 ? 0 : 1; // no shadow falls beside the table
      this.#depths[at] = inside > 0 ? 1 / distance : 0;
      if (inside > 0) this.#paintTable(at, x, y, distance, inside);
      else this.#paint(at, beyond, 1, 0);
    }
  }

  #paintTable(at: number, x: number, y: number, distance: number, inside: number): void {
    const sharpness = Math.min(24, (this.#focal * TILE_M) / distance);
    const light = tiles(x / TILE_M, sharpness) * tiles(y / TILE_M, sharpness) * 0.5 + 0.5;
    const [dark, pale] = TILES;
    const rim = 0.6 + 0.4 * Math.min(1, inside * 80);
    this.pixels[at * 3] = (dark[0] + (pale[0] - dark[0]) * light) * rim;
    this.pixels[at * 3 + 1] = (dark[1] + (pale[1] - dark[1]) * light) * rim;
    this.pixels[at * 3 + 2] = (dark[2] + (pale[2] - dark[2]) * light) * rim;
  }

  /** Darkens the table where a body keeps the sun off; call for all bodies before any is drawn. */
  shade(mesh: Mesh, placement: Placement): void {
    this.#project(mesh, placement, true);
    this.#scan(mesh, undefined);
  }

  draw(mesh: Mesh, placement: Placement, colour: Colour): void {
    this.#project(mesh, placement, false);
    this.#scan(mesh, colour);
  }

  #shadeSpan(from: number, to: number): void {
    for (let index = from; index <= to; index++) {
      if (this.#isShaded[index] === 1) continue;
      this.#isShaded[index] = 1;
      for (let channel = index * 3; channel < index * 3 + 3; channel++)
        this.pixels[channel] = (this.pixels[channel] ?? 0) * SHADOW;
    }
  }

  #drawSpan(from: number, to: number, colour: Colour, depth: number, depthStep: number, light: number, step: number) {
    let [near, bright] = [depth, light];
    for (let index = from; index <= to; index++, near += depthStep, bright += step) {
      if (near <= (this.#depths[index] ?? 0)) continue;
      this.#depths[index] = near;
      this.#paint(index, colour, Math.min(1, bright), Math.max(0, bright - 1) * 255);
    }
  }

  #paint(at: number, colour: Colour, brightness: number, gloss: number): void {
    this.pixels[at * 3] = colour[0] * brightness + gloss;
    this.pixels[at * 3 + 1] = colour[1] * brightness + gloss;
    this.pixels[at * 3 + 2] = colour[2] * brightness + gloss;
  }

  #project(mesh: Mesh, { rotation, position }: Placement, isShadow: boolean): void {
    const { points, normals } = mesh;
    if (this.#screen.length < (points.length / 3) * 4) this.#screen = new Float64Array((points.length / 3) * 4);
    const [r0, r1, r2, r3, r4, r5, r6, r7, r8] = nineOf(rotation);
    const [px = 0, py = 0, pz = 0] = Array.from(position);
    for (let i = 0; i * 3 < points.length; i++) {
      const x = points[i * 3] ?? 0;
      const y = points[i * 3 + 1] ?? 0;
      const z = points[i * 3 + 2] ?? 0;
      const [wx, wy, wz] = [
        r0 * x + r1 * y + r2 * z + px,
        r3 * x + r4 * y + r5 * z + py,
        r6 * x + r7 * y + r8 * z + pz,
      ];
      if (isShadow) {
        this.#place(i, wx - (SUN[0] / SUN[2]) * wz, wy - (SUN[1] / SUN[2]) * wz, 0);
        continue;
      }
      this.#place(i, wx, wy, wz);
      const nx = normals[i * 3] ?? 0;
      const ny = normals[i * 3 + 1] ?? 0;
      const nz = normals[i * 3 + 2] ?? 0;
      const { eye } = this.#view;
      this.#screen[i * 4 + 3] = brightnessOf(
        [r0 * nx + r1 * ny + r2 * nz, r3 * nx + r4 * ny + r5 * nz, r6 * nx + r7 * ny + r8 * nz],
        [eye[0] - wx, eye[1] - wy, eye[2] - wz],
      );
    }
  }

  /** A world point's place on the screen; a depth of −1 marks what is behind the lens. */
  #place(vertex: number, worldX: number, worldY: number, worldZ: number): void {
    const { eye, right, down, ahead } = this.#view;
    const x = worldX - eye[0];
    const y = worldY - eye[1];
    const z = worldZ - eye[2];
    const depth = x * ahead[0] + y * ahead[1] + z * ahead[2];
    const scale = this.#focal / depth;
    this.#screen[vertex * 4] = this.width / 2 + scale * (x * right[0] + y * right[1] + z * right[2]);
    this.#screen[vertex * 4 + 1] = this.height / 2 + scale * (x * down[0] + y * down[1] + z * down[2]);
    this.#screen[vertex * 4 + 2] = depth < NEAR_M ? -1 : 1 / depth;
  }

  /** Draws each triangle that faces the lens; without a colour it is a shadow, and all are drawn. */
  #scan(mesh: Mesh, colour: Colour | undefined): void {
    const s = this.#screen;
    const depthOf = (vertex: number): number => s[vertex + 2] ?? -1;
    for (let t = 0; t < mesh.triangles.length; t += 3) {
      const a = (mesh.triangles[t] ?? 0) * 4;
      const b = (mesh.triangles[t + 1] ?? 0) * 4;
      const c = (mesh.triangles[t + 2] ?? 0) * 4;
      if (depthOf(a) < 0 || depthOf(b) < 0 || depthOf(c) < 0) continue;
      this.#fill(a, b, c, colour);
    }
  }

  #fill(a: number, b: number, c: number, colour: Colour | undefined): void {
    const s = this.#screen;
    const ax = s[a] ?? 0;
    const ay = s[a + 1] ?? 0;
    const [abX, abY] = [(s[b] ?? 0) - ax, (s[b + 1] ?? 0) - ay];
    const [acX, acY] = [(s[c] ?? 0) - ax, (s[c + 1] ?? 0) - ay];
    const area = abX * acY - acX * abY;
    if (area === 0 || (colour !== undefined && area > 0)) return;
    // Depth and brightness are planes over the screen.
    const [az, al] = [s[a + 2] ?? 0, s[a + 3] ?? 0];
    const [abZ, acZ] = [(s[b + 2] ?? 0) - az, (s[c + 2] ?? 0) - az];
    const [abL, acL] = [(s[b + 3] ?? 0) - al, (s[c + 3] ?? 0) - al];
    const [depthX, depthY] = [(abZ * acY - acZ * abY) / area, (acZ * abX - abZ * acX) / area];
    const [lightX, lightY] = [(abL * acY - acL * abY) / area, (acL * abX - abL * acX) / area];
    const [bx, by, cx, cy] = [ax + abX, ay + abY, ax + acX, ay + acY];
    const top = Math.max(0, Math.ceil(Math.min(ay, by, cy) - 0.5));
    const bottom = Math.min(this.height - 1, Math.ceil(Math.max(ay, by, cy) - 0.5) - 1);
    for (let row = top; row <= bottom; row++) {
      const y = row + 0.5;
      const ab = crossing(ax, ay, bx, by, y);
      const bc = crossing(bx, by, cx, cy, y);
      const ca = crossing(cx, cy, ax, ay, y);
      // Of the three edges a scan line meets two; the third gives NaN, which both comparisons below refuse.
      const left = lesser(lesser(ab, bc), ca);
      const right = -lesser(lesser(-ab, -bc), -ca);
      const from = Math.max(0, Math.ceil(left - 0.5));
      const to = Math.min(this.width - 1, Math.ceil(right - 0.5) - 1);
      const rowAt = row * this.width;
      if (colour === undefined) this.#shadeSpan(rowAt + from, rowAt + to);
      else {
        const [dx, dy] = [from + 0.5 - ax, y - ay];
        const depth = az + depthX * dx + depthY * dy;
        this.#drawSpan(rowAt + from, rowAt + to, colour, depth, depthX, al + lightX * dx + lightY * dy, lightX);
      }
    }
  }
}

/** Where an edge meets a scan line; NaN if it does not. */
function crossing(x1: number, y1: number, x2: number, y2: number, y: number): number {
  return y1 <= y === y2 <= y ? Number.NaN : x1 + ((y - y1) / (y2 - y1)) * (x2 - x1);
}

/** The lesser of two, either of which may be NaN. */
function lesser(a: number, b: number): number {
  return a <= b || Number.isNaN(b) ? a : b;
}

function nineOf(
  values: ArrayLike<number>,
): readonly [number, number, number, number, number, number, number, number, number] {
  const at = (index: number): number => values[index] ?? 0;
  return [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)];
}

/** Lambert's law for the sun, a brighter sky above than below, and Blinn's highlight. */
function brightnessOf(normal: Vector, toEye: Vector): number {
  const sun = Math.max(0, dot(normal, SUN));
  const sky = SKY * (0.8 + 0.2 * normal[2]);
  const lit = Math.min(1, sky + sun * 0.6);
  if (sun === 0) return lit;
  const distance = Math.hypot(toEye[0], toEye[1], toEye[2]);
  const half = [SUN[0] + toEye[0] / distance, SUN[1] + toEye[1] / distance, SUN[2] + toEye[2] / distance] as const;
  return lit + Math.max(0, dot(normal, half) / Math.hypot(half[0], half[1], half[2])) ** 24 * 0.3;
}

/** A wave of squares between −1 and 1, one unit wide; `sharpness` in pixels a unit softens the edges. */
function tiles(x: number, sharpness: number): number {
  const phase = Math.abs(x - 2 * Math.round(x / 2)) - 0.5; // −0.5 … 0.5, zero at the edges
  return Math.max(-1, Math.min(1, phase * 2 * sharpness));
}

function mixed(a: Colour, b: Colour, share: number): Colour {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share];
}
