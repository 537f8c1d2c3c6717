/** What the ring is given: by configuration, and by the thread that it lives in. */
import type { BootAnchor } from "../model/chunk.ts";
import type { TopicClass } from "../model/topic-class.ts";
import type { Native } from "../native/addon.ts";
import type { Clock } from "../std/clock.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import type { RingLedger } from "./ring-ledger.ts";
import type { SegmentIo } from "./segment-io.ts";

const MIB = 1024 * 1024;

export type RingOptions = {
  readonly folder: string;
  readonly classes: readonly TopicClass[];
  /** Of segment files and database together. */
  readonly bytesMax: number;
  /** Left free on the file system for the robot. */
  readonly reserveBytes: number;
  /** Stored chunks up to this size lie in their row; 8 KiB unless told: slots of 4 KiB waste much on less. */
  readonly inlineBytesMax?: number;
  /** Unless told: 1 % of the ring, within 1 and 64 MiB. */
  readonly segmentBytes?: number;
  /** What may wait in memory for a full disk, beyond the memory tier's budgets; 64 MiB unless told. */
  readonly backlogBytesMax?: number;
};

export type RingDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly ledger: RingLedger;
  /** `journal.db`, which keeps what a damaged `ring.db` must not cost. */
  readonly journal: Db;
  readonly anchor: BootAnchor;
  readonly native?: Native | undefined;
  /** Replaced by tests that break the disk. */
  readonly io?: SegmentIo;
};

export function withDefaults(options: RingOptions): Required<RingOptions> {
  const segmentBytes = Math.min(Math.max(Math.floor(options.bytesMax / 100), MIB), 64 * MIB);
  return { inlineBytesMax: 8 * 1024, segmentBytes, backlogBytesMax: 64 * MIB, ...options };
}
