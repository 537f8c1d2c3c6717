/** Wherever something must go, a flood of images costs images, counted with their reason, and nothing light. */
import { expect, test } from "vitest";
import type { RawChunk } from "../../src/model/chunk.ts";
import { BufferPool } from "../../src/ring/buffer-pool.ts";
import { ChunkBuilder } from "../../src/ring/chunk-builder.ts";
import { BrokenDisk } from "../support/broken-disk.ts";
import { isRoot, lacks } from "../support/needs.ts";
import { SmallDisk } from "../support/small-disk.ts";
import {
  brokenIdentities,
  countsOf,
  IMAGE,
  JOINTS,
  LIGHT,
  miscounts,
  noise,
  Rig,
  type RigOptions,
  STORED_CAMERA,
  topicClass,
} from "./ring-rig.ts";

const MIB = 1024 * 1024;
const IMAGE_BYTES = 40_000;

function rigOf(options: RigOptions, folder?: string): Rig {
  const rig = new Rig({ classes: [LIGHT, STORED_CAMERA], segmentBytes: MIB, ...options }, folder);
  rig.addChannel(JOINTS, IMAGE);
  return rig;
}

/** Joints at 20 Hz and 40 kB images at `imageHz`, and the store thread's tick. */
function flood(rig: Rig, seconds: number, imageHz = 20): void {
  for (let tick = 0; tick < seconds * 20; tick += 1) {
    rig.send(JOINTS.id, noise(500, rig.sent.length));
    for (let image = 0; image < imageHz / 20; image += 1) rig.send(IMAGE.id, noise(IMAGE_BYTES, rig.sent.length));
    rig.clock.advanceMs(50);
    rig.flush();
    rig.ring.step(20);
    if (tick % 10 === 9) rig.ring.commit();
  }
}

/** By the publisher's own list: nothing of it was dropped or evicted, and all of it can be read. */
function expectLightWhole(rig: Rig): void {
  expect(countsOf(rig, JOINTS.topic)).toMatchObject({ dropped: {}, reduced: 0, evicted: 0 });
  const read = rig.readAll().filter(({ channelId }) => channelId === JOINTS.id).length;
  expect(read).toBe(rig.sent.filter(({ channelId }) => channelId === JOINTS.id).length);
  expect(brokenIdentities(rig)).toEqual([]);
}

const imagesSent = (rig: Rig) => rig.sent.filter(({ channelId }) => channelId === IMAGE.id).length;

/** The store thread with ingest before it, at the pace of a slow disk. */
class Line implements Disposable {
  readonly rig = rigOf({});
  readonly pool = new BufferPool(16 * MIB);
  /** In the port between the threads. */
  #inPort: RawChunk[] = [];
  readonly #builder = new ChunkBuilder({
    pool: this.pool,
    onChunk: (chunk) => this.#inPort.push(chunk),
    onDrop: (id, reason, count, bytes, startNs, endNs) =>
      this.rig.ledger.drop({ topic: this.rig.topicOf(id), reason, startNs, endNs, count, bytes }),
  });
  readonly sent = { light: 0, image: 0 };
  dropped = 0;

  constructor() {
    this.#builder.addChannel(JOINTS, LIGHT);
    this.#builder.addChannel(IMAGE, STORED_CAMERA);
  }

  /** Joints at 20 Hz, images at 200 Hz (8 MB/s); of heavy chunks the disk takes so many a second. */
  run(seconds: number, heavyPerSecond: number): void {
    for (let tick = 0; tick < seconds * 20; tick += 1) {
      this.#send(JOINTS.id, noise(500, tick));
      for (let image = 0; image < 10; image += 1) this.#send(IMAGE.id, noise(IMAGE_BYTES, tick * 10 + image));
      this.rig.clock.advanceMs(50);
      if (tick % 10 === 0) this.#builder.flushAll();
      if (heavyPerSecond > 0 && tick % Math.round(20 / heavyPerSecond) === 0) this.takeOne();
      if (heavyPerSecond > 0 && tick % 10 === 9) this.rig.ring.commit();
    }
  }

  /** One turn of the store thread's event loop. */
  takeOne(): boolean {
    for (const chunk of this.#inPort.splice(0)) if (this.rig.ring.receive(chunk)) this.pool.give(chunk.buffer);
    const taken = this.rig.ring.appendNext();
    if (taken !== undefined) this.pool.give(taken.buffer);
    return taken !== undefined;
  }

  finish(): void {
    this.#builder.flushAll();
    while (this.takeOne()) {}
    this.rig.ring.commit();
  }

  #send(id: number, bytes: Uint8Array): void {
    const { nowNs } = this.rig;
    if (id === JOINTS.id) this.sent.light += 1;
    else this.sent.image += 1;
    if (this.#builder.append(id, nowNs, nowNs, bytes) === "dropped" && id === IMAGE.id) this.dropped += 1;
  }

  [Symbol.dispose](): void {
    this.rig[Symbol.dispose]();
  }
}

