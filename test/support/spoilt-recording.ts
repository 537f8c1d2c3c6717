/** A recording some of whose messages are changed or withheld on their way. */
import { compileEncoder, type Encoder } from "../../src/decode/encoder.ts";
import { parseSchema } from "../../src/decode/parsed-schema.ts";
import { compileValues, type MessageValues } from "../../src/replay/message-values.ts";
import type { RecordedChannel, Recording } from "../../src/replay/recording.ts";

/** A message as it may be changed: numbers by path, `twist.twist.linear.x`, `effort.3`. */
export class Draft {
  readonly #root: object;

  constructor(root: object) {
    this.#root = root;
    listBytes(root);
  }

  /** NaN where there is none. */
  number(path: string): number {
    const value = this.#at(path);
    return typeof value === "number" ? value : Number.NaN;
  }

  /** Does nothing where there is no such number; null is how JSON says NaN. */
  set(path: string, value: number): void {
    const cut = path.lastIndexOf(".");
    const owner = cut < 0 ? this.#root : this.#at(path.slice(0, cut));
    const name = path.slice(cut + 1);
    const isThere = typeof owner === "object" && owner !== null && Reflect.has(owner, name);
    if (isThere) Reflect.set(owner, name, value);
  }

  names(path: string): readonly string[] {
    const value = this.#at(path);
    return Array.isArray(value) ? value.map(String) : [];
  }

  get root(): object {
    return this.#root;
  }

  #at(path: string): unknown {
    let value: unknown = this.#root;
    for (const name of path.split("."))
      value = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
    return value;
  }
}

/** A Kobuki's motor currents are a uint8[], which JSON has in base64: a list of numbers instead. */
function listBytes(root: object): void {
  const current: unknown = Reflect.get(root, "current");
  if (typeof current === "string") Reflect.set(root, "current", [...Buffer.from(current, "base64")]);
}

export type Spoilable = {
  readonly topic: string;
  /** `sensor_msgs/Imu`, of whichever ROS. */
  readonly type: string;
  /** Seconds since the first message. */
  readonly atS: number;
  /** Decodes it. */
  readonly draft: () => Draft;
};

/** What becomes of a message: another, itself, or nothing. */
export type Change = (message: Spoilable) => Draft | "same" | "withheld";

/** Reads what `recording` has, as often as it is asked, through a new change each time. Closes nothing. */
export function spoil(recording: Recording, open: () => Change): Recording {
  const { path, ros, channels, startNs, endNs, messageCount, problem } = recording;
  const codecs = channels.map(codecOf);
  async function* messages(): ReturnType<Recording["messages"]> {
    const change = open();
    for await (const message of recording.messages()) {
      const channel = channels[message.channelIndex];
      const codec = codecs[message.channelIndex];
      if (channel === undefined || codec === undefined) continue;
      const changed = change({
        topic: channel.topic,
        type: channel.schemaName.replace("/msg/", "/"),
        atS: Number(message.logTimeNs - startNs) / 1e9,
        draft: () => new Draft(codec.decode(message.bytes)),
      });
      if (changed === "withheld") continue;
      yield changed === "same" ? message : { ...message, bytes: codec.encode(changed.root) };
    }
  }
  return {
    ...{ path, ros, channels, startNs, endNs, messageCount, problem, messages },
    [Symbol.asyncDispose]: async () => {},
  };
}

type Codec = {
  readonly decode: (bytes: Uint8Array) => object;
  readonly encode: (json: object) => Uint8Array;
};

function codecOf(channel: RecordedChannel): Codec {
  const open = lazily(() => {
    const encoding = channel.encoding === "ros1" ? "ros1msg" : "ros2msg";
    const schema = parseSchema({ name: channel.schemaName, encoding, text: channel.schemaText ?? "" });
    const values = known(compileValues(channel));
    return { values, encoder: known("problem" in schema ? schema : compileEncoder(schema, channel.encoding)) };
  });
  return {
    decode: (bytes) => messageOf(open().values.toJsonFrame(bytes)),
    encode: (json) => open().encoder(json).bytes,
  };
}

function messageOf(frame: Buffer): object {
  const parsed: { readonly msg: object } = JSON.parse(frame.toString());
  return parsed.msg;
}

function known<T extends MessageValues | Encoder>(value: T | { readonly problem: string }): T {
  if ("problem" in value) throw new Error(value.problem);
  return value;
}

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
