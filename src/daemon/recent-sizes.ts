/**
 * Times and sizes of the messages that an episode may still reach back to, so that what it would keep can be counted to
 * the message in a recording of any length.
 *
 * Columns of numbers, 14 bytes a message, forgotten from the front.
 */
export type KeptSize = { readonly messages: number; readonly bytes: number };

export class RecentSizes {
  #times: BigInt64Array;
  #bytes: Uint32Array;
  #channels: Uint16Array;
  #count = 0;
  /** Size of the last forgotten message, by channel. */
  readonly #forgotten = new Map<number, number>();
  readonly #keepFromNs: () => bigint;

  /** `keepFromNs`: nobody will ask for what is before. `capacity`: to begin with. */
  constructor(keepFromNs: () => bigint, capacity = 4096) {
    this.#keepFromNs = keepFromNs;
    this.#times = new BigInt64Array(capacity);
    this.#bytes = new Uint32Array(capacity);
    this.#channels = new Uint16Array(capacity);
  }

  /** In order of time. */
  add(timeNs: bigint, channelIndex: number, bytes: number): void {
    if (this.#count === this.#times.length) this.#makeRoom();
    this.#times[this.#count] = timeNs;
    this.#bytes[this.#count] = bytes;
    this.#channels[this.#count] = channelIndex;
    this.#count += 1;
  }

  /** Of the messages from `startNs` to `endNs`, both included, and of the last one before of each latched channel. */
  sum(startNs: bigint, endNs: bigint, wants: ReadonlySet<number>, latched: ReadonlySet<number>): KeptSize {
    const [from, to] = [this.#countBefore(startNs), this.#countBefore(endNs + 1n)];
    let [messages, bytes] = [0, 0];
    for (let index = from; index < to; index += 1) {
      if (!wants.has(this.#channels[index] ?? -1)) continue;
      messages += 1;
      bytes += this.#bytes[index] ?? 0;
    }
    for (const channelIndex of latched) {
      const index = this.#channels.subarray(0, from).lastIndexOf(channelIndex);
      const lastBytes = index === -1 ? this.#forgotten.get(channelIndex) : this.#bytes[index];
      if (lastBytes === undefined) continue;
      messages += 1;
      bytes += lastBytes;
    }
    return { messages, bytes };
  }

  #makeRoom(): void {
    const first = this.#countBefore(this.#keepFromNs());
    for (let index = 0; index < first; index += 1)
      this.#forgotten.set(this.#channels[index] ?? -1, this.#bytes[index] ?? 0);
    this.#count -= first;
    const capacity = this.#count > this.#times.length / 2 ? 2 * this.#times.length : this.#times.length;
    const [times, bytes] = [new BigInt64Array(capacity), new Uint32Array(capacity)];
    const channels = new Uint16Array(capacity);
    times.set(this.#times.subarray(first));
    bytes.set(this.#bytes.subarray(first));
    channels.set(this.#channels.subarray(first));
    [this.#times, this.#bytes, this.#channels] = [times, bytes, channels];
  }

  #countBefore(timeNs: bigint): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#times[middle] ?? 0n) < timeNs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
