/** Segment bytes past the page cache, into extents that are preallocated and not yet written: durable after `sync`. */
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadNative } from "../../src/native/addon.ts";
import { realSegmentIo } from "../../src/ring/segment-io.ts";
import { syncFolder } from "../../src/std/durable-file.ts";
import { noise } from "../ring/ring-rig.ts";
import { isRoot, lacks } from "../support/needs.ts";
import { type FileSystem, hasLoopTools, LoopDisk } from "./loop-disk.ts";

const MIB = 1024 * 1024;
const BYTES = noise(300_000, 5);

/** Writes a chunk in the middle of a preallocated segment, cuts the power and says whether it is there. */
function survivesCut(fileSystem: FileSystem, isSynced: boolean): boolean {
  using disk = new LoopDisk(fileSystem);
  const path = join(disk.path, "00000001.seg");
  const native = loadNative();
  const io = realSegmentIo("problem" in native ? undefined : native);
  const made = openSync(path, "w+");
  io.preallocate(made, 16 * MIB);
  io.sync(made);
  closeSync(made);
  syncFolder(disk.path);
  const fd = io.open(path);
  io.write(fd, [BYTES], 4 * MIB);
  if (isSynced) io.sync(fd);
  disk.cutPower();
  closeSync(fd);
  disk.unmount();
  disk.mount();
  return readFileSync(path)
    .subarray(4 * MIB, 4 * MIB + BYTES.length)
    .equals(BYTES);
}

test.skipIf(lacks(isRoot && hasLoopTools)).for(["ext4", "xfs"] as const)(
  "on %s a segment's bytes are there after a power cut if they were synced, and only then",
  { timeout: 60_000 },
  (fileSystem) => {
    expect(survivesCut(fileSystem, true)).toBe(true);
    expect(survivesCut(fileSystem, false), "the control").toBe(false);
  },
);
