/**
 * The rebuilding of an index: whenever `ring.db` is new, whatever lies in the folder is brought into it.
 *
 * 1. At opening, in one transaction: small tables are copied from `ring.db.damaged` as far as they can be read,
 *    channels and boots from `journal.db`; all stored messages are presumed lost (presumed-loss.ts); every segment
 *    file gets a row that says it has not been scanned.
 * 2. In steps, while recording goes on: one segment file after the other, least valuable class first, so that
 *    retention has something to choose from; then the light chunks that lay inline in the damaged database.
 * 3. What was not found again gets its rows in the ledger, and the row of table `rebuild` goes.
 *
 * Each step is one transaction, so a crash only makes it go on from there; a chunk that is there already is not added
 * again. New chunks get ids beyond all that were ever given.
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Channel } from "../model/channel.ts";
import type { TopicClass } from "../model/topic-class.ts";
import { failpoint } from "../std/failpoint.ts";
import { latest } from "../std/nanoseconds.ts";
import { DamagedDatabase } from "../store/damaged-database.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import {
  type ChunkTable,
  headerOf,
  isSound,
  type PendingChunk,
  SEALED_COLUMNS,
  type SealedRow,
} from "./chunk-table.ts";
import { accountedAmount } from "./packed-chunk.ts";
import type { Retention } from "./retention.ts";
import { readChannelCopy, readChannelStarts } from "./ring-channels.ts";
import { DAMAGED_FILE, inJournal } from "./ring-file.ts";
import type { RingLedger, TopicAmount } from "./ring-ledger.ts";
import type { SegmentFiles } from "./segment-files.ts";
import type { SegmentHeader } from "./segment-header.ts";
import { scanSegment } from "./segment-scan.ts";
import {
  addKnownBoot,
  bootNumbers,
  type KnownBoot,
  SEGMENTS_FOLDER,
  segmentFileName,
  segmentIdOf,
  writeChannel,
} from "./tables.ts";

/** More ids than a ring gives out in its life. New ones begin two further: what cannot be read may be one ahead. */
const ID_EPOCH = 2 ** 32;
/** Inline chunks of a step: some megabytes. */
const ROWS_PER_STEP = 128;
/** A larger damaged file goes when all that can be read of it is copied. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/** Copied by other means, or made anew. */
const OWN_TABLES = new Set(["chunk", "segment", "class_total", "rebuild", "channel", "schema", "pace"]);

export type RebuildDeps = {
  readonly folder: string;
  readonly db: Db;
  readonly journal: Db;
  readonly ledger: RingLedger;
  readonly log: Log;
};

type State = { readonly state: string; readonly after_id: number; readonly first_free_id: number };

function stateOf(db: Db): State | undefined {
  return db.prepare<[], State>("SELECT state, after_id, first_free_id FROM rebuild").get();
}

/** Before anything else reads a `ring.db` that is new. `ownBootId`: its boot goes on, and did not crash. */
export function beginRebuild({ folder, db, journal, ledger, log }: RebuildDeps, ownBootId: string | undefined): void {
  if (stateOf(db)?.state !== "due") return;
  const segments = readdirSync(join(folder, SEGMENTS_FOLDER)).flatMap((name) => segmentIdOf(name) ?? []);
  using damaged = DamagedDatabase.open(join(folder, DAMAGED_FILE));
  const channels = readChannelCopy(journal);
  const isNew = segments.length === 0 && damaged === undefined && channels.length === 0;
  db.transaction(() => {
    const areCounted = damaged !== undefined && copySmallTables(damaged, db);
    // Where the boots' rows were lost their numbers mean others now.
    db.exec("DELETE FROM latched WHERE boot NOT IN (SELECT id FROM boot)");
    for (const channel of channels) writeChannel(db, channel);
    if (!isNew) addKnownBoots(db, bootsOf(journal)); // a new ring has no past
    if (ownBootId !== undefined) db.prepare("UPDATE boot SET is_closed = 1 WHERE boot_id = ?").run(ownBootId);
    ledger.presumeLost(db);
    const lastId = Math.max(damaged === undefined ? 0 : lastIdIn(damaged), listSegments(folder, db, segments));
    const firstFreeId = isNew ? 1 : (Math.floor(lastId / ID_EPOCH) + 2) * ID_EPOCH;
    const state = areCounted || isNew ? "counted" : "uncounted";
    db.prepare("UPDATE rebuild SET state = ?, first_free_id = ?").run(state, firstFreeId);
  }).immediate();
  failpoint("rebuild.begun");
  if (!isNew)
    log.error("The ring's index is lost or was damaged; it is rebuilt from the segment files.", {
      segment_files: segments.length,
      is_damaged_file_readable: damaged !== undefined,
    });
}

