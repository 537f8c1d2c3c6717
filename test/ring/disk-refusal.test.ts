import { expect, test } from "vitest";
import { DiskRefusal } from "../../src/ring/disk-refusal.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const refusalOf = (code: string) => Object.assign(new Error(code), { code });

test("a ring in which nothing may go is no reason while the disk itself refuses, whichever said so last", () => {
  const refusal = new DiskRefusal(silentLog);
  refusal.note(refusalOf("ring_full"));
  expect(refusal.durability).toBe("ring_full");
  for (const code of ["ENOSPC", "ring_full"]) {
    refusal.note(refusalOf(code));
    expect(refusal.durability).toBe("refused");
  }
  refusal.end();
  expect(refusal.durability).toBe("waiting");
  refusal.note(refusalOf("ring_full"));
  expect(refusal.durability).toBe("ring_full");
});
