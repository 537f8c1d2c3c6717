/**
 * The memory tier: the last seconds of the heavy topics at full rate, within a budget of time and bytes per class.
 *
 * A chunk leaves it to the disk (`take`: an episode wants it) or for good (`expire`: too old, or over the budget);
 * whether an expired chunk is still owed to somebody is the ring's to decide.
 */
import type { TopicClass } from "../model/topic-class.ts";
import { nsOfMs } from "../std/nanoseconds.ts";
import { type PackedChunk, touches } from "./packed-chunk.ts";

/** What a chunk costs beside its payload. */
const OVERHEAD_BYTES = 512;

type Shelf = { readonly topicClass: TopicClass; chunks: PackedChunk[]; bytes: number; newestNs: bigint };

export class MemoryTier {
  readonly #shelves: ReadonlyMap<string, Shelf>;

  constructor(classes: readonly TopicClass[]) {
    this.#shelves = new Map(
      classes
        .filter(({ tier }) => tier === "memory")
        .map((topicClass) => [topicClass.name, { topicClass, chunks: [], bytes: 0, newestNs: 0n }]),
    );
  }

  /** Keeps the chunk, whose payload must be its own. Returns those that went for it, oldest first. */
  add(chunk: PackedChunk): PackedChunk[] {
    const shelf = this.#shelves.get(chunk.className);
    if (shelf === undefined) return [chunk];
    shelf.chunks.push(chunk);
    shelf.bytes += sizeOf(chunk);
    if (chunk.endNs > shelf.newestNs) shelf.newestNs = chunk.endNs;
    return expire(shelf);
  }

  /** The chunks that touch the range. */
  within(startNs: bigint, endNs: bigint): PackedChunk[] {
    return [...this.#shelves.values()].flatMap(({ chunks }) =>
      chunks.filter((chunk) => touches(chunk, startNs, endNs)),
    );
  }

  /** Takes out the chunks that touch the range; of those only some, if told which. */
  take(startNs: bigint, endNs: bigint, isWanted: (chunk: PackedChunk) => boolean = () => true): PackedChunk[] {
    const isTaken = (chunk: PackedChunk) => touches(chunk, startNs, endNs) && isWanted(chunk);
    const taken: PackedChunk[] = [];
    for (const shelf of this.#shelves.values()) {
      taken.push(...shelf.chunks.filter(isTaken));
      shelf.chunks = shelf.chunks.filter((chunk) => !isTaken(chunk));
      shelf.bytes = shelf.chunks.reduce((bytes, chunk) => bytes + sizeOf(chunk), 0);
    }
    return taken;
  }

  /** Takes out the oldest chunk of the class worth least. */
  takeLeast(): PackedChunk | undefined {
    const filled = [...this.#shelves.values()].filter(({ chunks }) => chunks.length > 0);
    const [least] = filled.sort((a, b) => b.topicClass.rank - a.topicClass.rank);
    const chunk = least?.chunks.shift();
    if (least !== undefined && chunk !== undefined) least.bytes -= sizeOf(chunk);
    return chunk;
  }

  get bytesMax(): number {
    let bytes = 0;
    for (const { topicClass } of this.#shelves.values()) bytes += topicClass.memoryBytesMax;
    return bytes;
  }

  get bytes(): number {
    let bytes = 0;
    for (const shelf of this.#shelves.values()) bytes += shelf.bytes;
    return bytes;
  }

  bytesOf(className: string): number {
    return this.#shelves.get(className)?.bytes ?? 0;
  }

  oldestNsOf(className: string): bigint | undefined {
    return this.#shelves.get(className)?.chunks[0]?.startNs;
  }
}

function expire(shelf: Shelf): PackedChunk[] {
  const { memoryMs, memoryBytesMax } = shelf.topicClass;
  const oldestNs = shelf.newestNs - nsOfMs(memoryMs);
  let count = 0;
  for (const chunk of shelf.chunks) {
    if (chunk.endNs >= oldestNs && shelf.bytes <= memoryBytesMax) break;
    shelf.bytes -= sizeOf(chunk);
    count += 1;
  }
  return shelf.chunks.splice(0, count);
}

function sizeOf(chunk: PackedChunk): number {
  return chunk.payload.length + OVERHEAD_BYTES;
}