/** True: the counters came over whole. */
function copySmallTables(damaged: DamagedDatabase, db: Db): boolean {
  const names = db
    .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .pluck()
    .all();
  for (const name of ["schema", "channel"]) damaged.copyTable(db, name);
  const broken = names.filter((name) => !OWN_TABLES.has(name) && !damaged.copyTable(db, name));
  return !broken.includes("count") && !broken.includes("drop_count");
}

/** Adds those that have no row. Older ones than all that have get numbers below theirs, as far as there are any. */
function addKnownBoots(db: Db, boots: readonly KnownBoot[]): void {
  const numbers = bootNumbers(db);
  const lowest = Math.min(...numbers.values());
  const older = boots.findIndex(({ boot_id }) => numbers.has(boot_id));
  for (const [index, boot] of boots.entries()) {
    if (numbers.has(boot.boot_id)) continue;
    if (index >= older) addKnownBoot(db, boot);
    else if (lowest - older + index > 0) addKnownBoot(db, boot, lowest - older + index);
  }
}

function bootsOf(journal: Db): KnownBoot[] {
  const sql = "SELECT boot_id, monotonic_ns, wall_ns FROM boot ORDER BY id";
  return inJournal(() => journal.prepare<[], KnownBoot>(sql).safeIntegers().all());
}

function lastIdIn(damaged: DamagedDatabase): number {
  const [last] = damaged.rowsAfter<{ id: bigint }>("SELECT id FROM chunk WHERE id > ? ORDER BY id DESC", 0, 1);
  return Number(last?.id ?? 0n);
}

/** Gives every file a row; returns the highest id that one of them begins with. */
function listSegments(folder: string, db: Db, ids: readonly number[]): number {
  const insert = db.prepare("INSERT INTO segment (id, sequence, size, used, chunks) VALUES (?, ?, ?, ?, 0)");
  let lastId = 0;
  for (const id of ids) {
    const path = join(folder, SEGMENTS_FOLDER, segmentFileName(id));
    const { size } = statSync(path);
    const [first] = scanSegment(path);
    insert.run(id, `${UNSCANNED}${first?.header.className ?? ""}`, size, size);
    lastId = Math.max(lastId, first?.header.id ?? 0);
  }
  return lastId;
}

/** Begins the sequence of a segment whose chunks have no rows yet. */
const UNSCANNED = "?";

export class Rebuild {
  readonly #deps: RebuildDeps;
  readonly #disk: { readonly chunks: ChunkTable; readonly segments: SegmentFiles; readonly retention: Retention };
  readonly #channels: ReadonlyMap<number, Channel>;
  readonly #channelStarts: ReadonlyMap<number, number>;
  readonly #unscanned: number[];
  /** The counters came over whole. */
  readonly isCounted: boolean;
  #damaged: DamagedDatabase | undefined;
  #afterId: number;
  /** Something was, and the ledger has been given its rows; undefined: not looked at yet. */
  #isLossy: boolean | undefined;
  #isDone = false;

  private constructor(
    deps: RebuildDeps,
    disk: { readonly chunks: ChunkTable; readonly segments: SegmentFiles; readonly retention: Retention },
    channels: ReadonlyMap<number, Channel>,
    given: { readonly unscanned: number[]; readonly state: State },
  ) {
    this.#deps = deps;
    this.#disk = disk;
    this.#channels = channels;
    this.#channelStarts = readChannelStarts(deps.journal);
    this.#unscanned = given.unscanned;
    this.isCounted = given.state.state === "counted";
    this.#afterId = given.state.after_id;
    this.#damaged = DamagedDatabase.open(join(deps.folder, DAMAGED_FILE));
  }

