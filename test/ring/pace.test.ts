import { expect, test } from "vitest";
import { CAMERA, channel, LIGHT, noise, Rig, type RigOptions } from "./ring-rig.ts";

const MIB = 1024 * 1024;
const OPTIONS: RigOptions = {
  classes: [
    { ...LIGHT, diskShareMax: 0.7 },
    { ...CAMERA, tier: "disk", diskShareMax: 0.2 },
  ],
  bytesMax: 64 * MIB,
};

/** Joints that compress to about half at 20 Hz, and images that do not at 2 Hz. */
function run(rig: Rig, seconds: number): void {
  for (let tick = 0; tick < seconds * 20; tick += 1) {
    rig.send(1, Buffer.concat([noise(500, rig.sent.length), Buffer.alloc(500)]));
    if (tick % 10 === 0) rig.send(2, noise(50_000, rig.sent.length));
    rig.clock.advanceMs(50);
    rig.flush();
    if (tick % 10 === 9) rig.ring.commit();
  }
}

function rigOf(options = OPTIONS): Rig {
  const rig = new Rig(options);
  rig.addChannel(channel(1, "/joint_states", "light"));
  rig.addChannel(channel(2, "/camera", "camera"));
  return rig;
}

function classOf(rig: Rig, name: string) {
  const found = rig.ring.status().classes.find(({ className }) => className === name);
  if (found === undefined) throw new Error(`no class ${name}`);
  return found;
}

test("after a minute the ring says how fast each class fills it, how well it compresses, how far back it will reach", () => {
  using rig = rigOf();
  run(rig, 30);
  expect(classOf(rig, "light")).toMatchObject({ bytesPerS: undefined, forecastMs: undefined });
  run(rig, 60);
  const light = classOf(rig, "light");
  const camera = classOf(rig, "camera");
  expect(light.compressionRatio).toBeGreaterThan(0.45);
  expect(light.compressionRatio).toBeLessThan(0.6);
  expect(camera.compressionRatio).toBe(1);
  // Two images a second, of thirteen slots in a segment file each.
  expect(Math.abs((camera.bytesPerS ?? 0) - 2 * 13 * 4096)).toBeLessThan(6_000);
  expect(Math.abs((light.bytesPerS ?? 0) - 11_000)).toBeLessThan(1_000);
  // Not full yet, and neither class has a bound of its own: a fifth of 63 MiB at 106 kB/s is two minutes.
  expect(Math.abs((camera.forecastMs ?? 0) / 1000 - 0.2 * 63 * 10.5)).toBeLessThan(20);
});

test("the forecast comes true", { timeout: 60_000 }, () => {
  const bytesMax = 6 * MIB;
  using rig = rigOf({ ...OPTIONS, bytesMax, segmentBytes: 64 * 1024 });
  const settleFor = (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      run(rig, 1);
      while (rig.ring.step(50)) {}
    }
  };
  settleFor(90);
  const forecast = ["light", "camera"].map((name) => classOf(rig, name).forecastMs ?? 0);
  settleFor(450);
  const reached = ["light", "camera"].map((name) => {
    const { oldestNs = 0n, newestNs = 0n } = classOf(rig, name);
    return Number(newestNs - oldestNs) / 1e6;
  });
  reached.forEach((ms, index) => void expect(Math.abs(ms / (forecast[index] ?? 0) - 1)).toBeLessThan(0.15));
});

test("rates go on over a restart, and a pause is no slow recording", () => {
  using rig = rigOf();
  run(rig, 90);
  const before = classOf(rig, "camera").bytesPerS ?? 0;
  using again = rig.reopen(OPTIONS, () => {});
  expect(classOf(again, "camera").bytesPerS).toBeDefined();
  again.clock.advanceMs(3_600_000);
  run(again, 10);
  expect(Math.abs((classOf(again, "camera").bytesPerS ?? 0) / before - 1)).toBeLessThan(0.1);
});
