/**
 * The chunks of a time window as they go into a file: copied as they are stored wherever that is right.
 *
 * Promises: no message twice (a baseline chunk gives only what no full chunk of its channel covers); last messages
 * of latched channels from before the window come first, in a chunk of their own; inter-coded video begins at a key
 * frame (video-window.ts); a chunk is built anew only where it mixes wanted and unwanted channels, where it is partly
 * covered, or where it crosses the window's edge and the caller wants the cut to the message. A damaged chunk is named
 * and left out, and then covers nothing. Held at a time: the bytes of a chunk or two, and what the last 10 s of
 * chunks are called. Who takes a copied chunk's records before asking for the next one has them without another read.
 */
import { crc32 } from "node:zlib";
import type { Channel } from "../model/channel.ts";
import { Fault } from "../std/fault.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import type { Range } from "./holds.ts";
import { KEY_REACH_NS } from "./key-frames.ts";
import { compressFrame, decompressFrame } from "./lz4-frame.ts";
import type { McapChunk } from "./mcap-file.ts";
import { MessageIndex } from "./message-index.ts";
import {
  RECORD_HEADER_BYTES,
  type RingMessage,
  readRecord,
  recordChannelId,
  recordLogTimeNs,
  recordOffsets,
  recordSequence,
  recordSizeBytes,
  viewOf,
  writeRecordHeader,
} from "./message-record.ts";
import type { RingReader, StoredChunk } from "./ring-reader.ts";
import { CHUNK_SPAN_NS_MAX } from "./tables.ts";
import { type VideoFrames, VideoWindow } from "./video-window.ts";

/** What this needs of a `RingReader`. */
export type ChunkSource = Pick<RingReader, "channels" | "chunks" | "decompress" | "latched">;

export type WindowQuery = {
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** As in `RingQuery`. */
  readonly bootId?: string | undefined;
  /** A window of an earlier boot came before it: what that boot had latched is there already. */
  readonly isContinued?: boolean;
  readonly wants: (channel: Channel) => boolean;
  /** Classes that are cut to the message at the window's edges; the others come by whole (full) chunks. */
  readonly isCut: (className: string) => boolean;
  readonly onDamaged: (chunk: StoredChunk, reason: Fault) => void;
  /** Tells key frames of inter-coded video; unless given, no channel is taken to carry any. */
  readonly videoFrames?: VideoFrames | undefined;
  /** A frame of the window that is left out, for what it builds on is not there. */
  readonly onUndecodable?: (channelId: number, atNs: bigint, sizeBytes: number) => void;
};

export type WindowChunk = McapChunk & {
  readonly origin: "full" | "baseline" | "latched";
  readonly className: string;
  /** Of all its messages; undefined: of a chunk that is not the ring's. */
  readonly bootId?: string;
  /** Payload bytes of each channel. */
  readonly bytesByChannel: ReadonlyMap<number, number>;
  /** The uncompressed body, while it is at hand: until the next chunk is asked for. */
  bodyAtHand?(): Uint8Array | undefined;
  /** The numbers of each channel's messages within their boot, in the order of `index`. */
  readonly sequences: ReadonlyMap<number, readonly number[]>;
};

/** Of any log_time, u64. */
const LATEST_NS = 2n ** 64n - 1n;
/** Damaged, or evicted since its row was read. */
const UNREADABLE = ["corrupt_chunk", "chunk_gone"];

type Keeps = (channelId: number, logTimeNs: bigint, sequence: number, sizeBytes: number) => boolean;
/** Per boot and channel: the last full chunks. */
type Coverage = Map<string, readonly Range[]>;

/** What the pieces of a window are cut by. */
type Cut = {
  readonly query: WindowQuery;
  readonly wanted: ReadonlySet<number>;
  readonly coverage: Coverage;
  readonly video: VideoWindow;
};

/** What is still at hand of a chunk that was handed out: nothing once the next one's turn has come. */
type Held = { stored: Uint8Array | undefined; body: Uint8Array | undefined };
type ChunkBytes = { readonly held: Held; readonly body: Uint8Array };

