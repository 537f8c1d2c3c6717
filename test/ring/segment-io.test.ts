import { closeSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ALIGNMENT, realSegmentIo, type SegmentIo } from "../../src/ring/segment-io.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import { noise } from "./ring-rig.ts";

const SHARED = new Uint8Array(new SharedArrayBuffer(3_000_000)).map((_, index) => (index * 7919) >> 3);

/** What lies in a new file after these writes. */
function fileAfter(io: SegmentIo, write: (fd: number) => void): Buffer {
  const folder = makeFolder();
  try {
    const path = join(folder, "1.seg");
    writeFileSync(path, Buffer.alloc(4_000_000, 0xff));
    const fd = io.open(path);
    write(fd);
    io.sync(fd);
    closeSync(fd);
    return readFileSync(path);
  } finally {
    removeFolder(folder);
  }
}

test.each([
  ["aligned memory", () => realSegmentIo(undefined)],
  // The kernel refuses to write from there past the cache; a plain file system refuses the flag.
  ["memory at an odd address", () => realSegmentIo(undefined, new Uint8Array(new ArrayBuffer(65_537 * 8), 1, 65_536))],
])("from %s the bytes of a write lie one behind the other, zeros up to the next page, nothing beyond", (_, open) => {
  const header = noise(122, 1);
  const short = noise(70_001, 2);
  const io = open();
  const file = fileAfter(io, (fd) => {
    io.write(fd, [header, SHARED], ALIGNMENT);
    io.write(fd, [short], 3_200_000 - (3_200_000 % ALIGNMENT));
  });
  const wholePages = (size: number) => Math.ceil(size / ALIGNMENT) * ALIGNMENT;
  const expected = Buffer.alloc(4_000_000, 0xff);
  const put = (bytes: Uint8Array, at: number) => {
    expected.fill(0, at, at + wholePages(bytes.length));
    expected.set(bytes, at);
  };
  put(Buffer.concat([header, SHARED]), ALIGNMENT);
  put(short, 3_200_000 - (3_200_000 % ALIGNMENT));
  expect(file.equals(expected)).toBe(true);
});
