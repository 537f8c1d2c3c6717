import sharp from "sharp";
import { beforeAll, expect, test } from "vitest";
import { solveJoints } from "../../src/demo/kinematics.ts";
import { Cameras, IMAGE_HEIGHT, IMAGE_WIDTH } from "../../src/demo/scene.ts";
import { Simulation } from "../../src/demo/simulation.ts";

let simulation: Simulation;
beforeAll(async () => {
  simulation = await Simulation.open();
});

/** Over a cup that stands at x, y. */
function graspAt(x: number, y: number): void {
  simulation.placeArm(solveJoints({ yaw: Math.atan2(y, x), radius: Math.hypot(x, y), height: 0.12 }));
  simulation.placeCup(x, y);
}

/** The middle and the number of the pixels that are blue as the cup is. */
async function findCup(jpeg: Uint8Array): Promise<{ column: number; count: number }> {
  const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true });
  expect(info).toMatchObject({ format: "raw", width: IMAGE_WIDTH, height: IMAGE_HEIGHT, channels: 3 });
  let [sum, count] = [0, 0];
  for (let at = 0; at < data.length; at += 3) {
    const [red = 0, green = 0, blue = 0] = data.subarray(at, at + 3);
    if (blue < red + 60 || blue < green + 30) continue;
    sum += (at / 3) % IMAGE_WIDTH;
    count += 1;
  }
  return { column: sum / count, count };
}

test("both cameras give JPEG pictures in which the cup is seen", async () => {
  graspAt(0.3, 0);
  const cameras = Cameras.open(simulation);
  for (const camera of ["scene", "wrist"] as const) {
    const jpeg = await cameras.capture(camera, simulation.state());
    expect([...jpeg.subarray(0, 3)]).toEqual([0xff, 0xd8, 0xff]);
    expect([...jpeg.subarray(-2)]).toEqual([0xff, 0xd9]);
    expect((await sharp(jpeg).metadata()).format).toBe("jpeg");
    expect((await findCup(jpeg)).count).toBeGreaterThan(300);
  }
});

test("the scene camera sees the cup move, and the wrist camera keeps it before the hand", async () => {
  const cameras = Cameras.open(simulation);
  const columns: Record<"scene" | "wrist", number[]> = { scene: [], wrist: [] };
  for (const y of [-0.2, 0.2]) {
    graspAt(0.25, y);
    for (const camera of ["scene", "wrist"] as const)
      columns[camera].push((await findCup(await cameras.capture(camera, simulation.state()))).column);
  }
  expect((columns.scene[1] ?? 0) - (columns.scene[0] ?? 0)).toBeGreaterThan(60);
  for (const column of columns.wrist) expect(column).toBeCloseTo(IMAGE_WIDTH / 2, -1);
});

test("a picture does not depend on the one before it", async () => {
  graspAt(0.3, 0.1);
  const [fresh, used] = [Cameras.open(simulation), Cameras.open(simulation)];
  graspAt(0.25, -0.2);
  await used.capture("scene", simulation.state());
  graspAt(0.3, 0.1);
  const [first, second] = [
    await fresh.capture("scene", simulation.state()),
    await used.capture("scene", simulation.state()),
  ];
  expect(Buffer.from(first).equals(second)).toBe(true);
});
