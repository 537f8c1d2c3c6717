/**
 * The ledger: every message accounted for, per topic and boot, and a row for everything that is missing.
 *
 * `received = inMemory + stored + reduced + dropped` and `stored = held + evictable + evicted`. The tables `count`
 * and `drop_count` lie in `ring.db` and commit in the ring's own transactions, with the chunks they count; table
 * `loss` lies in `journal.db`, so that damage to the ring never costs it. Losses of one topic and reason that
 * follow each other closely are one row. While the disk refuses, both wait in memory: counters are a few numbers a
 * topic, and waiting losses merge.
 */
import type Database from "better-sqlite3";
import type { CountChange } from "../model/count-change.ts";
import type { Loss, LossReason } from "../model/loss.ts";
import { assert } from "../std/assert.ts";
import { failpoint } from "../std/failpoint.ts";
import { describeError } from "../std/fault.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";

export type TopicCounts = {
  readonly topic: string;
  readonly received: number;
  readonly receivedBytes: number;
  readonly inMemory: number;
  readonly stored: number;
  readonly storedBytes: number;
  readonly reduced: number;
  readonly evicted: number;
  readonly held: number;
  readonly evictable: number;
  readonly dropped: Readonly<Record<string, number>>;
};

/** As `NAMES`, in the table's words. */
const COLUMNS = ["received", "received_bytes", "in_memory", "stored", "stored_bytes", "reduced", "evicted"] as const;
const NAMES = ["received", "receivedBytes", "inMemory", "stored", "storedBytes", "reduced", "evicted"] as const;
type Statement = Database.Statement<(string | number)[]>;
type Counters = Record<(typeof NAMES)[number], number> & { dropped: Map<LossReason, number> };

/** Losses of a topic and reason no further apart than this are one row. */
const MERGE_GAP_NS = 5_000_000_000n;
/** Waiting rows; beyond it those of a topic and reason are merged whatever the gap between them. */
const WAITING_LOSSES_MAX = 1000;

/** Called once, when `journal.db` is made. */
export function createLossTable(db: Db): void {
  db.exec(`
    CREATE TABLE loss (
      id INTEGER PRIMARY KEY, topic TEXT NOT NULL, reason TEXT NOT NULL, start_ns INTEGER NOT NULL,
      end_ns INTEGER NOT NULL, count INTEGER, bytes INTEGER, boot_id TEXT NOT NULL);
    CREATE INDEX loss_by_time ON loss (end_ns);
    CREATE INDEX loss_by_kind ON loss (topic, reason);
  `);
}

export class Ledger {
  readonly #journal: Db;
  readonly #log: Log;
  #ring: { readonly db: Db; readonly count: Statement; readonly drop: Statement } | undefined;
  #bootId = "";
  #unsaved = new Map<string, Counters>();
  #losses: Loss[] = [];
  #isJournalRefusing = false;

  constructor(journal: Db, deps: { readonly log: Log }) {
    this.#journal = journal;
    this.#log = deps.log;
  }

  /** Inside the migration that makes a new `ring.db`. */
  createTables(ring: Db): void {
    ring.exec(`
      CREATE TABLE count (
        boot_id TEXT NOT NULL, topic TEXT NOT NULL, received INTEGER NOT NULL, received_bytes INTEGER NOT NULL,
        in_memory INTEGER NOT NULL, stored INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, reduced INTEGER NOT NULL,
        evicted INTEGER NOT NULL, PRIMARY KEY (boot_id, topic)) WITHOUT ROWID;
      CREATE TABLE drop_count (
        boot_id TEXT NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (boot_id, topic, reason)) WITHOUT ROWID;
    `);
  }

