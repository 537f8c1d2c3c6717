/**
 * The ring against a plain array: random appends, promotions, holds, retention, kills, restarts, boots and reads of
 * both tiers. A failure names the seed and the shortest list of actions that leads to it.
 */
import { deepStrictEqual, ok } from "node:assert";
import { cpSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { MemorySpool } from "../../src/ring/memory-spool.ts";
import { chunkKey, encodeMemoryChunk, encodeMemoryEnd } from "../../src/ring/memory-stream.ts";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { auditRing } from "../support/audit.ts";
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

/** Small, so that retention has to choose in nearly every history. */
const RING_BYTES = 1_500_000;
const SEGMENT_BYTES = 128 * 1024;
/** What the pages of a commit may add to what was foreseen for its rows. */
const COMMIT_BYTES = 4 * 1024;
const CAMERA = topicClass("camera", { memoryMs: 3000, memoryBytesMax: 600_000 });
const CLOUD = topicClass("cloud", { tier: "disk", rank: 3, memoryBytesMax: 0 });
const OPTIONS: RigOptions = {
  ...{ classes: [LIGHT, CAMERA, CLOUD], bytesMax: RING_BYTES, segmentBytes: SEGMENT_BYTES, inlineBytesMax: 8 * 1024 },
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
  /** Light messages that a commit acknowledged: only retention may take them, and counts what it takes. */
  readonly committed = new Map<string, Known>();
  readonly holds = new Map<string, { readonly bootId: string; startNs: bigint; endNs: bigint }>();
  /** Light messages of this process that no commit has acknowledged. */
  #uncommitted: Known[] = [];
  seed = 0;
  isRestarted = false;
  boot = 1;

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
      const known = { key, channelId, logTimeNs };
      if (this.rig.send(channelId, bytes) === "stored") {
        this.sent.set(key, known);
        if (channelId <= 2) this.#uncommitted.push(known);
      }
      this.rig.clock.advanceMs(7);
    }
    this.rig.flush();
  }

  hold(id: string, backMs: number): void {
    const window = {
      startNs: this.rig.nowNs - BigInt(backMs) * MS,
      endNs: this.rig.nowNs,
      bootId: `boot-${this.boot}`,
    };
    this.rig.builder.flushAll();
    this.commit();
    this.rig.ring.hold(id, window.startNs, window.endNs);
    this.rig.ring.promote(window.startNs, window.endNs, window.endNs);
    while (this.rig.ring.step(20)) {}
    if (!this.rig.ring.commit().isDurable) return;
    this.holds.set(id, window);
    const got = new Set(this.read().map(({ key }) => key));
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

  commit(): void {
    this.rig.builder.flushAll();
    if (!this.rig.ring.commit().isDurable) return;
    for (const known of this.#uncommitted.splice(0)) this.committed.set(known.key, known);
  }

  /** What is on its way to the disk of the last second is dropped, and no commit has it after all. */
  giveUp(): void {
    this.rig.ring.giveUp(this.rig.nowNs - 1000n * MS, this.rig.nowNs);
    this.#uncommitted = [];
  }

  restart(isNewBoot: boolean): void {
    this.isRestarted = true;
    if (isNewBoot) this.boot += 1;
    this.rig = this.rig.reopen(this.#options);
    this.#resume();
  }

  /** What lies in the files at this moment is all that a killed process leaves. */
  kill(isNewBoot: boolean): void {
    this.isRestarted = true;
    if (isNewBoot) this.boot += 1;
    const left = mkdtempSync(join(tmpdir(), "lode-model-"));
    cpSync(this.rig.folder, left, { recursive: true });
    const nowNs = this.rig.nowNs + 60_000n * MS;
    this.rig.remove();
    this.rig = new Rig(this.#options, left, nowNs);
    deepStrictEqual(auditRing(left), [], "an auditor agrees with what a kill left");
    this.#resume();
  }

  /** As capture does: the holds are in the journal and set again. */
  #resume(): void {
    this.#uncommitted = [];
    const known = new Set(this.rig.ring.channels.map(({ id }) => id)); // those that no commit had come with no message
    for (const added of CHANNELS) if (!known.has(added.id)) this.rig.addChannel(added);
    for (const [id, { startNs, endNs, bootId }] of this.holds) this.rig.ring.hold(id, startNs, endNs, bootId);
  }

  get #options(): RigOptions {
    return { ...OPTIONS, bootId: `boot-${this.boot}` };
  }

  read(): Known[] {
    return this.rig.readAll().map(({ channelId, logTimeNs, bytes }) => ({
      ...{ channelId, logTimeNs },
      key: describeMessage(channelId, logTimeNs, bytes),
    }));
  }

  async check(): Promise<void> {
    const got = this.read();
    const keys = new Set(got.map(({ key }) => key));
    deepStrictEqual(keys.size, got.length, "no message twice");
    deepStrictEqual(
      got.filter(({ key }) => !this.sent.has(key)),
      [],
      "nothing that was not sent",
    );
    deepStrictEqual(
      [...this.promised.values()].filter(({ key }) => !keys.has(key)),
      [],
      "nothing promised is missing",
    );
    const isSorted = got.every(({ logTimeNs }, index) => logTimeNs >= (got[index - 1]?.logTimeNs ?? 0n));
    ok(isSorted, "in order of log time");
    this.#checkCommitted(keys);
    await this.#checkBothTiers();
    deepStrictEqual(brokenIdentities(this.rig), [], "every message accounted for");
    const { diskBytes, memoryBytes } = this.rig.ring.status();
    ok(diskBytes <= RING_BYTES + SEGMENT_BYTES + COMMIT_BYTES, `within the bound on disk: ${diskBytes}`);
    ok(memoryBytes <= 600_000 + 300_000 + 300_000, `within the bound in memory: ${memoryBytes}`);
  }

  #checkCommitted(keys: ReadonlySet<string>): void {
    for (const { id, topic } of CHANNELS.slice(0, 2)) {
      const missing = [...this.committed.values()].filter(({ channelId, key }) => channelId === id && !keys.has(key));
      const boots = Array.from({ length: this.boot }, (_, index) => `boot-${index + 1}`);
      const counts = boots.flatMap((bootId) => this.rig.ledger.snapshot(new Map(), bootId));
      const evicted = counts.reduce((sum, count) => sum + (count.topic === topic ? count.evicted : 0), 0);
      ok(missing.length <= evicted, `of ${topic} ${missing.length} are missing, ${evicted} evicted`);
    }
  }

  /** Of this boot exactly what is counted as in memory, or stored and not evicted, can be read. */
  async #checkBothTiers(): Promise<void> {
    const { rig } = this;
    const bootId = `boot-${this.boot}`;
    const memory = await MemorySpool.receive(memoryOf(rig), rig.folder);
    const onProblem = ({ reason }: { readonly reason: string }) => {
      throw new Error(reason);
    };
    using reader = RingReader.open(rig.folder, { memory, onProblem });
    const read = new Map<number, number>();
    for (const { channelId } of reader.messages({ startNs: 0n, endNs: 2n ** 62n, bootId }))
      read.set(channelId, (read.get(channelId) ?? 0) + 1);
    const counts = new Map(rig.ledger.snapshot().map((count) => [count.topic, count]));
    for (const { id, topic } of CHANNELS) {
      const { inMemory = 0, stored = 0, evicted = 0 } = counts.get(topic) ?? {};
      deepStrictEqual(read.get(id) ?? 0, inMemory + stored - evicted, `${topic} can be read as it is counted`);
    }
  }
}

