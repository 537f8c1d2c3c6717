/**
 * The native addon: `fallocate`, systemd's notification and the kernel's word on the clock, and what stands in for them
 * where it could not be built.
 *
 * Without it: segment files are filled with zeros once (written twice in the ring's first lap, after that no
 * difference), and notifications go through the `systemd-notify` command (the unit needs `NotifyAccess=all`).
 */
import { execFileSync } from "node:child_process";
import { statSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

export type Native = {
  /** Reserves blocks, so that later writes there cannot meet a full disk. Throws an error with a `code`. */
  fallocate(fd: number, offset: number, length: number): void;
  /** Sends one datagram to $NOTIFY_SOCKET (sd_notify(3)); false if there is none or nobody took it. */
  notify(message: string): boolean;
  /** Whether the kernel says that somebody keeps its clock right (adjtimex(2)); undefined: it may not be asked. */
  isClockSynchronised(): boolean | undefined;
};

const ADDON_URL = new URL("../../native/build/Release/lode.node", import.meta.url);

/** The addon, or why it is not there; the caller logs that once. */
export function loadNative(): Native | { readonly problem: string } {
  try {
    const addon: unknown = createRequire(import.meta.url)(ADDON_URL.pathname);
    return isAddon(addon) ? wrap(addon) : { problem: "native/build is of another version; run `npm run build`." };
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    return {
      problem: `The native addon is not there (${reason}): new segment files are zero-filled once, systemd is told by systemd-notify.`,
    };
  }
}

/** Makes a new file's bytes exist on the disk, with or without the addon. */
export function preallocate(native: Native | undefined, fd: number, sizeBytes: number): void {
  if (native !== undefined && tryFallocate(native, fd, sizeBytes)) return;
  const zeros = new Uint8Array(1024 * 1024);
  for (let offset = 0; offset < sizeBytes; )
    offset += writeSync(fd, zeros, 0, Math.min(zeros.length, sizeBytes - offset), offset);
}

/** Where systemd-timesyncd touches a file at each answer of its server. */
const TIMESYNCD_FILE = "/run/systemd/timesync/synchronized";
/** Twice the longest time between two of these. */
const TIMESYNCD_MS_MAX = 4_096_000;

/** Somebody vouches for the wall now: the kernel, or, where it may not be asked, systemd-timesyncd. */
export function isClockSynchronised(native: Native | undefined, nowMs = Date.now(), file = TIMESYNCD_FILE): boolean {
  const isKept = native?.isClockSynchronised();
  if (isKept !== undefined) return isKept;
  const { mtimeMs } = statSync(file, { throwIfNoEntry: false }) ?? { mtimeMs: Number.NEGATIVE_INFINITY };
  return mtimeMs <= nowMs + 1000 && nowMs - mtimeMs <= TIMESYNCD_MS_MAX;
}

/** `READY=1`, `WATCHDOG=1`, `STATUS=…`, `STOPPING=1`; false where no systemd listens. */
export function notifySystemd(native: Native | undefined, message: string): boolean {
  if (process.env.NOTIFY_SOCKET === undefined) return false;
  if (native !== undefined) return native.notify(message);
  try {
    execFileSync("systemd-notify", message.split("\n"), { stdio: "ignore", timeout: 2000 });
    return true;
  } catch {
    return false;
  }
}

/** What C++ exports: 0 or an errno each. */
type Addon = {
  fallocate(fd: number, offset: number, length: number): number;
  notify(socketPath: string, message: string): number;
  /** Not in a build of an earlier version. */
  clockUnsynchronised?(): number;
};

function isAddon(value: unknown): value is Addon {
  if (typeof value !== "object" || value === null) return false;
  return "fallocate" in value && typeof value.fallocate === "function" && "notify" in value;
}

function wrap(addon: Addon): Native {
  return {
    fallocate: (fd, offset, length) => {
      const errno = addon.fallocate(fd, offset, length);
      if (errno !== 0) throw systemError("fallocate", errno);
    },
    notify: (message) => {
      const path = process.env.NOTIFY_SOCKET;
      return path !== undefined && addon.notify(path, message) === 0;
    },
    isClockSynchronised: () => {
      const errno = addon.clockUnsynchronised?.();
      return errno === 0 ? true : errno === ETIME ? false : undefined;
    },
  };
}

/** False where the file system has no fallocate (NFS, some FUSE): zeros then. A full disk is thrown. */
function tryFallocate(native: Native, fd: number, sizeBytes: number): boolean {
  try {
    native.fallocate(fd, 0, sizeBytes);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EOPNOTSUPP") return false;
    throw error;
  }
}

const ETIME = 62;
const ERRNO_NAMES: Readonly<Record<number, string>> = {
  5: "EIO",
  28: "ENOSPC",
  30: "EROFS",
  38: "EOPNOTSUPP", // ENOSYS
  95: "EOPNOTSUPP",
  122: "EDQUOT",
};

function systemError(call: string, errno: number): Error {
  const code = ERRNO_NAMES[errno] ?? `ERRNO_${errno}`;
  return Object.assign(new Error(`${code}: ${call} failed`), { code, errno: -errno, syscall: call });
}
