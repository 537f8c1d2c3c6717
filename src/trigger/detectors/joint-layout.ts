/**
 * Which joint stands where in a JointState.
 *
 * Names are text and cost more to read than all the numbers, so they are read once for each layout: messages of one
 * length whose first name is the same. Several publishers may share a topic, each with joints of its own.
 */
import type { Channel } from "../../model/channel.ts";
import { type DetectorDeps, readerOf, textsOf } from "../detector.ts";

const LAYOUTS_MAX = 32; // encodings whose numbers vary in length make more: then names are read more often

/** Gives what `open` made of a message's names. `path` is that of the names. */
export function layoutReaderOf<T>(
  channel: Channel,
  { fields }: Pick<DetectorDeps, "fields">,
  path: string,
  open: (names: readonly string[]) => T,
): ((message: Uint8Array) => T) | undefined {
  const names = readerOf(fields, channel, path);
  const first = readerOf(fields, channel, `${path}[0]`);
  if (names === undefined || first === undefined) return undefined;
  const layouts = new Map<number, { readonly first: unknown; readonly layout: T }>();
  return (message) => {
    const known = layouts.get(message.byteLength);
    const name = first(message);
    if (known !== undefined && known.first === name) return known.layout;
    const layout = open(textsOf(names(message)));
    if (layouts.size >= LAYOUTS_MAX) layouts.clear();
    layouts.set(message.byteLength, { first: name, layout });
    return layout;
  };
}
