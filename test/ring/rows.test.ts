import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { channel, LIGHT, noise, Rig, topicClass } from "./ring-rig.ts";

const RATES_HZ = [1, 2, 5, 10, 20, 50, 100];
const FLUSH_MS = 100;
const COMMIT_MS = 500;

test("a hundred quiet topics make at most a few rows a second, with cameras and clouds beside them", () => {
  const classes = [LIGHT, topicClass("camera", { rank: 50 }), topicClass("cloud", { rank: 60, baselineHz: 0.5 })];
  using rig = new Rig({ classes });
  const rateOf = new Map<number, number>();
  for (let id = 1; id <= 100; id += 1) {
    rateOf.set(id, RATES_HZ[id % RATES_HZ.length] ?? 1);
    rig.addChannel(channel(id, `/topic_${id}`, "light"));
  }
  for (const [id, className] of [
    [101, "camera"],
    [102, "camera"],
    [103, "camera"],
    [104, "cloud"],
  ] as const) {
    rateOf.set(id, 10);
    rig.addChannel(channel(id, `/heavy_${id}`, className));
  }
  for (let ms = 0; ms < 60_000; ms += 10) {
    for (const [id, hz] of rateOf) if (ms % (1000 / hz) === 0) rig.send(id, noise(id > 100 ? 20_000 : 530, id + ms));
    rig.clock.advanceMs(10);
    if (ms % FLUSH_MS === 0) rig.flush();
    if (ms % COMMIT_MS === 0) rig.ring.commit();
  }
  rig.settle();
  const db = new Database(join(rig.folder, "ring.db"), { readonly: true });
  const rows = db.prepare<[], number>("SELECT count(*) FROM chunk").pluck().get() ?? 0;
  db.close();
  // Two of light topics, one or two of each heavy class's baseline.
  expect(rows / 60).toBeGreaterThan(2);
  expect(rows / 60).toBeLessThanOrEqual(5);
});
