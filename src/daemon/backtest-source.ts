/** Where a back-test has its messages from: a recording, or a boot of the ring. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ChannelRegistry } from "../decode/channel-registry.ts";
import { readLosses } from "../ledger/ledger.ts";
import type { BootRange } from "../model/boot-clock.ts";
import type { Channel } from "../model/channel.ts";
import type { TopicPlan } from "../model/topic-class.ts";
import type { RecordedChannel, RecordedMessage, Recording } from "../replay/recording.ts";
import type { RingReader } from "../ring/ring-reader.ts";
import { systemClock } from "../std/clock.ts";
import { earliest } from "../std/nanoseconds.ts";
import { type ExportPlace, type ExportRange, openRing } from "./export-source.ts";
import { openJournalForReading, readClocks } from "./journal.ts";

export type BacktestSource = {
  readonly path: string;
  readonly bootId: string | undefined;
  /** Of the ring: what could not be read. Grows while it is read. */
  readonly problems: readonly string[];
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly channels: readonly SourceChannel[];
  /** When the connection to the robot was back after a gap, in log_time and in order. */
  readonly reconnectedNs: readonly bigint[];
  /** In order of log_time; `channelIndex` is an index into `channels`. */
  batches(): AsyncIterable<readonly RecordedMessage[]>;
};

type SourceChannel = {
  readonly channel: Channel;
  /** The configuration records this topic; no rule sees one that it does not. */
  readonly isRecorded: boolean;
  /** It is there only while an episode wants it. */
  readonly isOnDemand: boolean;
};

/** What the configuration says of a topic; undefined: it is not recorded. */
export type PlanTopic = (topic: string, schemaName: string) => TopicPlan | undefined;

/** `planTopic`: unless it is given, everything is recorded all the time. */
export function sourceOfRecording(recording: Recording, planTopic?: PlanTopic): BacktestSource {
  const registry = ChannelRegistry.open([]);
  const { path, startNs, endNs, problem } = recording;
  return {
    ...{ path, startNs, endNs, bootId: undefined, reconnectedNs: [] },
    problems: problem === undefined ? [] : [problem],
    channels: recording.channels.map((recorded) => {
      const plan = planTopic?.(recorded.topic, recorded.schemaName);
      const channel = declare(registry, recorded, plan);
      return {
        channel,
        isRecorded: planTopic === undefined || plan !== undefined,
        isOnDemand: plan?.isOnDemand ?? false,
      };
    }),
    batches: () => recording.batches?.() ?? oneByOne(recording),
  };
}

/**
 * What a robot's ring has of a range, each boot for itself: rules begin anew with a boot. Heavy topics are there as they
 * are stored: at their baseline outside of episodes. The caller disposes of it. Throws `Fault`.
 */
export async function openRingSources(place: Omit<ExportPlace, "onProblem">, given: ExportRange): Promise<RingSources> {
  const problems: string[] = [];
  const onProblem = (reason: string) => void problems.push(reason);
  const { folder } = place;
  const { source: reader, parts } = await openRing({ ...place, onProblem }, given, readClocks(folder), ["**"]);
  const sources = parts.flatMap((part) => ringSource(folder, reader, part, problems) ?? []);
  return { sources, [Symbol.dispose]: () => reader[Symbol.dispose]() };
}

export type RingSources = Disposable & { readonly sources: readonly BacktestSource[] };

/** undefined: there is nothing of it. */
function ringSource(
  folder: string,
  reader: RingReader,
  part: BootRange,
  problems: readonly string[],
): BacktestSource | undefined {
  const [first] = reader.messages(part);
  if (first === undefined) return undefined;
  const known = [...reader.channels().values()];
  const indexById = new Map(known.map(({ id }, index) => [id, index]));
  return {
    ...{ path: folder, bootId: part.bootId, problems },
    startNs: first.logTimeNs,
    endNs: earliest(part.endNs, systemClock.wallNs()),
    channels: known.map((channel) => ({ channel, isRecorded: true, isOnDemand: false })),
    reconnectedNs: readReconnections(folder, part),
    batches: () => readRing(reader, part, indexById),
  };
}

const BATCH_BYTES = 1 << 19;
const BATCH_MESSAGES = 256;

async function* readRing(
  reader: RingReader,
  part: BootRange,
  indexById: ReadonlyMap<number, number>,
): AsyncGenerator<readonly RecordedMessage[]> {
  let batch: RecordedMessage[] = [];
  let batchBytes = 0;
  for (const { channelId, logTimeNs, publishTimeNs, bytes } of reader.messages(part)) {
    const channelIndex = indexById.get(channelId);
    if (channelIndex === undefined) continue;
    batch.push({ channelIndex, logTimeNs, publishTimeNs, bytes });
    batchBytes += bytes.length;
    if (batchBytes < BATCH_BYTES && batch.length < BATCH_MESSAGES) continue;
    yield batch;
    [batch, batchBytes] = [[], 0];
  }
  yield batch;
}

/** Live, rules are told of these, and a gap may be too short to be seen in the messages. */
function readReconnections(folder: string, { startNs, endNs, bootId }: BootRange): bigint[] {
  if (!existsSync(join(folder, "journal.db"))) return [];
  const journal = openJournalForReading(folder);
  try {
    const gaps = readLosses(journal, startNs, endNs, { bootId }).filter(({ reason }) => reason === "connection_gap");
    return gaps.map((gap) => gap.endNs).sort((a, b) => (a < b ? -1 : 1));
  } finally {
    journal.close();
  }
}

async function* oneByOne(recording: Recording): AsyncGenerator<readonly RecordedMessage[]> {
  for await (const message of recording.messages()) yield [message];
}

function declare(registry: ChannelRegistry, recorded: RecordedChannel, plan: TopicPlan | undefined): Channel {
  const text = recorded.schemaText ?? "";
  const encoding = text === "" ? "" : recorded.encoding === "ros1" ? "ros1msg" : "ros2msg";
  return registry.declare({
    topic: recorded.topic,
    schema: { name: recorded.schemaName, encoding, text },
    messageEncoding: recorded.encoding,
    className: plan?.topicClass.name ?? "light",
    isLocal: plan?.isLocal ?? false,
    isLatched: recorded.isLatched,
  });
}
