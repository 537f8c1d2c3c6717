/** A ring in a temporary folder with a builder before it, and a publisher that keeps its own list of what it sent. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLossTable, Ledger } from "../../src/ledger/ledger.ts";
import type { Channel } from "../../src/model/channel.ts";
import type { TopicClass } from "../../src/model/topic-class.ts";
import { createBootTables } from "../../src/ring/boot-clocks.ts";
import { BufferPool } from "../../src/ring/buffer-pool.ts";
import { ChunkBuilder } from "../../src/ring/chunk-builder.ts";
import type { RingMessage } from "../../src/ring/message-record.ts";
import { Ring } from "../../src/ring/ring.ts";
import { createChannelCopy } from "../../src/ring/ring-channels.ts";
import type { RingOptions } from "../../src/ring/ring-options.ts";
import { type ReadProblem, RingReader } from "../../src/ring/ring-reader.ts";
import type { SegmentIo } from "../../src/ring/segment-io.ts";
import { ManualClock } from "../../src/std/clock.ts";
import { type Db, openDatabase } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";

export const START_NS = 1_800_000_000_000_000_000n;
export const MS = 1_000_000n;

export function topicClass(name: string, changes: Partial<TopicClass> = {}): TopicClass {
  const isLight = name === "light";
  return {
    ...{ name, rank: isLight ? 0 : 2, tier: isLight ? "disk" : "memory", baselineHz: isLight ? 0 : 1 },
    ...{
      memoryMs: 10_000,
      memoryBytesMax: 64 * 1024 * 1024,
      diskMsMax: 0,
      diskBytesMax: 0,
      diskShareMax: 1,
      queueLength: 10,
    },
    ...changes,
  };
}

export const LIGHT = topicClass("light");
export const CAMERA = topicClass("camera");

export function channel(id: number, topic: string, className: string, changes: Partial<Channel> = {}): Channel {
  const schema = { name: "std_msgs/msg/String", encoding: "ros2msg", text: "string data" } as const;
  return { id, topic, schema, messageEncoding: "cdr", className, isLocal: false, isLatched: false, ...changes };
}

export const STORED_CAMERA = topicClass("camera", { tier: "disk", memoryBytesMax: 0, rank: 50 });

export const JOINTS = channel(1, "/joint_states", "light");
export const IMAGE = channel(2, "/camera", "camera");

export type Sent = { readonly channelId: number; readonly logTimeNs: bigint; readonly bytes: Uint8Array };

export type RigOptions = Partial<RingOptions> & {
  readonly io?: SegmentIo;
  readonly bootId?: string;
  readonly poolBytes?: number;
  /** One with the loss ledger's table alone unless told. */
  readonly openJournal?: (folder: string) => Db;
};

export class Rig implements Disposable {
  readonly folder: string;
  readonly clock: ManualClock;
  readonly journal: Db;
  readonly ledger: Ledger;
  readonly ring: Ring;
  readonly pool: BufferPool;
  readonly builder: ChunkBuilder;
  readonly sent: Sent[] = [];
  readonly #classes: readonly TopicClass[];
  readonly #ownsFolder: boolean;
  #flushedNs: bigint;

