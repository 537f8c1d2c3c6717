/**
 * The chunks of a segment file as their headers tell, without the index: one read of a few kilobytes for each.
 *
 * A file is filled from its start, and ids only grow: a header with a smaller id than one before it is left over from
 * an earlier filling. Behind a damaged header the search goes on at every place where a chunk may begin.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { decodeSegmentHeader, HEADER_BYTES_MAX, isSegmentHeader, type SegmentHeader } from "./segment-header.ts";
import { ALIGNMENT } from "./segment-io.ts";

export type FoundChunk = {
  readonly header: SegmentHeader;
  readonly offset: number;
  /** Header, bytes and alignment. */
  readonly size: number;
};

/** The headers of nearly all chunks. */
const READ_BYTES = 2 * ALIGNMENT;
const SEARCH_BYTES = 256 * 1024;

export function* scanSegment(path: string): Generator<FoundChunk> {
  const fd = openSync(path, "r");
  try {
    const end = fstatSync(fd).size;
    let newestId = -1;
    for (let offset = 0; offset < end; ) {
      const header = headerAt(fd, offset);
      if (header === undefined) {
        offset = findHeader(fd, offset + ALIGNMENT, end);
        continue;
      }
      const size = Math.ceil((header.length + header.storedSize) / ALIGNMENT) * ALIGNMENT;
      if (header.id > newestId && offset + size <= end) {
        newestId = header.id;
        yield { header, offset, size };
      }
      offset += size;
    }
  } finally {
    closeSync(fd);
  }
}

function headerAt(fd: number, offset: number): ReturnType<typeof decodeSegmentHeader> {
  const bytes = readAt(fd, offset, READ_BYTES);
  if (!isSegmentHeader(bytes, 0)) return undefined;
  return decodeSegmentHeader(bytes) ?? decodeSegmentHeader(readAt(fd, offset, HEADER_BYTES_MAX));
}

/** The next place from `from` on that looks like a header; `end` if there is none. */
function findHeader(fd: number, from: number, end: number): number {
  for (let block = from; block < end; block += SEARCH_BYTES) {
    const bytes = readAt(fd, block, SEARCH_BYTES);
    for (let at = 0; at < bytes.length; at += ALIGNMENT) if (isSegmentHeader(bytes, at)) return block + at;
  }
  return end;
}

function readAt(fd: number, offset: number, sizeBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(sizeBytes);
  return bytes.subarray(0, readSync(fd, bytes, 0, sizeBytes, offset));
}
