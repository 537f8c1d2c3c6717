/**
 * Plays a recording through the bridge at recorded speed, or faster.
 *
 * Promises: each message leaves at its own log time, measured from the first, without drift; a client whose socket is
 * full is waited for, so that nothing is dropped for speed (the time lost is told), unless `mayDrop` says that the
 * robot goes on as a real one would.
 */
import type { Clock } from "../std/clock.ts";
import { waitMs } from "../std/wait.ts";
import type { Publisher } from "./bridge-topic.ts";
import type { Recording } from "./recording.ts";
import type { RosbridgeServer } from "./rosbridge-server.ts";

export type PlayOptions = {
  /** 1 is recorded speed; Infinity as fast as it goes. */
  readonly rate: number;
  readonly mayDrop?: boolean;
};

export type PlayResult = {
  readonly messages: number;
  readonly bytes: number;
  readonly durationMs: number;
  /** Time in which a client was waited for. */
  readonly stalledMs: number;
  /** The signal came before the end. */
  readonly isCut: boolean;
};

const SETTLE_POLL_MS = 50;
/** Messages due within this time leave together: a timer is not finer. */
const BATCH_MS = 2;
/** When behind its time table, the player still lets the event loop breathe this often. */
const BREATHE_MS = 10;

/** Adds the recording's publishers to the bridge's graph. One of the same topic and type is shared. */
export function advertiseAll(server: RosbridgeServer, recording: Recording): Publisher[] {
  return recording.channels.map((channel) => server.advertise(channel));
}

/** Resolves once the first client's subscriptions have settled: none new for `settleMs`. False if the signal came. */
export async function waitForSubscriptions(
  server: RosbridgeServer,
  settleMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  let lastCount = 0;
  let lastChangeNs = clock.monotonicNs();
  while (await waitMs(Math.min(SETTLE_POLL_MS, settleMs), signal)) {
    const nowNs = clock.monotonicNs();
    if (server.subscribeCount !== lastCount || server.clientCount === 0) lastChangeNs = nowNs;
    lastCount = server.subscribeCount;
    if (lastCount > 0 && toMs(nowNs - lastChangeNs) >= settleMs) return true;
  }
  return false;
}

/** `publishers` are those of `advertiseAll` for this recording. */
export async function play(
  recording: Recording,
  publishers: readonly Publisher[],
  server: RosbridgeServer,
  options: PlayOptions,
  clock: Clock,
  signal: AbortSignal,
): Promise<PlayResult> {
  const startNs = clock.monotonicNs();
  const pace = new Pace(recording.startNs, options.rate, clock);
  let messages = 0;
  let bytes = 0;
  for await (const message of recording.messages()) {
    await pace.until(message.logTimeNs, signal);
    if (server.isBehind && options.mayDrop !== true) await pace.stall(server.whenReady(signal));
    if (signal.aborted) break;
    const publisher = publishers[message.channelIndex];
    if (publisher === undefined) continue;
    server.publish(publisher, message.bytes);
    messages += 1;
    bytes += message.bytes.byteLength;
  }
  if (!signal.aborted) await server.whenDrained(signal);
  const durationMs = toMs(clock.monotonicNs() - startNs);
  return { messages, bytes, durationMs, stalledMs: pace.stalledMs, isCut: signal.aborted };
}

/** Turns log times into moments of the monotonic clock. */
class Pace {
  readonly #startLogNs: bigint;
  readonly #rate: number;
  readonly #clock: Clock;
  #originNs: bigint;
  #breathedNs: bigint;
  stalledMs = 0;

  constructor(startLogNs: bigint, rate: number, clock: Clock) {
    this.#startLogNs = startLogNs;
    this.#rate = rate;
    this.#clock = clock;
    this.#originNs = clock.monotonicNs();
    this.#breathedNs = this.#originNs;
  }

  async until(logTimeNs: bigint, signal: AbortSignal): Promise<void> {
    const nowNs = this.#clock.monotonicNs();
    const dueMs = toMs(logTimeNs - this.#startLogNs) / this.#rate - toMs(nowNs - this.#originNs);
    if (dueMs >= BATCH_MS) await waitMs(dueMs, signal);
    else if (toMs(nowNs - this.#breathedNs) < BREATHE_MS) return;
    else await new Promise((resolve) => setImmediate(resolve));
    this.#breathedNs = this.#clock.monotonicNs();
  }

  /** What a client's slowness cost is not made up for: later messages keep their distances. */
  async stall(ready: Promise<void>): Promise<void> {
    const sinceNs = this.#clock.monotonicNs();
    await ready;
    const lostNs = this.#clock.monotonicNs() - sinceNs;
    this.#originNs += lostNs;
    this.stalledMs += toMs(lostNs);
  }
}

function toMs(ns: bigint): number {
  return Number(ns) / 1e6;
}
