/**
 * A bounded number of bytes in flight between the ingest and the store thread.
 *
 * Buffers are shared memory in powers of two, used again and again: transferred ones count as garbage of the thread
 * they leave, which at 22 MB/s kept V8's collector busier than everything else. A message larger than the largest gets
 * a plain buffer of its own, to be transferred. When the pool is full the least valuable classes are refused first
 * (`shareInFlight`). The caller of `take` counts what it then drops.
 */
import { shareInFlight } from "./value.ts";

export const BUFFER_BYTES_MIN = 64 * 1024;
export const BUFFER_BYTES_MAX = 2 * 1024 * 1024;

export class BufferPool {
  readonly #bytesMax: number;
  #takenBytes = 0;
  #freeBytes = 0;
  readonly #free = new Map<number, SharedArrayBuffer[]>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** What waits to be used again. */
  get keptBytes(): number {
    return this.#freeBytes;
  }

  /** A buffer of at least `sizeBytes`, or undefined: the pool is full for this rank. */
  take(sizeBytes: number, rank: number): ArrayBufferLike | undefined {
    const size = sizeBytes > BUFFER_BYTES_MAX ? sizeBytes : powerOfTwo(sizeBytes);
    if (this.#takenBytes + size > this.#bytesMax * shareInFlight(rank)) return undefined;
    this.#takenBytes += size;
    if (size > BUFFER_BYTES_MAX) return new ArrayBuffer(size);
    const recycled = this.#free.get(size)?.pop();
    if (recycled === undefined) return this.#allocate(size);
    this.#freeBytes -= size;
    return recycled;
  }

  /** Brings back a buffer of `take`, also after it travelled to another thread and back. */
  give(buffer: ArrayBufferLike): void {
    this.#takenBytes -= buffer.byteLength;
    if (!(buffer instanceof SharedArrayBuffer)) return;
    this.#freeBytes += buffer.byteLength;
    const list = this.#free.get(buffer.byteLength);
    if (list === undefined) this.#free.set(buffer.byteLength, [buffer]);
    else list.push(buffer);
  }

  /** The collector does not see how large shared memory is: taken and free together stay under the bound. */
  #allocate(size: number): SharedArrayBuffer {
    for (const list of this.#free.values())
      while (this.#takenBytes + this.#freeBytes > this.#bytesMax && list.length > 0)
        this.#freeBytes -= list.pop()?.byteLength ?? 0;
    return new SharedArrayBuffer(size);
  }
}

function powerOfTwo(sizeBytes: number): number {
  let size = BUFFER_BYTES_MIN;
  while (size < sizeBytes) size *= 2;
  return size;
}
