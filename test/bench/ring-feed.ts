/**
 * A day of the robot in minutes: streams fed to a chunk builder and a ring under a clock that the feed moves.
 *
 * Timers run in traffic time at the daemon's own rates, and every commit is a real one with its fsync: a feed that
 * committed by the machine's time would hide what commits cost a disk. Nothing else of the daemon is there.
 */
import { join } from "node:path";
import { configSchema, resolveClasses } from "../../src/config/schema.ts";
import { topicClasses } from "../../src/config/topic-plan.ts";
import { openJournal } from "../../src/daemon/journal.ts";
import { Ledger } from "../../src/ledger/ledger.ts";
import type { Channel } from "../../src/model/channel.ts";
import type { TopicClass } from "../../src/model/topic-class.ts";
import { loadNative } from "../../src/native/addon.ts";
import { BufferPool } from "../../src/ring/buffer-pool.ts";
import { ChunkBuilder } from "../../src/ring/chunk-builder.ts";
import { Ring } from "../../src/ring/ring.ts";
import type { RingOptions } from "../../src/ring/ring-options.ts";
import { ManualClock } from "../../src/std/clock.ts";
import { type Db, openDatabaseForReading } from "../../src/store/database.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import type { RobotStream } from "./robot-streams.ts";

export type RingFeedOptions = Partial<RingOptions> & {
  readonly folder: string;
  readonly bytesMax: number;
  readonly streams: readonly RobotStream[];
  /** Cameras at full rate on disk; otherwise the default configuration: in memory, with a baseline on disk. */
  readonly isEverythingStored?: boolean;
  /** After the message went into its chunk. */
  readonly onMessage?: (channel: Channel, bytes: Uint8Array, atNs: bigint) => void;
};

type Lane = { readonly channel: Channel; readonly stream: RobotStream; index: number };

const STEP_MS = 10;
/** As the store thread does. */
const TICK_MS = 50;
const STEP_BUDGET_MS = 20;
const MEASURE_MS = 5000;

export class RingFeed implements Disposable {
  readonly clock = new ManualClock();
  readonly ring: Ring;
  readonly ledger: Ledger;
  readonly pool: BufferPool;
  /** Messages sent, by topic. */
  readonly sent = new Map<string, number>();
  /** Payload bytes sent. */
  sentBytes = 0;
  /** Stored bytes of every chunk that ever got a row, and their number. */
  storedBytes = 0;
  storedChunks = 0;
  readonly #options: RingFeedOptions;
  readonly #journal: Db;
  readonly #builder: ChunkBuilder;
  readonly #lanes: Lane[];
  readonly #commitMs: number;
  #elapsedMs = 0;
  #countedId = 0;

  constructor(options: RingFeedOptions) {
    this.#options = options;
    const config = configSchema.parse({});
    const camera = options.isEverythingStored === true ? { camera: { tier: "disk" } } : {};
    const resolved = resolveClasses(config.topics.classes, camera);
    const classes = topicClasses({ ...config.topics, classes: resolved });
    this.#commitMs = config.ring.commit_ms;
    this.#journal = openJournal(options.folder);
    this.ledger = new Ledger(this.#journal, { log: silentLog });
    const native = loadNative();
    const { streams, isEverythingStored: _, onMessage: __, ...ring } = options;
    this.ring = Ring.open(
      { reserveBytes: 0, ...ring, classes: [...classes.values()] },
      {
        ...{ clock: this.clock, log: silentLog, ledger: this.ledger, journal: this.#journal },
        anchor: { bootId: "boot-1", monotonicNs: this.clock.monotonicNs(), wallNs: this.clock.wallNs() },
        native: "problem" in native ? undefined : native,
      },
    );
    this.pool = new BufferPool(config.ring.in_flight_bytes_max);
    this.#builder = new ChunkBuilder({
      pool: this.pool,
      onChunk: (chunk) => {
        this.ring.append(chunk);
        this.pool.give(chunk.buffer);
      },
      onDrop: (id) => {
        throw new Error(`channel ${id}: a message was dropped for want of a buffer`);
      },
    });
    this.#lanes = streams.map((stream, index) => this.#declare(stream, index + 1, classes));
  }

  /** Feeds so many milliseconds of traffic. */
  run(ms: number): void {
    const endMs = this.#elapsedMs + ms;
    while (this.#elapsedMs < endMs) {
      this.clock.advanceMs(STEP_MS);
      this.#elapsedMs += STEP_MS;
      for (const lane of this.#lanes) this.#sendDue(lane);
      if (this.#elapsedMs % TICK_MS === 0) this.ring.step(STEP_BUDGET_MS);
      if (this.#elapsedMs % this.#commitMs === 0) this.#commit();
      if (this.#elapsedMs % MEASURE_MS === 0) this.#countStored();
    }
  }

  /** A firing's word to the builder: everything that gathers goes to the ring now. */
  flush(): void {
    this.#builder.flushAll();
  }

  /** Everything that was sent is in the ring and committed. */
  settle(): void {
    this.#commit();
    this.#countStored();
  }

  [Symbol.dispose](): void {
    this.settle();
    this.ring[Symbol.dispose]();
    this.#journal.close();
  }

  #commit(): void {
    this.#builder.flushAll();
    this.ring.commit();
  }

  #sendDue(lane: Lane): void {
    const { stream, channel } = lane;
    const count = Math.floor((this.#elapsedMs * stream.hz) / 1000);
    for (; lane.index < count; lane.index += 1) {
      const bytes = stream.payloads[lane.index % stream.payloads.length];
      if (bytes === undefined) return;
      const atNs = this.clock.wallNs();
      this.#builder.append(channel.id, atNs, atNs, bytes);
      this.#options.onMessage?.(channel, bytes, atNs);
      this.sentBytes += bytes.length;
    }
    this.sent.set(stream.topic, count);
  }

  #declare(stream: RobotStream, id: number, classes: ReadonlyMap<string, TopicClass>): Lane {
    const { topic, schemaName, schemaText, className } = stream;
    const topicClass = classes.get(className);
    if (topicClass === undefined) throw new Error(`no class ${className}`);
    const schema = { name: schemaName, encoding: "ros2msg", text: schemaText } as const;
    const channel = { id, topic, schema, messageEncoding: "cdr", className, isLocal: false, isLatched: false } as const;
    this.ring.declareChannel(channel);
    this.#builder.addChannel(channel, topicClass);
    return { channel, stream, index: 0 };
  }

  /** Often enough that retention has taken nothing uncounted. */
  #countStored(): void {
    const { bytes, chunks, id } = storedSince(join(this.#options.folder, "ring.db"), this.#countedId);
    this.storedBytes += bytes;
    this.storedChunks += chunks;
    this.#countedId = id;
  }
}

type Stored = { readonly bytes: number; readonly chunks: number; readonly id: number };

function storedSince(path: string, id: number): Stored {
  const db = openDatabaseForReading(path);
  try {
    const row = db
      .prepare<[number, number], Stored>(
        "SELECT ifnull(sum(stored_size), 0) AS bytes, count(*) AS chunks, ifnull(max(id), ?) AS id FROM chunk WHERE id > ?",
      )
      .get(id, id);
    return row ?? { bytes: 0, chunks: 0, id };
  } finally {
    db.close();
  }
}
