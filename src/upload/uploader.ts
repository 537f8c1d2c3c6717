/**
 * Brings batches home: gate → next batch → one attempt → receipt verified and committed → batch released.
 *
 * Promises: a batch is released only after its receipt was verified against the pinned keys and committed; no number
 * of failures gives a batch up; a batch that fails never holds up another; what the gate forbids stops within a
 * second, in mid-transfer too.
 *
 * A `kill -9` leaves: an attempt without an end (its bytes count as sent), a part at the receiver (resumed by
 * offset), or a committed receipt of a batch that still waits (released at the next start without sending).
 */
import type { Agent } from "node:http";
import type { Batch } from "../model/batch.ts";
import { type PinnedKeys, pinKeys, type Receipt, verifyReceipt } from "../protocol/receipt.ts";
import { unreachable } from "../std/assert.ts";
import type { Clock } from "../std/clock.ts";
import { failpoint } from "../std/failpoint.ts";
import { describeError, Fault } from "../std/fault.ts";
import type { Random } from "../std/random.ts";
import { waitMs } from "../std/wait.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import { BackOff, type BackOffOptions } from "./back-off.ts";
import { compileWindows, decideGate, type GateDecision, type GatePolicy, type Windows } from "./gate.ts";
import { isLoopback, type Link, type LinkReader, openLinkReader } from "./link.ts";
import { type Pause, ReceiptStore } from "./receipt-store.ts";
import { type AttemptResult, attemptTransfer, openAgent, type ReceiverTarget } from "./transfer.ts";

/** Where batches come from; `batch/` implements it. */
export interface BatchQueue {
  /** The most valuable batch in state `queued` that is not in `excluding`. */
  next(excluding: ReadonlySet<string>): Batch | undefined;
  /** The batch's receipt is committed: state `receipted`. */
  recordReceipt(batchId: string): void;
  /** Deletes the file of a receipted batch (commit `deleting` → unlink → commit `deleted`); reopening finishes it. */
  release(batchId: string): void;
  /** Sets the batch aside with a reason; it is never sent or deleted on its own. */
  quarantine(batchId: string, reason: string): void;
}

export type UploaderOptions = {
  readonly robot: string;
  /** In order of preference; the first is used. Empty: batches wait. */
  readonly receivers: readonly (ReceiverTarget & { /** Base64 or PEM. */ readonly publicKeys: readonly string[] })[];
  readonly gate: GatePolicy;
  /** Cron expressions of the minutes in which sending is allowed; empty: always. */
  readonly windows: readonly string[];
  readonly meteredInterfaces: readonly string[];
  /** Holds `sys/` and `proc/`. */
  readonly sensorRoot: string;
  readonly backOff: BackOffOptions;
  readonly idleMs: number;
};

export const UPLOADER_DEFAULTS = {
  sensorRoot: "/",
  backOff: { baseMs: 5_000, maxMs: 15 * 60_000 },
  idleMs: 60_000,
  linkSettledMs: 5_000,
} as const;

export type UploaderDeps = {
  readonly batches: BatchQueue;
  /** The journal, with the tables of `createUploadTables`. */
  readonly db: Db;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
};

export type UploaderStatus = {
  readonly receiver: string;
  readonly gate: GateDecision;
  readonly link: Link;
  readonly pause: Pause | undefined;
  readonly sending: { readonly batchId: string; readonly sizeBytes: number; readonly sentBytes: number } | undefined;
  /** Until the next attempt after a failure; 0 if nothing holds it back. */
  readonly retryInMs: number;
  readonly sentBytesToday: number;
  readonly lastResult: string;
  /** What a person must look at: a bad receipt, a refused token. "" if nothing. */
  readonly alarm: string;
};

const POLL_MS = 1_000; // how soon a new batch or an open gate is seen without a wake-up
const GATE_POLL_MS = 250; // a closing gate stops a transfer within a second
const RETRY_AFTER_MS_MAX = 3_600_000; // a receiver that says "tomorrow" is asked again in an hour
const PROGRESS_BYTES = 1_048_576; // so much more at the receiver is a success for the back-off

type Target = UploaderOptions["receivers"][number] & {
  readonly agent: Agent;
  readonly pinnedKeys: PinnedKeys;
  readonly isLocal: boolean;
};
type Sending = { readonly batch: Batch; readonly link: Link; readonly sentBeforeBytes: number; sentBytes: number };