  constructor(options: RigOptions = {}, folder?: string, nowNs = START_NS) {
    this.#ownsFolder = folder === undefined;
    this.folder = folder ?? mkdtempSync(join(tmpdir(), "lode-ring-"));
    this.clock = new ManualClock(nowNs);
    this.#flushedNs = nowNs;
    const openJournal = options.openJournal ?? openLossJournal;
    this.journal = openJournal(this.folder);
    this.ledger = new Ledger(this.journal, { log: silentLog });
    this.#classes = options.classes ?? [LIGHT, CAMERA];
    const anchor = { bootId: options.bootId ?? "boot-1", monotonicNs: 0n, wallNs: nowNs };
    const { io, bootId: _, poolBytes = 64 * 1024 * 1024, openJournal: __, ...ringOptions } = options;
    this.ring = Ring.open(
      {
        ...{ folder: this.folder, bytesMax: 1e9, reserveBytes: 0, segmentBytes: 1024 * 1024 },
        ...{ ...ringOptions, classes: this.#classes },
      },
      {
        clock: this.clock,
        log: silentLog,
        ledger: this.ledger,
        journal: this.journal,
        anchor,
        ...(io === undefined ? {} : { io }),
      },
    );
    this.pool = new BufferPool(poolBytes);
    this.builder = new ChunkBuilder({
      pool: this.pool,
      onChunk: (chunk) => {
        this.ring.append(chunk);
        this.pool.give(chunk.buffer);
      },
      onDrop: (id, reason, count, bytes, startNs, endNs) =>
        this.ledger.drop({ topic: this.topicOf(id), reason, startNs, endNs, count, bytes }),
      lastSequences: this.ring.lastSequences,
    });
    for (const known of this.ring.channels) this.builder.addChannel(known, this.classOf(known));
  }

  get nowNs(): bigint {
    return this.clock.wallNs();
  }

  addChannel(...channels: Channel[]): void {
    for (const added of channels) {
      this.ring.declareChannel(added);
      this.builder.addChannel(added, this.classOf(added));
    }
  }

  send(channelId: number, bytes: Uint8Array, logTimeNs = this.nowNs): "stored" | "dropped" {
    const result = this.builder.append(channelId, logTimeNs, logTimeNs, bytes);
    if (result === "stored") this.sent.push({ channelId, logTimeNs, bytes });
    return result;
  }

  /** For a loop: what gathers is flushed twice a second of log time. */
  flush(): void {
    if (this.nowNs - this.#flushedNs < 500n * MS && this.nowNs >= this.#flushedNs) return;
    this.#flushedNs = this.nowNs;
    this.builder.flushAll();
  }

  /** Everything sent is in the ring, and what is on its way to the disk is durable. */
  settle(): void {
    this.builder.flushAll();
    this.ring.commit();
    while (this.ring.step(50)) {}
    this.ring.commit();
  }

  open(onProblem: (problem: ReadProblem) => void = () => {}): RingReader {
    return RingReader.open(this.folder, { onProblem });
  }

  readAll(): RingMessage[] {
    using reader = this.open((problem) => {
      throw new Error(problem.reason);
    });
    return [...reader.messages({ startNs: 0n, endNs: 2n ** 62n })];
  }

  classOf({ className }: Channel): TopicClass {
    const found = this.#classes.find(({ name }) => name === className);
    if (found === undefined) throw new Error(`no class ${className}`);
    return found;
  }

  topicOf(id: number): string {
    return this.ring.channels.find((known) => known.id === id)?.topic ?? "";
  }

  /** Ends it as the daemon does, and opens it again a minute later. */
  reopen(options: RigOptions = {}, meanwhile: () => void = () => {}): Rig {
    this.#close();
    meanwhile();
    return new Rig(options, this.folder, this.nowNs + 60_000n * MS);
  }

  #close(): void {
    if (!this.journal.open) return;
    this.ring[Symbol.dispose]();
    this.journal.close();
  }

  /** Ends it and takes its folder away, whoever made that. */
  remove(): void {
    this.#close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.#close();
    if (this.#ownsFolder) this.remove();
  }
}

export const openLossJournal = (folder: string): Db =>
  openDatabase(join(folder, "journal.db"), [createLossTable, createFormat2]);

/** As the daemon's journal has them, so that a folder of the rig's making opens. */
function createFormat2(journal: Db): void {
  createBootTables(journal);
  createChannelCopy(journal);
}

export function countsOf(rig: Rig, topic: string) {
  const counts = rig.ledger.snapshot(rig.ring.heldAmounts()).find((entry) => entry.topic === topic);
  if (counts === undefined) throw new Error(`nothing of ${topic} was received`);
  return counts;
}

/** `topic: received = …` of a topic whose identity does not hold; none is the promise. */
export function brokenIdentities(rig: Rig): string[] {
  return rig.ledger
    .snapshot(rig.ring.heldAmounts())
    .filter((counts) => {
      const sum = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((total, one) => total + one, 0);
      const isWhole =
        counts.received === counts.inMemory + counts.stored + counts.reduced + sum(counts.dropped) &&
        counts.receivedBytes ===
          counts.inMemoryBytes + counts.storedBytes + counts.reducedBytes + sum(counts.droppedBytes);
      const isSplit =
        counts.stored === counts.held + counts.evictable + counts.evicted &&
        counts.storedBytes === counts.heldBytes + counts.evictableBytes + counts.evictedBytes;
      const isPositive = Object.values(counts).every((value) => typeof value !== "number" || value >= 0);
      return !isWhole || !isSplit || !isPositive;
    })
    .map((counts) => JSON.stringify(counts));
}

/** Everything was flushed: what the ledger says it received is what the publisher sent. */
export function miscounts(rig: Rig): string[] {
  const counted = new Map(rig.ledger.snapshot().map((counts) => [counts.topic, counts]));
  return rig.ring.channels.flatMap(({ id, topic }) => {
    const sent = rig.sent.filter(({ channelId }) => channelId === id);
    const bytes = sent.reduce((sum, message) => sum + message.bytes.length, 0);
    const { received = 0, receivedBytes = 0 } = counted.get(topic) ?? {};
    const isRight = received === sent.length && receivedBytes === bytes;
    return isRight ? [] : [`${topic}: sent ${sent.length} of ${bytes}, received ${received} of ${receivedBytes}`];
  });
}

/** What a reader must give, in its order. */
export function expectedOf(sent: readonly Sent[]): string[] {
  return sent.map(({ channelId, logTimeNs, bytes }) => describeMessage(channelId, logTimeNs, bytes)).sort();
}

export function gotOf(messages: Iterable<RingMessage>): string[] {
  return [...messages].map(({ channelId, logTimeNs, bytes }) => describeMessage(channelId, logTimeNs, bytes)).sort();
}

export function describeMessage(channelId: number, logTimeNs: bigint, bytes: Uint8Array): string {
  return `${logTimeNs} ${channelId} ${Buffer.from(bytes.subarray(0, 32)).toString("hex")} ${bytes.length}`;
}

/** Bytes that lz4 cannot shrink, like a JPEG's. */
export function noise(sizeBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  let state = seed * 2_654_435_761 + 1;
  for (let index = 0; index < sizeBytes; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}
