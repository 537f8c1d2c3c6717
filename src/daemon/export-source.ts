/**
 * Where an export reads from: files by their path, an episode by its id, or else a range of the ring.
 *
 * The data folder is read as it lies, so it works beside a running daemon, without one, and over a copied folder. A
 * daemon that runs on this folder is asked first for what it has in memory only.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { BatchStore } from "../batch/batch-store.ts";
import { EpisodeTable } from "../capture/episode-table.ts";
import { streamFromDaemon } from "../control/client.ts";
import type { ExportPart } from "../export/export-mcap.ts";
import { McapSource } from "../export/mcap-source.ts";
import { readLosses, readTopicCounts } from "../ledger/ledger.ts";
import type { FileAccounting } from "../model/accounting.ts";
import { type BootClock, type BootRange, logTimeRanges } from "../model/boot-clock.ts";
import type { Episode } from "../model/episode.ts";
import { MemorySpool } from "../ring/memory-spool.ts";
import { RingReader } from "../ring/ring-reader.ts";
import { Fault } from "../std/fault.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import { openDatabaseForReading } from "../store/database.ts";
import { silentLog } from "../telemetry/log.ts";
import { batchFolder, openJournalForReading, readClocks } from "./journal.ts";

/** Ends that a person gave, in true time; what is left open is the source's own. */
export type ExportRange = { readonly startNs: bigint | undefined; readonly endNs: bigint | undefined };
export type ExportSource = {
  readonly source: RingReader | McapSource;
  /** In log_time, boot by boot. */
  readonly parts: readonly ExportPart[];
  /** Of the boots in it, as far as they are known. */
  readonly clocks: readonly BootClock[];
  /** What the ledger says of the parts; undefined: there is none beside the files. */
  readonly accounting: ((wantsTopic: (topic: string) => boolean) => FileAccounting) | undefined;
};

type RingSource = Omit<ExportSource, "source" | "parts"> & {
  readonly source: RingReader;
  readonly parts: readonly BootRange[];
};

const EVER_NS = 2n ** 62n;
const EVER = { startNs: 0n, endNs: EVER_NS };

/** Where the ring lies, where its daemon answers if one runs, and where there is room beside the export. */
export type ExportPlace = {
  readonly folder: string;
  readonly socket: string;
  readonly spoolFolder: string;
  /** Of reading message by message: why a chunk is missing. */
  readonly onProblem: (reason: string) => void;
};

/** The caller disposes of `source`. Of the topics only those of the memory tier are chosen here. Throws `Fault`. */
export async function openExportSource(
  ids: readonly string[],
  place: ExportPlace,
  given: ExportRange,
  topics: readonly string[],
): Promise<ExportSource> {
  const { folder } = place;
  if (ids.length > 0 && ids.every((id) => existsSync(id))) {
    const part = { startNs: given.startNs ?? EVER.startNs, endNs: given.endNs ?? EVER.endNs };
    return { source: await McapSource.open(ids), parts: [part], clocks: [], accounting: undefined };
  }
  assertRing(folder);
  const [id, ...more] = ids;
  if (more.length > 0)
    throw new Fault(
      "bad_usage",
      "Only one episode at a time.",
      "Export them one after the other, or name .mcap files.",
    );
  if (id === undefined) {
    if (given.startNs === undefined)
      throw new Fault("bad_usage", "What is to be exported?", "Name an episode, .mcap files, or --from and --to.");
    return await openRing(place, given, readClocks(folder), topics);
  }
  const { episode, files } = findEpisode(folder, id);
  const known = readClocks(folder).filter(({ bootId }) => bootId === episode.bootId);
  const parts = partsOf([known[0] ?? unknownClock(episode.bootId)], given).map((part) => ({
    ...part,
    startNs: latest(part.startNs, episode.startNs),
    endNs: earliest(part.endNs, episode.endNs),
  }));
  // Batches that still wait here are whole whatever the ring has evicted since.
  const told = { parts, clocks: known, accounting: accountingOf(folder, parts) };
  if (files.length > 0) return { source: await McapSource.open(files, episode.bootId), ...told };
  const memory = await readMemoryTier(place, parts, topics);
  return { source: openReader(place, memory), ...told };
}

