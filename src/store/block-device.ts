/**
 * The disks under a folder and what the kernel wrote to them: `stat`, field 7, of /sys/dev/block/MAJ:MIN, in sectors
 * of 512 bytes whatever the device's own are (Documentation/block/stat.rst).
 *
 * A partition stands for its whole disk, since flash wears as one; LVM, RAID and encryption for what they lie on (of
 * several, the sum); a loop device for the disk of its file, where that has one. A folder without a block device
 * (overlay, tmpfs, network) has none.
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const SECTOR_BYTES = 512;
/** Layers of a stack of devices. */
const DEPTH_MAX = 8;

export type BlockDevice = {
  /** `mmcblk0`; `sda+sdb`. */
  readonly name: string;
  /** Since the kernel started; undefined: it has gone. */
  writtenBytes(): number | undefined;
};

/** `root` is where `sys/` and `proc/` are; `devOf` tells a file's device number. undefined: there is none. */
export function blockDeviceOf(
  folder: string,
  root = "/",
  devOf = (path: string) => statSync(path).dev,
): BlockDevice | undefined {
  const disks = [...new Set(disksOfFile(folder, root, devOf, 0))];
  if (disks.length === 0) return undefined;
  return {
    name: disks.map((path) => basename(path)).join("+"),
    writtenBytes: () => (disks.every(existsSync) ? sum(disks.map(sectorsWritten)) * SECTOR_BYTES : undefined),
  };
}

/** What this process and its threads caused to be written to any disk; undefined: the kernel does not count. */
export function processWrittenBytes(root = "/"): number | undefined {
  const path = join(root, "proc/self/io");
  if (!existsSync(path)) return undefined;
  const match = /^write_bytes: (\d+)$/m.exec(readFileSync(path, "utf8"));
  return match === null ? undefined : Number(match[1]);
}

function disksOfFile(file: string, root: string, devOf: (path: string) => number, depth: number): string[] {
  const id = deviceId(devOf(file));
  const path = join(root, "sys/dev/block", id);
  if (existsSync(path)) return disksUnder(realpathSync(path), root, devOf, depth);
  // btrfs gives its files a number of its own; the mount says on which device it lies.
  const source = mountSource(root, id);
  const mounted = source === undefined ? undefined : join(root, "sys/class/block", basename(source));
  return mounted !== undefined && existsSync(mounted) ? disksUnder(realpathSync(mounted), root, devOf, depth) : [];
}

function disksUnder(path: string, root: string, devOf: (path: string) => number, depth: number): string[] {
  if (depth > DEPTH_MAX) return [path];
  if (existsSync(join(path, "partition"))) return disksUnder(dirname(path), root, devOf, depth + 1);
  const lower = lowerDevices(path).flatMap((device) => disksUnder(device, root, devOf, depth + 1));
  if (lower.length > 0) return lower;
  const backing = join(path, "loop/backing_file");
  const file = existsSync(backing) ? readFileSync(backing, "utf8").trim() : undefined;
  const ofFile = file !== undefined && existsSync(file) ? disksOfFile(file, root, devOf, depth + 1) : [];
  return ofFile.length > 0 ? ofFile : [path];
}

function lowerDevices(path: string): string[] {
  const folder = join(path, "slaves");
  return existsSync(folder) ? readdirSync(folder).map((name) => realpathSync(join(folder, name))) : [];
}

/** proc_pid_mountinfo(5): `id parent MAJ:MIN root point options… - type source options`. */
function mountSource(root: string, id: string): string | undefined {
  const path = join(root, "proc/self/mountinfo");
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
  const source = lines
    .find((line) => line.split(" ")[2] === id)
    ?.split(" - ")[1]
    ?.split(" ")[1];
  return source?.startsWith("/dev/") === true ? realDevice(source) : undefined;
}

function realDevice(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

/** makedev(3). */
function deviceId(dev: number): string {
  const bits = BigInt(dev);
  const major = ((bits >> 8n) & 0xfffn) | ((bits >> 32n) & 0xfffff000n);
  const minor = (bits & 0xffn) | ((bits >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function sectorsWritten(path: string): number {
  return Number(readFileSync(join(path, "stat"), "utf8").trim().split(/\s+/)[6] ?? 0);
}