/** Ordered by start, but for chunks of video or of the baseline, which come when those around them are known. */
export function* windowChunks(source: ChunkSource, query: WindowQuery): Generator<WindowChunk> {
  const channels = source.channels();
  const wanted = new Set([...channels.values()].filter(query.wants).map((channel) => channel.id));
  yield* latchedChunks(source, query, wanted, channels);
  const { startNs, endNs, bootId } = query;
  const carriers = [...channels.values()].filter(({ id }) => wanted.has(id));
  const video = new VideoWindow(carriers, startNs, query.videoFrames);
  const cut: Cut = { query, wanted, coverage: new Map(), video };
  let waiting: StoredChunk[] = [];
  const fromNs = video.isEmpty ? startNs : startNs - KEY_REACH_NS;
  for (const chunk of source.chunks({ startNs: fromNs, endNs, bootId, channelIds: wanted })) {
    const isPast = (one: StoredChunk) => one.bootId !== chunk.bootId || latest(one.endNs, startNs) < chunk.startNs;
    const due = waiting.filter(isPast);
    waiting = waiting.filter((one) => !isPast(one));
    for (const one of due) yield* pieceOf(source, one, cut);
    if (video.isIn(chunk)) {
      const bytes = readable(source, chunk, query);
      if (bytes !== undefined) video.note(chunk, bytes.body);
      if (bytes !== undefined) waiting.push(chunk);
    } else if (chunk.endNs < startNs) continue;
    else if (chunk.kind === "baseline") waiting.push(chunk);
    else yield* pieceOf(source, chunk, cut);
  }
  for (const one of waiting) yield* pieceOf(source, one, cut);
}

/** The chunk, what is left of it, or nothing. */
function* pieceOf(source: ChunkSource, chunk: StoredChunk, cut: Cut): Generator<WindowChunk> {
  const bytes = readable(source, chunk, cut.query);
  if (bytes === undefined) return;
  const keeps = filterOf(chunk, cut);
  if (chunk.kind === "full") cover(cut.coverage, chunk);
  const piece = keeps === undefined ? copied(chunk, bytes) : rebuilt(chunk, bytes, keeps);
  if (piece.index.size > 0) yield { ...piece, bootId: chunk.bootId };
  bytes.held.stored = undefined;
  bytes.held.body = undefined;
}

function readable(source: ChunkSource, chunk: StoredChunk, query: WindowQuery): ChunkBytes | undefined {
  try {
    const stored = chunk.read();
    const body = source.decompress(chunk, stored);
    return { held: { stored, body }, body };
  } catch (error) {
    if (!(error instanceof Fault) || !UNREADABLE.includes(error.code)) throw error;
    query.onDamaged(chunk, error);
    return undefined;
  }
}

/** undefined: every message of the chunk. */
function filterOf(chunk: StoredChunk, { query, wanted, coverage, video }: Cut): Keeps | undefined {
  const { startNs, endNs, isCut } = query;
  const isMixed = chunk.channels.some(({ channelId }) => !wanted.has(channelId));
  const isCrossing = isCutAt(chunk, isCut) && (chunk.startNs < startNs || chunk.endNs > endNs);
  const mayBeCovered = chunk.kind === "baseline" && coverage.size > 0;
  if (!isMixed && !isCrossing && !mayBeCovered && !video.isIn(chunk)) return undefined;
  const isVideoKept: Keeps = (channelId, timeNs, sequence, sizeBytes) => {
    if (timeNs < startNs) return video.leads(chunk.bootId, channelId, sequence);
    if (isCrossing && timeNs > endNs) return false;
    const isShown = video.shows(chunk.bootId, channelId, sequence);
    if (!isShown && timeNs <= endNs) query.onUndecodable?.(channelId, timeNs, sizeBytes);
    return isShown;
  };
  const isWithin = (timeNs: bigint) => !isCrossing || isIn(query, timeNs);
  const isTimely: Keeps = (channelId, timeNs, ...frame) =>
    video.carries(channelId) ? isVideoKept(channelId, timeNs, ...frame) : chunk.endNs >= startNs && isWithin(timeNs);
  return (channelId, timeNs, sequence, sizeBytes) =>
    wanted.has(channelId) &&
    !(mayBeCovered && coverage.get(keyOf(chunk.bootId, channelId))?.some((full) => isIn(full, timeNs))) &&
    isTimely(channelId, timeNs, sequence, sizeBytes);
}

