/** The reader thread: writes an episode's batch files from what the ring has stored. Started when first needed. */
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { type EpisodeBatchesResult, writeEpisodeBatches } from "../batch/episode-batches.ts";
import type { Config } from "../config/schema.ts";
import { compileTopicPlan, topicClasses } from "../config/topic-plan.ts";
import { ChannelReader } from "../decode/channel-reader.ts";
import { readLosses, readTopicCounts } from "../ledger/ledger.ts";
import { readHours } from "../ledger/operating-hours.ts";
import type { FileAccounting } from "../model/accounting.ts";
import { type ClockWords, clockWords } from "../model/boot-clock.ts";
import type { Episode } from "../model/episode.ts";
import type { Loss } from "../model/loss.ts";
import { sumHours } from "../model/operating-hours.ts";
import { topicRole } from "../model/operation.ts";
import { BootClocks } from "../ring/boot-clocks.ts";
import { RingReader } from "../ring/ring-reader.ts";
import { assert } from "../std/assert.ts";
import { systemClock } from "../std/clock.ts";
import { uuidV7 } from "../std/uuid.ts";
import { type Db, openDatabaseForReading } from "../store/database.ts";
import { trueNowNs } from "./boot-anchor.ts";
import { batchFolder, openJournal } from "./journal.ts";
import { serveCalls } from "./thread-call.ts";

export type ReaderThreadData = { readonly config: Config; readonly version: string };
export type WriteBatchesRequest = {
  readonly episode: Episode;
  readonly notRecorded: readonly string[];
  readonly onDemand: readonly string[];
  /** A gap of the connection becomes a row of the ledger when it ends; this one has not yet. */
  readonly openGap: Loss | undefined;
};

const { config, version }: ReaderThreadData = workerData;
assert(parentPort !== null, "the reader thread runs in a worker");
const heavyClasses = new Set(
  [...topicClasses(config.topics).values()].filter(({ rank }) => rank > 0).map(({ name }) => name),
);
const decoder = new ChannelReader();
const planTopic = compileTopicPlan(config.topics);
const roleOf = (topic: string, schemaName: string) =>
  planTopic(topic, schemaName)?.role ?? topicRole(topic, schemaName);

function countersOf(bootId: string): FileAccounting["counters"] {
  const ring = openDatabaseForReading(join(config.ring.folder, "ring.db"));
  try {
    return readTopicCounts(ring, bootId);
  } finally {
    ring.close();
  }
}

function clockOf(journal: Db, bootId: string): ClockWords | undefined {
  const clock = new BootClocks(journal).list().find((known) => known.bootId === bootId);
  return clock === undefined ? undefined : clockWords(clock);
}

async function writeBatches({
  episode,
  notRecorded,
  onDemand,
  openGap,
}: WriteBatchesRequest): Promise<EpisodeBatchesResult> {
  const { id, site, embodiment, labels } = config.robot;
  const { operation } = episode;
  const journal = openJournal(config.ring.folder);
  using reader = RingReader.open(config.ring.folder);
  try {
    return await writeEpisodeBatches(episode, reader, {
      folder: batchFolder(config.ring.folder),
      robot: { id, site: operation?.site ?? site, embodiment, labels },
      hours: sumHours(readHours(journal)),
      lodeVersion: version,
      heavyClasses,
      clock: clockOf(journal, episode.bootId),
      losses: [
        ...readLosses(journal, episode.startNs, episode.endNs, { bootId: episode.bootId }),
        ...(openGap === undefined ? [] : [openGap]),
      ],
      counters: countersOf(episode.bootId),
      ...{ notRecorded, onDemand, roleOf },
      decode: decoder.decode,
      videoFrames: decoder.videoFrames,
      newId: () => uuidV7(Date.now()),
      nowNs: trueNowNs(new BootClocks(journal).list(), systemClock),
    });
  } finally {
    journal.close();
  }
}

serveCalls(parentPort, { writeBatches });
