/** All of `npm run proof -- full-disk`; starting on a full disk is in test/e2e/full-disk.test.ts. */
import { expect, test } from "vitest";
import { isRoot, lacks } from "../support/needs.ts";
import { FULL_PHASES, proveFullDisk } from "./full-disk.ts";

test.skipIf(lacks(isRoot)).for(FULL_PHASES)(
  "a disk that is full during %s costs nothing once there is room, and the ledger is exact",
  { timeout: 60_000 },
  async (phase) => {
    expect(await proveFullDisk(phase)).toEqual([]);
  },
);
