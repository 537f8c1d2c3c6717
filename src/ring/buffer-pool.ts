/**
 * A bounded number of bytes in flight between the ingest and the store thread.
 *
 * Buffers are plain ArrayBuffers (Node's pooled slabs cannot be transferred) in powers of two; a message larger
 * than the largest gets one of its own size. When the pool is full the least valuable classes are refused first:
 * a part of it is kept for rank 0 and a smaller one for rank 1. The caller of `take` counts what it then drops.
 */

export const BUFFER_BYTES_MIN = 64 * 1024;
export const BUFFER_BYTES_MAX = 2 * 1024 * 1024;
/** Of the pool's bytes, what a class of rank 0, 1 and any other may fill. */
const SHARE_BY_RANK = [1, 0.85, 0.7] as const;

export class BufferPool {
  readonly #bytesMax: number;
  #takenBytes = 0;
  #freeBytes = 0;
  readonly #free = new Map<number, ArrayBuffer[]>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get takenBytes(): number {
    return this.#takenBytes;
  }

  /** A buffer of at least `sizeBytes`, or undefined: the pool is full for this rank. */
  take(sizeBytes: number, rank: number): ArrayBuffer | undefined {
    const size = sizeBytes > BUFFER_BYTES_MAX ? sizeBytes : powerOfTwo(sizeBytes);
    const share = SHARE_BY_RANK[rank] ?? 0.7;
    if (this.#takenBytes + size > this.#bytesMax * share) return undefined;
    this.#takenBytes += size;
    const recycled = this.#free.get(size)?.pop();
    if (recycled === undefined) return new ArrayBuffer(size);
    this.#freeBytes -= size;
    return recycled;
  }

  /** Brings back a buffer of `take`, also after it travelled to another thread and back. */
  give(buffer: ArrayBuffer): void {
    this.#takenBytes -= buffer.byteLength;
    const isKept = buffer.byteLength <= BUFFER_BYTES_MAX && this.#freeBytes + buffer.byteLength <= this.#bytesMax / 4;
    if (!isKept) return;
    this.#freeBytes += buffer.byteLength;
    const list = this.#free.get(buffer.byteLength);
    if (list === undefined) this.#free.set(buffer.byteLength, [buffer]);
    else list.push(buffer);
  }
}

function powerOfTwo(sizeBytes: number): number {
  let size = BUFFER_BYTES_MIN;
  while (size < sizeBytes) size *= 2;
  return size;
}
