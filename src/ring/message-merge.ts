/**
 * Merges chunks into one run of messages, boot by boot in order of log_time, holding only the chunks that overlap.
 *
 * Within a boot the order is (log_time, channel, sequence). In a ring of format 1 a message may be in a full chunk and in a
 * baseline one: both have the same place in it, so the second copy follows the first and is left out.
 */
import {
  type RingMessage,
  readRecord,
  recordChannelId,
  recordLogTimeNs,
  recordOffsets,
  recordSequence,
  viewOf,
} from "./message-record.ts";

type Part = { readonly startNs: bigint; readonly bootId: string };
type Selection = { readonly startNs: bigint; readonly endNs: bigint; readonly channelIds?: ReadonlySet<number> };

/** A chunk that is being read: its wanted records in order, and the one that comes next. */
type Cursor = {
  readonly body: DataView;
  readonly bootId: string;
  readonly offsets: readonly number[];
  index: number;
  logTimeNs: bigint;
};

/** `chunks` come boot by boot and by start time; `bodyOf` gives undefined for a chunk to be skipped. */
export function* mergeChunks<Chunk extends Part>(
  chunks: Iterable<Chunk>,
  selection: Selection,
  bodyOf: (chunk: Chunk) => Uint8Array | undefined,
): Generator<RingMessage> {
  const cursors: Cursor[] = [];
  let last: RingMessage | undefined;
  function* emitBefore(limitNs: bigint | undefined): Generator<RingMessage> {
    for (;;) {
      const cursor = firstOf(cursors);
      if (cursor === undefined || (limitNs !== undefined && cursor.logTimeNs >= limitNs)) return;
      const message = readRecord(cursor.body, offsetOf(cursor), cursor.bootId);
      if (last === undefined || !isSame(last, message)) yield message;
      last = message;
      if (!advance(cursor)) cursors.splice(cursors.indexOf(cursor), 1);
    }
  }
  let bootId: string | undefined;
  for (const chunk of chunks) {
    yield* emitBefore(chunk.bootId === bootId ? chunk.startNs : undefined);
    bootId = chunk.bootId;
    const body = bodyOf(chunk);
    const cursor = body === undefined ? undefined : openCursor(viewOf(body), chunk.bootId, selection);
    if (cursor !== undefined) cursors.push(cursor);
  }
  yield* emitBefore(undefined);
}

function openCursor(body: DataView, bootId: string, { startNs, endNs, channelIds }: Selection): Cursor | undefined {
  const offsets: number[] = [];
  let isSorted = true;
  for (const offset of recordOffsets(body)) {
    const logTimeNs = recordLogTimeNs(body, offset);
    if (logTimeNs < startNs || logTimeNs > endNs) continue;
    if (channelIds !== undefined && !channelIds.has(recordChannelId(body, offset))) continue;
    const previous = offsets.at(-1);
    if (previous !== undefined && compareRecords(body, previous, body, offset) > 0) isSorted = false;
    offsets.push(offset);
  }
  if (!isSorted) offsets.sort((a, b) => compareRecords(body, a, body, b));
  const [first] = offsets;
  return first === undefined ? undefined : { body, bootId, offsets, index: 0, logTimeNs: recordLogTimeNs(body, first) };
}

function firstOf(cursors: readonly Cursor[]): Cursor | undefined {
  let first: Cursor | undefined;
  for (const cursor of cursors) if (first === undefined || compareCursors(cursor, first) < 0) first = cursor;
  return first;
}

function compareCursors(a: Cursor, b: Cursor): number {
  if (a.logTimeNs !== b.logTimeNs) return a.logTimeNs < b.logTimeNs ? -1 : 1;
  return compareRecords(a.body, offsetOf(a), b.body, offsetOf(b));
}

function compareRecords(a: DataView, aOffset: number, b: DataView, bOffset: number): number {
  const aNs = recordLogTimeNs(a, aOffset);
  const bNs = recordLogTimeNs(b, bOffset);
  if (aNs !== bNs) return aNs < bNs ? -1 : 1;
  const channels = recordChannelId(a, aOffset) - recordChannelId(b, bOffset);
  return channels !== 0 ? channels : recordSequence(a, aOffset) - recordSequence(b, bOffset);
}

function offsetOf(cursor: Cursor): number {
  return cursor.offsets[cursor.index] ?? 0;
}

function advance(cursor: Cursor): boolean {
  cursor.index += 1;
  if (cursor.index >= cursor.offsets.length) return false;
  cursor.logTimeNs = recordLogTimeNs(cursor.body, offsetOf(cursor));
  return true;
}

function isSame(a: RingMessage, b: RingMessage): boolean {
  const isSamePlace = a.logTimeNs === b.logTimeNs && a.sequence === b.sequence;
  return isSamePlace && a.channelId === b.channelId && a.bootId === b.bootId;
}
