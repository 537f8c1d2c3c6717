/**
 * The ring's words to the ledger: an event for each way a chunk can go.
 *
 * At every commit a received message is in memory, stored, reduced or dropped, once; an event moves all messages
 * of a chunk, per topic. What is dropped or damaged gets a row in the loss ledger too. Evictions are told inside the
 * transaction that deletes the rows; the other counts are saved with the ring's next commit.
 */
import type { Channel } from "../model/channel.ts";
import type { ChunkChannel } from "../model/chunk.ts";
import { SEQUENCE_SLACK } from "./message-record.ts";
import { accountedAmount } from "./packed-chunk.ts";
import type { Amount, CountChange, RingLedger } from "./ring-ledger.ts";

/** What can befall the messages of a chunk. */
const EVENTS = {
  received: { received: 1 },
  remembered: { inMemory: 1 },
  /** From memory to its baseline. */
  reduced: { inMemory: -1, reduced: 1 },
  /** As it came. */
  stored: { stored: 1 },
  /** From memory to the disk. */
  written: { inMemory: -1, stored: 1 },
  /** From the disk to memory: no transaction took it. */
  takenBack: { inMemory: 1, stored: -1 },
  /** From memory: the disk refuses, and too much waits for it. */
  droppedOwed: { inMemory: -1, dropped: "disk_full" },
  /** Counted as stored, but no row will refer to it. */
  droppedStored: { stored: -1, dropped: "disk_full" },
  /** In a segment file, and in no index until the rebuild finds it. */
  unindexed: { stored: -1, dropped: "unindexed" },
} as const satisfies Record<string, CountChange>;
const DAMAGED: CountChange = { stored: -1, dropped: "corrupt_chunk" };
const EVICTED: CountChange = { evicted: 1 };

type Counted = { readonly startNs: bigint; readonly endNs: bigint; readonly channels: readonly ChunkChannel[] };

export class Accounts {
  readonly #ledger: RingLedger;
  readonly #channels: ReadonlyMap<number, Channel>;

  /** `channels` grows as they are declared, each before its first chunk. */
  constructor(ledger: RingLedger, channels: ReadonlyMap<number, Channel>) {
    this.#ledger = ledger;
    this.#channels = channels;
  }

  /** Of this boot; a chunk that the disk refuses for good gets its row in the loss ledger too. */
  count({ startNs, endNs, channels }: Counted, event: keyof typeof EVENTS): void {
    const change: CountChange = EVENTS[event];
    for (const channel of channels) {
      const topic = this.#topicOf(channel.channelId);
      const amount = accountedAmount(channel);
      this.#ledger.add(topic, change, amount);
      if (change.dropped === "disk_full")
        this.#ledger.addLoss({ topic, reason: change.dropped, startNs, endNs, ...amount });
    }
  }

  /** Of any boot, inside the transaction that sets it aside: what was stored is dropped now. */
  damaged(bootId: string, { startNs, endNs, channels }: Counted): void {
    const unknown = { topic: "", count: undefined, bytes: undefined, bootId };
    if (channels.length === 0) this.#ledger.addLoss({ ...unknown, reason: "corrupt_chunk", startNs, endNs });
    for (const channel of channels) {
      const topic = this.#topicOf(channel.channelId);
      const amount = accountedAmount(channel);
      this.#ledger.write(bootId, topic, DAMAGED, amount);
      this.#ledger.addLoss({ topic, reason: "corrupt_chunk", startNs, endNs, bootId, ...amount });
    }
  }

  /** Of any boot, inside the transaction that deletes the rows. */
  evicted(bootId: string, channels: readonly ChunkChannel[]): void {
    for (const channel of channels)
      this.#ledger.write(bootId, this.#topicOf(channel.channelId), EVICTED, accountedAmount(channel));
  }

  amountByTopic(channels: Iterable<ChunkChannel>): ReadonlyMap<string, Amount> {
    const amounts = new Map<string, Amount>();
    for (const channel of channels) {
      const topic = this.#topicOf(channel.channelId);
      const { count, bytes } = accountedAmount(channel);
      const sum = amounts.get(topic) ?? { count: 0, bytes: 0 };
      amounts.set(topic, { count: sum.count + count, bytes: sum.bytes + bytes });
    }
    return amounts;
  }

  /**
   * Per channel, the highest number that may have been given to a message in this boot, which has been opened so
   * often. `sequenceFloor`: its counters were lost (0: they were not), and no channel had got so far.
   */
  lastSequences({ openings, sequenceFloor }: { openings: number; sequenceFloor: number }): ReadonlyMap<number, number> {
    const received = this.#ledger.receivedByTopic();
    const last = new Map<number, number>();
    for (const { id, topic } of this.#channels.values()) {
      const count = received.get(topic) ?? (sequenceFloor > 0 ? 0 : undefined);
      if (count !== undefined) last.set(id, sequenceFloor + count + SEQUENCE_SLACK * openings);
    }
    return last;
  }

  #topicOf(channelId: number): string {
    return this.#channels.get(channelId)?.topic ?? `channel ${channelId}`; // damage may take its name away
  }
}
