/** The books of a ring against a plain list of what was sent: every message has one fate, whatever happens to it. */
import { cpSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { TopicCounts } from "../../src/model/accounting.ts";
import { SEQUENCE_SLACK } from "../../src/ring/message-record.ts";
import { realSegmentIo, type SegmentIo } from "../../src/ring/segment-io.ts";
import { auditRing } from "../support/audit.ts";
import { brokenIdentities, channel, LIGHT, MS, noise, Rig, type RigOptions, topicClass } from "./ring-rig.ts";

const MIB = 1024 * 1024;
const CAMERA = topicClass("camera", { memoryMs: 3000, memoryBytesMax: 600_000, baselineHz: 4 });
const CLOUD = topicClass("cloud", { tier: "disk", rank: 3, memoryBytesMax: 0 });
const CHANNELS = [
  channel(1, "/joints", "light"),
  channel(2, "/camera", "camera"),
  channel(3, "/camera", "camera", { messageEncoding: "ros1" }),
  channel(4, "/cloud", "cloud"),
];

class Model {
  rig: Rig;
  boot = 1;
  readonly holds = new Map<string, { startNs: bigint; endNs: bigint; bootId: string }>();
  /** What was sent on each topic, in order, and how many of it a kill took before it was counted. */
  readonly sentBytes = new Map<string, number[]>();
  readonly lost = new Map<string, { count: number; bytes: number }>();
  /** How many of each topic were committed for certain. */
  readonly committed = new Map<string, number>();
  isFull = false;
  doesSyncFail = false;
  seed = 0;

  constructor() {
    this.rig = new Rig(this.options());
    for (const added of CHANNELS) this.rig.addChannel(added);
  }

  options(): RigOptions {
    return {
      ...{ classes: [LIGHT, CAMERA, CLOUD], bytesMax: 3 * MIB, segmentBytes: 256 * 1024, inlineBytesMax: 8 * 1024 },
      ...{ backlogBytesMax: 300_000, bootId: `boot-${this.boot}`, io: this.#io() },
    };
  }

  publish(channelId: number, sizeBytes: number, count: number): void {
    const topic = this.rig.topicOf(channelId);
    for (let index = 0; index < count; index += 1) {
      this.seed += 1;
      const bytes = noise(Math.floor(sizeBytes * (1 + (this.seed % 7) / 7)), this.seed);
      const isStored = this.rig.send(channelId, bytes) === "stored";
      expect(isStored, "the pool is large enough").toBe(true);
      this.sentBytes.set(topic, [...(this.sentBytes.get(topic) ?? []), bytes.length]);
      this.rig.clock.advanceMs(11);
    }
    this.rig.flush();
  }

  commit(): void {
    this.rig.builder.flushAll();
    this.rig.ring.commit();
    if (!this.rig.ledger.isDirty)
      for (const [topic, sent] of this.sentBytes)
        this.committed.set(topic, sent.length - (this.lost.get(topic)?.count ?? 0));
  }

  hold(id: string, backMs: number): void {
    const range = { startNs: this.rig.nowNs - BigInt(backMs) * MS, endNs: this.rig.nowNs };
    this.holds.set(id, { ...range, bootId: `boot-${this.boot}` });
    this.rig.ring.hold(id, range.startNs, range.endNs);
    this.rig.ring.promote(range.startNs, range.endNs, range.endNs);
  }

  release(id: string): void {
    this.rig.ring.release(id);
    this.holds.delete(id);
  }

  giveUp(): void {
    this.rig.ring.giveUp(this.rig.nowNs - 1000n * MS, this.rig.nowNs);
  }

  /** A chunk, whichever it is, is found to be damaged. */
  quarantine(pick: number): void {
    using reader = this.rig.open();
    const ids = [...reader.chunks({ startNs: 0n, endNs: 2n ** 62n })].map(({ id }) => id);
    const id = ids[pick % Math.max(1, ids.length)];
    if (id !== undefined) this.rig.ring.quarantine(id, "a test says so");
  }

  restart(isNewBoot: boolean): void {
    this.rig.builder.flushAll();
    if (isNewBoot) this.boot += 1;
    this.isFull = false;
    this.doesSyncFail = false; // what a disk refuses at the very end ends as a kill does
    this.#hasReopened(this.rig.reopen(this.options()));
  }

  /** What is on disk at this instant is all there is. */
  kill(isNewBoot: boolean): void {
    const folder = mkdtempSync(join(tmpdir(), "lode-ring-"));
    cpSync(this.rig.folder, folder, { recursive: true, filter: (path) => !path.endsWith("-shm") });
    expect(auditRing(folder), "at the kill").toEqual([]);
    const nowNs = this.rig.nowNs + 60_000n * MS;
    this.rig.remove();
    if (isNewBoot) this.boot += 1;
    this.isFull = false;
    this.#hasReopened(new Rig(this.options(), folder, nowNs));
    const counted = this.totals();
    for (const [topic, sent] of this.sentBytes) {
      const { received = 0, receivedBytes = 0 } = counted.get(topic) ?? {};
      expect(received, `${topic}: what was committed is counted`).toBeGreaterThanOrEqual(
        this.committed.get(topic) ?? 0,
      );
      const bytes = sent.reduce((sum, size) => sum + size, 0);
      this.lost.set(topic, { count: sent.length - received, bytes: bytes - receivedBytes });
    }
  }

  /** Over all boots. */
  totals(): Map<string, TopicCounts> {
    const { ledger, ring } = this.rig;
    const totals = new Map<string, TopicCounts>();
    for (const bootId of ledger.bootIds())
      for (const counts of ledger.snapshot(ring.heldAmounts(bootId), bootId)) {
        const sum: Record<string, unknown> = { ...counts };
        for (const [name, value] of Object.entries(totals.get(counts.topic) ?? {}))
          if (typeof value === "number") sum[name] = value + Number(sum[name]);
        totals.set(counts.topic, sum as TopicCounts);
      }
    return totals;
  }

  check(): void {
    this.commit();
    expect(brokenIdentities(this.rig)).toEqual([]);
    const readable = new Map<string, number>();
    for (const { channelId } of this.rig.readAll()) {
      const topic = this.rig.topicOf(channelId);
      readable.set(topic, (readable.get(topic) ?? 0) + 1);
    }
    for (const [topic, counts] of this.totals()) {
      const sent = this.sentBytes.get(topic) ?? [];
      const lost = this.lost.get(topic) ?? { count: 0, bytes: 0 };
      expect(counts.received, `${topic} received`).toBe(sent.length - lost.count);
      const bytes = sent.reduce((sum, size) => sum + size, 0);
      expect(counts.receivedBytes, `${topic} bytes received`).toBe(bytes - lost.bytes);
      if (!this.rig.ledger.isDirty)
        expect(counts.stored - counts.evicted, `${topic} can be read`).toBe(readable.get(topic) ?? 0);
      for (const [name, value] of Object.entries(counts))
        if (typeof value === "number") expect(value, `${topic} ${name}`).toBeGreaterThanOrEqual(0);
    }
    expect(auditRing(this.rig.folder)).toEqual([]);
  }

  #hasReopened(rig: Rig): void {
    this.rig = rig;
    const known = new Set(rig.ring.channels.map(({ id }) => id));
    for (const added of CHANNELS) if (!known.has(added.id)) rig.addChannel(added);
    for (const [id, { startNs, endNs, bootId }] of this.holds) rig.ring.hold(id, startNs, endNs, bootId);
  }

  #io(): SegmentIo {
    const real = realSegmentIo(undefined);
    const refuseIf = (does: boolean) => {
      if (does) throw Object.assign(new Error("the disk refuses"), { code: "EIO" });
    };
    return {
      open: real.open,
      preallocate: (fd, sizeBytes) => {
        refuseIf(this.isFull);
        real.preallocate(fd, sizeBytes);
      },
      write: (fd, buffers, offset) => {
        refuseIf(this.isFull);
        real.write(fd, buffers, offset);
      },
      sync: (fd) => {
        const doesFail = this.doesSyncFail;
        this.doesSyncFail = false;
        refuseIf(doesFail);
        real.sync(fd);
      },
    };
  }
}