  /** The ring is open: counters live in this database, `add` is for this boot. */
  attach(ring: Db, bootId: string): void {
    const sums = COLUMNS.map((column) => `${column} = ${column} + excluded.${column}`).join(", ");
    this.#ring = {
      db: ring,
      count: ring.prepare(`INSERT INTO count VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET ${sums}`),
      drop: ring.prepare(
        "INSERT INTO drop_count VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
      ),
    };
    this.#bootId = bootId;
  }

  /** Counts with the next `save`. */
  add(topic: string, change: CountChange): void {
    const counters = this.#unsaved.get(topic) ?? noCounters();
    this.#unsaved.set(topic, counters);
    for (const name of NAMES) counters[name] += change[name] ?? 0;
    const { dropped } = change;
    if (dropped !== undefined)
      counters.dropped.set(dropped.reason, (counters.dropped.get(dropped.reason) ?? 0) + dropped.count);
  }

  /**
   * What never reached the ring: received and dropped at once, with its row. A row alone where nobody knows the topic
   * or the number, or where the messages were never received and the bridge only hints at them.
   */
  drop(loss: Loss): void {
    const { topic, reason, count, bytes = 0 } = loss;
    const wasReceived = topic !== "" && reason !== "connection_gap";
    if (wasReceived && count !== undefined)
      this.add(topic, { received: count, receivedBytes: bytes, dropped: { reason, count } });
    this.addLoss(loss);
  }

  /** A row of the loss ledger; the counters are not touched. */
  addLoss(loss: Loss): void {
    const isCrowded = this.#losses.length >= WAITING_LOSSES_MAX;
    const index = this.#losses.findLastIndex((other) =>
      isCrowded ? isSameKind(other, loss) : isContinuedBy(other, loss),
    );
    const earlier = this.#losses[index];
    if (earlier === undefined) this.#losses.push(loss);
    else this.#losses[index] = merge(earlier, loss);
  }

  get isDirty(): boolean {
    return this.#unsaved.size > 0;
  }

  /** Inside the ring's transaction; `saved` after it. */
  save(): void {
    for (const [topic, counters] of this.#unsaved) this.#write(this.#bootId, topic, counters);
  }

  saved(): void {
    this.#unsaved = new Map();
  }

  /** Counts at once, within the ring's present transaction, for any boot. */
  write(bootId: string, topic: string, change: CountChange): void {
    const counters = noCounters();
    for (const name of NAMES) counters[name] = change[name] ?? 0;
    this.#write(bootId, topic, counters);
  }

  /** Writes the waiting rows, if the disk takes them; a row goes on growing while its loss does. False: they wait. */
  saveLosses(): boolean {
    if (this.#losses.length === 0) return true;
    try {
      this.#journal.transaction(() => {
        for (const loss of this.#losses) this.#saveLoss(loss);
        failpoint("ledger.losses.saving");
      })();
      failpoint("ledger.losses.saved");
      this.#losses = [];
      this.#isJournalRefusing = false;
      return true;
    } catch (error) {
      const reason = describeError(error);
      if (!this.#isJournalRefusing)
        this.#log.error("The loss ledger cannot be written; it waits in memory.", { reason });
      this.#isJournalRefusing = true;
      return false;
    }
  }

  /** What was in memory is gone with its process: reduced, or dropped (crash) if an episode wanted it. */
  forgetMemory(bootId: string, wasWanted: boolean): void {
    const { db } = this.#opened();
    if (wasWanted)
      db.prepare(
        `INSERT INTO drop_count SELECT boot_id, topic, 'crash', in_memory FROM count
           WHERE boot_id = ? AND in_memory > 0 ON CONFLICT DO UPDATE SET count = count + excluded.count`,
      ).run(bootId);
    const moved = wasWanted ? "0" : "in_memory";
    db.prepare(`UPDATE count SET reduced = reduced + ${moved}, in_memory = 0 WHERE boot_id = ?`).run(bootId);
  }

  /** Of this boot. */
  receivedByTopic(): ReadonlyMap<string, number> {
    return new Map(this.snapshot().map(({ topic, received }) => [topic, received]));
  }

  /** This boot's counters (or another's) per topic, uncommitted ones included. `held`: `Ring.heldCounts`. */
  snapshot(held: ReadonlyMap<string, number> = new Map(), bootId = this.#bootId): TopicCounts[] {
    const byTopic = this.#committed(bootId);
    if (bootId === this.#bootId) for (const [topic, added] of this.#unsaved) addTo(byTopic, topic, added);
    return [...byTopic].map(([topic, { dropped, ...counters }]) => {
      const heldCount = held.get(topic) ?? 0;
      const evictable = counters.stored - counters.evicted - heldCount;
      return { topic, ...counters, held: heldCount, evictable, dropped: Object.fromEntries(dropped) };
    });
  }

  /** Rows that touch the range, oldest first; of these topics (and of none in particular) if told. */
  losses(startNs: bigint, endNs: bigint, topics?: ReadonlySet<string>): Loss[] {
    return readLosses(this.#journal, startNs, endNs, topics);
  }

  #committed(bootId: string): Map<string, Counters> {
    const { db } = this.#opened();
    const byTopic = new Map<string, Counters>();
    for (const row of db.prepare<[string], CountRow>("SELECT * FROM count WHERE boot_id = ?").all(bootId))
      byTopic.set(row.topic, fromRow(row));
    type Drop = { topic: string; reason: LossReason; count: number };
    for (const { topic, reason, count } of db
      .prepare<[string], Drop>("SELECT topic, reason, count FROM drop_count WHERE boot_id = ?")
      .all(bootId))
      byTopic.get(topic)?.dropped.set(reason, count);
    return byTopic;
  }

  #write(bootId: string, topic: string, counters: Counters): void {
    const { count, drop } = this.#opened();
    count.run(bootId, topic, ...NAMES.map((name) => counters[name]));
    for (const [reason, dropped] of counters.dropped) drop.run(bootId, topic, reason, dropped);
  }

  /** Grows the last row of its kind if the loss goes on, else adds one. */
  #saveLoss(loss: Loss): void {
    type Last = { id: bigint; end_ns: bigint; start_ns: bigint; count: bigint | null; bytes: bigint | null };
    const last = this.#journal
      .prepare<[string, string], Last>("SELECT * FROM loss WHERE topic = ? AND reason = ? ORDER BY id DESC LIMIT 1")
      .safeIntegers()
      .get(loss.topic, loss.reason);
    const earlier = last === undefined ? undefined : fromLossRow({ ...last, topic: loss.topic, reason: loss.reason });
    if (last === undefined || earlier === undefined || !isContinuedBy(earlier, loss)) {
      this.#journal
        .prepare(
          "INSERT INTO loss (topic, reason, start_ns, end_ns, count, bytes, boot_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .run(...lossValues(loss), this.#bootId);
      return;
    }
    this.#journal
      .prepare("UPDATE loss SET topic = ?, reason = ?, start_ns = ?, end_ns = ?, count = ?, bytes = ? WHERE id = ?")
      .run(...lossValues(merge(earlier, loss)), last.id);
  }

  #opened() {
    assert(this.#ring !== undefined, "the ledger counts in the ring's database, which is not open");
    return this.#ring;
  }
}

/** From any connection to `journal.db`, so that the reader thread can tell an episode's gaps. */
export function readLosses(journal: Db, startNs: bigint, endNs: bigint, topics?: ReadonlySet<string>): Loss[] {
  return journal
    .prepare<[bigint, bigint], LossRow>("SELECT * FROM loss WHERE end_ns >= ? AND start_ns <= ? ORDER BY start_ns, id")
    .safeIntegers()
    .all(startNs, endNs)
    .map(fromLossRow)
    .filter((loss) => topics === undefined || loss.topic === "" || topics.has(loss.topic));
}

type LossRow = {
  readonly topic: string;
  readonly reason: LossReason;
  readonly start_ns: bigint;
  readonly end_ns: bigint;
  readonly count: bigint | null;
  readonly bytes: bigint | null;
};

function fromLossRow({ topic, reason, start_ns, end_ns, count, bytes }: LossRow): Loss {
  const number = (value: bigint | null) => (value === null ? undefined : Number(value));
  return { topic, reason, startNs: start_ns, endNs: end_ns, count: number(count), bytes: number(bytes) };
}

type CountRow = {
  readonly topic: string;
  readonly received: number;
  readonly received_bytes: number;
  readonly in_memory: number;
  readonly stored: number;
  readonly stored_bytes: number;
  readonly reduced: number;
  readonly evicted: number;
};

function fromRow(row: CountRow): Counters {
  const { received, stored, reduced, evicted } = row;
  const { received_bytes: receivedBytes, in_memory: inMemory, stored_bytes: storedBytes } = row;
  return { received, receivedBytes, inMemory, stored, storedBytes, reduced, evicted, dropped: new Map() };
}

function noCounters(): Counters {
  return fromRow({
    ...{ topic: "", received: 0, received_bytes: 0, in_memory: 0 },
    ...{ stored: 0, stored_bytes: 0, reduced: 0, evicted: 0 },
  });
}

function addTo(byTopic: Map<string, Counters>, topic: string, added: Counters): void {
  const counters = byTopic.get(topic) ?? noCounters();
  byTopic.set(topic, counters);
  for (const name of NAMES) counters[name] += added[name];
  for (const [reason, count] of added.dropped)
    counters.dropped.set(reason, (counters.dropped.get(reason) ?? 0) + count);
}

function isSameKind(a: Loss, b: Loss): boolean {
  return a.topic === b.topic && a.reason === b.reason;
}

/** A crash or a gap of the connection is one event each; a run of drops is one. */
function isContinuedBy(earlier: Loss, later: Loss): boolean {
  const isRun = later.reason !== "connection_gap" && later.reason !== "crash" && later.reason !== "corrupt_chunk";
  const isClose = later.startNs <= earlier.endNs + MERGE_GAP_NS && later.endNs >= earlier.startNs - MERGE_GAP_NS;
  return isRun && isSameKind(earlier, later) && isClose;
}

function merge(a: Loss, b: Loss): Loss {
  const add = (x: number | undefined, y: number | undefined) =>
    x === undefined || y === undefined ? undefined : x + y;
  const startNs = earliest(a.startNs, b.startNs);
  const endNs = latest(a.endNs, b.endNs);
  return { ...a, startNs, endNs, count: add(a.count, b.count), bytes: add(a.bytes, b.bytes) };
}

function lossValues({ topic, reason, startNs, endNs, count, bytes }: Loss): (string | bigint | number | null)[] {
  return [topic, reason, startNs, endNs, count ?? null, bytes ?? null];
}
