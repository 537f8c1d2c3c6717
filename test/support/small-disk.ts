/** A small file system of its own, in memory, that fills up. Mounting needs root. */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class SmallDisk implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "lode-disk-"));

  constructor(megabytes: number) {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", this.path]);
  }

  /** To the last page. */
  fill(): void {
    const path = join(this.path, "hog");
    for (const size of [1 << 20, 4096])
      try {
        for (;;) appendFileSync(path, Buffer.alloc(size, 1));
      } catch {} // full
  }

  /** What filled it goes. */
  makeRoom(): void {
    rmSync(join(this.path, "hog"), { force: true });
  }

  grow(megabytes: number): void {
    execFileSync("mount", ["-o", `remount,size=${megabytes}m`, this.path]);
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["-l", this.path]);
    rmdirSync(this.path);
  }
}
