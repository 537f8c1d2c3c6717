/**
 * The memory that chunks are kept in, used again when they go: a memory tier of 22 MB/s that leaves its payloads to
 * V8's collector costs more in collecting and in fresh pages than in all else.
 *
 * What is never given back is collected as anything else is; what was given back must not be read any more.
 */
import { copyBytes } from "../std/copy-bytes.ts";
import { asItIs, type PackedChunk } from "./packed-chunk.ts";

/** Smaller payloads are not worth it. */
const BYTES_MIN = 64 * 1024;
/** Memory that waits to be used again. */
const FREE_BYTES_MAX = 8 * 1024 * 1024;
/** A payload takes no memory that is larger than it by more. */
const WASTE_MAX = 1.25;

export class PayloadMemory {
  readonly #lent = new WeakSet<Uint8Array>();
  readonly #free: ArrayBuffer[] = [];
  #freeBytes = 0;

  /** The chunk with bytes of its own, so that the raw chunk's buffer may be used again. */
  keep(chunk: PackedChunk): PackedChunk {
    if (chunk.compression === "lz4") return chunk; // the compressor made them
    const size = chunk.payload.length;
    const payload = new Uint8Array(this.#take(size), 0, size);
    copyBytes(chunk.payload, payload, 0);
    this.#lent.add(payload);
    return asItIs(chunk, payload);
  }

  /** Nobody reads the chunk's bytes any more. Again, or for a chunk that was not kept here, it does nothing. */
  give({ payload }: PackedChunk): void {
    const { buffer } = payload;
    if (!this.#lent.delete(payload) || !(buffer instanceof ArrayBuffer)) return;
    if (buffer.byteLength < BYTES_MIN) return;
    this.#free.push(buffer);
    this.#freeBytes += buffer.byteLength;
    // What has waited longest fits least: sizes go with the robot's pictures.
    while (this.#freeBytes > FREE_BYTES_MAX) this.#freeBytes -= this.#free.shift()?.byteLength ?? 0;
  }

  #take(size: number): ArrayBuffer {
    const index = this.#free.findIndex(({ byteLength }) => byteLength >= size && byteLength <= size * WASTE_MAX);
    const [buffer] = index < 0 ? [] : this.#free.splice(index, 1);
    if (buffer === undefined) return Buffer.allocUnsafeSlow(Math.ceil(size / 4096) * 4096).buffer;
    this.#freeBytes -= buffer.byteLength;
    return buffer;
  }
}
