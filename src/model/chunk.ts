/** A run of messages of one busy channel, or of several quiet ones of a class, whatever form its bytes have. */
export type Chunk = {
  readonly className: string;
  readonly isLocal: boolean;
  /** `baseline`: what a heavy topic gets to the disk while nothing is wrong. `full`: its other messages, or all of them. */
  readonly kind: "full" | "baseline";
  /** log_time of the first and the last message. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly channels: readonly ChunkChannel[];
};

/**
 * What ingest hands to the store: a run of MCAP message records, not yet compressed.
 *
 * A record is `0x05 | u64le length | u16le channel | u32le sequence | u64le log_time | u64le publish_time | bytes`
 * (MCAP specification, "Message (op=0x05)"). `sequence` counts a channel's messages within the boot from 1, so
 * (boot, channel, sequence) names a message once and for all, in full-rate and baseline chunks alike.
 */
export type RawChunk = Chunk & {
  /** Shared or transferred, never copied: its pool gets it back when the chunk is compressed. */
  readonly buffer: ArrayBufferLike;
  /** Bytes of `buffer` in use. */
  readonly sizeBytes: number;
};

export type ChunkChannel = {
  readonly channelId: number;
  readonly count: number;
  /** Payload bytes, without record headers. */
  readonly bytes: number;
  /** Of a full chunk in a ring of format 1: how many of its messages are in baseline chunks too, and count there. Else 0. */
  readonly baselineCount: number;
};

export type BootAnchor = {
  /** The kernel's boot id, so that a restarted daemon knows that the robot stayed on. */
  readonly bootId: string;
  /** One reading of both clocks, the first of the boot: log_time = wallNs + (monotonic now − monotonicNs). */
  readonly monotonicNs: bigint;
  readonly wallNs: bigint;
};

/** The log_time at which the monotonic clock began. */
export const powerOnNs = ({ wallNs, monotonicNs }: BootAnchor): bigint => wallNs - monotonicNs;

/** The log_time of a monotonic instant. */
export const logTimeNs = ({ wallNs, monotonicNs }: BootAnchor, nowNs: bigint): bigint => wallNs + (nowNs - monotonicNs);
