/** Messages that clients publish as JSON, serialized as the robot's own would be. */
import { MessageWriter as Ros1Writer } from "@foxglove/rosmsg-serialization";
import { MessageWriter as Ros2Writer } from "@foxglove/rosmsg2-serialization";
import { parseSchema } from "../decode/parsed-schema.ts";
import type { RecordedChannel } from "./recording.ts";

/** Throws if the message does not fit the channel's definition. */
export function encodeClientMessage(channel: RecordedChannel, message: unknown): Uint8Array {
  const isRos1 = channel.encoding === "ros1";
  const encoding = isRos1 ? "ros1msg" : "ros2msg";
  const schema = parseSchema({ name: channel.schemaName, encoding, text: channel.schemaText ?? "" });
  if ("problem" in schema) throw new Error(schema.problem);
  const writer = isRos1 ? new Ros1Writer([...schema.definitions]) : new Ros2Writer([...schema.definitions]);
  return writer.writeMessage(message);
}