test("a store thread that is stuck: images are dropped before the queue is full, light ones never", () => {
  using line = new Line();
  line.run(20, 0);
  line.finish();
  expect(countsOf(line.rig, JOINTS.topic)).toMatchObject({ received: line.sent.light, stored: line.sent.light });
  const { received, stored, dropped } = countsOf(line.rig, IMAGE.topic);
  expect(received).toBe(line.sent.image);
  expect(dropped).toEqual({ queue_full: line.dropped });
  expect(line.dropped).toBeGreaterThan(1000);
  expect(stored).toBe(line.sent.image - line.dropped);
  expect(brokenIdentities(line.rig)).toEqual([]);
});

test("a disk slower than the images: light ones overtake them and are durable within their second", () => {
  using line = new Line();
  line.run(3, 1);
  for (let second = 0; second < 6; second += 1) {
    const sentBefore = line.sent.light;
    line.run(1, 1);
    expect(countsOf(line.rig, JOINTS.topic).stored).toBeGreaterThanOrEqual(sentBefore);
    expect(line.rig.readAll().filter(({ channelId }) => channelId === JOINTS.id).length).toBeGreaterThanOrEqual(
      sentBefore,
    );
  }
  // Everything of the last seconds' images still waits: nobody may take the window for whole.
  const { nowNs, ring } = line.rig;
  expect(ring.durabilityOf(nowNs - 2_000_000_000n, nowNs)).toBe("waiting");
  line.finish();
  expect(ring.durabilityOf(nowNs - 2_000_000_000n, nowNs)).toBe("durable");
  expect(countsOf(line.rig, JOINTS.topic)).toMatchObject({ stored: line.sent.light, dropped: {} });
  expect(countsOf(line.rig, IMAGE.topic).dropped).toEqual({ queue_full: line.dropped });
  expect(line.dropped).toBeGreaterThan(300);
});

test("the memory tier's budget: images are reduced, oldest first, and light data is not in it", () => {
  const camera = topicClass("camera", { rank: 50, memoryMs: 60_000, memoryBytesMax: 4 * MIB });
  using rig = rigOf({ classes: [LIGHT, camera] });
  flood(rig, 30);
  expect(rig.ring.status().memoryBytes).toBeLessThanOrEqual(4 * MIB);
  rig.settle();
  expectLightWhole(rig);
  const { received, inMemory, stored, reduced, dropped } = countsOf(rig, IMAGE.topic);
  expect(received).toBe(imagesSent(rig));
  expect(dropped).toEqual({});
  expect(reduced).toBe(imagesSent(rig) - inMemory - stored);
  expect(reduced).toBeGreaterThan(400);
});

/** A disk that takes nothing at all. */
function deadDisk(): BrokenDisk {
  const disk = new BrokenDisk("EIO");
  disk.refuses = true;
  return disk;
}

