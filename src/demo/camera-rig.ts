/**
 * The robot's two cameras in simulated time: takes the pictures that fall due and publishes them when compressed.
 *
 * A picture shows the world at its stamp. At most `pendingMax` wait for the compressor; a camera that is due beyond
 * that skips the picture, as a camera driver does, and it is counted.
 */
import type { DemoRobot } from "./robot.ts";
import { type CameraName, Cameras } from "./scene.ts";

/** Of each camera. */
const CAMERA_HZ = 15;
const CAMERAS = ["scene", "wrist"] as const;

export class CameraRig {
  readonly #robot: DemoRobot;
  readonly #cameras: Cameras;
  readonly #pendingMax: number;
  readonly #pending = new Set<Promise<void>>();
  #taken = 0;
  #skipped = 0;

  private constructor(robot: DemoRobot, cameras: Cameras, pendingMax: number) {
    this.#robot = robot;
    this.#cameras = cameras;
    this.#pendingMax = pendingMax;
  }

  static open(robot: DemoRobot, pendingMax: number): CameraRig {
    return new CameraRig(robot, Cameras.open(robot), pendingMax);
  }

  get skippedCount(): number {
    return this.#skipped;
  }

  /** Call after each step of the robot. The cameras take turns. */
  step(): void {
    if (this.#robot.timeS * CAMERA_HZ * CAMERAS.length < this.#taken) return;
    const camera = CAMERAS[this.#taken % CAMERAS.length] ?? "scene";
    this.#taken += 1;
    if (this.#pending.size >= this.#pendingMax) this.#skipped += 1;
    else this.#take(camera);
  }

  /** Resolves when all pictures taken so far are published. */
  async settle(): Promise<void> {
    await Promise.all(this.#pending);
  }

  #take(camera: CameraName): void {
    const stampNs = this.#robot.nowNs();
    const published = this.#cameras
      .capture(camera, this.#robot.state())
      .then((jpeg) => this.#robot.publishImage(camera, jpeg, stampNs))
      .finally(() => this.#pending.delete(published));
    this.#pending.add(published);
  }
}
