/**
 * Files that are whole or absent, whatever happens in between.
 *
 * Order of writes: temporary file, fdatasync, rename, fsync of the folder. A crash leaves at most a file
 * that ends in `.part`, which its owner removes when it opens the folder.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { failpoint } from "./failpoint.ts";

export const PART_SUFFIX = ".part";

export function writeFileDurably(path: string, content: Uint8Array | string, mode = 0o644): void {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  const part = path + PART_SUFFIX;
  const fd = openSync(part, "w", mode);
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
    failpoint("file.written");
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameDurably(part, path);
}

/** The caller has synced the file's bytes; this makes the name durable too. */
export function renameDurably(from: string, to: string): void {
  failpoint("file.synced");
  renameSync(from, to);
  failpoint("file.renamed");
  syncFolder(dirname(to));
  failpoint("file.durable");
}

export function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
