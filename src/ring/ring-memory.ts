/**
 * All that the ring has in memory: the memory tier, and the backlog of what is owed to the disk, under one bound.
 *
 * What expires in the memory tier is reduced to its baseline, or owed if somebody holds it. Beyond the memory tier's
 * budgets and `backlogBytesMax` the least valuable goes, counted as reduced or as `disk_full`. Payloads lie in memory
 * that is used again: whoever takes a chunk out answers for both, its count and its payload.
 */
import type { TopicClass } from "../model/topic-class.ts";
import type { Accounts } from "./accounts.ts";
import { Backlog } from "./backlog.ts";
import type { Holds } from "./holds.ts";
import type { KeyFrames } from "./key-frames.ts";
import { chunkKey } from "./memory-stream.ts";
import { MemoryTier } from "./memory-tier.ts";
import type { PackedChunk } from "./packed-chunk.ts";
import { PayloadMemory } from "./payload-memory.ts";
import { LIGHT_RANK, LIGHT_SHARE_OF_BACKLOG } from "./value.ts";

/** `refused`: by the disk. `unwanted`: the ring is full of what is worth more. */
export type Placing = "placed" | "refused" | "unwanted";

type Given = {
  readonly classes: readonly TopicClass[];
  readonly backlogBytesMax: number;
  readonly rankOf: (className: string) => number;
  readonly holds: Holds;
  readonly keyFrames: KeyFrames;
  readonly accounts: Accounts;
};

export class RingMemory {
  readonly #given: Given;
  readonly tier: MemoryTier;
  readonly #backlog = new Backlog();
  readonly #payloads = new PayloadMemory();
  /** Of the last promotion: frames near it are worth most. */
  #focusNs = 0n;

  constructor(given: Given) {
    this.#given = given;
    this.tier = new MemoryTier(given.classes);
  }

  get backlog(): Pick<Backlog, "length" | "bytes" | "oldestNs" | "touches"> {
    return this.#backlog;
  }

  get bytes(): number {
    return this.tier.bytes + this.#backlog.bytes;
  }

  /** Copies a new chunk to the memory tier. */
  remember(chunk: PackedChunk): void {
    const { accounts, holds } = this.#given;
    accounts.count(chunk, "remembered");
    for (const expired of this.tier.add(this.#payloads.keep(chunk))) {
      if (holds.holds(expired)) this.#owe(expired);
      else this.#letGo(expired, "reduced");
    }
  }

  /** Copies a new chunk that the disk refused. */
  oweNew(chunk: PackedChunk): void {
    this.#given.accounts.count(chunk, "remembered");
    this.#owe(this.#payloads.keep(chunk));
  }

  /** A chunk with bytes of its own that counts as stored, but no transaction took it. */
  takeBack(chunk: PackedChunk): void {
    this.#given.accounts.count(chunk, "takenBack");
    this.#owe(chunk);
  }

  /** The memory tier owes its part of the window from now on. */
  promote(startNs: bigint, endNs: bigint, focusNs: bigint): void {
    const before = this.tier.take(this.#given.keyFrames.windowStart(startNs), startNs, this.#isVideo);
    this.#focusNs = focusNs;
    for (const chunk of [...before, ...this.tier.take(startNs, endNs)]) this.#owe(chunk, true);
  }

  /** Offers what is owed in its order, at least one chunk if there is any. Returns how many went. */
  offer(bytesMax: number, place: (chunk: PackedChunk) => Placing): number {
    return this.#backlog.offer(bytesMax, (chunk) => {
      const placing = place(chunk);
      if (placing !== "refused") this.#letGo(chunk, placing === "placed" ? "written" : "droppedOwed");
      return placing !== "refused";
    });
  }

  /** Drops what is owed of the range. */
  giveUp(startNs: bigint, endNs: bigint): void {
    for (const chunk of this.#backlog.takeWithin(startNs, endNs)) this.#letGo(chunk, "droppedOwed");
  }

  /** The chunks that touch the range, or from which the video in it is decoded. */
  within(startNs: bigint, endNs: bigint): PackedChunk[] {
    const fromNs = this.#given.keyFrames.windowStart(startNs);
    return [...this.tier.within(fromNs, endNs), ...this.#backlog.within(fromNs, endNs)].filter(
      (chunk) => chunk.endNs >= startNs || this.#isVideo(chunk),
    );
  }

  /** Copies the stored bytes of chunks, as many in their order as `bytesMax` allows; undefined: it left. */
  read(keys: readonly string[], startNs: bigint, endNs: bigint, bytesMax: number): (Uint8Array | undefined)[] {
    const chunks = new Map(this.within(startNs, endNs).map((chunk) => [chunkKey(chunk), chunk.payload]));
    const read: (Uint8Array | undefined)[] = [];
    let bytes = 0;
    for (const key of keys) {
      const payload = chunks.get(key);
      bytes += payload?.length ?? 0;
      if (read.length > 0 && bytes > bytesMax) break;
      read.push(payload === undefined ? undefined : new Uint8Array(payload));
    }
    return read;
  }

  readonly #isVideo = ({ channels }: PackedChunk): boolean =>
    channels.some(({ channelId }) => this.#given.keyFrames.has(channelId));

  /** The chunk is counted in memory already. */
  #owe(chunk: PackedChunk, isWanted = this.#given.holds.holds(chunk)): void {
    this.#backlog.add(chunk, this.#given.rankOf(chunk.className), isWanted ? this.#focusNs : undefined);
    while (this.#shed()) {}
  }

  /** Takes one chunk of too much away: the least valuable, and full rate in memory before anything light. */
  #shed(): boolean {
    const { backlogBytesMax, holds } = this.#given;
    const overBytes = this.bytes - this.tier.bytesMax - backlogBytesMax;
    const isHeavyOver = overBytes - this.#backlog.lightBytes + backlogBytesMax * LIGHT_SHARE_OF_BACKLOG > 0;
    if (!isHeavyOver && overBytes <= 0) return false;
    const least = this.#backlog.least((chunk) => holds.holds(chunk), isHeavyOver);
    const unheld = least === undefined || least.isHeld || least.rank <= LIGHT_RANK ? this.tier.takeLeast() : undefined;
    if (unheld !== undefined) this.#letGo(unheld, "reduced");
    else if (least !== undefined) {
      this.#backlog.remove(least.chunk);
      this.#letGo(least.chunk, "droppedOwed");
    }
    return unheld !== undefined || least !== undefined;
  }

  #letGo(chunk: PackedChunk, event: "reduced" | "written" | "droppedOwed"): void {
    this.#given.accounts.count(chunk, event);
    this.#payloads.give(chunk);
  }
}
