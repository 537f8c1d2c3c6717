/** What crosses the ports between the threads, in order and without answers. */
import type { Channel } from "../model/channel.ts";
import type { RawChunk } from "../model/chunk.ts";
import type { Episode } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import type { CapturePolicy, RuleEvent } from "../model/rule-event.ts";
import type { Said } from "./robot-words.ts";

export type IngestToStore =
  /** Always before the first chunk that refers to it. */
  | { readonly kind: "channel"; readonly channel: Channel }
  /** Its buffer comes back as a `buffer` note. */
  | { readonly kind: "chunk"; readonly chunk: RawChunk }
  /** Of inter-coded video; before its chunk. */
  | { readonly kind: "key_frame"; readonly channelId: number; readonly atNs: bigint }
  | { readonly kind: "event"; readonly event: RuleEvent }
  /** Of the rules that every later firing is of. */
  | { readonly kind: "policies"; readonly policies: readonly CapturePolicy[] }
  | { readonly kind: "loss"; readonly loss: Loss }
  /** What the robot says of itself, whenever it changes. */
  | { readonly kind: "said"; readonly said: Said }
  /** Since the last such note: the bridge was there, something told about motion, the robot moved. */
  | { readonly kind: "times"; readonly connectedMs: number; readonly watchedMs: number; readonly movingMs: number }
  /** Everything received until then has been sent: a commit now makes it durable. */
  | { readonly kind: "flushed"; readonly atNs: bigint }
  /** Nothing follows. */
  | { readonly kind: "end" };

export type StoreToIngest =
  | { readonly kind: "buffer"; readonly buffer: ArrayBufferLike }
  /** Globs of the topics that the open episode wants, after so many firings; one answers every firing. */
  | { readonly kind: "on_demand"; readonly globs: readonly string[]; readonly firingCount: number };

/** From the store to the main thread. */
export type StoreNote =
  | { readonly kind: "event"; readonly event: RuleEvent; readonly episode: Episode | undefined }
  /** Its window is on the disk: the batch files can be written. */
  | { readonly kind: "sealed"; readonly episode: Episode };

/** What a port must be told to move rather than share. */
export function transferOf(buffer: ArrayBufferLike): ArrayBuffer[] {
  return buffer instanceof ArrayBuffer ? [buffer] : [];
}
