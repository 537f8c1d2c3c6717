/** `kill -9` at any moment: what a commit acknowledged is there, nothing torn is handed out, the books are right. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seededRandom } from "../../src/std/random.ts";
import { auditRing } from "../support/audit.ts";
import { brokenIdentities, CAMERA, describeMessage, LIGHT, MS, noise, Rig, START_NS, topicClass } from "./ring-rig.ts";

const ROUNDS = 6;
const HOUR_NS = 3_600_000n * MS;
const CLASSES = [LIGHT, CAMERA, topicClass("cloud", { tier: "disk", rank: 1, memoryBytesMax: 0 })];

/** Runs the appender until it said `durable` and some random moment after; returns the last numbers it told. */
async function killWhileAppending(folder: string, round: number, delayMs: number): Promise<Record<string, number>> {
  const child = spawn(process.execPath, [
    join(import.meta.dirname, "../scripts/ring-appender.ts"),
    folder,
    String(round),
  ]);
  let output = "";
  let errors = "";
  let timer: NodeJS.Timeout | undefined;
  child.stderr.on("data", (text: Buffer) => {
    errors += text;
  });
  child.stdout.on("data", (text: Buffer) => {
    output += text;
    if (output.includes("durable")) timer ??= setTimeout(() => child.kill("SIGKILL"), delayMs);
  });
  await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  if (child.signalCode !== "SIGKILL") throw new Error(`the appender ended by itself: ${errors}`);
  const last = (word: string) => Number(output.match(new RegExp(`${word} (\\d+)\\n(?![^]*${word} \\d+\\n)`))?.[1] ?? 0);
  return { sent: last("sent"), durable: last("durable") };
}

function expectedKeys(round: number, count: number): { all: string[]; lights: string[] } {
  const startNs = START_NS + BigInt(round) * HOUR_NS;
  const lights: string[] = [];
  const all: string[] = [];
  for (let index = 1; index <= count; index += 1) {
    const atNs = startNs + BigInt(index - 1) * 5n * MS;
    lights.push(describeMessage(1, atNs, Buffer.from(`${round} ${index} `.repeat(10))));
    all.push(lights.at(-1) ?? "");
    all.push(describeMessage(2, atNs, noise(20_000, round * 1_000_000 + index)));
    all.push(describeMessage(3, atNs, noise(5000, round * 1_000_000 + index)));
  }
  return { all, lights };
}

test("what a commit acknowledged survives kill -9, and nothing else is handed out as right", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lode-kill-"));
  const random = seededRandom(11);
  const promised: string[] = [];
  const possible = new Set<string>();
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const { sent = 0, durable = 0 } = await killWhileAppending(folder, round, random() * 700);
      promised.push(...expectedKeys(round, durable).lights);
      for (const key of expectedKeys(round, sent).all) possible.add(key);
      expect(durable).toBeGreaterThan(0);
      expect(auditRing(folder)).toEqual([]);
    }
    const nowNs = START_NS + BigInt(ROUNDS) * HOUR_NS;
    const openedMs = performance.now();
    using rig = new Rig({ classes: CLASSES, segmentBytes: 512 * 1024, bootId: "boot-after" }, folder, nowNs);
    expect(performance.now() - openedMs).toBeLessThan(2000);
    const messages = rig.readAll();
    const keys = messages.map(({ channelId, logTimeNs, bytes }) => describeMessage(channelId, logTimeNs, bytes));
    const got = new Set(keys);
    expect(got.size).toBe(keys.length);
    expect(promised.filter((key) => !got.has(key))).toEqual([]);
    expect(keys.filter((key) => !possible.has(key))).toEqual([]);
    expect(rig.ledger.losses(0n, 2n ** 62n).filter(({ reason }) => reason === "crash").length).toBe(ROUNDS);
    for (let boot = 0; boot < ROUNDS / 2; boot += 1) {
      const counts = rig.ledger.snapshot(new Map(), `boot-${boot}`);
      expect(counts.length).toBe(3);
      for (const { received, inMemory, stored, reduced, dropped } of counts)
        expect(received).toBe(
          inMemory + stored + reduced + Object.values(dropped).reduce((sum, count) => sum + count, 0),
        );
    }
    const stored = rig.ledger.snapshot(new Map(), "boot-0").find(({ topic }) => topic === "/light");
    const read = messages.filter(({ bootId, channelId }) => bootId === "boot-0" && channelId === 1).length;
    expect(stored).toMatchObject({ stored: read, received: read });
    expect(brokenIdentities(rig)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 60_000);
