/**
 * A stretch of the ring, or an episode's files, as one MCAP file: stored chunks are copied as they lie; only those
 * that cross the edges or mix wanted and unwanted topics are made anew. The file is whole or absent.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { FileAccounting } from "../model/accounting.ts";
import { type BootClock, clockMetadata, clockMetadataName, clockWords, trueTimeNs } from "../model/boot-clock.ts";
import type { Channel } from "../model/channel.ts";
import { McapFile, profileOf } from "../ring/mcap-file.ts";
import type { VideoFrames } from "../ring/video-window.ts";
import { type ChunkSource, windowChunks } from "../ring/window.ts";
import type { Fault } from "../std/fault.ts";
import { correctChunk } from "./corrected.ts";

/** A stretch of log_time, of one boot where it is named. Both ends belong to it. */
export type ExportPart = {
  readonly bootId?: string | undefined;
  readonly startNs: bigint;
  readonly endNs: bigint;
};

export type ExportOptions = {
  /** Boot by boot. */
  readonly parts: readonly ExportPart[];
  /** What is known of the boots' clocks: it goes into the file, beside the data. */
  readonly clocks?: readonly BootClock[];
  /** Write true times as far as they are known; every chunk is made anew. */
  readonly isCorrected?: boolean;
  readonly wantsTopic: (topic: string) => boolean;
  readonly signal: AbortSignal;
  /** Tells key frames, so that inter-coded video begins at one. */
  readonly videoFrames?: VideoFrames;
  /** What is known of what is not in the source; read when the chunks have been. */
  readonly accounting?: () => FileAccounting;
  /** How far it has come, in true time as far as that is known. */
  readonly onProgress?: (atNs: bigint) => void;
};

export type McapExport = {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly messages: number;
  /** Messages of each topic. */
  readonly topics: Readonly<Record<string, number>>;
  /** Chunks that could not be read, with the reason. */
  readonly damaged: readonly string[];
  readonly accounting: FileAccounting | undefined;
  /** Frames of each topic that are left out, for what they build on is not there. */
  readonly undecodable: Readonly<Record<string, number>>;
  /** Up to when nothing is missing that the daemon received; undefined: none runs, the range is what is on disk. */
  readonly completeUntilNs: bigint | undefined;
};

/** Rejects with the signal's reason; then there is no file. */
export async function exportMcap(
  source: ChunkSource & { readonly completeUntilNs?: bigint | undefined },
  path: string,
  options: ExportOptions,
): Promise<McapExport> {
  const channels = source.channels();
  const wanted = new Map([...channels].filter(([, { topic }]) => options.wantsTopic(topic)));
  const damaged: string[] = [];
  const undecodable: Record<string, number> = {};
  const clocks = new Map(options.clocks?.map((clock) => [clock.bootId, clock]));
  const within = new Set<BootClock>();
  const query = {
    wants: ({ id }: Channel) => wanted.has(id),
    isCut: () => true,
    onDamaged: (_: unknown, { message }: Fault) => damaged.push(message),
    videoFrames: options.videoFrames,
    onUndecodable: (id: number) => {
      const { topic = "" } = channels.get(id) ?? {};
      undecodable[topic] = (undecodable[topic] ?? 0) + 1;
    },
  };
  using file = McapFile.create(path, profileOf(wanted));
  for (const [index, part] of options.parts.entries())
    for (const chunk of windowChunks(source, { ...query, ...part, isContinued: index > 0 })) {
      options.signal.throwIfAborted();
      const clock = clocks.get(chunk.bootId ?? "");
      if (clock !== undefined) within.add(clock);
      file.addChunk(options.isCorrected === true ? correctChunk(chunk, clock) : chunk, channels);
      options.onProgress?.(clock === undefined ? chunk.endNs : trueTimeNs(clock, chunk.endNs));
      await nextTurn();
    }
  for (const clock of within)
    file.addMetadata(clockMetadataName(clock.bootId), clockMetadata(clockWords(clock), options.isCorrected === true));
  options.signal.throwIfAborted();
  const accounting = options.accounting?.();
  if (accounting !== undefined) file.addAccounting(accounting, damaged);
  const finished = file.finish();
  const topics: Record<string, number> = {};
  for (const [id, count] of file.counts) {
    const { topic = "" } = channels.get(id) ?? {};
    topics[topic] = (topics[topic] ?? 0) + Number(count);
  }
  const messages = Object.values(topics).reduce((sum, count) => sum + count, 0);
  return {
    path,
    ...finished,
    messages,
    topics,
    damaged,
    undecodable,
    accounting,
    completeUntilNs: source.completeUntilNs,
  };
}
