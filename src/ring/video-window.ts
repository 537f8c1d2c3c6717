/**
 * Which frames of inter-coded video belong into a window: those that can be decoded from what is in it.
 *
 * A key frame can; any other only with its predecessor, which is the message of the number before. So the window of
 * such a channel begins at the last key frame before its start from which no number is missing, and frames that
 * build on what is not there (the full rate begins in mid-run, a chunk is gone) are left out until the next one.
 * Every chunk is noted before the first frame of its range is asked about.
 */
import type { Channel } from "../model/channel.ts";
import {
  readRecord,
  recordChannelId,
  recordLogTimeNs,
  recordOffsets,
  recordSequence,
  viewOf,
} from "./message-record.ts";
import type { StoredChunk } from "./ring-reader.ts";

/** `other`: each message stands on its own. */
type FrameKind = "key" | "parameters" | "delta" | "other";
/** Tells the frames of a channel; undefined: it carries no video. */
export type VideoFrames = (channel: Channel) => ((message: Uint8Array) => FrameKind) | undefined;

type Frame = { readonly kind: FrameKind; readonly timeNs: bigint; isFed: boolean | undefined };
/** Of one channel in one boot. */
type Run = { readonly frames: Map<number, Frame>; lead: number | undefined; isLeadKnown: boolean };

/** Minutes of frames of a channel: far more than chunks overlap. */
const FRAMES_MAX = 16_384;

export class VideoWindow {
  readonly #startNs: bigint;
  readonly #readers = new Map<number, (message: Uint8Array) => FrameKind>();
  readonly #runs = new Map<string, Run>();

  constructor(channels: Iterable<Channel>, startNs: bigint, videoFrames: VideoFrames = () => undefined) {
    this.#startNs = startNs;
    for (const channel of channels) {
      const reader = videoFrames(channel);
      if (reader !== undefined) this.#readers.set(channel.id, reader);
    }
  }

  get isEmpty(): boolean {
    return this.#readers.size === 0;
  }

  carries(channelId: number): boolean {
    return this.#readers.has(channelId);
  }

  isIn({ channels }: StoredChunk): boolean {
    return channels.some(({ channelId }) => this.carries(channelId));
  }

  note({ bootId }: StoredChunk, body: Uint8Array): void {
    const view = viewOf(body);
    for (const offset of recordOffsets(view)) {
      const channelId = recordChannelId(view, offset);
      const kind = this.#readers.get(channelId)?.(readRecord(view, offset, bootId).bytes);
      if (kind === undefined) continue;
      const { frames } = this.#run(bootId, channelId);
      frames.set(recordSequence(view, offset), { kind, timeNs: recordLogTimeNs(view, offset), isFed: undefined });
      if (frames.size > FRAMES_MAX) dropOldest(frames, FRAMES_MAX / 2);
    }
  }

  /** Of a noted frame before the window: it is needed to decode the first one in it. */
  leads(bootId: string, channelId: number, sequence: number): boolean {
    const run = this.#run(bootId, channelId);
    if (!run.isLeadKnown) run.lead = leadOf(run.frames, this.#startNs);
    run.isLeadKnown = true;
    return run.lead !== undefined && sequence >= run.lead;
  }

  /** Of a noted frame: it can be decoded. */
  shows(bootId: string, channelId: number, sequence: number): boolean {
    const { frames } = this.#run(bootId, channelId);
    return frames.get(sequence)?.kind !== "delta" || isFed(frames, sequence);
  }

  #run(bootId: string, channelId: number): Run {
    const key = `${bootId} ${channelId}`;
    const run = this.#runs.get(key) ?? { frames: new Map(), lead: undefined, isLeadKnown: false };
    this.#runs.set(key, run);
    return run;
  }
}

const isRunning = (frame: Frame): boolean => frame.kind === "delta" || frame.kind === "parameters";

/** Nothing is missing back to a key frame. */
function isFed(frames: ReadonlyMap<number, Frame>, sequence: number): boolean {
  let at = sequence;
  let frame = frames.get(at);
  while (frame !== undefined && isRunning(frame) && frame.isFed === undefined) {
    at -= 1;
    frame = frames.get(at);
  }
  const fed = frame !== undefined && (frame.isFed ?? true);
  for (at += 1; at <= sequence; at += 1) {
    const later = frames.get(at);
    if (later !== undefined) later.isFed = fed;
  }
  return fed;
}

/** The number of the key frame, or of its parameter sets, with which the window must begin before its start. */
function leadOf(frames: ReadonlyMap<number, Frame>, startNs: bigint): number | undefined {
  let last: number | undefined;
  for (const [sequence, { timeNs }] of frames)
    if (timeNs < startNs && (last === undefined || sequence > last)) last = sequence;
  if (last === undefined || frames.get(last + 1)?.kind !== "delta" || !isFed(frames, last)) return undefined;
  let at = last;
  while (frames.get(at)?.kind === "delta" || frames.get(at)?.kind === "parameters") at -= 1;
  while (frames.get(at - 1)?.kind === "parameters") at -= 1;
  return at;
}

function dropOldest(frames: Map<number, Frame>, count: number): void {
  for (const sequence of [...frames.keys()].slice(0, count)) frames.delete(sequence);
}
