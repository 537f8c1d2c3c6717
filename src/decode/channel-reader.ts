/**
 * Reads messages by their channel: fields for rules, whole messages for people, stamps for the ring.
 *
 * A schema is parsed once however many channels and paths ask for it.
 */
import type { Channel, Schema } from "../model/channel.ts";
import { Fault } from "../std/fault.ts";
import type { WireEncoding } from "./cursor.ts";
import { compileDecoder, type Decoder } from "./decoder.ts";
import { compileField, type FieldReader } from "./field.ts";
import { Layouts } from "./field-location.ts";
import { compileObjectField, decodeJson, unpackMessage } from "./msgpack.ts";
import { type ParsedSchema, type Problem, parseSchema } from "./parsed-schema.ts";
import { compileSequence, compileStamp, type SequenceReader, type StampReader } from "./stamp.ts";
import { compileVideoFrame, type FrameReader } from "./video-frame.ts";

export class ChannelReader {
  readonly #parsedByKey = new Map<string, ParsedSchema | Problem>();
  readonly #parsedBySchema = new WeakMap<Schema, ParsedSchema | Problem>();
  readonly #layouts = new WeakMap<Channel, Layouts>();
  readonly #decoders = new WeakMap<Channel, Decoder>();

  parse(schema: Schema): ParsedSchema | Problem {
    const known = this.#parsedBySchema.get(schema);
    if (known !== undefined) return known;
    const key = JSON.stringify([schema.name, schema.encoding, schema.text]);
    const parsed = this.#parsedByKey.get(key) ?? parseSchema(schema);
    this.#parsedByKey.set(key, parsed);
    this.#parsedBySchema.set(schema, parsed);
    return parsed;
  }

  /** A reader of one field, or why there can be none. A function value: hand it on as it is. */
  readonly fieldAccess = (channel: Channel, path: string): FieldReader | Problem => {
    const encoding = channel.messageEncoding;
    if (encoding === "msgpack") return compileObjectField(unpackMessage, path);
    if (encoding === "json") return compileObjectField(decodeJson, path);
    const parsed = this.parse(channel.schema);
    if ("problem" in parsed) return parsed;
    const layouts = this.#layouts.get(channel) ?? new Layouts(parsed, encoding);
    this.#layouts.set(channel, layouts);
    return compileField(parsed, encoding, path, layouts);
  };

  /** undefined: the type carries no stamp, or is not known. */
  stamp({ schema, messageEncoding }: Channel): StampReader | undefined {
    if (messageEncoding === "msgpack" || messageEncoding === "json") return undefined;
    const parsed = this.parse(schema);
    return "problem" in parsed ? undefined : compileStamp(parsed, messageEncoding);
  }

  /** undefined: the type carries no number of its publisher's. */
  sequence({ schema, messageEncoding }: Channel): SequenceReader | undefined {
    if (messageEncoding === "msgpack" || messageEncoding === "json") return undefined;
    const parsed = this.parse(schema);
    return "problem" in parsed ? undefined : compileSequence(parsed, messageEncoding);
  }

  /** Tells key frames; undefined: the type carries no video. A function value: hand it on as it is. */
  readonly videoFrames = ({ schema, messageEncoding }: Channel): FrameReader | undefined => {
    if (messageEncoding === "msgpack" || messageEncoding === "json") return undefined;
    const parsed = this.parse(schema);
    return "problem" in parsed ? undefined : compileVideoFrame(parsed, messageEncoding);
  };

  /** The whole message. Throws `Fault("undecodable_message")`. A function value: hand it on as it is. */
  readonly decode = (channel: Channel, message: Uint8Array): unknown => {
    const decoder = this.#decoders.get(channel) ?? this.#compileDecoder(channel);
    this.#decoders.set(channel, decoder);
    return decoder(message);
  };

  #compileDecoder({ schema, messageEncoding }: Channel): Decoder {
    if (messageEncoding === "msgpack") return unpackMessage;
    if (messageEncoding === "json") return decodeJson;
    const parsed = this.parse(schema);
    return "problem" in parsed ? refuse(parsed) : compileDecoder(parsed, messageEncoding satisfies WireEncoding);
  }
}

function refuse({ problem }: Problem): Decoder {
  return () => {
    throw new Fault("undecodable_message", problem, "Put its .msg files into a folder of definitions.");
  };
}