export class Uploader {
  readonly #options: UploaderOptions;
  readonly #deps: UploaderDeps;
  readonly #store: ReceiptStore;
  readonly #target: Target | undefined;
  readonly #readLink: LinkReader;
  readonly #windows: Windows;
  readonly #backOff: BackOff;
  #link: Link = "offline";
  #linkSinceMs: number;
  #gate: GateDecision | undefined;
  #pause: Pause | undefined;
  #sending: Sending | undefined;
  #lastResult = "";
  #alarm = "";
  #isReachable = true;
  #progress = { batchId: "", offset: 0 };
  readonly #proven = new Set<string>();
  /** Ends the rest between two steps. */
  #rest = new AbortController();

  private constructor(options: UploaderOptions, deps: UploaderDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#store = new ReceiptStore(deps.db);
    this.#target = openTarget(options);
    this.#readLink = openLinkReader(options.sensorRoot, options.meteredInterfaces);
    this.#windows = compileWindows(options.windows);
    this.#backOff = new BackOff(options.backOff, deps.random);
    this.#pause = this.#store.pause();
    this.#linkSinceMs = this.#nowMs();
  }

  /** Throws `Fault` on a bad pinned key or time window. */
  static open(options: UploaderOptions, deps: UploaderDeps): Uploader {
    return new Uploader(options, deps);
  }

  [Symbol.dispose](): void {
    this.#target?.agent.destroy();
  }

  /** Sends until the signal; the attempt under way has ended and is recorded when it resolves. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.wake(), { once: true });
    while (!signal.aborted) {
      const restMs = await this.#step(signal);
      if (restMs <= 0 || signal.aborted) continue;
      this.#rest = new AbortController();
      await waitMs(restMs, this.#rest.signal);
    }
  }

  /** A batch is new, or a person spoke: look now instead of at the next poll. */
  wake(): void {
    this.#rest.abort();
  }

  /** Survives a restart. `untilNs` undefined: until `resume`. */
  pause(untilNs: bigint | undefined): void {
    this.#setPause({ untilNs });
  }

  /** Also forgets the back-off: a person who says "go on" wants to see it tried. */
  resume(): void {
    this.#backOff.forget();
    this.#setPause(undefined);
  }

  status(): UploaderStatus {
    const gate = this.#decide();
    const sending = this.#sending;
    return {
      receiver: this.#target?.url ?? "",
      gate,
      link: this.#link,
      pause: this.#pause,
      sending: sending && {
        batchId: sending.batch.id,
        sizeBytes: sending.batch.sizeBytes,
        sentBytes: sending.sentBytes,
      },
      retryInMs: this.#backOff.receiverWaitMs(this.#nowMs()),
      sentBytesToday: this.#sentToday(),
      lastResult: this.#lastResult,
      alarm: this.#alarm,
    };
  }

  attemptsOf(batchId: string): number {
    return this.#store.attemptsOf(batchId);
  }

  /** Does one thing and returns how long to rest after it. */
  async #step(signal: AbortSignal): Promise<number> {
    try {
      const gate = this.#decide();
      const target = this.#target;
      const nowMs = this.#nowMs();
      if (target === undefined || !gate.isOpen) return POLL_MS;
      const receiverWaitMs = this.#backOff.receiverWaitMs(nowMs);
      if (receiverWaitMs > 0) return Math.min(receiverWaitMs, POLL_MS);
      const batch = this.#deps.batches.next(this.#backOff.waitingBatches(nowMs));
      if (batch === undefined) return Math.min(this.#backOff.nextBatchMs(nowMs), POLL_MS);
      await this.#bringHome(batch, target, gate.bytesAllowed, signal);
      return 0;
    } catch (error) {
      if (!isOperating(error)) throw error;
      // A full disk, say, refuses the journal's commit: nothing was released, so it is only tried again.
      this.#deps.log.error("The upload could not write its journal and tries again.", { cause: describeError(error) });
      this.#backOff.fail(undefined, 0, this.#nowMs());
      return POLL_MS;
    }
  }