type Action = (model: Model) => void;
const act = (action: Action): Action => action;

const publish = fc
  .record({
    id: fc.constantFrom(1, 2, 2, 3, 4),
    size: fc.integer({ min: 0, max: 20_000 }),
    count: fc.integer({ min: 1, max: 40 }),
  })
  .map(({ id, size, count }) => act((model) => model.publish(id, id === 1 ? size % 600 : size, count)));
const hold = fc
  .record({ id: fc.constantFrom("a", "b"), backMs: fc.integer({ min: 0, max: 2500 }) })
  .map(({ id, backMs }) => act((model) => model.hold(id, backMs)));
const others = fc.constantFrom<Action>(
  (model) => model.commit(),
  (model) => model.rig.ring.step(5),
  (model) => model.release("a"),
  (model) => model.release("b"),
  (model) => model.rig.ring.setFullRate(true),
  (model) => model.rig.ring.setFullRate(false),
  (model) => model.giveUp(),
  (model) => model.check(),
);
const faults = fc.oneof(
  fc.boolean().map((isNewBoot) => act((model) => model.restart(isNewBoot))),
  fc.boolean().map((isNewBoot) => act((model) => model.kill(isNewBoot))),
  fc.nat().map((pick) => act((model) => model.quarantine(pick))),
  fc.boolean().map((isFull) =>
    act((model) => {
      model.isFull = isFull;
    }),
  ),
  fc.constant(
    act((model) => {
      model.doesSyncFail = true;
    }),
  ),
);
const action = fc.oneof(
  { weight: 6, arbitrary: publish },
  { weight: 1, arbitrary: hold },
  { weight: 3, arbitrary: others },
  { weight: 2, arbitrary: faults },
);

