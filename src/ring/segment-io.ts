/**
 * The system calls on segment files.
 *
 * Writes go past the page cache (O_DIRECT, open(2)) wherever the file system can: nobody reads a camera's chunks again
 * but for an episode, and the cache's pages cost eight times the CPU of the write itself (2.2 against 0.3 ms/MB on
 * ext4) and push out what the robot needs. The kernel then wants memory, offsets and lengths in whole pages: a write
 * is gathered in page-aligned memory and filled up with zeros to the next page.
 */
import { closeSync, constants, fdatasyncSync, openSync, writeSync } from "node:fs";
import { type Native, preallocate } from "../native/addon.ts";
import { copyBytes } from "../std/copy-bytes.ts";

/** What chunks start at and are filled up to: no page with committed bytes is written again. */
export const ALIGNMENT = 4096;
/** WebAssembly's pages; 33 of them hold the largest usual chunk and its header. */
const WASM_PAGE_BYTES = 64 * 1024;
const STAGE_PAGES = 33;

/** The calls that meet a full or broken disk, so that a test can break them. */
export type SegmentIo = {
  preallocate(fd: number, sizeBytes: number): void;
  /** An existing file, for writing. */
  open(path: string): number;
  /** Writes the buffers one behind the other, and zeros up to the next multiple of `ALIGNMENT`. */
  write(fd: number, buffers: readonly Uint8Array[], offset: number): void;
  sync(fd: number): void;
};

export function realSegmentIo(native: Native | undefined, stage = alignedStage()): SegmentIo {
  let isDirect = stage !== undefined;
  const memory = stage ?? new Uint8Array(STAGE_PAGES * WASM_PAGE_BYTES);
  const writeStage = (fd: number, sizeBytes: number, offset: number) => {
    try {
      writeFully(fd, memory, sizeBytes, offset);
    } catch (error) {
      if (!isUnfit(error)) throw error;
      // The file system took the flag and not the write: files are opened without it from now on.
      isDirect = false;
      writeThroughCache(fd, memory, sizeBytes, offset);
    }
  };
  return {
    preallocate: (fd, sizeBytes) => preallocate(native, fd, sizeBytes),
    open: (path) => {
      if (isDirect)
        try {
          return openSync(path, constants.O_RDWR | constants.O_DIRECT);
        } catch (error) {
          if (!isUnfit(error)) throw error;
          isDirect = false;
        }
      return openSync(path, constants.O_RDWR);
    },
    write: (fd, buffers, offset) => {
      let at = offset;
      gather(buffers, memory, (sizeBytes) => {
        writeStage(fd, sizeBytes, at);
        at += sizeBytes;
      });
    },
    sync: fdatasyncSync,
  };
}

/** Calls `flush` whenever the memory is full, and for the last whole pages. */
function gather(buffers: readonly Uint8Array[], memory: Uint8Array, flush: (sizeBytes: number) => void): void {
  let filled = 0;
  for (const buffer of buffers)
    for (let from = 0; from < buffer.length; ) {
      const part = buffer.subarray(from, from + memory.length - filled);
      copyBytes(part, memory, filled);
      from += part.length;
      filled += part.length;
      if (filled < memory.length) continue;
      flush(filled);
      filled = 0;
    }
  const end = Math.ceil(filled / ALIGNMENT) * ALIGNMENT;
  memory.fill(0, filled, end);
  if (end > 0) flush(end);
}

/** Of a global that neither the language's nor Node's types have. */
declare const WebAssembly: {
  readonly Memory: new (pages: {
    readonly initial: number;
    readonly maximum: number;
  }) => { readonly buffer: ArrayBuffer };
};

/** Plain buffers lie at any address; WebAssembly's memory begins with a page. undefined: there is none to be had. */
function alignedStage(): Uint8Array | undefined {
  try {
    return new Uint8Array(new WebAssembly.Memory({ initial: STAGE_PAGES, maximum: STAGE_PAGES }).buffer);
  } catch {
    return undefined;
  }
}

function writeFully(fd: number, bytes: Uint8Array, sizeBytes: number, offset: number): void {
  for (let done = 0; done < sizeBytes; ) done += writeSync(fd, bytes, done, sizeBytes - done, offset + done);
}

function writeThroughCache(fd: number, bytes: Uint8Array, sizeBytes: number, offset: number): void {
  const cached = openSync(`/proc/self/fd/${fd}`, constants.O_RDWR);
  try {
    writeFully(cached, bytes, sizeBytes, offset);
  } finally {
    closeSync(cached);
  }
}

/** EINVAL is how open(2) and write(2) say that this file system cannot do it, or not with this memory. */
function isUnfit(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EINVAL";
}