/** A baseline chunk spans so long that the whole of it would be far more than was asked. */
const isCutAt = (chunk: StoredChunk, isCut: WindowQuery["isCut"]): boolean =>
  chunk.kind === "baseline" || isCut(chunk.className);

const isIn = ({ startNs, endNs }: Range, timeNs: bigint): boolean => timeNs >= startNs && timeNs <= endNs;
const keyOf = (bootId: string, channelId: number): string => `${bootId} ${channelId}`;

/** Only rings of format 1 have messages in two chunks: there a full chunk has every message of its range. */
function cover(coverage: Coverage, chunk: StoredChunk): void {
  for (const { channelId, baselineCount } of chunk.channels) {
    if (baselineCount === 0) continue;
    const key = keyOf(chunk.bootId, channelId);
    const known = coverage.get(key)?.filter(({ endNs }) => endNs >= chunk.startNs - CHUNK_SPAN_NS_MAX) ?? [];
    coverage.set(key, [...known, chunk]);
  }
}

function copied(chunk: StoredChunk, { body, held }: ChunkBytes): WindowChunk {
  return {
    ...described(chunk.kind, chunk.className, body, chunk.crc32, chunk.compression),
    records: () => held.stored ?? chunk.read(),
    bodyAtHand: () => held.body,
  };
}

function rebuilt(chunk: StoredChunk, bytes: ChunkBytes, keeps: Keeps): WindowChunk {
  const { body } = bytes;
  const view = viewOf(body);
  const offsets = [...recordOffsets(view)];
  const kept = offsets.flatMap((offset, index) => {
    const record = body.subarray(offset, offsets[index + 1] ?? body.byteLength);
    const sizeBytes = record.byteLength - RECORD_HEADER_BYTES;
    const [channelId, sequence] = [recordChannelId(view, offset), recordSequence(view, offset)];
    return keeps(channelId, recordLogTimeNs(view, offset), sequence, sizeBytes) ? [record] : [];
  });
  if (kept.length === offsets.length) return copied(chunk, bytes);
  return packed(chunk.kind, chunk.className, Buffer.concat(kept), chunk.compression === "lz4");
}

/** The uncompressed body of a chunk of the window. Throws `Fault("corrupt_chunk")`. */
export function bodyOf(chunk: WindowChunk): Uint8Array {
  const atHand = chunk.bodyAtHand?.();
  if (atHand !== undefined) return atHand;
  const records = chunk.records();
  return chunk.compression === "lz4" ? decompressFrame(records, chunk.bodySize) : records;
}

/** A chunk of these messages, in this order. */
export function chunkOfMessages(
  origin: WindowChunk["origin"],
  className: string,
  messages: readonly Omit<RingMessage, "bootId">[],
): WindowChunk {
  const size = messages.reduce((sum, { bytes }) => sum + RECORD_HEADER_BYTES + bytes.byteLength, 0);
  const body = new Uint8Array(size);
  const view = viewOf(body);
  let offset = 0;
  for (const { channelId, sequence, logTimeNs, publishTimeNs, bytes } of messages) {
    writeRecordHeader(view, offset, channelId, sequence, logTimeNs, publishTimeNs, bytes.byteLength);
    body.set(bytes, offset + RECORD_HEADER_BYTES);
    offset += RECORD_HEADER_BYTES + bytes.byteLength;
  }
  return packed(origin, className, body, true);
}

function packed(
  origin: WindowChunk["origin"],
  className: string,
  body: Uint8Array,
  isWorthTrying: boolean,
): WindowChunk {
  const frame = isWorthTrying ? compressFrame(body) : undefined;
  const bytes = frame ?? body;
  return { ...described(origin, className, body, crc32(body), frame === undefined ? "" : "lz4"), records: () => bytes };
}

