/**
 * The CRC-32 of two runs of bytes in a row from those of each, without the bytes.
 *
 * A CRC is the remainder of a polynomial: the first run's is multiplied by x to the number of bits that follow it.
 * Polynomials have their highest power in the lowest bit, as zlib's have.
 */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x8000_0000;

/** x to the power of 8, 16, 32, …: of a byte, two, four. */
const BYTE_SHIFTS = [0x0080_0000];
for (let last = 0x0080_0000; BYTE_SHIFTS.length < 48; BYTE_SHIFTS.push(last)) last = product(last, last);

/** `secondBytes`: how long the second run is. */
export function joinCrc32(first: number, second: number, secondBytes: number): number {
  let shift = ONE;
  for (let index = 0, rest = secondBytes; rest > 0; index += 1, rest = Math.floor(rest / 2))
    if (rest % 2 === 1) shift = product(shift, BYTE_SHIFTS[index] ?? ONE);
  return (product(first, shift) ^ second) >>> 0;
}

/** Modulo the polynomial. */
function product(a: number, b: number): number {
  let sum = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ POLYNOMIAL;
  }
  return sum >>> 0;
}
