/**
 * Whether the disk takes data at present, and why not. Each change is logged once: the first refusal and the first
 * commit after it. What is no fault of the disk is a fault of the program, and thrown on.
 */
import { describeError } from "../std/fault.ts";
import type { Log } from "../telemetry/log.ts";

const CODES = new Set(["ENOSPC", "EDQUOT", "EIO", "EROFS", "EFBIG", "ring_full", "disk_reserve"]);

export class DiskRefusal {
  readonly #log: Log;
  #reason: string | undefined;
  #isRingFull = false;

  constructor(log: Log) {
    this.#log = log;
  }

  get isOn(): boolean {
    return this.#reason !== undefined;
  }

  /** The latest, in words; undefined: the disk takes data. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Of what is on its way. */
  get durability(): "waiting" | "refused" | "ring_full" {
    if (!this.isOn) return "waiting";
    return this.#isRingFull ? "ring_full" : "refused";
  }

  /** Returns the refusal in words. Throws what is none. */
  note(error: unknown): string {
    if (!isRefusal(error)) throw error;
    const reason = describeError(error);
    if (!this.isOn) this.#log.error("The disk takes no more; capture goes on in memory.", { reason });
    this.#isRingFull = isRingFull(error) && (!this.isOn || this.#isRingFull); // the disk's own word outweighs it
    this.#reason = reason;
    return reason;
  }

  /** Everything is durable. */
  end(): void {
    if (this.isOn) this.#log.info("The disk takes data again.");
    this.#reason = undefined;
  }
}

/** Nothing in the ring may go for new data: no fault of the disk. */
export function isRingFull(error: unknown): boolean {
  return codeOf(error) === "ring_full";
}

function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  return CODES.has(code) || /^SQLITE_(FULL|IOERR|READONLY|CANTOPEN)/.test(code);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
