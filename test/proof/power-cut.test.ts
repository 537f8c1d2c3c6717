/** The short form of `npm run proof -- power-cut`. */
import { expect, test } from "vitest";
import { isRoot, lacks } from "../support/needs.ts";
import { hasLoopTools } from "./loop-disk.ts";
import { provePowerCut } from "./power-cut.ts";

const needsLoopDisk = test.skipIf(lacks(isRoot && hasLoopTools));

needsLoopDisk.for(["ext4", "xfs"] as const)(
  "a power cut on %s takes nothing that a commit acknowledged, and at most a second of a light topic",
  { timeout: 120_000 },
  async (fileSystem) => {
    const result = await provePowerCut({ fileSystem, cuts: 2, seed: 3 });
    expect(result.problems).toEqual([]);
  },
);

needsLoopDisk(
  "a database that does not sync at a commit fails this proof: it can fail",
  { timeout: 60_000 },
  async () => {
    const result = await provePowerCut({ fileSystem: "ext4", cuts: 1, seed: 3, control: "synchronous=NORMAL" });
    expect(result.failed).toBe(1);
  },
);