  /** undefined: the index is whole. */
  static open(
    deps: RebuildDeps,
    disk: { readonly chunks: ChunkTable; readonly segments: SegmentFiles; readonly retention: Retention },
    channels: ReadonlyMap<number, Channel>,
    classes: readonly TopicClass[],
  ): Rebuild | undefined {
    const state = stateOf(deps.db);
    if (state === undefined) return undefined;
    disk.chunks.skipTo(state.first_free_id);
    const ranks = new Map(classes.map(({ name, rank }) => [name, rank]));
    const rows = deps.db
      .prepare<[], { id: number; sequence: string }>(
        `SELECT id, sequence FROM segment WHERE sequence LIKE '${UNSCANNED}%'`,
      )
      .all();
    const rank = ({ sequence }: { sequence: string }) => ranks.get(sequence.slice(1)) ?? Number.MAX_SAFE_INTEGER;
    const unscanned = rows.sort((a, b) => rank(a) - rank(b)).map(({ id }) => id); // taken from its end
    return new Rebuild(deps, disk, channels, { unscanned, state });
  }

  /** One transaction's work. False: there is no more, for now if `isDone` does not say so. Throws what the disk says. */
  step(): boolean {
    const segment = this.#unscanned.at(-1);
    if (segment !== undefined) {
      this.#scan(segment);
      this.#unscanned.pop();
      return true;
    }
    if (this.#damaged !== undefined) {
      if (!this.#copyInline(this.#damaged)) this.#finishDamaged();
      return true;
    }
    this.#finish();
    return false;
  }

  /** All that can be found has its rows; at most those of the ledger are due. */
  get isFound(): boolean {
    return this.#unscanned.length === 0 && this.#damaged === undefined;
  }

  /** The index is whole, and the ledger has what was lost. */
  get isDone(): boolean {
    return this.#isDone;
  }

  [Symbol.dispose](): void {
    this.#damaged?.[Symbol.dispose]();
    this.#damaged = undefined;
  }

  #scan(segment: number): void {
    const { folder, db } = this.#deps;
    const path = join(folder, SEGMENTS_FOLDER, segmentFileName(segment));
    const found = existsSync(path) ? [...scanSegment(path)] : [];
    const last = found.at(-1);
    const pending = found.map(({ header, offset, size }) => ({
      ...pendingOf(header, NO_BYTES),
      location: { segment, offset, size },
    }));
    const sequence = last === undefined ? "" : sequenceOf(last.header);
    const used = last === undefined ? 0 : last.offset + last.size;
    const added = db
      .transaction(() => {
        const rows = this.#add(pending);
        const chunks = rows.length; // rows of a segment come in one transaction: there were none before
        this.#disk.segments.saveScan({ id: segment, sequence: chunks === 0 ? "" : sequence, used, chunks });
        return rows;
      })
      .immediate();
    failpoint("rebuild.segment_scanned");
    this.#disk.chunks.added(added);
    this.#disk.segments.scanned(segment);
  }

  /** False: nothing more can be read, or nothing may go for it. */
  #copyInline(damaged: DamagedDatabase): boolean {
    const { db } = this.#deps;
    const rows = damaged.rowsAfter<SealedRow & { payload: Buffer }>(
      `SELECT ${damaged.hasColumn("chunk", "seal") ? SEALED_COLUMNS : SEALED_COLUMNS.replace("seal", "NULL AS seal")},
         payload FROM chunk WHERE id > ? AND payload IS NOT NULL AND quarantine IS NULL ORDER BY id`,
      this.#afterId,
      ROWS_PER_STEP,
    );
    const last = rows.at(-1);
    if (last === undefined) return false;
    const boots = new Map([...bootNumbers(db)].map(([bootId, number]) => [number, bootId]));
    const pending = rows.flatMap((row) => {
      const header = headerOf(row, boots.get(Number(row.boot)) ?? "");
      const isWhole = isSound(row, header.bootId) && crc32(row.payload) === header.storedCrc32;
      return isWhole ? [pendingOf(header, row.payload)] : [];
    });
    const bytes = rows.reduce((sum, { payload }) => sum + payload.length, 0);
    const newest = headerOf(last, boots.get(Number(last.boot)) ?? "");
    if (!this.#disk.retention.makeRoomFor(bytes, newest, false)) return false;
    const added = db
      .transaction(() => {
        db.prepare("UPDATE rebuild SET after_id = ?").run(last.id);
        return this.#add(pending);
      })
      .immediate();
    failpoint("rebuild.rows_copied");
    this.#disk.chunks.added(added);
    this.#afterId = Number(last.id);
    return true;
  }