  async #bringHome(batch: Batch, target: Target, bytesAllowed: number, signal: AbortSignal): Promise<void> {
    const kept = this.#store.receiptOf(batch.id);
    if (kept !== undefined && kept.sha256 === batch.sha256) {
      this.#release(batch);
      return;
    }
    const result = await this.#attempt(batch, target, bytesAllowed, signal);
    this.#deps.log.debug("An attempt ended.", { batch_id: batch.id, ...result });
    this.#setReachable(result);
    this.#settle(batch, target, result, signal);
  }

  async #attempt(batch: Batch, target: Target, bytesMax: number, signal: AbortSignal): Promise<AttemptResult> {
    const sending: Sending = { batch, link: this.#link, sentBeforeBytes: this.#sentToday(), sentBytes: 0 };
    const reservedBytes = Math.min(batch.sizeBytes, bytesMax);
    const { clock } = this.#deps;
    const start = {
      batchId: batch.id,
      receiver: target.url,
      link: sending.link,
      startNs: clock.wallNs(),
      reservedBytes,
    };
    const id = this.#store.startAttempt(start);
    failpoint("upload.attempt_started");
    const gateClosed = new AbortController();
    const watch = setInterval(() => this.#stopIfClosed(sending, gateClosed), GATE_POLL_MS);
    this.#sending = sending;
    try {
      const result = await attemptTransfer(batch, {
        ...{ robot: this.#options.robot, target, agent: target.agent, bytesMax, idleMs: this.#options.idleMs },
        proven: this.#proven,
        signal: AbortSignal.any([signal, gateClosed.signal]),
        onSent: (sentBytes) => {
          sending.sentBytes = sentBytes;
        },
      });
      failpoint("upload.attempt_ending");
      this.#store.endAttempt(id, result, clock.wallNs());
      return result;
    } finally {
      clearInterval(watch);
      this.#sending = undefined;
    }
  }

  /** What an attempt's end means: the one place that decides between releasing, trying again and setting aside. */
  #settle(batch: Batch, target: Target, result: AttemptResult, signal: AbortSignal): void {
    const nowMs = this.#nowMs();
    this.#lastResult = result.kind === "accepted" ? "accepted" : `${result.kind}: ${result.reason}`;
    switch (result.kind) {
      case "accepted":
        this.#accept(batch, target, result.receipt);
        return;
      case "rejected":
        this.#deps.log.error("A batch cannot be sent and was set aside.", {
          batch_id: batch.id,
          reason: result.reason,
        });
        this.#deps.batches.quarantine(batch.id, result.reason);
        return;
      case "deferred":
        if (result.isConfiguration) this.#setAlarm(result.reason);
        this.#backOff.fail(batch.id, Math.min(result.retryAfterMs ?? 0, RETRY_AFTER_MS_MAX), nowMs);
        return;
      case "interrupted":
        if (signal.aborted || !this.#decide().isOpen) return; // we stopped it ourselves; the gate says when to go on
        if (this.#hasProgressed(batch.id, result.offset)) this.#backOff.succeed(batch.id);
        this.#backOff.fail(result.offset === undefined ? undefined : batch.id, 0, nowMs);
        return;
      default:
        unreachable(result);
    }
  }

  /** By the receiver's own word, since the last time it was asked this. */
  #hasProgressed(batchId: string, offset = 0): boolean {
    const isSame = this.#progress.batchId === batchId;
    if (isSame && offset < this.#progress.offset + PROGRESS_BYTES) return false;
    this.#progress = { batchId, offset };
    return isSame;
  }

  #accept(batch: Batch, target: Target, receipt: Receipt | undefined): void {
    const problem = findReceiptProblem(receipt, batch, this.#options.robot, target.pinnedKeys);
    if (receipt === undefined || problem !== undefined) {
      this.#setAlarm(`${target.url} gave a bad receipt: ${problem}`);
      this.#lastResult = "refused a bad receipt";
      this.#backOff.fail(batch.id, 0, this.#nowMs());
      return;
    }
    this.#setAlarm("");
    failpoint("upload.receipt_verified");
    this.#store.commitReceipt(batch.id, target.url, receipt, this.#deps.clock.wallNs());
    failpoint("upload.receipt_committed");
    this.#backOff.succeed(batch.id);
    this.#release(batch);
  }

  /** Its receipt is committed. */
  #release(batch: Batch): void {
    try {
      this.#deps.batches.recordReceipt(batch.id);
      this.#deps.batches.release(batch.id);
    } catch (error) {
      if (!isOperating(error)) throw error;
      const cause = describeError(error);
      this.#deps.log.error("A batch is home but could not be deleted here.", { batch_id: batch.id, cause });
      this.#backOff.fail(batch.id, 0, this.#nowMs());
    }
  }

  #decide(): GateDecision {
    const nowNs = this.#deps.clock.wallNs();
    if (this.#pause?.untilNs !== undefined && this.#pause.untilNs <= nowNs) this.#setPause(undefined);
    this.#senseLink();
    const input = {
      ...{ link: this.#link, linkForMs: this.#nowMs() - this.#linkSinceMs, pause: this.#pause },
      isInWindow: this.#windows(new Date(Number(nowNs / 1_000_000n))),
      sentBytes: this.#sentToday(),
      hasReceiver: this.#target !== undefined,
    };
    const gate = decideGate(input, this.#options.gate, this.#gate);
    if (gate.isOpen !== this.#gate?.isOpen)
      this.#deps.log.info(gate.isOpen ? "The upload gate opened." : "The upload gate closed.", {
        ...{ link: this.#link, reasons: gate.reasons },
      });
    this.#gate = gate;
    return gate;
  }

  #senseLink(): void {
    const link = this.#target?.isLocal ? "free" : this.#readLink();
    if (link === this.#link) return;
    this.#link = link;
    // A receiver on this machine needs no time to settle.
    this.#linkSinceMs = this.#target?.isLocal ? Number.NEGATIVE_INFINITY : this.#nowMs();
  }

  #stopIfClosed(sending: Sending, stop: AbortController): void {
    const gate = this.#decide();
    if (!gate.isOpen) stop.abort(new Error(`The gate closed: ${gate.reasons.join(" ")}`));
    else if (this.#link !== sending.link) stop.abort(new Error(`The link became ${this.#link}.`));
  }

  /** Bytes of today over the present link; an attempt under way counts with what it really sent. */
  #sentToday(): number {
    const sending = this.#sending;
    if (sending !== undefined && sending.link === this.#link) return sending.sentBeforeBytes + sending.sentBytes;
    const midnight = new Date(Number(this.#deps.clock.wallNs() / 1_000_000n)).setHours(0, 0, 0, 0);
    return this.#store.sentBytes(this.#link, BigInt(midnight) * 1_000_000n);
  }

  #setPause(pause: Pause | undefined): void {
    this.#store.setPause(pause);
    this.#pause = pause;
    this.wake();
  }

  #setReachable(result: AttemptResult): void {
    if (result.kind === "rejected" && result.sentBytes === 0) return; // may not have asked at all
    const isReachable = result.kind !== "interrupted" || result.offset !== undefined;
    if (isReachable === this.#isReachable) return;
    this.#isReachable = isReachable;
    const receiver = this.#target?.url;
    if (isReachable) this.#deps.log.info("The receiver answers again.", { receiver });
    else this.#deps.log.warn("The receiver cannot be reached; batches wait.", { receiver, reason: result.reason });
  }

  #setAlarm(alarm: string): void {
    if (alarm !== "" && alarm !== this.#alarm) this.#deps.log.error(alarm);
    this.#alarm = alarm;
  }

  #nowMs(): number {
    return Number(this.#deps.clock.monotonicNs()) / 1e6;
  }
}

/** Why the receipt does not release this batch; undefined if it does. */
function findReceiptProblem(
  receipt: Receipt | undefined,
  batch: Batch,
  robot: string,
  pinnedKeys: PinnedKeys,
): string | undefined {
  if (receipt === undefined) return "it has no receipt's form.";
  if (receipt.robot !== robot || receipt.boot !== batch.bootId) return "it is for another robot or boot.";
  if (receipt.batch !== batch.id) return "it is for another batch.";
  if (receipt.sha256 !== batch.sha256 || receipt.sizeBytes !== batch.sizeBytes) return "it is for another content.";
  if (!pinnedKeys.has(receipt.keyId)) return `its key ${receipt.keyId} is not pinned here.`;
  return verifyReceipt(receipt, pinnedKeys) ? undefined : "its signature is wrong.";
}

function openTarget(options: UploaderOptions): Target | undefined {
  const [first] = options.receivers;
  if (first === undefined) return undefined;
  return {
    ...first,
    agent: openAgent(first.url),
    pinnedKeys: pinKeys(first.publicKeys),
    isLocal: isLoopback(first.url),
  };
}

function isOperating(error: unknown): boolean {
  return error instanceof Fault || (error instanceof Error && "code" in error && typeof error.code === "string");
}
