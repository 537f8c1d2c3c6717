/**
 * Where the receiver keeps bytes: parts that are still coming, and blobs named by their sha256.
 *
 * Order of writes in the folder store: part file → fdatasync → rename to `blobs/<sha256>` → fsync of the folder. A part's
 * size is its offset; nothing else of an upload is kept. A crash leaves a part (resumed, or removed when stale) or
 * a blob without a catalog row (joined again when its batch is sent again; `fsck` lists and removes it).
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open, rename, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { syncFolder } from "../std/durable-file.ts";
import { failpoint } from "../std/failpoint.ts";

export interface BlobStore {
  /** Bytes of the batch that are here; 0 if nothing is. */
  offset(robot: string, batch: string): Promise<number>;
  /** Opens the part for appending at `offset`, which must be what `offset()` said, or 0 to start again. */
  append(robot: string, batch: string, offset: number): Promise<Part>;
  discard(robot: string, batch: string): Promise<void>;
  /** Makes the part durable as the blob `sha256`. The caller has checked the hash, so an older copy is replaced by a proven one. */
  seal(robot: string, batch: string, sha256: string): Promise<void>;
  /** Size of a blob, or undefined if there is none. */
  size(sha256: string): Promise<number | undefined>;
  read(sha256: string): Readable;
  freeBytes(): Promise<number>;
}

/** One upload's open part. Close it before `seal`. */
export interface Part {
  /** sha256 over everything in the part, what was there before included. */
  readonly hash: Hash;
  /** Borrows `bytes` until it resolves. */
  write(bytes: Uint8Array): Promise<void>;
  sizeBytes(): number;
  /** With `isComplete` the bytes are on the disk when it resolves. */
  close(isComplete: boolean): Promise<void>;
}

export class FolderBlobStore implements BlobStore {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static open(folder: string): FolderBlobStore {
    for (const name of ["parts", "blobs"]) mkdirSync(join(folder, name), { recursive: true });
    return new FolderBlobStore(folder);
  }

  async offset(robot: string, batch: string): Promise<number> {
    return (await sizeOf(this.#partPath(robot, batch))) ?? 0;
  }

  async append(robot: string, batch: string, offset: number): Promise<Part> {
    const path = this.#partPath(robot, batch);
    mkdirSync(join(this.#folder, "parts", robot), { recursive: true });
    const file = await open(path, offset === 0 ? "w" : "r+", 0o640);
    const hash = createHash("sha256");
    if (offset > 0) for await (const bytes of createReadStream(path, { end: offset - 1 })) hash.update(bytes);
    return new FilePart(file, hash, offset);
  }

  async discard(robot: string, batch: string): Promise<void> {
    await rm(this.#partPath(robot, batch), { force: true });
  }

  async seal(robot: string, batch: string, sha256: string): Promise<void> {
    await rename(this.#partPath(robot, batch), this.blobPath(sha256));
    failpoint("receiver.blob_renamed");
    syncFolder(join(this.#folder, "blobs"));
  }

  size(sha256: string): Promise<number | undefined> {
    return sizeOf(this.blobPath(sha256));
  }

  read(sha256: string): Readable {
    return createReadStream(this.blobPath(sha256));
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#folder);
    return bavail * bsize;
  }

  blobPath(sha256: string): string {
    return join(this.#folder, "blobs", sha256);
  }

  blobs(): readonly string[] {
    return readdirSync(join(this.#folder, "blobs"));
  }

  removeBlob(sha256: string): void {
    rmSync(this.blobPath(sha256), { force: true });
  }

  /** Removes parts that nobody has added to since `beforeMs` (wall clock); returns how many. */
  removeStaleParts(beforeMs: number): number {
    const folder = join(this.#folder, "parts");
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = files.map((entry) => join(entry.parentPath, entry.name));
    const stale = paths.filter((path) => statSync(path).mtimeMs < beforeMs);
    for (const path of stale) rmSync(path, { force: true });
    return stale.length;
  }

  #partPath(robot: string, batch: string): string {
    return join(this.#folder, "parts", robot, batch);
  }
}

class FilePart implements Part {
  readonly hash: Hash;
  readonly #file: FileHandle;
  #position: number;

  constructor(file: FileHandle, hash: Hash, position: number) {
    this.#file = file;
    this.hash = hash;
    this.#position = position;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.hash.update(bytes);
    for (let written = 0; written < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, written, bytes.length - written, this.#position);
      written += bytesWritten;
      this.#position += bytesWritten;
    }
  }

  sizeBytes(): number {
    return this.#position;
  }

  async close(isComplete: boolean): Promise<void> {
    try {
      failpoint("receiver.part_written");
      if (isComplete) await this.#file.datasync();
      failpoint("receiver.part_synced");
    } finally {
      await this.#file.close();
    }
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