async function* memoryOf(rig: Rig): AsyncGenerator<Uint8Array> {
  const { headers, completeUntilNs } = rig.ring.listMemory(0n, 2n ** 62n, () => true, rig.nowNs);
  const payloads = rig.ring.readMemory(headers.map(chunkKey), 0n, 2n ** 62n, Number.POSITIVE_INFINITY);
  for (const [index, header] of headers.entries()) yield* encodeMemoryChunk(header, payloads[index]);
  yield encodeMemoryEnd(completeUntilNs);
}

type Action = (model: Model) => unknown;

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
  (model) => model.commit(),
  (model) => model.rig.ring.step(5),
  (model) => model.giveUp(),
  (model) => model.restart(false),
  (model) => model.restart(true),
  (model) => model.kill(false),
  (model) => model.kill(true),
  (model) => model.check(),
);
const action = fc.oneof({ weight: 6, arbitrary: publish }, hold, release, fullRate, { weight: 3, arbitrary: others });

/** Throws at the first broken promise, with the seed and the actions that lead to it. */
export async function proveModel({ runs, seed }: { readonly runs: number; readonly seed: number }): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 60 }), async (actions) => {
      const model = new Model();
      try {
        for (const act of actions) {
          await act(model);
          deepStrictEqual(brokenIdentities(model.rig), []);
        }
        model.commit();
        await model.check();
        deepStrictEqual(auditRing(model.rig.folder), []);
        if (!model.isRestarted) deepStrictEqual(miscounts(model.rig), []);
      } finally {
        model.rig.remove();
      }
    }),
    { numRuns: runs, seed },
  );
}