function described(
  origin: WindowChunk["origin"],
  className: string,
  body: Uint8Array,
  bodyCrc32: number,
  compression: "lz4" | "",
): Omit<WindowChunk, "records"> {
  const view = viewOf(body);
  const parts = new Map<number, { index: MessageIndex; sequences: number[]; bytes: number }>();
  let [startNs, endNs] = [LATEST_NS, 0n];
  for (const offset of recordOffsets(view)) {
    const channelId = recordChannelId(view, offset);
    const part = parts.get(channelId) ?? { index: new MessageIndex(), sequences: [], bytes: 0 };
    parts.set(channelId, part);
    const logTimeNs = recordLogTimeNs(view, offset);
    part.index.add(logTimeNs, offset);
    part.sequences.push(recordSequence(view, offset));
    part.bytes += recordSizeBytes(view, offset);
    startNs = earliest(startNs, logTimeNs);
    endNs = latest(endNs, logTimeNs);
  }
  const index = new Map<number, MessageIndex>();
  const bytesByChannel = new Map<number, number>();
  const sequences = new Map<number, number[]>();
  for (const [channelId, part] of parts) {
    index.set(channelId, part.index);
    bytesByChannel.set(channelId, part.bytes);
    sequences.set(channelId, part.sequences);
  }
  const sizes = { bodySize: body.byteLength, crc32: bodyCrc32, compression };
  const times = { startNs: earliest(startNs, endNs), endNs };
  return { origin, className, ...times, index, bytesByChannel, sequences, ...sizes };
}

/** One per class and boot. Not those messages that a whole chunk across the window's start brings anyway. */
function* latchedChunks(
  source: ChunkSource,
  query: WindowQuery,
  wanted: ReadonlySet<number>,
  channels: ReadonlyMap<number, Channel>,
): Generator<WindowChunk> {
  const { startNs, bootId, isContinued = false } = query;
  const isNew = (message: RingMessage) => !isContinued || message.bootId === bootId;
  const all = source.latched(startNs - 1n, bootId).filter(isNew);
  const messages = all.filter((message) => wanted.has(message.channelId));
  const lastByChannel = new Map(messages.map((message) => [message.channelId, { message, isBrought: false }]));
  const edge = { startNs, endNs: startNs, bootId, channelIds: new Set(lastByChannel.keys()) };
  // The ring remembers one message of a chunk, its last; the last before the window may be an earlier one of it.
  for (const chunk of edge.channelIds.size === 0 ? [] : source.chunks(edge))
    for (const message of messagesBefore(source, chunk, query)) {
      const last = lastByChannel.get(message.channelId);
      const isLater =
        last !== undefined && (message.bootId !== last.message.bootId || message.logTimeNs >= last.message.logTimeNs);
      if (isLater)
        lastByChannel.set(message.channelId, { message, isBrought: last.isBrought || !isCutAt(chunk, query.isCut) });
    }
  const missing = [...lastByChannel.values()].filter(({ isBrought }) => !isBrought).map(({ message }) => message);
  const ordered = missing.toSorted((a, b) => Number(a.logTimeNs - b.logTimeNs));
  const classOf = ({ channelId }: RingMessage) => channels.get(channelId)?.className ?? "";
  const groups = Map.groupBy(ordered, (message) => JSON.stringify([classOf(message), message.bootId]));
  for (const group of groups.values()) {
    const [first] = group;
    if (first !== undefined) yield { ...chunkOfMessages("latched", classOf(first), group), bootId: first.bootId };
  }
}

/** A chunk's messages from before the window. */
function messagesBefore(source: ChunkSource, chunk: StoredChunk, query: WindowQuery): RingMessage[] {
  const bytes = readable(source, chunk, { ...query, onDamaged: () => {} }); // it is named when its turn comes
  if (bytes === undefined) return [];
  const view = viewOf(bytes.body);
  return [...recordOffsets(view)]
    .filter((offset) => recordLogTimeNs(view, offset) < query.startNs)
    .map((offset) => readRecord(view, offset, chunk.bootId));
}
