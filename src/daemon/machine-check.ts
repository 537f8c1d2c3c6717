/** What `lode check` looks at beside the configuration: the machine and what it reaches. Reads, never changes. */
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { mem } from "systeminformation";
import { WebSocket } from "ws";
import type { Config } from "../config/schema.ts";
import { PLAUSIBLE_NS_MIN } from "../model/boot-clock.ts";
import type { Clock } from "../std/clock.ts";
import { formatBytes } from "../std/time-text.ts";

export type CheckFinding = {
  readonly level: "ok" | "warning" | "problem";
  /** What was looked at: `bridge`, `disk`, … */
  readonly subject: string;
  readonly text: string;
  readonly hint: string;
};

const DEADLINE_MS = 3000;
/** A camera frame should fit into the socket's buffer while the process is busy. */
const PROCESS_BYTES = 330e6; // resident without the tiers at 22 MB/s (`npm run bench -- nominal`)
const RMEM_BYTES_MIN = 2 * 1024 * 1024;

export async function checkMachine(config: Config, clock: Clock): Promise<CheckFinding[]> {
  const bridges = await Promise.all(config.sources.map((source) => checkBridge(source.url)));
  const receivers = await Promise.all(config.upload.receivers.map(checkReceiver));
  const uploadless = config.upload.receivers.length > 0 ? [] : [noReceiver];
  return [
    ...bridges,
    checkDisk(config),
    await checkMemory(config),
    checkClock(clock),
    checkRmem(),
    ...receivers.flat(),
    ...uploadless,
  ];
}

const noReceiver: CheckFinding = {
  level: "warning",
  subject: "receiver",
  text: "no receiver is configured: episodes stay on the robot",
  hint: "Enrol the robot (lode receiver robots add ID) and fill in upload.receivers.",
};

function checkBridge(url: string): Promise<CheckFinding> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, { handshakeTimeout: DEADLINE_MS });
    socket.once("open", () => {
      socket.close();
      resolve({ level: "ok", subject: "bridge", text: `${url} answers`, hint: "" });
    });
    socket.once("error", (error) => {
      const hint =
        "Start rosbridge (roslaunch rosbridge_server …, ros2 launch rosbridge_server …) or mend sources[0].url.";
      resolve({ level: "problem", subject: "bridge", text: `${url} does not answer: ${reasonOf(error)}`, hint });
    });
  });
}

/** Node hides the reason of a refused connection behind an empty aggregate. */
function reasonOf(error: Error & { code?: string }): string {
  return error.message !== "" ? error.message : (error.code ?? "no reason given");
}

function checkDisk(config: Config): CheckFinding {
  const folder = nearestExisting(config.ring.folder);
  try {
    accessSync(folder, constants.W_OK);
    rmSync(mkdtempSync(join(folder, ".lode-check-")), { recursive: true });
  } catch {
    const hint = "Give the folder to the user that runs Lode, or set ring.folder.";
    return { level: "problem", subject: "disk", text: `${folder} cannot be written`, hint };
  }
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const wanted = config.ring.bytes_max + config.ring.free_bytes_min;
  const text = `${formatBytes(free)} free at ${folder}; the ring may take ${formatBytes(config.ring.bytes_max)}`;
  if (free >= wanted || existsSync(join(config.ring.folder, "ring.db")))
    return { level: "ok", subject: "disk", text, hint: "" };
  const hint = `The ring will end at ${formatBytes(Math.max(0, free - config.ring.free_bytes_min))}: set ring.bytes_max to what it may take.`;
  return { level: "warning", subject: "disk", text, hint };
}

function nearestExisting(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestExisting(dirname(path));
}

/** What Lode may take at most, beside what the machine has to give. */
async function checkMemory(config: Config): Promise<CheckFinding> {
  const { available, total } = await mem();
  const tiers = Object.values(config.topics.classes).filter(({ tier }) => tier === "memory");
  const wanted =
    tiers.reduce((sum, entry) => sum + entry.memory_bytes_max, config.ring.in_flight_bytes_max) + PROCESS_BYTES;
  const text = `${formatBytes(available)} of ${formatBytes(total)} available; Lode may take ${formatBytes(wanted)}`;
  if (wanted <= available) return { level: "ok", subject: "memory", text, hint: "" };
  const hint = "Lower topics.classes.*.memory_bytes_max: the pre-roll of cameras gets shorter.";
  return { level: "warning", subject: "memory", text, hint };
}

function checkClock(clock: Clock): CheckFinding {
  const time = new Date(Number(clock.wallNs() / 1_000_000n)).toISOString();
  if (clock.wallNs() >= PLAUSIBLE_NS_MIN) return { level: "ok", subject: "clock", text: time, hint: "" };
  const hint = "Set the clock or start time synchronisation; recording goes on, with wrong dates.";
  return { level: "problem", subject: "clock", text: `the clock says ${time}`, hint };
}

function checkRmem(): CheckFinding {
  const path = "/proc/sys/net/core/rmem_max";
  const bytes = existsSync(path) ? Number(readFileSync(path, "utf8")) : RMEM_BYTES_MIN;
  const text = `net.core.rmem_max is ${formatBytes(bytes)}`;
  if (bytes >= RMEM_BYTES_MIN) return { level: "ok", subject: "network", text, hint: "" };
  const hint = "With cameras over a network: sysctl -w net.core.rmem_max=4194304 (on one machine it does not matter).";
  return { level: "warning", subject: "network", text, hint };
}

async function checkReceiver(receiver: Config["upload"]["receivers"][number]): Promise<CheckFinding[]> {
  const findings: CheckFinding[] = [];
  if (!existsSync(receiver.token_file)) {
    const hint = "Put the token that `lode receiver robots add ID` printed into this file, readable by Lode only.";
    findings.push({
      level: "problem",
      subject: "receiver",
      text: `there is no token file at ${receiver.token_file}`,
      hint,
    });
  }
  try {
    const response = await fetch(new URL("/v1/health", receiver.url), { signal: AbortSignal.timeout(DEADLINE_MS) });
    const text = `${receiver.url} answers ${response.status}`;
    findings.push({
      level: response.ok ? "ok" : "problem",
      subject: "receiver",
      text,
      hint: response.ok ? "" : "See the receiver's log.",
    });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const text = `${receiver.url} does not answer: ${cause instanceof Error ? reasonOf(cause) : String(cause)}`;
    findings.push({ level: "warning", subject: "receiver", text, hint: "Episodes wait on the robot until it does." });
  }
  return findings;
}
