/**
 * A whole message as a plain object, where somebody looks at all of it (CSV, a log line, a person).
 *
 * The Foxglove readers do the work; before them the message is walked once, so that a count that claims more than the
 * message holds is refused before anything is allocated for it.
 */
import { MessageReader as Ros1Reader } from "@foxglove/rosmsg-serialization";
import { MessageReader as Ros2Reader } from "@foxglove/rosmsg2-serialization";
import { Fault } from "../std/fault.ts";
import { Cursor, type WireEncoding } from "./cursor.ts";
import type { ParsedSchema } from "./parsed-schema.ts";

/** Typed arrays in the result may be views of the message. Throws `Fault("undecodable_message")`. */
export type Decoder = (message: Uint8Array) => unknown;

export function compileDecoder(parsed: ParsedSchema, encoding: WireEncoding): Decoder {
  const cursor = new Cursor(encoding);
  let reader: { readMessage(message: Uint8Array): unknown } | undefined;
  return (message) => {
    if (!cursor.start(parsed.viewOf(message), message.byteLength) || !cursor.skipStruct(parsed.root))
      throw undecodable(parsed.name, `its ${message.byteLength} bytes do not hold the fields of the definition.`);
    try {
      reader ??=
        encoding === "ros1" ? new Ros1Reader([...parsed.definitions]) : new Ros2Reader([...parsed.definitions]);
      return reader.readMessage(message);
    } catch (error) {
      throw undecodable(parsed.name, "the reader refused it.", error);
    }
  };
}

function undecodable(name: string, why: string, cause?: unknown): Fault {
  const hint = "Its definition may be that of another version of the type; the bytes are kept as they are.";
  return new Fault("undecodable_message", `A ${name} could not be decoded: ${why}`, hint, cause);
}
