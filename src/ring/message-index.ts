/**
 * Where a channel's messages are in the body of a chunk, as it goes into a file: an export has millions of these
 * entries and hardly looks at one.
 *
 * Format of an entry, as MCAP's MessageIndex has it:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | log_time, u64le ns |
 * | 8 | 8 | offset of the message's record in the body, u64le |
 */
const ENTRY_BYTES = 16;
const FIRST_BYTES = 64 * ENTRY_BYTES;

export class MessageIndex implements Iterable<readonly [logTimeNs: bigint, offset: number]> {
  #view = new DataView(new ArrayBuffer(FIRST_BYTES));
  #size = 0;

  /** In the body's order. */
  add(logTimeNs: bigint, offset: number): void {
    if (this.#size === this.#view.byteLength) this.#view = new DataView(this.#view.buffer.transfer(2 * this.#size));
    this.#view.setBigUint64(this.#size, logTimeNs, true);
    this.#view.setUint32(this.#size + 8, offset, true);
    this.#size += ENTRY_BYTES;
  }

  get count(): number {
    return this.#size / ENTRY_BYTES;
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#size);
  }

  *[Symbol.iterator](): Generator<readonly [logTimeNs: bigint, offset: number]> {
    for (let at = 0; at < this.#size; at += ENTRY_BYTES)
      yield [this.#view.getBigUint64(at, true), this.#view.getUint32(at + 8, true)];
  }
}
