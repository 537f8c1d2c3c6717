/**
 * Message records inside a chunk body: MCAP's "Message (op=0x05)", so that a stored body is an MCAP chunk's body.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 1 | 0x05 |
 * | 1 | 8 | length of the rest, u64le |
 * | 9 | 2 | channel id, u16le |
 * | 11 | 4 | sequence, u32le |
 * | 15 | 8 | log_time, u64le ns |
 * | 23 | 8 | publish_time, u64le ns |
 * | 31 | … | the message's bytes |
 */
import { Fault } from "../std/fault.ts";

export const RECORD_HEADER_BYTES = 31;
/**
 * How many numbers a restart within a boot leaves out for a channel: more than a killed process can have given to
 * messages it stored beyond the committed count, as full and baseline chunks close at different times.
 */
export const SEQUENCE_SLACK = 100_000;
const OPCODE = 0x05;
const PREFIX_BYTES = 9;

export type RingMessage = {
  readonly channelId: number;
  readonly sequence: number;
  readonly logTimeNs: bigint;
  readonly publishTimeNs: bigint;
  readonly bytes: Uint8Array;
  readonly bootId: string;
};

/** Writes the header at `offset`; the caller puts the bytes behind it. */
export function writeRecordHeader(
  view: DataView,
  offset: number,
  channelId: number,
  sequence: number,
  logTimeNs: bigint,
  publishTimeNs: bigint,
  sizeBytes: number,
): void {
  view.setUint8(offset, OPCODE);
  view.setUint32(offset + 1, sizeBytes + RECORD_HEADER_BYTES - PREFIX_BYTES, true);
  view.setUint32(offset + 5, 0, true);
  view.setUint16(offset + 9, channelId, true);
  view.setUint32(offset + 11, sequence, true);
  view.setBigUint64(offset + 15, logTimeNs, true);
  view.setBigUint64(offset + 23, publishTimeNs, true);
}

/** The offsets of a body's records, in the order of their writing. Throws `Fault("corrupt_chunk")` on a torn run. */
export function* recordOffsets(body: DataView): Generator<number> {
  let offset = 0;
  while (offset < body.byteLength) {
    const end = offset + RECORD_HEADER_BYTES > body.byteLength ? Number.POSITIVE_INFINITY : recordEnd(body, offset);
    if (end > body.byteLength)
      throw new Fault("corrupt_chunk", `No whole message record at offset ${offset}.`, "The chunk is set aside.");
    yield offset;
    offset = end;
  }
}

function recordEnd(body: DataView, offset: number): number {
  const length = body.getUint32(offset + 1, true);
  const isMessage = body.getUint8(offset) === OPCODE && body.getUint32(offset + 5, true) === 0;
  if (!isMessage || length < RECORD_HEADER_BYTES - PREFIX_BYTES) return Number.POSITIVE_INFINITY;
  return offset + PREFIX_BYTES + length;
}

export function recordChannelId(body: DataView, offset: number): number {
  return body.getUint16(offset + 9, true);
}

export function recordSequence(body: DataView, offset: number): number {
  return body.getUint32(offset + 11, true);
}

export function recordLogTimeNs(body: DataView, offset: number): bigint {
  return body.getBigUint64(offset + 15, true);
}

export function recordPublishTimeNs(body: DataView, offset: number): bigint {
  return body.getBigUint64(offset + 23, true);
}

/** Of the message's bytes. */
export function recordSizeBytes(body: DataView, offset: number): number {
  return body.getUint32(offset + 1, true) + PREFIX_BYTES - RECORD_HEADER_BYTES;
}

/** The message at `offset`; its bytes are a view into the body. */
export function readRecord(body: DataView, offset: number, bootId: string): RingMessage {
  return {
    channelId: recordChannelId(body, offset),
    sequence: recordSequence(body, offset),
    logTimeNs: recordLogTimeNs(body, offset),
    publishTimeNs: recordPublishTimeNs(body, offset),
    bytes: new Uint8Array(body.buffer, body.byteOffset + offset + RECORD_HEADER_BYTES, recordSizeBytes(body, offset)),
    bootId,
  };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
