/**
 * When the publisher stamped a message: `header.stamp`, or a `stamp` of the message itself (rcl_interfaces/Log); and
 * which number it gave it.
 */
import type { WireEncoding } from "./cursor.ts";
import { compileLocation } from "./field-location.ts";
import type { ParsedSchema } from "./parsed-schema.ts";

/** ns since the Unix epoch; 0n where the message has none, it is negative, or it does not fit into the message. */
export type StampReader = (message: Uint8Array) => bigint;

/** undefined: the type carries no stamp. */
export function compileStamp(parsed: ParsedSchema, encoding: WireEncoding): StampReader | undefined {
  const location =
    compileLocation(parsed, encoding, "header.stamp", "time") ?? compileLocation(parsed, encoding, "stamp", "time");
  if (location === undefined) return undefined;
  const isSigned = parsed.ros === 2;
  let lastSeconds = 0;
  let lastNs = 0n;
  return (message) => {
    const offset = location.find(message);
    if (offset < 0) return 0n;
    const { view, isLittleEndian: isLittle } = location.layouts;
    const seconds = isSigned ? view.getInt32(offset, isLittle) : view.getUint32(offset, isLittle);
    if (seconds < 0) return 0n;
    if (seconds !== lastSeconds) lastNs = BigInt(seconds) * 1_000_000_000n;
    lastSeconds = seconds;
    return lastNs + BigInt(view.getUint32(offset + 4, isLittle));
  };
}

/** −1 where the message is too short. */
export type SequenceReader = (message: Uint8Array) => number;

/** The publisher's own number of a message, `header.seq`; undefined: the type carries none (ROS 2 has none). */
export function compileSequence(parsed: ParsedSchema, encoding: WireEncoding): SequenceReader | undefined {
  const location = compileLocation(parsed, encoding, "header.seq", "uint32");
  if (location === undefined || parsed.ros !== 1) return undefined;
  return (message) => {
    const offset = location.find(message);
    return offset < 0 ? -1 : location.layouts.view.getUint32(offset, location.layouts.isLittleEndian);
  };
}
