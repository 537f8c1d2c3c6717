/**
 * The last messages of latched and rarely sent channels: `/tf_static`, `/robot_description`, camera info, maps.
 *
 * They belong to every episode, whatever its window, and outlive retention and restarts. A channel counts as rare
 * while it sent less than a message per 30 s since it was first seen. The last few are kept, not the last one: an
 * episode wants the one before its window.
 */
import { crc32 } from "node:zlib";
import type { Channel } from "../model/channel.ts";
import type { RawChunk } from "../model/chunk.ts";
import type { Db } from "../store/database.ts";
import { type RingMessage, readRecord, recordChannelId, recordOffsets, viewOf } from "./message-record.ts";

const RARE_PERIOD_NS = 30_000_000_000n;
const KEPT_PER_CHANNEL = 4;

type Watch = { readonly isLatched: boolean; readonly firstNs: bigint; count: bigint; isRemembered: boolean };

export class Latched {
  readonly #watches = new Map<number, Watch>();
  #unsaved: RingMessage[] = [];
  #forgotten = new Set<number>();

  /** Before the channel's first chunk. */
  watch(channel: Channel, nowNs: bigint): void {
    const known = this.#watches.get(channel.id);
    if (known?.isLatched === channel.isLatched) return;
    this.#watches.set(channel.id, { isLatched: channel.isLatched, firstNs: nowNs, count: 0n, isRemembered: true });
  }

  /** Copies what is worth remembering of a chunk. */
  note(chunk: RawChunk): void {
    const wanted = new Set<number>();
    for (const { channelId, count } of chunk.channels)
      if (this.#isWanted(channelId, count, chunk.endNs)) wanted.add(channelId);
    if (wanted.size === 0) return;
    const body = viewOf(new Uint8Array(chunk.buffer, 0, chunk.sizeBytes));
    const lastOffsets = new Map<number, number>();
    for (const offset of recordOffsets(body))
      if (wanted.has(recordChannelId(body, offset))) lastOffsets.set(recordChannelId(body, offset), offset);
    for (const offset of lastOffsets.values()) {
      const message = readRecord(body, offset, "");
      this.#unsaved.push({ ...message, bytes: new Uint8Array(message.bytes) });
    }
  }

  /** Inside the ring's transaction; `saved` after it. */
  save(db: Db, boot: number): void {
    const forget = db.prepare("DELETE FROM latched WHERE channel_id = ?");
    for (const channelId of this.#forgotten) forget.run(channelId);
    const insert = db.prepare("INSERT OR REPLACE INTO latched VALUES (?, ?, ?, ?, ?, ?, ?)");
    const trim = db.prepare(
      `DELETE FROM latched WHERE channel_id = ? AND (boot, log_time_ns) NOT IN
         (SELECT boot, log_time_ns FROM latched WHERE channel_id = ?
            ORDER BY boot DESC, log_time_ns DESC LIMIT ${KEPT_PER_CHANNEL})`,
    );
    for (const { channelId, logTimeNs, sequence, publishTimeNs, bytes } of this.#unsaved) {
      if (this.#forgotten.has(channelId)) continue;
      const seal = latchedSeal([channelId, logTimeNs, boot, sequence, publishTimeNs], bytes);
      insert.run(channelId, logTimeNs, boot, sequence, publishTimeNs, bytes, seal);
      trim.run(channelId, channelId);
    }
  }

  get isDirty(): boolean {
    return this.#unsaved.length > 0 || this.#forgotten.size > 0;
  }

  saved(): void {
    this.#unsaved = [];
    this.#forgotten = new Set();
  }

  #isWanted(channelId: number, count: number, nowNs: bigint): boolean {
    const watch = this.#watches.get(channelId);
    if (watch === undefined) return false;
    watch.count += BigInt(count);
    if (watch.isLatched) return true;
    const isRare = (watch.count - 1n) * RARE_PERIOD_NS <= nowNs - watch.firstNs;
    if (!isRare && watch.isRemembered) this.#forgotten.add(channelId);
    watch.isRemembered = isRare;
    return isRare;
  }
}

/** Over a row's numbers, in the table's order, and its bytes. */
export function latchedSeal(numbers: readonly (bigint | number)[], bytes: Uint8Array): number {
  return crc32(bytes, crc32(numbers.join()));
}
