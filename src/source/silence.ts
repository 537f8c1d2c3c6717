/** Says in a sentence why a topic is probably silent: servers answer a bad subscription with silence. */
import { isBulkyType } from "./well-known-topics.ts";

export type SilentTopic = {
  readonly schemaName: string;
  readonly publishers: readonly string[] | undefined;
  /** What the bridge answered to the subscription, if it is one that answers. */
  readonly refusal: string | undefined;
  /** Something came, ever. */
  readonly hasReceived: boolean;
  /** Something came on this connection. */
  readonly hasDelivered: boolean;
};

/** undefined: it worked and its publisher is there, so it simply sends nothing at present. */
export function explainSilence(silent: SilentTopic): string | undefined {
  if (silent.refusal !== undefined) return `The bridge refused the subscription: ${silent.refusal}`;
  if (silent.publishers?.length === 0)
    return silent.hasReceived ? "Its publisher is gone." : "Nothing publishes it at present.";
  if (silent.hasDelivered) return undefined;
  if (silent.publishers === undefined)
    return "Nothing has come, and the bridge does not tell who publishes it: is rosapi running, is the configured type right?";
  return `Published by ${silent.publishers.slice(0, 3).join(", ")}, but nothing comes: ${likelyReasons(silent.schemaName)}.`;
}

/** Both forms of delivery have been tried by now, so it is not another client's form that shuts this one out. */
function likelyReasons(schemaName: string): string {
  const size = "its messages are larger than the bridge's max_message_size (10 MB by default)";
  const type = `the bridge does not know the type ${schemaName}, or its topics_glob leaves it out`;
  const idle = "its publisher is idle, or publishes with an incompatible QoS";
  return (isBulkyType(schemaName) ? [size, type, idle] : [idle, type, size]).join("; or ");
}
