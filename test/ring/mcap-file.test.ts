import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { McapFile } from "../../src/ring/mcap-file.ts";
import { chunkOfMessages } from "../../src/ring/window.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { channel } from "./ring-rig.ts";

const folder = makeFolder();
afterAll(() => removeFolder(folder));

test("small and large pieces lie in the order of their writing, and the file's checksums are theirs", () => {
  const path = join(folder, "mixed.mcap");
  const random = channel(3, "/random", "heavy");
  // Random bytes do not compress: such chunks lie as they are, and their checksum is taken over.
  const payloads = [10, 200_000, 30_000, 50_000, 70_000, 10, 400_000, 40_000, 60_000, 60_000, 60_000, 60_000];
  const messages = payloads.map((size, index) => {
    const logTimeNs = BigInt(index + 1) * 1_000_000n;
    return { channelId: 3, sequence: index, logTimeNs, publishTimeNs: logTimeNs, bytes: randomBytes(size) };
  });
  using file = McapFile.create(path, "ros2");
  for (const message of messages) file.addChunk(chunkOfMessages("full", "heavy", [message]), new Map([[3, random]]));
  const finished = file.finish();
  const read = readMcapBySpec(path).messages;
  expect(read.map(({ logTimeNs }) => logTimeNs)).toEqual(messages.map(({ logTimeNs }) => logTimeNs));
  const bytes = readFileSync(path);
  expect(finished).toEqual({ sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") });
});
