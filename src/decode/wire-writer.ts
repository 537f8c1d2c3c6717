/**
 * Serialized bytes of one message after another, in one buffer that grows.
 *
 * `cdr` is XCDR1 little-endian with its encapsulation header `00 01 00 00`, every value aligned to its size from
 * behind the header; `ros1` is packed. Padding is always zero.
 */
import type { WireEncoding } from "./cursor.ts";
import { alignmentOf, type FixedPrimitiveName, PRIMITIVE_BYTES } from "./parsed-schema.ts";

const START_BYTES = 1024;

type NumberWrite = (view: DataView, offset: number, value: number) => void;

const WRITE_NUMBER: Readonly<
  Record<Exclude<FixedPrimitiveName, "int64" | "uint64" | "time" | "duration">, NumberWrite>
> = {
  bool: (view, offset, value) => view.setUint8(offset, value),
  int8: (view, offset, value) => view.setInt8(offset, value),
  uint8: (view, offset, value) => view.setUint8(offset, value),
  int16: (view, offset, value) => view.setInt16(offset, value, true),
  uint16: (view, offset, value) => view.setUint16(offset, value, true),
  int32: (view, offset, value) => view.setInt32(offset, value, true),
  uint32: (view, offset, value) => view.setUint32(offset, value, true),
  float32: (view, offset, value) => view.setFloat32(offset, value, true),
  float64: (view, offset, value) => view.setFloat64(offset, value, true),
};

export type NumberName = keyof typeof WRITE_NUMBER;

export class WireWriter {
  readonly #isCdr: boolean;
  #bytes = Buffer.alloc(START_BYTES);
  #view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
  #offset = 0;

  constructor(encoding: WireEncoding) {
    this.#isCdr = encoding === "cdr";
  }

  start(): void {
    this.#offset = 0;
    if (!this.#isCdr) return;
    this.#reserve(4);
    this.#bytes.writeUInt32BE(0x0001_0000);
    this.#offset = 4;
  }

  /** A copy of what was written since `start`. */
  finish(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes.subarray(0, this.#offset));
  }

  number(name: NumberName, value: number): void {
    const size = PRIMITIVE_BYTES[name];
    this.#align(alignmentOf(name));
    this.#reserve(size);
    WRITE_NUMBER[name](this.#view, this.#offset, value);
    this.#offset += size;
  }

  /** Signed or unsigned: the 64 bits are the same. */
  integer64(value: bigint): void {
    this.#align(8);
    this.#reserve(8);
    this.#view.setBigUint64(this.#offset, BigInt.asUintN(64, value), true);
    this.#offset += 8;
  }

  text(value: string): void {
    const bytes = Buffer.byteLength(value, "utf8");
    this.number("uint32", this.#isCdr ? bytes + 1 : bytes);
    this.#reserve(bytes + 1);
    this.#offset += this.#bytes.write(value, this.#offset, "utf8");
    if (!this.#isCdr) return;
    this.#bytes[this.#offset] = 0;
    this.#offset += 1;
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#offset);
    this.#offset += value.length;
  }

  /** ROS 2 gives a struct without fields one byte, as IDL knows no empty ones. */
  emptyStruct(): void {
    if (this.#isCdr) this.number("uint8", 0);
  }

  #align(size: number): void {
    if (!this.#isCdr) return;
    const padding = (4 - this.#offset) & (size - 1); // counted from behind the 4 bytes of the header
    this.#reserve(padding);
    this.#bytes.fill(0, this.#offset, this.#offset + padding);
    this.#offset += padding;
  }

  #reserve(more: number): void {
    const needed = this.#offset + more;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.alloc(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#offset));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer, grown.byteOffset, grown.byteLength);
  }
}
