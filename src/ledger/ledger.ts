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
import type { Counts, TopicCounts } from "../model/accounting.ts";
import type { Amount, CountChange, CountedRow } from "../model/count-change.ts";
import { type Loss, type LossReason, wasReceived } from "../model/loss.ts";
import { assert } from "../std/assert.ts";
import { failpoint } from "../std/failpoint.ts";
import { describeError } from "../std/fault.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import { countFound, lostTopics, presumeLost, settleLost } from "./presumed-loss.ts";

const TERMS = ["received", "inMemory", "stored", "reduced", "evicted"] as const;
type Term = (typeof TERMS)[number];

/** As `TERMS`, each with its bytes, in the table's words. */
const COLUMNS = ["received", "in_memory", "stored", "reduced", "evicted"].flatMap((name) => [name, `${name}_bytes`]);
type Statement = Database.Statement<(string | number)[]>;
type Counters = { readonly terms: Record<Term, Amount>; readonly dropped: Map<LossReason, Amount> };

/** Losses of a topic and reason no further apart than this are one row. */
const MERGE_GAP_NS = 5_000_000_000n;
/** Waiting rows; beyond it those of a topic and reason are merged whatever the gap between them. */
const WAITING_LOSSES_MAX = 1000;

/** Rows of the journal; beyond it the older half is summed up, a row for each topic and reason. */
const LOSSES_MAX = 10_000;
/** Counters of boots that have nothing left in the ring are summed up under this id. */
const EARLIER_BOOTS = "earlier";

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

  /**
   * Inside the migration: every term has its bytes, what is set aside counts as dropped, and what went is what is not
   * there any more. Of format 1 nobody knows by which way bytes went that were not stored: they are put to `reduced`.
   */
  toFormat2(ring: Db, rows: Iterable<CountedRow>): void {
    for (const column of ["in_memory_bytes", "reduced_bytes", "evicted_bytes"])
      ring.exec(`ALTER TABLE count ADD COLUMN ${column} INTEGER NOT NULL DEFAULT 0`);
    ring.exec("ALTER TABLE drop_count ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0");
    ring.exec(
      `UPDATE count SET reduced_bytes = received_bytes - stored_bytes, evicted = stored, evicted_bytes = stored_bytes`,
    );
    this.attach(ring, "");
    for (const { bootId, topic, count, bytes, isQuarantined } of rows) {
      const there = { count: -count, bytes: -bytes };
      this.write(bootId, topic, { evicted: 1 }, there);
      if (isQuarantined) this.write(bootId, topic, { stored: -1, dropped: "corrupt_chunk" }, { count, bytes });
    }
  }

  /** The ring is open: counters live in this database, `add` is for this boot. */
  attach(ring: Db, bootId: string): void {
    const sums = COLUMNS.map((column) => `${column} = ${column} + excluded.${column}`).join(", ");
    this.#ring = {
      db: ring,
      count: ring.prepare(
        `INSERT INTO count (boot_id, topic, ${COLUMNS.join(", ")}) VALUES (?, ?${", ?".repeat(COLUMNS.length)})
         ON CONFLICT DO UPDATE SET ${sums}`,
      ),
      drop: ring.prepare(
        `INSERT INTO drop_count VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes`,
      ),
    };
    this.#bootId = bootId;
  }

  readonly presumeLost = presumeLost;
  readonly countFound = countFound;
  readonly lostTopics = lostTopics;
  readonly settleLost = settleLost;

  /** Counts with the next `save`. */
  add(topic: string, change: CountChange, amount: Amount): void {
    const counters = this.#unsaved.get(topic) ?? noCounters();
    this.#unsaved.set(topic, counters);
    apply(counters, change, amount);
  }

  /**
   * What never reached the ring: received and dropped at once, with its row. A row alone where nobody knows the topic
   * or the number, or where the messages were never received and the bridge only hints at them.
   */
  drop(loss: Loss): void {
    const { topic, reason, count, bytes = 0 } = loss;
    if (count !== undefined && wasReceived(loss)) this.add(topic, { received: 1, dropped: reason }, { count, bytes });
    this.addLoss(loss);
  }

  /** A row of the loss ledger; the counters are not touched. */
  addLoss(added: Loss): void {
    const loss = { bootId: this.#bootId, ...added };
    const isCrowded = this.#losses.length >= WAITING_LOSSES_MAX;
    const index = this.#losses.findLastIndex((other) =>
      isCrowded ? isSameKind(other, loss) : isContinuedBy(other, loss),
    );
    const earlier = this.#losses[index];
    if (earlier === undefined) this.#losses.push(loss);
    else this.#losses[index] = mergeLosses(earlier, loss);
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
  write(bootId: string, topic: string, change: CountChange, amount: Amount): void {
    const counters = noCounters();
    apply(counters, change, amount);
    this.#write(bootId, topic, counters);
  }

  /** Writes the waiting rows, if the disk takes them; a row goes on growing while its loss does. False: they wait. */
  saveLosses(): boolean {
    if (this.#losses.length === 0) return true;
    try {
      this.#journal.transaction(() => {
        for (const loss of this.#losses) this.#saveLoss(loss);
        boundLosses(this.#journal);
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
        `INSERT INTO drop_count SELECT boot_id, topic, 'crash', in_memory, in_memory_bytes FROM count
           WHERE boot_id = ? AND in_memory > 0
           ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes`,
      ).run(bootId);
    else
      db.prepare(
        `UPDATE count SET reduced = reduced + in_memory, reduced_bytes = reduced_bytes + in_memory_bytes
           WHERE boot_id = ?`,
      ).run(bootId);
    db.prepare("UPDATE count SET in_memory = 0, in_memory_bytes = 0 WHERE boot_id = ?").run(bootId);
  }

  /**
   * What the rows of its chunks could not say any more when they went was damaged. After this the boot's counters are
   * part of those under `EARLIER_BOOTS`.
   */
  foldBoot(bootId: string): void {
    const { db } = this.#opened();
    const sums = COLUMNS.map((column) => `${column} = ${column} + excluded.${column}`).join(", ");
    const run = (sql: string) => db.prepare(sql).run({ bootId });
    run(`INSERT INTO drop_count SELECT boot_id, topic, 'corrupt_chunk', stored - evicted, stored_bytes - evicted_bytes
           FROM count WHERE boot_id = :bootId AND (stored <> evicted OR stored_bytes <> evicted_bytes)
         ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes`);
    run("UPDATE count SET stored = evicted, stored_bytes = evicted_bytes WHERE boot_id = :bootId");
    run(`INSERT INTO count (boot_id, topic, ${COLUMNS.join(", ")})
           SELECT '${EARLIER_BOOTS}', topic, ${COLUMNS.join(", ")} FROM count WHERE boot_id = :bootId
         ON CONFLICT DO UPDATE SET ${sums}`);
    run(`INSERT INTO drop_count SELECT '${EARLIER_BOOTS}', topic, reason, count, bytes FROM drop_count
           WHERE boot_id = :bootId
         ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes = bytes + excluded.bytes`);
    for (const table of ["count", "drop_count"]) run(`DELETE FROM ${table} WHERE boot_id = :bootId`);
  }

  /** That have counters, this one last. */
  bootIds(): string[] {
    const others = this.#opened().db.prepare<[string], string>("SELECT DISTINCT boot_id FROM count WHERE boot_id <> ?");
    return [...others.pluck().all(this.#bootId), this.#bootId];
  }

  /** Of this boot. */
  receivedByTopic(): ReadonlyMap<string, number> {
    return new Map(this.snapshot().map(({ topic, received }) => [topic, received]));
  }

  /** This boot's counters (or another's) per topic, uncommitted ones included. `held`: `Ring.heldAmounts`. */
  snapshot(held: ReadonlyMap<string, Amount> = new Map(), bootId = this.#bootId): TopicCounts[] {
    const byTopic = readCounters(this.#opened().db, bootId);
    if (bootId === this.#bootId) for (const [topic, added] of this.#unsaved) merge(byTopic, topic, added);
    return [...byTopic].map(([topic, counters]) => toTopicCounts(topic, counters, held.get(topic) ?? NOTHING));
  }

  /** As `readLosses`. */
  losses(startNs: bigint, endNs: bigint, wanted: WantedLosses = {}): Loss[] {
    return readLosses(this.#journal, startNs, endNs, wanted);
  }

  #write(bootId: string, topic: string, { terms, dropped }: Counters): void {
    const { count, drop } = this.#opened();
    count.run(bootId, topic, ...TERMS.flatMap((term) => [terms[term].count, terms[term].bytes]));
    for (const [reason, amount] of dropped) drop.run(bootId, topic, reason, amount.count, amount.bytes);
  }

  /** Grows the last row of its kind if the loss goes on, else adds one. */
  #saveLoss(loss: Loss): void {
    type Last = { id: bigint; end_ns: bigint; start_ns: bigint; count: bigint | null; bytes: bigint | null };
    const { topic, reason, bootId = this.#bootId } = loss;
    const last = this.#journal
      .prepare<[string, string, string], Last>(
        "SELECT * FROM loss WHERE topic = ? AND reason = ? AND boot_id = ? ORDER BY id DESC LIMIT 1",
      )
      .safeIntegers()
      .get(topic, reason, bootId);
    const earlier = last === undefined ? undefined : fromLossRow({ ...last, topic, reason, boot_id: bootId });
    if (last === undefined || earlier === undefined || !isContinuedBy(earlier, loss)) {
      this.#journal
        .prepare(
          "INSERT INTO loss (topic, reason, start_ns, end_ns, count, bytes, boot_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .run(...lossValues(loss), bootId);
      return;
    }
    this.#journal
      .prepare("UPDATE loss SET topic = ?, reason = ?, start_ns = ?, end_ns = ?, count = ?, bytes = ? WHERE id = ?")
      .run(...lossValues(mergeLosses(earlier, loss)), last.id);
  }

  #opened() {
    assert(this.#ring !== undefined, "the ledger counts in the ring's database, which is not open");
    return this.#ring;
  }
}

/** No loss is forgotten, only its place: known and unknown counts stay apart. Of ever new topics: `""`, all of them. */
function boundLosses(journal: Db): void {
  const count = journal.prepare<[], number>("SELECT count(*) FROM loss").pluck().get() ?? 0;
  if (count <= LOSSES_MAX) return;
  const older = `(SELECT * FROM loss ORDER BY id LIMIT ${LOSSES_MAX / 2})`;
  type Sum = Readonly<Record<string, string | bigint | null>>;
  const sums = (topic: string): Sum[] =>
    journal
      .prepare<[], Sum>(
        `SELECT min(id) AS id, ${topic} AS topic, reason, min(start_ns) AS start_ns, max(end_ns) AS end_ns,
           sum(count) AS count, sum(bytes) AS bytes, CASE WHEN min(boot_id) = max(boot_id) THEN min(boot_id)
           ELSE '${EARLIER_BOOTS}' END AS boot_id FROM ${older} GROUP BY ${topic}, reason, count IS NULL`,
      )
      .safeIntegers()
      .all();
  const byTopic = sums("topic");
  const kept = byTopic.length <= LOSSES_MAX / 4 ? byTopic : sums("''");
  journal.exec(`DELETE FROM loss WHERE id IN (SELECT id FROM ${older})`);
  const insert = journal.prepare(
    "INSERT INTO loss VALUES (:id, :topic, :reason, :start_ns, :end_ns, :count, :bytes, :boot_id)",
  );
  for (const sum of kept) insert.run(sum);
}

/** Of one boot, and of these topics (and of none in particular), if told. */
export type WantedLosses = { readonly bootId?: string; readonly topics?: ReadonlySet<string> };

/**
 * Rows that touch the range, boot by boot and oldest first, from any connection to `journal.db`, so that the reader
 * thread can tell an episode's gaps.
 */
export function readLosses(journal: Db, startNs: bigint, endNs: bigint, wanted: WantedLosses = {}): Loss[] {
  const { bootId, topics } = wanted;
  const rows = journal
    .prepare<[bigint, bigint], LossRow>("SELECT * FROM loss WHERE end_ns >= ? AND start_ns <= ? ORDER BY id")
    .safeIntegers()
    .all(startNs, endNs)
    .filter(({ topic, boot_id }) => (bootId ?? boot_id) === boot_id && (topics?.has(topic) !== false || topic === ""));
  const byBoot = Map.groupBy(rows.map(fromLossRow), (loss) => loss.bootId);
  return [...byBoot.values()].flatMap((losses) => losses.sort((a, b) => Number(a.startNs - b.startNs)));
}

type LossRow = {
  readonly topic: string;
  readonly reason: LossReason;
  readonly start_ns: bigint;
  readonly end_ns: bigint;
  readonly count: bigint | null;
  readonly bytes: bigint | null;
  readonly boot_id: string;
};

function fromLossRow({ topic, reason, start_ns, end_ns, count, bytes, boot_id }: LossRow): Loss {
  const number = (value: bigint | null) => (value === null ? undefined : Number(value));
  const range = { startNs: start_ns, endNs: end_ns, bootId: boot_id };
  return { topic, reason, ...range, count: number(count), bytes: number(bytes) };
}

const NOTHING: Amount = { count: 0, bytes: 0 };

function readCounters(db: Db, bootId: string): Map<string, Counters> {
  const byTopic = new Map<string, Counters>();
  type Row = Record<string, number> & { readonly topic: string };
  for (const row of db.prepare<[string], Row>("SELECT * FROM count WHERE boot_id = ?").all(bootId)) {
    const counters = noCounters();
    for (const [index, term] of TERMS.entries())
      counters.terms[term] = {
        count: row[COLUMNS[2 * index] ?? ""] ?? 0,
        bytes: row[COLUMNS[2 * index + 1] ?? ""] ?? 0,
      };
    byTopic.set(row.topic, counters);
  }
  type Drop = Amount & { readonly topic: string; readonly reason: LossReason };
  for (const { topic, reason, count, bytes = 0 } of db
    .prepare<[string], Drop>("SELECT * FROM drop_count WHERE boot_id = ?")
    .all(bootId))
    byTopic.get(topic)?.dropped.set(reason, { count, bytes });
  return byTopic;
}

/** Of a boot, or of all that ever filled the ring, from any connection to `ring.db`. What is in memory may be newer. */
export function readTopicCounts(ring: Db, bootId?: string): (Counts & { readonly topic: string })[] {
  const bootIds = ring.prepare<[], string>("SELECT DISTINCT boot_id FROM count").pluck().all();
  const sums = new Map<string, Counters>();
  for (const id of bootId === undefined ? bootIds : [bootId])
    for (const [topic, counters] of readCounters(ring, id)) merge(sums, topic, counters);
  return [...sums].map(([topic, counters]) => {
    const { held, heldBytes, evictable, evictableBytes, ...counts } = toTopicCounts(topic, counters, NOTHING);
    return counts;
  });
}

function noCounters(): Counters {
  const terms = { received: NOTHING, inMemory: NOTHING, stored: NOTHING, reduced: NOTHING, evicted: NOTHING };
  return { terms, dropped: new Map() };
}

function apply({ terms, dropped }: Counters, change: CountChange, amount: Amount): void {
  for (const term of TERMS) terms[term] = plus(terms[term], amount, change[term] ?? 0);
  if (change.dropped !== undefined) dropped.set(change.dropped, plus(dropped.get(change.dropped) ?? NOTHING, amount));
}

function plus(a: Amount, b: Amount, sign: 1 | -1 | 0 = 1): Amount {
  return { count: a.count + sign * b.count, bytes: a.bytes + sign * b.bytes };
}

function merge(byTopic: Map<string, Counters>, topic: string, added: Counters): void {
  const counters = byTopic.get(topic) ?? noCounters();
  byTopic.set(topic, counters);
  for (const term of TERMS) counters.terms[term] = plus(counters.terms[term], added.terms[term]);
  for (const [reason, amount] of added.dropped)
    counters.dropped.set(reason, plus(counters.dropped.get(reason) ?? NOTHING, amount));
}

function toTopicCounts(topic: string, { terms, dropped }: Counters, held: Amount): TopicCounts {
  const { received, inMemory, stored, reduced, evicted } = terms;
  const evictable = plus(plus(stored, evicted, -1), held, -1);
  const drops = (of: (amount: Amount) => number) =>
    Object.fromEntries([...dropped].map(([reason, amount]) => [reason, of(amount)]));
  return {
    ...{ topic, received: received.count, receivedBytes: received.bytes },
    ...{ inMemory: inMemory.count, inMemoryBytes: inMemory.bytes, stored: stored.count, storedBytes: stored.bytes },
    ...{ reduced: reduced.count, reducedBytes: reduced.bytes, evicted: evicted.count, evictedBytes: evicted.bytes },
    ...{ held: held.count, heldBytes: held.bytes, evictable: evictable.count, evictableBytes: evictable.bytes },
    ...{ dropped: drops(({ count }) => count), droppedBytes: drops(({ bytes }) => bytes) },
  };
}

function isSameKind(a: Loss, b: Loss): boolean {
  return a.topic === b.topic && a.reason === b.reason && a.bootId === b.bootId;
}

/** A crash or a gap of the connection is one event each; a run of drops is one. */
function isContinuedBy(earlier: Loss, later: Loss): boolean {
  const isRun = later.reason !== "connection_gap" && later.reason !== "crash" && later.reason !== "corrupt_chunk";
  const isClose = later.startNs <= earlier.endNs + MERGE_GAP_NS && later.endNs >= earlier.startNs - MERGE_GAP_NS;
  return isRun && isSameKind(earlier, later) && isClose;
}

function mergeLosses(a: Loss, b: Loss): Loss {
  const add = (x: number | undefined, y: number | undefined) =>
    x === undefined || y === undefined ? undefined : x + y;
  const startNs = earliest(a.startNs, b.startNs);
  const endNs = latest(a.endNs, b.endNs);
  return { ...a, startNs, endNs, count: add(a.count, b.count), bytes: add(a.bytes, b.bytes) };
}

function lossValues({ topic, reason, startNs, endNs, count, bytes }: Loss): (string | bigint | number | null)[] {
  return [topic, reason, startNs, endNs, count ?? null, bytes ?? null];
}
