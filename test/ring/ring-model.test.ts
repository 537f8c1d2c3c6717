/** The ring against a plain array: random appends, promotions, holds, retention, kills and reads. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  brokenIdentities,
  channel,
  describeMessage,
  LIGHT,
  MS,
  miscounts,
  noise,
  Rig,
  type RigOptions,
  topicClass,
} from "./ring-rig.ts";

const MIB = 1024 * 1024;
const CAMERA = topicClass("camera", { memoryMs: 3000, memoryBytesMax: 600_000 });
const CLOUD = topicClass("cloud", { tier: "disk", rank: 3, memoryBytesMax: 0 });
const OPTIONS: RigOptions = {
  ...{ classes: [LIGHT, CAMERA, CLOUD], bytesMax: 3 * MIB, segmentBytes: 256 * 1024, inlineBytesMax: 8 * 1024 },
  backlogBytesMax: 300_000,
};
const CHANNELS = [
  channel(1, "/joints", "light"),
  channel(2, "/imu", "light"),
  channel(3, "/camera", "camera"),
  channel(4, "/cloud", "cloud"),
  channel(5, "/secret", "camera", { isLocal: true }),
];

type Known = { readonly key: string; readonly channelId: number; readonly logTimeNs: bigint };

/** What the ring promises, kept as an array: what was sent, and what nobody may take away. */
class Model {
  rig: Rig;
  readonly sent = new Map<string, Known>();
  /** Committed light messages and full windows under a hold: they must be there. */
  readonly promised = new Map<string, Known>();
  readonly holds = new Map<string, { startNs: bigint; endNs: bigint }>();
  seed = 0;
  isRestarted = false;

  constructor() {
    this.rig = new Rig(OPTIONS);
    for (const added of CHANNELS) this.rig.addChannel(added);
  }

  publish(channelId: number, sizeBytes: number, count: number): void {
    for (let index = 0; index < count; index += 1) {
      this.seed += 1;
      const bytes = this.seed % 3 === 0 ? Buffer.alloc(sizeBytes, `m${this.seed} `) : noise(sizeBytes, this.seed);
      const logTimeNs = this.rig.nowNs;
      const key = describeMessage(channelId, logTimeNs, bytes);
      if (this.rig.send(channelId, bytes) === "stored") this.sent.set(key, { key, channelId, logTimeNs });
      this.rig.clock.advanceMs(7);
    }
    this.rig.builder.flush(this.rig.nowNs);
  }

  hold(id: string, backMs: number): void {
    const window = { startNs: this.rig.nowNs - BigInt(backMs) * MS, endNs: this.rig.nowNs };
    this.rig.builder.flushAll();
    this.rig.ring.commit();
    const got = new Set(this.read().map(({ key }) => key));
    this.rig.ring.hold(id, window.startNs, window.endNs);
    this.rig.ring.promote(window.startNs, window.endNs, window.endNs);
    while (this.rig.ring.step(20)) {}
    if (!this.rig.ring.commit().isDurable) return;
    this.holds.set(id, window);
    for (const known of this.sent.values())
      if (got.has(known.key) && known.logTimeNs >= window.startNs && known.logTimeNs <= window.endNs)
        this.promised.set(known.key, known);
  }

  release(id: string): void {
    this.rig.ring.release(id);
    this.holds.delete(id);
    const windows = [...this.holds.values()];
    for (const { key, logTimeNs } of this.promised.values())
      if (!windows.some(({ startNs, endNs }) => logTimeNs >= startNs && logTimeNs <= endNs)) this.promised.delete(key);
  }

  /** As capture does: the holds are in the journal and set again. */
  restart(): void {
    this.isRestarted = true;
    this.rig = this.rig.reopen(OPTIONS);
    for (const [id, { startNs, endNs }] of this.holds) this.rig.ring.hold(id, startNs, endNs);
  }

  read(): Known[] {
    return this.rig.readAll().map(({ channelId, logTimeNs, bytes }) => ({
      ...{ channelId, logTimeNs },
      key: describeMessage(channelId, logTimeNs, bytes),
    }));
  }

  check(): void {
    const got = this.read();
    const keys = new Set(got.map(({ key }) => key));
    expect(keys.size, "no message twice").toBe(got.length);
    expect(
      got.filter(({ key }) => !this.sent.has(key)),
      "nothing that was not sent",
    ).toEqual([]);
    expect(
      [...this.promised.values()].filter(({ key }) => !keys.has(key)),
      "nothing promised is missing",
    ).toEqual([]);
    const isSorted = got.every(({ logTimeNs }, index) => logTimeNs >= (got[index - 1]?.logTimeNs ?? 0n));
    expect(isSorted, "in order of log time").toBe(true);
    expect(brokenIdentities(this.rig), "every message accounted for").toEqual([]);
    const { diskBytes, memoryBytes } = this.rig.ring.status();
    expect(diskBytes, "within the bound on disk").toBeLessThanOrEqual(3 * MIB + 256 * 1024);
    expect(memoryBytes, "within the bound in memory").toBeLessThanOrEqual(600_000 + 300_000 + 300_000);
  }
}

type Action = (model: Model) => void;

const publish = fc
  .record({
    id: fc.constantFrom(1, 2, 3, 4, 5),
    size: fc.integer({ min: 0, max: 30_000 }),
    count: fc.integer({ min: 1, max: 40 }),
  })
  .map(
    ({ id, size, count }): Action =>
      (model) =>
        model.publish(id, id <= 2 ? size % 600 : size, count),
  );
const hold = fc.record({ id: fc.constantFrom("a", "b"), backMs: fc.integer({ min: 0, max: 2500 }) }).map(
  ({ id, backMs }): Action =>
    (model) => {
      model.release(id);
      model.hold(id, backMs);
    },
);
const release = fc.constantFrom("a", "b").map(
  (id): Action =>
    (model) =>
      model.release(id),
);
const fullRate = fc.boolean().map(
  (isOn): Action =>
    (model) =>
      model.rig.ring.setFullRate(isOn),
);
const others = fc.constantFrom<Action>(
  (model) => model.rig.ring.commit(),
  (model) => model.rig.ring.step(5),
  (model) => model.rig.ring.giveUp(model.rig.nowNs - 1000n * MS, model.rig.nowNs),
  (model) => model.restart(),
  (model) => model.check(),
);
const action = fc.oneof({ weight: 6, arbitrary: publish }, hold, release, fullRate, { weight: 3, arbitrary: others });

test("whatever is asked of it, the ring gives back what it promised and nothing else", () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 5, maxLength: 60 }), (actions) => {
      const model = new Model();
      try {
        for (const act of actions) {
          act(model);
          expect(brokenIdentities(model.rig)).toEqual([]);
        }
        model.rig.builder.flushAll();
        model.rig.ring.commit();
        model.check();
        if (!model.isRestarted) expect(miscounts(model.rig)).toEqual([]);
      } finally {
        model.rig.remove();
      }
    }),
    { numRuns: 60, seed: 7 },
  );
}, 60_000);
