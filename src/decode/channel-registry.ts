/**
 * Gives every (topic, schema, message encoding, class, locality) its channel id: the same one after a restart.
 *
 * Promises: ids are 1…65535 (u16 in MCAP), ring-wide, and not given again while anything refers to them: a topic whose
 * type or class changes gets a new channel, and its old chunks keep the old one. Whether a topic is latched is learnt
 * late and does not make another channel.
 */
import type { Channel } from "../model/channel.ts";
import { Fault } from "../std/fault.ts";

const ID_MAX = 65_535;

export type ChannelDeclaration = Omit<Channel, "id">;

export class ChannelRegistry {
  readonly #channelsByKey: Map<string, Channel>;
  readonly #freeIds: number[];
  #lastId: number;

  private constructor(known: readonly Channel[], freeIds: Iterable<number>) {
    this.#freeIds = [...freeIds].sort((a, b) => b - a); // taken from its end
    this.#channelsByKey = new Map(known.map((channel) => [keyOf(channel), channel]));
    const last = known.reduce((highest, { id }) => Math.max(highest, id), 0);
    this.#lastId = this.#freeIds.length > 0 ? ID_MAX : last; // the free ones are all there are
  }

  /** `known`: the channels the ring has. `freeIds`: nothing refers to them any more; they are given first. */
  static open(known: readonly Channel[], freeIds: Iterable<number> = []): ChannelRegistry {
    return new ChannelRegistry(known, freeIds);
  }

  /** Throws `Fault("channels_exhausted")` when every id has been given. */
  declare(declaration: ChannelDeclaration): Channel {
    const key = keyOf(declaration);
    const known = this.#channelsByKey.get(key);
    if (known !== undefined && known.isLatched === declaration.isLatched) return known;
    const channel = { ...declaration, id: known?.id ?? this.#nextId(declaration.topic) };
    this.#channelsByKey.set(key, channel);
    return channel;
  }

  #nextId(topic: string): number {
    const free = this.#freeIds.pop();
    if (free !== undefined) return free;
    if (this.#lastId >= ID_MAX)
      throw new Fault(
        "channels_exhausted",
        `${topic} cannot be recorded: all ${ID_MAX} channel ids of this ring have been given.`,
        "A topic name or type that changes again and again uses them up: exclude it. A restart gives those free that nothing in the ring refers to.",
      );
    this.#lastId += 1;
    return this.#lastId;
  }
}

function keyOf({ topic, schema, messageEncoding, className, isLocal }: ChannelDeclaration): string {
  return JSON.stringify([topic, messageEncoding, className, isLocal, schema.name, schema.encoding, schema.text]);
}
