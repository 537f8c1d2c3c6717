import { execFileSync, spawn } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadNative, type Native, notifySystemd, preallocate } from "../../src/native/addon.ts";
import { lacks } from "../support/needs.ts";

const ADDON = resolve(import.meta.dirname, "../../src/native/addon.ts");
const loaded = loadNative();
const native = "problem" in loaded ? undefined : loaded;
let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-native-"));
});

afterEach(() => {
  delete process.env.NOTIFY_SOCKET;
  rmSync(folder, { recursive: true });
});

/** A systemd that takes one datagram and prints it: Node has no datagram sockets of this kind. */
const LISTENER = `
import socket, sys
address = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\\0" + address[1:] if address.startswith("@") else address)
print("ready", flush=True)
listener.settimeout(20)
print(listener.recv(4096).decode(), end="", flush=True)
`;

async function heardBy(address: string, send: () => void): Promise<string> {
  const child = spawn("python3", ["-c", LISTENER, address]);
  let output = "";
  child.stdout.on("data", (text: Buffer) => {
    const wasReady = output.startsWith("ready\n");
    output += text;
    if (!wasReady && output.startsWith("ready\n")) send();
  });
  await new Promise((done) => child.once("close", done));
  return output.replace("ready\n", "");
}

function sizesAfter(use: Native | undefined): { size: number; allocated: number } {
  const fd = openSync(join(folder, "file"), "w+");
  preallocate(use, fd, 3_000_000);
  const { size, blocks } = fstatSync(fd);
  closeSync(fd);
  return { size, allocated: blocks * 512 };
}

test("without the addon a file is really filled, and everything else works", () => {
  const { size, allocated } = sizesAfter(undefined);
  expect(size).toBe(3_000_000);
  expect(allocated).toBeGreaterThanOrEqual(3_000_000);
  expect(readFileSync(join(folder, "file")).every((byte) => byte === 0)).toBe(true);
  expect(notifySystemd(undefined, "READY=1")).toBe(false);
});

test("a file system without fallocate is filled with zeros instead", () => {
  const refusing: Native = {
    fallocate: () => {
      throw Object.assign(new Error("EOPNOTSUPP"), { code: "EOPNOTSUPP" });
    },
    notify: () => false,
    isClockSynchronised: () => undefined,
  };
  expect(sizesAfter(refusing).size).toBe(3_000_000);
});

test("a full disk is told, not papered over", () => {
  const full: Native = {
    fallocate: () => {
      throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    },
    notify: () => false,
    isClockSynchronised: () => undefined,
  };
  expect(() => sizesAfter(full)).toThrow("ENOSPC");
});

test.skipIf(lacks(native !== undefined))("fallocate reserves the blocks, and names the reason where it cannot", () => {
  const { size, allocated } = sizesAfter(native);
  expect(size).toBe(3_000_000);
  expect(allocated).toBeGreaterThanOrEqual(3_000_000);
  expect(() => native?.fallocate(-1, 0, 10)).toThrow(/fallocate failed/);
  const fd = openSync(join(folder, "file"), "r");
  expect(() => native?.fallocate(fd, 0, 10)).toThrow(/fallocate failed/);
  closeSync(fd);
});

test.skipIf(lacks(native !== undefined)).each(["path", "abstract"])(
  "systemd hears a datagram at a %s address",
  async (kind) => {
    const address = kind === "path" ? join(folder, "notify") : `@lode-test-${process.pid}`;
    process.env.NOTIFY_SOCKET = address;
    const heard = await heardBy(address, () => expect(notifySystemd(native, "READY=1\nSTATUS=recording")).toBe(true));
    expect(heard).toBe("READY=1\nSTATUS=recording");
  },
);

test.skipIf(lacks(native !== undefined))(
  "nobody listening, or an impossible address, is false and nothing worse",
  () => {
    process.env.NOTIFY_SOCKET = join(folder, "nobody");
    expect(notifySystemd(native, "READY=1")).toBe(false);
    process.env.NOTIFY_SOCKET = "x".repeat(500);
    expect(notifySystemd(native, "READY=1")).toBe(false);
  },
);

test.skipIf(lacks(native !== undefined))("it loads in worker threads, again and again", async () => {
  const source = `import("${ADDON}").then(({ loadNative }) => process.exit("problem" in loadNative() ? 1 : 0))`;
  for (let round = 0; round < 3; round += 1) {
    const worker = new Worker(source, { eval: true });
    expect(await new Promise((done) => worker.once("exit", done))).toBe(0);
  }
});

test("a build that cannot succeed says so in one line, and fails only where it must", () => {
  const build = resolve(import.meta.dirname, "../../native/build.mjs");
  const copy = join(folder, "build.mjs");
  execFileSync("cp", [build, copy]); // no binding.gyp beside it
  const output = execFileSync(process.execPath, [copy, "--if-possible"], { encoding: "utf8" });
  expect(output).toMatch(/^native: not built \(.+\n$/);
  expect(() => execFileSync(process.execPath, [copy], { stdio: "ignore" })).toThrow();
});