  /** Inside a transaction: rows, totals and counters of those that are not there yet. */
  #add(pending: readonly FoundPending[]): FoundPending[] {
    const { db, ledger } = this.#deps;
    const added: FoundPending[] = [];
    const reach = db.prepare("UPDATE boot SET last_commit_ns = max(last_commit_ns, ?) WHERE id = ?");
    const named = pending.filter(({ id, chunk }) =>
      chunk.channels.every(({ channelId }) => id >= (this.#channelStarts.get(channelId) ?? 0)),
    );
    for (const [bootId, ofBoot] of Map.groupBy(named, (one) => one.bootId)) {
      const number = bootNumbers(db).get(bootId) ?? addKnownBoot(db, bootOf(bootId, ofBoot));
      const restored = this.#disk.chunks.restore(ofBoot, { id: number, bootId });
      reach.run(restored.map(({ chunk }) => chunk.endNs).reduce(latest, 0n), number);
      added.push(...restored);
    }
    for (const found of sumByTopic(added, this.#channels)) ledger.countFound(db, found);
    return added;
  }

  #finishDamaged(): void {
    this[Symbol.dispose]();
    const path = join(this.#deps.folder, DAMAGED_FILE);
    for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
    failpoint("rebuild.log_removed");
    if (statSync(path).size > KEPT_BYTES_MAX) rmSync(path);
    else renameSync(path, join(this.#deps.folder, "ring.db.examined"));
  }

  /** The ledger's rows first, when the disk takes them: after a crash in between they are told again. */
  #finish(): void {
    const { db, ledger, log } = this.#deps;
    this.#isLossy ??= this.#addLosses();
    if (!ledger.saveLosses()) return;
    failpoint("rebuild.losses_told");
    db.transaction(() => {
      db.exec("DELETE FROM rebuild");
      ledger.settleLost(db);
    }).immediate();
    this.#isDone = true;
    if (this.#isLossy) log.error("The ring's index is whole again; what was in the lost one alone is in the ledger.");
  }

  /** True: there are some. */
  #addLosses(): boolean {
    const { db, ledger } = this.#deps;
    type Span = { boot_id: string; wall_ns: bigint; last_commit_ns: bigint };
    const spans = db.prepare<[], Span>("SELECT * FROM boot").safeIntegers().all();
    const spanOf = new Map(spans.map((span) => [span.boot_id, span]));
    const lost = ledger.lostTopics(db);
    for (const { bootId, ...amount } of lost) {
      const { wall_ns: startNs = 0n, last_commit_ns: endNs = startNs } = spanOf.get(bootId) ?? {};
      ledger.addLoss({ ...amount, bootId, reason: "damaged_ring", startNs, endNs });
    }
    if (!this.isCounted) {
      const endNs = spans.map((span) => span.last_commit_ns).reduce(latest, 0n);
      ledger.addLoss({ topic: "", reason: "damaged_ring", startNs: 0n, endNs, count: undefined, bytes: undefined });
    }
    return lost.length > 0 || !this.isCounted;
  }
}

type FoundPending = PendingChunk & { readonly bootId: string };

const NO_BYTES = new Uint8Array(0);

function pendingOf(header: SegmentHeader, payload: Uint8Array): FoundPending {
  const { id, bootId, storedSize, ...chunk } = header;
  return { id, bootId, storedSize, chunk: { ...chunk, payload }, location: undefined };
}

function sequenceOf({ className, isLocal }: SegmentHeader): string {
  return isLocal ? `${className}:local` : className;
}

/** Of a boot that no table knows any more. */
function bootOf(bootId: string, chunks: readonly PendingChunk[]): KnownBoot {
  return { boot_id: bootId, monotonic_ns: 0n, wall_ns: chunks[0]?.chunk.startNs ?? 0n };
}

function sumByTopic(chunks: readonly FoundPending[], channels: ReadonlyMap<number, Channel>): TopicAmount[] {
  const sums = new Map<string, TopicAmount>();
  for (const { bootId, chunk } of chunks)
    for (const part of chunk.channels) {
      const topic = channels.get(part.channelId)?.topic ?? `channel ${part.channelId}`;
      const { count, bytes } = accountedAmount(part);
      const sum = sums.get(`${bootId} ${topic}`) ?? { bootId, topic, count: 0, bytes: 0 };
      sums.set(`${bootId} ${topic}`, { ...sum, count: sum.count + count, bytes: sum.bytes + bytes });
    }
  return [...sums.values()];
}
