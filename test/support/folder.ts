/** Temporary folders that a test makes and removes. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder within a fresh folder, so that a test can put something beside it. */
export function makeFolder(): string {
  const folder = join(mkdtempSync(join(tmpdir(), "lode-test-")), "files");
  mkdirSync(folder);
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