/** Of the ring, with the memory tier of a running daemon. The caller disposes of `source`. Throws `Fault`. */
export async function openRing(
  place: ExportPlace,
  given: ExportRange,
  clocks: readonly BootClock[],
  topics: readonly string[],
): Promise<RingSource> {
  assertRing(place.folder);
  const present = clocks.slice(-1); // only that boot can be in memory
  const memory = await readMemoryTier(place, partsOf(present, given), topics);
  const source = openReader(place, memory);
  const boots = source.bootIds().map((bootId) => clocks.find((one) => one.bootId === bootId) ?? unknownClock(bootId));
  const parts = partsOf(boots, given);
  return { source, parts, clocks, accounting: accountingOf(place.folder, parts) };
}

function assertRing(folder: string): void {
  if (existsSync(join(folder, "ring.db"))) return;
  throw new Fault(
    "no_ring",
    `There is no ring in ${folder}.`,
    "Give --config of the robot's configuration, or name files.",
  );
}

function openReader({ folder, onProblem }: ExportPlace, memory: MemorySpool | undefined): RingReader {
  return RingReader.open(folder, { memory, onProblem: ({ reason }) => onProblem(reason) });
}

/** Read when it is asked for: losses are told late. */
function accountingOf(folder: string, parts: readonly BootRange[]): ExportSource["accounting"] {
  if (!existsSync(join(folder, "journal.db")) || !existsSync(join(folder, "ring.db"))) return undefined;
  return (wantsTopic) => {
    const journal = openJournalForReading(folder);
    const ring = openDatabaseForReading(join(folder, "ring.db"));
    try {
      const losses = parts.flatMap(({ bootId, startNs, endNs }) => readLosses(journal, startNs, endNs, { bootId }));
      const [boot, ...others] = new Set(parts.map(({ bootId }) => bootId));
      return {
        losses: losses.filter(({ topic }) => topic === "" || wantsTopic(topic)),
        counters: readTopicCounts(ring, others.length === 0 ? boot : undefined).filter(({ topic }) =>
          wantsTopic(topic),
        ),
      };
    } finally {
      journal.close();
      ring.close();
    }
  };
}

function partsOf(clocks: readonly BootClock[], { startNs = -EVER_NS, endNs = EVER_NS }: ExportRange): BootRange[] {
  return logTimeRanges(clocks, startNs, endNs);
}

/** Of a boot that was recorded before clocks were kept. */
function unknownClock(bootId: string): BootClock {
  const reading = { bootId, wallNs: 0n, monotonicNs: 0n };
  return { ...reading, correctionNs: undefined, truth: undefined, steps: [] };
}

/** undefined: no daemon runs on this folder. */
async function readMemoryTier(
  { folder, socket, spoolFolder }: ExportPlace,
  parts: readonly ExportPart[],
  topics: readonly string[],
): Promise<MemorySpool | undefined> {
  const [first] = parts;
  if (first === undefined) return undefined;
  const startNs = parts.reduce((least, part) => earliest(least, latest(part.startNs, 0n)), EVER_NS);
  const endNs = parts.reduce((most, part) => latest(most, part.endNs), 0n);
  const request = { folder: resolve(folder), start_ns: String(startNs), end_ns: String(endNs), topics };
  try {
    return await MemorySpool.receive(streamFromDaemon(socket, "/v1/memory", request), spoolFolder);
  } catch (error) {
    if (error instanceof Fault && NO_DAEMON.has(error.code)) return undefined;
    throw error;
  }
}

const NO_DAEMON: ReadonlySet<string> = new Set(["not_running", "other_ring"]);

function findEpisode(folder: string, id: string): { episode: Episode; files: readonly string[] } {
  const journal = openJournalForReading(folder);
  try {
    const { episode } = new EpisodeTable(journal).find(id);
    const batches = BatchStore.open(journal, batchFolder(folder), silentLog).ofEpisode(episode.id);
    return {
      episode,
      files: batches.filter(({ kind, path }) => kind !== "meta" && existsSync(path)).map(({ path }) => path),
    };
  } finally {
    journal.close();
  }
}
