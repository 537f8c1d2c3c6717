/** What the trigger needs from other stages, as types only: `decode/` fits by structure. */
import type { Channel } from "../model/channel.ts";

export type FieldValue =
  | number
  | string
  | boolean
  | readonly number[]
  | Float64Array
  | readonly string[]
  | readonly boolean[]
  | undefined;

/**
 * Reads one field of a serialized message; `undefined` where the message does not have it. Never throws. Numbers of an
 * array hold until the reader's next message.
 */
export type FieldReader = (message: Uint8Array) => FieldValue;

/** A reader for `path` on messages of `channel`, or why there is none. */
export type FieldAccess = (channel: Channel, path: string) => FieldReader | { readonly problem: string };

/** `pkg/msg/Type` (ROS 2) and `pkg/Type` (ROS 1) are one type to a rule. */
export function plainTypeName(name: string): string {
  return name.replace("/msg/", "/");
}
