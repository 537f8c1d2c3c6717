/**
 * The demo's two cameras: what the world looks like from the side and from the wrist, as JPEG.
 *
 * The bodies here are what the physics world has, dressed up: no picture shows what is not there.
 */
import sharp from "sharp";
import { boxMesh, cylinderMesh, latheMesh, type Mesh } from "./mesh.ts";
import { type Colour, type Placement, Raster } from "./raster.ts";
import type { Simulation, WorldState } from "./simulation.ts";
import { carried, SCENE_VIEW, WRIST_MOUNT } from "./viewpoint.ts";
import { CUP_HEIGHT_M, CUP_RADIUS_M, FOREARM_M, HAND_M, PALM_M, SHOULDER_HEIGHT_M, UPPER_ARM_M } from "./world.ts";

export type CameraName = "scene" | "wrist";

export const IMAGE_WIDTH = 320;
export const IMAGE_HEIGHT = 240;
const JPEG_QUALITY = 82;

type Part = { readonly body: string; readonly mesh: Mesh; readonly colour: Colour };

const ORANGE: Colour = [244, 122, 42];
const DARK: Colour = [58, 62, 70];
const STEEL: Colour = [190, 196, 204];
const RUBBER: Colour = [36, 36, 40];
const CUP: Colour = [38, 110, 196];
const CUP_BAND: Colour = [246, 246, 240];
const CUP_INSIDE: Colour = [226, 228, 230];
const COFFEE: Colour = [74, 44, 26];

const PARTS: readonly Part[] = [
  {
    body: "world",
    colour: DARK,
    mesh: latheMesh([
      [0.075, 0],
      [0.075, 0.02],
      [0.05, 0.03],
      [0.045, 0.17],
      [0, 0.17],
    ]),
  },
  { body: "turret", colour: STEEL, mesh: cylinderMesh(0.055, 0.17 - SHOULDER_HEIGHT_M, 0) },
  { body: "turret", colour: DARK, mesh: cylinderMesh(0.045, -0.055, 0.055, "y") },
  { body: "upper_arm", colour: ORANGE, mesh: boxMesh([0.026, 0.03, UPPER_ARM_M / 2], [0, 0, UPPER_ARM_M / 2]) },
  { body: "forearm", colour: DARK, mesh: cylinderMesh(0.036, -0.042, 0.042, "y") },
  { body: "forearm", colour: ORANGE, mesh: boxMesh([0.02, 0.024, FOREARM_M / 2], [0, 0, FOREARM_M / 2]) },
  { body: "wrist", colour: DARK, mesh: cylinderMesh(0.028, -0.034, 0.034, "y") },
  { body: "hand", colour: STEEL, mesh: cylinderMesh(0.026, -0.03, 0.015) },
  { body: "hand", colour: DARK, mesh: boxMesh([0.022, 0.058, (PALM_M - 0.045) / 2], [0, 0, (PALM_M - 0.015) / 2]) },
  ...fingerParts("finger_l", 1),
  ...fingerParts("finger_r", -1),
  ...cupParts(),
];

function fingerParts(body: string, side: 1 | -1): readonly Part[] {
  const knuckle = PALM_M - HAND_M; // the palm's face, seen from between the pads
  return [
    { body, colour: STEEL, mesh: boxMesh([0.01, 0.005, -knuckle / 2 + 0.008], [0, side * 0.014, knuckle / 2 + 0.008]) },
    { body, colour: RUBBER, mesh: boxMesh([0.011, 0.005, 0.016], [0, side * 0.005, 0]) },
  ];
}

/** As wide and high as the cylinder that collides; its hollow is shallow, for it is full. */
function cupParts(): readonly Part[] {
  const [r, h] = [CUP_RADIUS_M, CUP_HEIGHT_M / 2];
  const wall = r - 0.003;
  return [
    {
      body: "cup",
      colour: CUP,
      mesh: latheMesh([
        [0, -h],
        [r, -h],
        [r, -h + 0.034],
      ]),
    },
    {
      body: "cup",
      colour: CUP_BAND,
      mesh: latheMesh([
        [r, -h + 0.034],
        [r, -h + 0.05],
      ]),
    },
    {
      body: "cup",
      colour: CUP,
      mesh: latheMesh([
        [r, -h + 0.05],
        [r, h],
        [wall, h],
      ]),
    },
    {
      body: "cup",
      colour: CUP_INSIDE,
      mesh: latheMesh([
        [wall, h],
        [wall, h - 0.014],
      ]),
    },
    {
      body: "cup",
      colour: COFFEE,
      mesh: latheMesh([
        [wall, h - 0.014],
        [0, h - 0.014],
      ]),
    },
  ];
}

const FIELD_OF_VIEW = { scene: 0.8, wrist: 1.15 } as const;
const WORLD_PLACEMENT: Placement = { rotation: [1, 0, 0, 0, 1, 0, 0, 0, 1], position: [0, 0, 0] };

export class Cameras {
  readonly #bodyIds: ReadonlyMap<string, number>;
  readonly #rasters: Readonly<Record<CameraName, Raster>>;

  private constructor(bodyIds: ReadonlyMap<string, number>) {
    this.#bodyIds = bodyIds;
    this.#rasters = {
      scene: new Raster(IMAGE_WIDTH, IMAGE_HEIGHT, FIELD_OF_VIEW.scene),
      wrist: new Raster(IMAGE_WIDTH, IMAGE_HEIGHT, FIELD_OF_VIEW.wrist),
    };
  }

  static open(simulation: Pick<Simulation, "bodyId">): Cameras {
    const bodies = new Set(PARTS.map((part) => part.body).filter((body) => body !== "world"));
    return new Cameras(new Map([...bodies].map((body) => [body, simulation.bodyId(body)])));
  }

  /** Draws at once and compresses on the side: the state may change as soon as this returns. */
  capture(camera: CameraName, state: WorldState): Promise<Uint8Array> {
    const raster = this.#rasters[camera];
    const { rotation, position } = state.hand;
    const isStill = camera === "scene";
    raster.begin(isStill ? SCENE_VIEW : carried(WRIST_MOUNT, rotation, position), isStill);
    for (const { mesh, body } of PARTS) raster.shade(mesh, this.#placementOf(body, state));
    for (const { mesh, body, colour } of PARTS) raster.draw(mesh, this.#placementOf(body, state), colour);
    const raw = { width: IMAGE_WIDTH, height: IMAGE_HEIGHT, channels: 3 } as const;
    return sharp(raster.pixels.slice(), { raw }).jpeg({ quality: JPEG_QUALITY }).toBuffer();
  }

  #placementOf(body: string, state: WorldState): Placement {
    const id = this.#bodyIds.get(body);
    if (id === undefined) return WORLD_PLACEMENT;
    return {
      rotation: state.bodyRotations.subarray(id * 9, id * 9 + 9),
      position: state.bodyPositions.subarray(id * 3, id * 3 + 3),
    };
  }
}
