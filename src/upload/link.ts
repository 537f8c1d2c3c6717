/**
 * The network as policy sees it, read from `/sys` and `/proc` each time it is asked.
 *
 * The interface of the default route decides, because that is where the bytes go. Without a default route (a lab's
 * own network) any interface that is up counts, and one that costs money makes the link metered: better not sent
 * than paid for by mistake.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compileGlobs, type Matcher } from "../std/glob.ts";

export type Link = "offline" | "metered" | "free";

export type LinkReader = () => Link;

/** `root` holds `sys/` and `proc/`; `/` on a robot. */
export function openLinkReader(root: string, meteredInterfaces: readonly string[]): LinkReader {
  const isMetered = compileGlobs(meteredInterfaces);
  return () => readLink(root, isMetered);
}

function readLink(root: string, isMetered: Matcher): Link {
  const up = interfaces(root).filter((name) => isUp(root, name));
  const routed = up.filter((name) => name === defaultInterface(root));
  const used = routed.length > 0 ? routed : up;
  if (used.length === 0) return "offline";
  return used.some(isMetered) ? "metered" : "free";
}

function interfaces(root: string): readonly string[] {
  try {
    return readdirSync(join(root, "sys/class/net")).filter((name) => name !== "lo");
  } catch {
    return []; // no such folder: no network at all
  }
}

/** Carrier, and not reported down; tunnels and modems report `unknown` while they work. */
function isUp(root: string, name: string): boolean {
  const state = read(root, `sys/class/net/${name}/operstate`);
  return (state === "up" || state === "unknown") && read(root, `sys/class/net/${name}/carrier`) === "1";
}

/** `/proc/net/route`: name, destination, gateway, flags, …, metric in the seventh column; the least metric wins. */
function defaultInterface(root: string): string | undefined {
  const rows = read(root, "proc/net/route").split("\n").slice(1);
  const defaults = rows.map((row) => row.split(/\s+/)).filter((columns) => columns[1] === "00000000");
  return defaults.sort((a, b) => Number(a[6]) - Number(b[6]))[0]?.[0];
}

function read(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), "utf8").trim();
  } catch {
    return ""; // reading `carrier` of an interface that is down fails with EINVAL
  }
}

/** A receiver on this machine needs no network and costs nothing. */
export function isLoopback(url: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(url).hostname);
}