test("every message has one fate and its bytes are counted with it: over kills, restarts, refusals, damage", () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 5, maxLength: 50 }), (actions) => {
      const model = new Model();
      try {
        for (const one of actions) {
          one(model);
          expect(brokenIdentities(model.rig)).toEqual([]);
        }
        model.check();
      } finally {
        model.rig.remove();
      }
    }),
    { numRuns: Number(process.env.LODE_ACCOUNTING_RUNS ?? 40), seed: 11 },
  );
}, 600_000);

test("each restart within a boot gives messages other numbers, whatever a killed process had given", () => {
  let rig = new Rig();
  rig.addChannel(channel(1, "/joints", "light"));
  rig.send(1, Buffer.from("x"));
  rig.settle();
  const floors: number[] = [];
  for (let restart = 0; restart < 4; restart += 1) {
    rig = rig.reopen();
    floors.push(rig.ring.lastSequences.get(1) ?? 0);
  }
  rig.remove();
  for (const [index, floor] of floors.entries())
    expect(floor).toBeGreaterThanOrEqual((floors[index - 1] ?? 1) + SEQUENCE_SLACK);
});

test("a crash's row reaches back to the oldest chunk that was owed to the disk", () => {
  const model = new Model();
  try {
    model.publish(1, 100, 50);
    model.isFull = true;
    const owedNs = model.rig.nowNs;
    for (let second = 0; second < 6; second += 1) {
      model.publish(4, 1000, 20);
      model.publish(1, 100, 70);
      model.commit();
    }
    model.kill(false);
    const [crash, ...more] = model.rig.ledger
      .losses(0n, 2n ** 62n)
      .filter(({ reason, topic }) => reason === "crash" && topic === "");
    expect(more).toEqual([]);
    expect(crash?.count).toBeUndefined();
    expect(crash?.startNs).toBeLessThanOrEqual(owedNs);
    expect(crash?.startNs).toBeGreaterThanOrEqual(owedNs - 2000n * MS);
    model.check();
  } finally {
    model.rig.remove();
  }
});
