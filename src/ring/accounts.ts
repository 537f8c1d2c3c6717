/**
 * The ring's words to the ledger: one for each way a chunk can go.
 *
 * At every commit a received message is in memory, stored, reduced or dropped, once; a word moves all messages of a
 * chunk, per topic. What is dropped or damaged gets a row in the loss ledger too. Evictions are told inside the
 * transaction that deletes the rows; the other counts are saved with the ring's next commit.
 */
import type { Channel } from "../model/channel.ts";
import type { ChunkChannel } from "../model/chunk.ts";
import { SEQUENCE_SLACK } from "./message-record.ts";
import { accountedBytes, accountedCount } from "./packed-chunk.ts";
import type { CountChange, RingLedger } from "./ring-ledger.ts";

/** Of `n` messages and their bytes. */
type Word = (n: number, bytes: number) => CountChange;

const RECEIVED: Word = (n, bytes) => ({ received: n, receivedBytes: bytes });
const REMEMBERED: Word = (n) => ({ inMemory: n });
const REDUCED: Word = (n) => ({ inMemory: -n, reduced: n });
const STORED: Word = (n, bytes) => ({ stored: n, storedBytes: bytes });
const WRITTEN: Word = (n, bytes) => ({ inMemory: -n, stored: n, storedBytes: bytes });
const TAKEN_BACK: Word = (n, bytes) => ({ inMemory: n, stored: -n, storedBytes: -bytes });
const DROPPED_OWED: Word = (n) => ({ inMemory: -n, dropped: { reason: "disk_full", count: n } });
const DROPPED_STORED: Word = (n, bytes) => ({
  stored: -n,
  storedBytes: -bytes,
  dropped: { reason: "disk_full", count: n },
});

type Counted = { readonly startNs: bigint; readonly endNs: bigint; readonly channels: readonly ChunkChannel[] };

export class Accounts {
  readonly #ledger: RingLedger;
  readonly #channels: ReadonlyMap<number, Channel>;

  /** `channels` grows as they are declared, each before its first chunk. */
  constructor(ledger: RingLedger, channels: ReadonlyMap<number, Channel>) {
    this.#ledger = ledger;
    this.#channels = channels;
  }

  received(chunk: Counted): void {
    this.#count(chunk, RECEIVED);
  }

  remembered(chunk: Counted): void {
    this.#count(chunk, REMEMBERED);
  }

  /** From memory to its baseline. */
  reduced(chunk: Counted): void {
    this.#count(chunk, REDUCED);
  }

  /** As it came. */
  stored(chunk: Counted): void {
    this.#count(chunk, STORED);
  }

  /** From memory to the disk. */
  written(chunk: Counted): void {
    this.#count(chunk, WRITTEN);
  }

  /** From the disk to memory: no transaction took it. */
  takenBack(chunk: Counted): void {
    this.#count(chunk, TAKEN_BACK);
  }

  /** From memory: the disk refuses, and too much waits for it. */
  droppedOwed(chunk: Counted): void {
    this.#drop(chunk, DROPPED_OWED);
  }

  /** Counted as stored, but no row will refer to it. */
  droppedStored(chunk: Counted): void {
    this.#drop(chunk, DROPPED_STORED);
  }

  /** It stays counted as stored. */
  damaged({ startNs, endNs, channels }: Counted): void {
    for (const { channelId, count, bytes } of channels) {
      const topic = this.#topicOf(channelId);
      this.#ledger.addLoss({ topic, reason: "corrupt_chunk", startNs, endNs, count, bytes });
    }
  }

  evicted(bootId: string, channelId: number, count: number): void {
    this.#ledger.write(bootId, this.#topicOf(channelId), { evicted: count });
  }

  countByTopic(channels: Iterable<ChunkChannel>): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const channel of channels) {
      const topic = this.#topicOf(channel.channelId);
      counts.set(topic, (counts.get(topic) ?? 0) + accountedCount(channel));
    }
    return counts;
  }

  /** Per channel, the highest number that may have been given to a message in this boot. */
  lastSequences(): ReadonlyMap<number, number> {
    const received = this.#ledger.receivedByTopic();
    const last = new Map<number, number>();
    for (const { id, topic } of this.#channels.values()) {
      const count = received.get(topic);
      if (count !== undefined) last.set(id, count + SEQUENCE_SLACK);
    }
    return last;
  }

  #count(chunk: Counted, word: Word): void {
    for (const channel of chunk.channels)
      this.#ledger.add(this.#topicOf(channel.channelId), word(accountedCount(channel), accountedBytes(channel)));
  }

  #drop(chunk: Counted, word: Word): void {
    this.#count(chunk, word);
    const { startNs, endNs } = chunk;
    for (const channel of chunk.channels)
      this.#ledger.addLoss({
        ...{ topic: this.#topicOf(channel.channelId), reason: "disk_full", startNs, endNs },
        ...{ count: accountedCount(channel), bytes: accountedBytes(channel) },
      });
  }

  #topicOf(channelId: number): string {
    return this.#channels.get(channelId)?.topic ?? `channel ${channelId}`; // damage may take its name away
  }
}
