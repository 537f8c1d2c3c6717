/**
 * One measurement in a process of its own, whose page cache was emptied when it says it is ready.
 *
 * `node ring-read-child.ts FOLDER MODE [START_NS TOPIC…]`: `fill` records until it is killed, its log never
 * checkpointed; `open` opens the ring as the daemon does; `read` reads 30 s of some topics. Waits for a byte on stdin.
 */
import { readSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import Database from "better-sqlite3";
import { RingReader } from "../../src/ring/ring-reader.ts";
import { BLOCK_S, openBigRing, RING_BYTES } from "./big-ring.ts";

const [folder = "", mode = "", startText = "0", ...topics] = process.argv.slice(2);
/** A rebuild takes one for each segment file and a few more; then retention has its turn. */
const STEPS_MAX = 1500;
const say = (words: object) => process.stdout.write(`${JSON.stringify(words)}\n`);
new Database(":memory:").close(); // SQLite itself is loaded

function waitUntilCold(): number {
  say({ ready: true });
  readSync(0, Buffer.alloc(1));
  return performance.now();
}

function open(): void {
  const startMs = waitUntilCold();
  using rig = openBigRing(folder);
  const openedMs = performance.now() - startMs;
  let stepMs = 0;
  let steps = 0;
  for (let more = true; more && steps < STEPS_MAX; steps += 1) {
    const beforeMs = performance.now();
    more = rig.ring.step(0);
    stepMs = Math.max(stepMs, performance.now() - beforeMs);
  }
  const doneMs = performance.now() - startMs;
  const status = rig.ring.status();
  say({ opened_ms: openedMs, done_ms: doneMs, longest_step_ms: stepMs, chunks: status.chunks });
}

function read(): void {
  const startMs = waitUntilCold();
  using reader = RingReader.open(folder);
  const channelIds = new Set(
    [...reader.channels().values()].filter(({ topic }) => topics.includes(topic)).map(({ id }) => id),
  );
  const startNs = BigInt(startText);
  const endNs = startNs + BigInt(BLOCK_S) * 1_000_000_000n;
  let firstMs: number | undefined;
  let messages = 0;
  for (const _ of reader.messages({ startNs, endNs, channelIds })) {
    firstMs ??= performance.now() - startMs;
    messages += 1;
  }
  say({ first_ms: firstMs, all_ms: performance.now() - startMs, messages });
}

/** Light data at 8 MB/s, committed twice a second of its own time. */
async function fill(): Promise<void> {
  const rig = openBigRing(folder, 2 * RING_BYTES);
  const other = new Database(`${folder}/ring.db`, { readonly: true });
  other.exec("BEGIN");
  other.prepare("SELECT count(*) FROM boot").get(); // a reader's snapshot: the log grows and is not checkpointed
  const bytes = Buffer.alloc(4000);
  for (let index = 0; ; index += 1) {
    bytes.fill(index);
    for (let at = 0; at < 4000; at += 8) bytes.writeUInt32LE(Math.imul(index * 500 + at, 2_654_435_761) >>> 0, at);
    rig.send(5, bytes);
    rig.clock.advanceMs(1);
    rig.flush();
    if (index % 500 === 499) {
      rig.ring.commit();
      rig.sent.length = 0;
      if (!other.inTransaction) return;
      await nextTurn(); // what native code gives up is freed between turns
    }
  }
}

if (mode === "open") open();
else if (mode === "read") read();
else await fill();
