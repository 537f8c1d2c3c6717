/** What the ring says of itself. */
import type { TopicClass } from "../model/topic-class.ts";
import type { DiskTier } from "./disk-tier.ts";
import { forecastReach } from "./forecast.ts";
import type { MemoryTier } from "./memory-tier.ts";
import type { ClassPace } from "./pace.ts";

export type ClassStatus = {
  readonly className: string;
  readonly rank: number;
  readonly tier: "disk" | "memory";
  readonly chunks: number;
  readonly diskBytes: number;
  /** The history on disk, in the present boot's log_time; undefined while there is none. */
  readonly oldestNs: bigint | undefined;
  readonly newestNs: bigint | undefined;
  readonly memoryBytes: number;
  readonly memoryOldestNs: bigint | undefined;
  /** How far back it will reach in a full ring at the present rate; undefined: nothing comes, or too early to say. */
  readonly forecastMs: number | undefined;
} & ClassPace;

export type RingStatus = {
  readonly classes: readonly ClassStatus[];
  readonly chunks: number;
  readonly diskBytes: number;
  readonly diskBytesMax: number;
  /** Free on the file system. */
  readonly freeBytes: number;
  /** The time of recording that rates, ratios and forecasts are over. */
  readonly measuredMs: number;
  readonly memoryBytes: number;
  /** In memory, and on its way to the disk. */
  readonly backlogBytes: number;
  readonly holds: number;
  readonly isFullRate: boolean;
  /** The disk is full or broken; capture goes on in memory. */
  readonly isDiskRefusing: boolean;
  /** From the last promotion to its window being durable. */
  readonly lightLagMs: number | undefined;
  readonly heavyLagMs: number | undefined;
};

export type CommitResult = {
  readonly isDurable: boolean;
  /** Chunks that got their rows. */
  readonly rows: number;
  readonly ms: number;
  /** Of a commit that is not durable. */
  readonly reason: string | undefined;
};

export function classStatuses(classes: readonly TopicClass[], disk: DiskTier, memory: MemoryTier): ClassStatus[] {
  const forecast = forecastOf(classes, disk);
  const shifts = disk.shiftsToPresent();
  const edgeOf = (className: string, isOldest: boolean) => {
    const edge = disk.chunks.edgeOf(className, isOldest);
    return edge === undefined ? undefined : edge.startNs + (shifts.get(edge.boot) ?? 0n);
  };
  return classes.map(({ name, rank, tier }) => {
    const { chunks, bytes } = disk.chunks.totals.get(name) ?? { chunks: 0, bytes: 0 };
    return {
      ...{ className: name, rank, tier, chunks, diskBytes: bytes },
      ...{ oldestNs: edgeOf(name, true), newestNs: edgeOf(name, false) },
      ...{ memoryBytes: memory.bytesOf(name), memoryOldestNs: memory.oldestNsOf(name) },
      ...disk.pace.of(name),
      forecastMs: forecast.get(name),
    };
  });
}

function forecastOf(topicClasses: readonly TopicClass[], { space, pace, chunks }: DiskTier): Map<string, number> {
  const classes = topicClasses.map(({ name, rank, diskBytesMax, diskMsMax, diskShareMax }) => ({
    ...{ name, rank, bytesPerS: pace.of(name).bytesPerS ?? 0 },
    ...{ bytesMax: diskBytesMax, msMax: diskMsMax, shareMax: diskShareMax },
  }));
  const chunkBytes = [...chunks.totals.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  return forecastReach(classes, space.capacityFor(chunkBytes));
}
