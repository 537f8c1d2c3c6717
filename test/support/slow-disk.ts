/** A disk that takes so many MB a second and so long for a flush (test/tools/slow-disk.c), mounted. Needs root and libfuse3-dev. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, waitFor } from "./child.ts";
import { LoopDisk } from "./loop-disk.ts";

export type SlowDiskOptions = { readonly bytes: number; readonly mbPerS: number; readonly flushMs: number };

export class SlowDisk {
  readonly #scratch: string;
  readonly #server: ChildProcess;
  readonly #loop: LoopDisk;

  private constructor(scratch: string, server: ChildProcess, loop: LoopDisk) {
    this.#scratch = scratch;
    this.#server = server;
    this.#loop = loop;
  }

  static async open({ bytes, mbPerS, flushMs }: SlowDiskOptions): Promise<SlowDisk> {
    const scratch = mkdtempSync(join(tmpdir(), "lode-slow-"));
    const program = join(scratch, "slow-disk");
    build(program);
    const image = join(scratch, "image");
    const mount = join(scratch, "fuse");
    writeFileSync(image, "");
    truncateSync(image, bytes);
    mkdirSync(mount);
    const server = spawn(program, [image, `${mbPerS}`, `${flushMs}`, mount, "-f"], { stdio: "ignore" });
    const disk = join(mount, "disk");
    await waitFor(() => existsSync(disk), "the slow disk");
    return new SlowDisk(scratch, server, LoopDisk.open({ bytes, image: disk }));
  }

  get folder(): string {
    return this.#loop.folder;
  }

  /** The next write or flush, and all that wait behind it, take three seconds. */
  hang(): void {
    this.#server.kill("SIGUSR1");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#loop[Symbol.dispose]();
    const ended = new Promise((resolve) => this.#server.once("close", resolve));
    execFileSync("fusermount3", ["-u", join(this.#scratch, "fuse")]);
    await ended;
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

function build(program: string): void {
  try {
    const flags = execFileSync("pkg-config", ["--cflags", "--libs", "fuse3"], { encoding: "utf8" }).trim().split(/\s+/);
    execFileSync("cc", ["-O2", "-o", program, join(ROOT, "test/tools/slow-disk.c"), ...flags, "-lpthread"]);
  } catch (error) {
    throw new Error("The slow disk cannot be built: apt-get install libfuse3-dev fuse3 pkg-config gcc", {
      cause: error,
    });
  }
}
