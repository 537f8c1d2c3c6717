/** One line on stderr that says how far long work has come and how long it may take; nothing where nobody watches. */
const REST_MS = 250;

export class Progress {
  readonly #startNs: bigint;
  readonly #spanNs: bigint;
  readonly #begunMs = performance.now();
  #toldMs = 0;

  /** From the first to the last instant of log_time that the work passes. */
  constructor(startNs: bigint, endNs: bigint) {
    this.#startNs = startNs;
    this.#spanNs = endNs - startNs;
  }

  readonly at = (atNs: bigint): void => {
    const nowMs = performance.now();
    if (!process.stderr.isTTY || nowMs - this.#toldMs < REST_MS) return;
    this.#toldMs = nowMs;
    const share = Math.min(Math.max(Number(atNs - this.#startNs) / Number(this.#spanNs), 0), 1);
    const leftS = share > 0.01 ? ` about ${Math.ceil(((nowMs - this.#begunMs) * (1 / share - 1)) / 1000)} s left` : "";
    process.stderr.write(`\r${(share * 100).toFixed(0).padStart(3)} %${leftS}\u001b[K`);
  };

  /** Takes the line away. */
  [Symbol.dispose](): void {
    if (process.stderr.isTTY && this.#toldMs > 0) process.stderr.write("\r\u001b[K");
  }
}