test("what a dead disk refuses: images that are held fill their part of what may wait, never the light ones' part", () => {
  const disk = deadDisk();
  // So small that joints go to segments, which the disk refuses.
  using rig = rigOf({ io: disk.io, inlineBytesMax: 100, backlogBytesMax: 2 * MIB });
  rig.ring.hold("episode", rig.nowNs, rig.nowNs + 5_000_000_000n);
  flood(rig, 60);
  expect(rig.ring.status()).toMatchObject({ isDiskRefusing: true });
  expect(rig.ring.status().backlogBytes).toBeLessThanOrEqual(2 * MIB);
  const { dropped } = countsOf(rig, IMAGE.topic);
  expect(dropped.disk_full).toBeGreaterThan(1000);
  disk.refuses = false;
  rig.settle();
  expectLightWhole(rig);
  expect(miscounts(rig)).toEqual([]);
  // Of the images that did not go, the held ones are what is left: they are worth more than newer ones.
  const left = rig.readAll().filter(({ channelId }) => channelId === IMAGE.id);
  expect(left.length).toBe(imagesSent(rig) - (countsOf(rig, IMAGE.topic).dropped.disk_full ?? 0));
  expect(left.every(({ logTimeNs }) => logTimeNs <= (rig.sent[0]?.logTimeNs ?? 0n) + 6_000_000_000n)).toBe(true);
});

test("light data that a dead disk refuses takes the memory tier's place before any of it goes", () => {
  const disk = deadDisk();
  const camera = topicClass("camera", { rank: 50, memoryMs: 600_000, memoryBytesMax: 3 * MIB, baselineHz: 0 });
  using rig = rigOf({ classes: [LIGHT, camera], io: disk.io, inlineBytesMax: 100, backlogBytesMax: 256 * 1024 });
  flood(rig, 10);
  expect(rig.ring.status().memoryBytes).toBeGreaterThan(2.5 * MIB);
  flood(rig, 140, 0); // 1.5 MB of joints
  expect(rig.ring.status().memoryBytes).toBeLessThanOrEqual(3.3 * MIB);
  expect(rig.ring.status().backlogBytes).toBeGreaterThan(MIB);
  disk.refuses = false;
  rig.settle();
  expectLightWhole(rig);
  expect(countsOf(rig, IMAGE.topic).dropped).toEqual({});
  expect(countsOf(rig, IMAGE.topic).reduced).toBeGreaterThan(100);
});

test("the ring's bound: images go, oldest first; held ones stay, and never take the last part, which is the light ones'", () => {
  using rig = rigOf({ bytesMax: 24 * MIB });
  flood(rig, 60);
  rig.settle();
  expectLightWhole(rig);
  expect(countsOf(rig, IMAGE.topic).evicted).toBeGreaterThan(600);
  expect(countsOf(rig, IMAGE.topic).dropped).toEqual({});
  // Everything there is and comes is held.
  rig.ring.hold("episode", 0n, 2n ** 62n);
  flood(rig, 20);
  expect(rig.ring.status().isDiskRefusing).toBe(true);
  const before = countsOf(rig, JOINTS.topic).stored;
  flood(rig, 4);
  expect(countsOf(rig, JOINTS.topic).stored).toBeGreaterThanOrEqual(before + 60); // on the disk, not only in memory
  rig.ring.release("episode");
  flood(rig, 5);
  rig.settle();
  expectLightWhole(rig);
});

test("images that nobody holds do not push out light data where all other images are held", () => {
  using rig = rigOf({ bytesMax: 24 * MIB });
  flood(rig, 120, 0);
  rig.ring.hold("episode", rig.nowNs, rig.nowNs + 20_000_000_000n);
  flood(rig, 26);
  const { stored } = countsOf(rig, IMAGE.topic);
  flood(rig, 60);
  expect(rig.ring.status().isDiskRefusing).toBe(false);
  rig.settle();
  expectLightWhole(rig);
  expect(stored).toBeGreaterThan(400);
  expect(countsOf(rig, IMAGE.topic).dropped.disk_full).toBeGreaterThan(400);
});

test.skipIf(lacks(isRoot))("a full file system: images wait and go, light ones wait and come", () => {
  using disk = new SmallDisk(28);
  using rig = rigOf({ backlogBytesMax: 4 * MIB, reserveBytes: 2 * MIB }, disk.path);
  rig.ring.hold("episode", 0n, 2n ** 62n);
  flood(rig, 50);
  expect(rig.ring.status().isDiskRefusing).toBe(true);
  expect(countsOf(rig, IMAGE.topic).dropped.disk_full).toBeGreaterThan(200);
  rig.ring.release("episode");
  flood(rig, 5);
  rig.settle();
  expectLightWhole(rig);
});
