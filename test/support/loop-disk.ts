/**
 * A disk of its own for a test or a measurement: an image under a loop device with a file system, so that what its
 * block layer counts as written is what this one writer caused. Needs root; says so where it is lacking.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { isRoot } from "./needs.ts";

const SECTOR_BYTES = 512; // of /sys/block/*/stat, whatever the device's own sectors are

export class LoopDisk implements Disposable {
  /** Where the file system is mounted. */
  readonly folder: string;
  readonly #scratch: string;
  readonly #device: string;

  private constructor(scratch: string, device: string, folder: string) {
    this.#scratch = scratch;
    this.#device = device;
    this.folder = folder;
  }

  /** `image`: a file to lie on, which stays; otherwise a sparse one of `bytes` is made and removed. */
  static open({ bytes, image }: { readonly bytes: number; readonly image?: string }): LoopDisk {
    if (!isRoot) throw new Error("A loop device needs root: run this as root.");
    const scratch = mkdtempSync(join(tmpdir(), "lode-disk-"));
    try {
      const file = image ?? join(scratch, "image");
      if (image === undefined) {
        writeFileSync(file, "");
        truncateSync(file, bytes);
      }
      const device = run("losetup", "--direct-io=on", "-f", "--show", file);
      const folder = join(scratch, "mount");
      try {
        // Inode tables and journal are written now, not by the kernel in the background of the measurement.
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device);
        mkdirSync(folder);
        run("mount", "-o", "noatime", device, folder);
      } catch (error) {
        run("losetup", "-d", device);
        throw error;
      }
      return new LoopDisk(scratch, device, folder);
    } catch (error) {
      rmSync(scratch, { recursive: true, force: true });
      throw error;
    }
  }

  /** Everything that waits in the page cache goes to the device, the file system's journal too. */
  sync(): void {
    run("sync", "-f", this.folder);
  }

  /** What the block layer has written since the device was made (Documentation/block/stat.rst, field 7). */
  get writtenBytes(): number {
    const fields = readFileSync(`/sys/block/${basename(this.#device)}/stat`, "utf8")
      .trim()
      .split(/\s+/);
    return Number(fields[6]) * SECTOR_BYTES;
  }

  /** What a folder takes on the disk, in blocks (du). */
  usedBytes(folder: string): number {
    return Number(run("du", "-s", "--block-size=1", folder).split("\t")[0]);
  }

  [Symbol.dispose](): void {
    run("umount", this.folder);
    run("losetup", "-d", this.#device);
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8" }).trim();
}
