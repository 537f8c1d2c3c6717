/** A file system of its own in a file, whose power can be cut. Needs root, loop devices and xfs_io (xfsprogs). */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const hasLoopTools = ["xfs_io", "mkfs.xfs", "mkfs.ext4"].every((name) => existsSync(`/usr/sbin/${name}`));

export type FileSystem = "ext4" | "xfs";

export class LoopDisk {
  readonly path: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "lode-loop-"));
  readonly #image = join(this.#folder, "image");

  constructor(fileSystem: FileSystem, megabytes = 3000) {
    this.path = join(this.#folder, "mounted");
    mkdirSync(this.path);
    writeFileSync(this.#image, "");
    truncateSync(this.#image, megabytes * 1024 * 1024);
    run(`mkfs.${fileSystem}`, ["-q", this.#image]);
    this.mount();
  }

  mount(): void {
    run("mount", ["-o", "loop", this.#image, this.path]);
  }

  unmount(): void {
    run("umount", [this.path]);
  }

  /** From here on nothing more reaches the disk, the log neither. What was mounted must be unmounted after it. */
  cutPower(): void {
    run("xfs_io", ["-x", "-c", "shutdown", this.path]);
  }

  [Symbol.dispose](): void {
    try {
      this.unmount();
    } catch {} // it was not mounted
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Throws what the command had to say. */
function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });
}
