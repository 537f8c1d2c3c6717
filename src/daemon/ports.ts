/** What crosses the port between the ingest and the store thread, in order and without answers. */
import type { Channel } from "../model/channel.ts";
import type { RawChunk } from "../model/chunk.ts";
import type { Loss } from "../model/loss.ts";
import type { RuleEvent } from "../model/rule-event.ts";

export type IngestToStore =
  /** Always before the first chunk that refers to it. */
  | { readonly kind: "channel"; readonly channel: Channel }
  /** Its buffer is transferred and comes back as a `buffer` note. */
  | { readonly kind: "chunk"; readonly chunk: RawChunk }
  | { readonly kind: "event"; readonly event: RuleEvent }
  | { readonly kind: "loss"; readonly loss: Loss };

export type StoreToIngest =
  | { readonly kind: "buffer"; readonly buffer: ArrayBuffer }
  /** Globs of the topics to subscribe until the next such note; empty: none. */
  | { readonly kind: "on_demand"; readonly globs: readonly string[] };
