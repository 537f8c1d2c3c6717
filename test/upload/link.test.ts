/** The link as read from files like a robot's `/sys` and `/proc`. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isLoopback, openLinkReader } from "../../src/upload/link.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "lode-link-"));
  mkdirSync(join(root, "proc/net"), { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function setInterface(name: string, operstate: string, carrier: string): void {
  mkdirSync(join(root, "sys/class/net", name), { recursive: true });
  writeFileSync(join(root, "sys/class/net", name, "operstate"), `${operstate}\n`);
  writeFileSync(join(root, "sys/class/net", name, "carrier"), `${carrier}\n`);
}

function setRoutes(...rows: readonly (readonly [name: string, destination: string, metric: number])[]): void {
  const lines = rows.map(
    ([name, destination, metric]) => `${name}\t${destination}\t0101A8C0\t0003\t0\t0\t${metric}\t00000000\t0\t0\t0`,
  );
  writeFileSync(join(root, "proc/net/route"), ["Iface\tDestination\tGateway\tFlags", ...lines, ""].join("\n"));
}

const read = () => openLinkReader(root, ["wwan*", "ppp*"])();

test("no network, or only loopback and dead interfaces, is offline", () => {
  expect(read()).toBe("offline");
  setInterface("lo", "unknown", "1");
  setInterface("eth0", "down", "0");
  setInterface("wlan0", "up", "0");
  expect(read()).toBe("offline");
});

test("an interface that is up counts, and its change is seen at the next look", () => {
  setInterface("eth0", "up", "1");
  expect(read()).toBe("free");
  setInterface("eth0", "down", "0");
  expect(read()).toBe("offline");
});

test("the interface of the best default route decides", () => {
  setInterface("eth0", "up", "1");
  setInterface("wwan0", "unknown", "1");
  setRoutes(["eth0", "0001A8C0", 0], ["wwan0", "00000000", 700]);
  expect(read()).toBe("metered");
  setRoutes(["wwan0", "00000000", 700], ["eth0", "00000000", 100]);
  expect(read()).toBe("free");
  setInterface("eth0", "down", "0"); // its route stays for a while
  expect(read()).toBe("metered");
});

test("without a default route one metered interface makes the link metered", () => {
  setInterface("eth0", "up", "1");
  setInterface("ppp0", "unknown", "1");
  expect(read()).toBe("metered");
});

test("a receiver on this machine is known by its address", () => {
  for (const url of ["http://localhost:1", "http://127.0.0.1", "https://127.3.2.1:9/x", "http://[::1]:8480"])
    expect(isLoopback(url), url).toBe(true);
  for (const url of ["http://localhost.example.org", "http://10.0.0.1", "http://127.example.org"])
    expect(isLoopback(url), url).toBe(false);
});
