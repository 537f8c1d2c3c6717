/**
 * Writes CBOR (RFC 8949) as Python's `cbor` package does for rosbridge: definite lengths, the shortest integer form,
 * every float in 64 bits, typed arrays little-endian under the tags of RFC 8746.
 */
const FIRST_CAPACITY = 1024;

export class CborWriter {
  #buffer = Buffer.allocUnsafe(FIRST_CAPACITY);
  #length = 0;

  /** What was written so far, as a copy of its own; the writer starts again from nothing. */
  finish(): Buffer {
    const bytes = Buffer.from(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    return bytes;
  }

  map(entryCount: number): this {
    return this.#head(0xa0, entryCount);
  }

  array(itemCount: number): this {
    return this.#head(0x80, itemCount);
  }

  tag(number: number): this {
    return this.#head(0xc0, number);
  }

  integer(value: number | bigint): this {
    return value < 0 ? this.#head(0x20, typeof value === "bigint" ? -1n - value : -1 - value) : this.#head(0, value);
  }

  float(value: number): this {
    this.#reserve(9);
    this.#buffer[this.#length] = 0xfb;
    this.#buffer.writeDoubleBE(value, this.#length + 1);
    this.#length += 9;
    return this;
  }

  boolean(value: boolean): this {
    this.#reserve(1);
    this.#buffer[this.#length] = value ? 0xf5 : 0xf4;
    this.#length += 1;
    return this;
  }

  text(value: string): this {
    const sizeBytes = Buffer.byteLength(value);
    this.#head(0x60, sizeBytes);
    this.#reserve(sizeBytes);
    this.#buffer.write(value, this.#length, "utf8");
    this.#length += sizeBytes;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.byteStringHead(value.byteLength);
    this.#reserve(value.byteLength);
    this.#buffer.set(value, this.#length);
    this.#length += value.byteLength;
    return this;
  }

  /** The head alone: the caller puts that many bytes behind it. */
  byteStringHead(sizeBytes: number): this {
    return this.#head(0x40, sizeBytes);
  }

  /** RFC 8949 §3: the major type in the top three bits, then the number in as few bytes as it needs. */
  #head(major: number, value: number | bigint): this {
    this.#reserve(9);
    const at = this.#length;
    if (value <= 23) {
      this.#buffer[at] = major | Number(value);
      this.#length += 1;
    } else if (value <= 0xff) {
      this.#buffer[at] = major | 24;
      this.#length = this.#buffer.writeUInt8(Number(value), at + 1);
    } else if (value <= 0xffff) {
      this.#buffer[at] = major | 25;
      this.#length = this.#buffer.writeUInt16BE(Number(value), at + 1);
    } else if (value <= 0xffff_ffff) {
      this.#buffer[at] = major | 26;
      this.#length = this.#buffer.writeUInt32BE(Number(value), at + 1);
    } else {
      this.#buffer[at] = major | 27;
      this.#length = this.#buffer.writeBigUInt64BE(BigInt(value), at + 1);
    }
    return this;
  }

  #reserve(sizeBytes: number): void {
    const needed = this.#length + sizeBytes;
    if (needed <= this.#buffer.byteLength) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.byteLength * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
