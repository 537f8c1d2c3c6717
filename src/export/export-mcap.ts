/**
 * A stretch of the ring, or an episode's files, as one MCAP file: stored chunks are copied as they lie; only those
 * that cross the edges or mix wanted and unwanted topics are made anew. The file is whole or absent.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { FileAccounting } from "../model/accounting.ts";
import { McapFile, profileOf } from "../ring/mcap-file.ts";
import type { VideoFrames } from "../ring/video-window.ts";
import { type ChunkSource, windowChunks } from "../ring/window.ts";

export type ExportOptions = {
  /** Both ends belong to the range. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly wantsTopic: (topic: string) => boolean;
  readonly signal: AbortSignal;
  /** Tells key frames, so that inter-coded video begins at one. */
  readonly videoFrames?: VideoFrames;
  /** What is known of what is not in the source; read when the chunks have been. */
  readonly accounting?: () => FileAccounting;
  /** How far log_time has come. */
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
  const chunks = windowChunks(source, {
    ...{ startNs: options.startNs, endNs: options.endNs },
    wants: ({ id }) => wanted.has(id),
    isCut: () => true,
    onDamaged: (_, { message }) => damaged.push(message),
    videoFrames: options.videoFrames,
    onUndecodable: (id) => {
      const { topic = "" } = channels.get(id) ?? {};
      undecodable[topic] = (undecodable[topic] ?? 0) + 1;
    },
  });
  using file = McapFile.create(path, profileOf(wanted));
  for (const chunk of chunks) {
    options.signal.throwIfAborted();
    file.addChunk(chunk, channels);
    options.onProgress?.(chunk.endNs);
    await nextTurn();
  }
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
