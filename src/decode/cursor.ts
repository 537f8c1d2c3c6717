/**
 * Walks over serialized messages without building anything.
 *
 * Wire forms (every integer little-endian unless the CDR header says otherwise):
 * - `ros1`: packed, no alignment; strings and dynamic arrays are preceded by a u32 count.
 * - `cdr`: 4 bytes of encapsulation `00 kind options options` (kind 0/1 = XCDR1 big/little-endian, 6/7 = XCDR2; RTPS
 *   2.3 §10.5, XTypes 1.3 §7.6.3.1), then primitives aligned to their own size (at most 8 in XCDR1, 4 in XCDR2),
 *   counted from the end of the encapsulation. A string's count includes its NUL. An empty sequence aligns nothing but its count.
 *   A struct without fields is one byte.
 *
 * Promises: never reads beyond the message; every step says whether it fitted; the work is bounded by the message's
 * size and the schema's, whatever the counts in it claim.
 */
import {
  alignmentOf,
  type Field,
  type FixedPrimitiveName,
  isFixedPrimitive,
  PRIMITIVE_BYTES,
  type PrimitiveName,
  type Struct,
} from "./parsed-schema.ts";

export type WireEncoding = "ros1" | "cdr";

const ENCAPSULATION_BYTES = 4;

export class Cursor {
  readonly #isCdr: boolean;
  /** Receives (offset, value) of every count that was read: what the layout so far depends on. */
  readonly onCount: ((offset: number, value: number) => void) | undefined;
  view: DataView = new DataView(new ArrayBuffer(0));
  offset = 0;
  end = 0;
  isLittleEndian = true;
  #origin = 0;
  #alignMax = 1;

  constructor(encoding: WireEncoding, onCount?: (offset: number, value: number) => void) {
    this.#isCdr = encoding === "cdr";
    this.onCount = onCount;
  }

  /** Puts the cursor at the first field. False: too short, or an encapsulation that is not read here. */
  start(view: DataView, sizeBytes: number): boolean {
    this.view = view;
    this.end = sizeBytes;
    this.offset = 0;
    return !this.#isCdr || this.#enterCdr();
  }

  #enterCdr(): boolean {
    if (this.end < ENCAPSULATION_BYTES) return false;
    const kind = this.view.getUint16(0);
    if (kind !== 0 && kind !== 1 && kind !== 6 && kind !== 7) return false;
    this.isLittleEndian = (kind & 1) === 1;
    this.#alignMax = kind < 2 ? 8 : 4;
    this.#origin = ENCAPSULATION_BYTES;
    this.offset = ENCAPSULATION_BYTES;
    return true;
  }

  align(size: number): void {
    const step = Math.min(size, this.#alignMax);
    this.offset = ((this.offset - this.#origin + step - 1) & -step) + this.#origin;
  }

  /** Aligns for a primitive and says whether `count` of them fit from here. */
  fits(name: FixedPrimitiveName, count = 1): boolean {
    if (count > 0) this.align(alignmentOf(name));
    return this.offset + count * PRIMITIVE_BYTES[name] <= this.end;
  }

  /** A count of elements or of string bytes; −1 if it lies beyond the end. */
  count(): number {
    this.align(4);
    if (this.offset + 4 > this.end) return -1;
    const value = this.view.getUint32(this.offset, this.isLittleEndian);
    this.onCount?.(this.offset, value);
    this.offset += 4;
    return value;
  }

  /** How many elements the array at the cursor has; leaves the cursor at the first. −1 if that lies beyond the end. */
  enterArray(field: Field): number {
    return field.length.kind === "fixed" ? field.length.count : field.length.kind === "dynamic" ? this.count() : 1;
  }

  skipField(field: Field): boolean {
    const count = this.enterArray(field);
    return count >= 0 && this.skipElements(field, count);
  }

  skipElements(field: Field, count: number): boolean {
    if (field.type.kind === "primitive") return this.#skipPrimitives(field.type.name, count);
    for (let index = 0; index < count; index += 1) if (!this.skipStruct(field.type)) return false;
    return true;
  }

  skipStruct(struct: Struct): boolean {
    if (struct.fields.length === 0 && this.#isCdr) {
      this.offset += 1;
      return this.offset <= this.end;
    }
    for (const field of struct.fields) if (!this.skipField(field)) return false;
    return true;
  }

  #skipPrimitives(name: PrimitiveName, count: number): boolean {
    if (isFixedPrimitive(name)) {
      if (!this.fits(name, count)) return false;
      this.offset += count * PRIMITIVE_BYTES[name];
      return true;
    }
    if (name === "wstring") return false; // its form differs between middlewares: what lies behind cannot be found
    for (let index = 0; index < count; index += 1) if (!this.skipText()) return false;
    return true;
  }

  skipText(): boolean {
    const bytes = this.count();
    if (bytes < 0 || this.offset + bytes > this.end) return false;
    this.offset += bytes;
    return true;
  }

  /** The bytes of the string at the cursor as (offset, length) without NUL: moves behind it. −1: beyond the end. */
  textBytes(): number {
    const bytes = this.count();
    if (bytes < 0 || this.offset + bytes > this.end) return -1;
    this.offset += bytes;
    return this.#isCdr ? Math.max(0, bytes - 1) : bytes;
  }

  get isCdr(): boolean {
    return this.#isCdr;
  }
}
