/**
 * This boot's row in `ring.db`: open while a process fills the ring, closed when everything is durable.
 *
 * A row found open was left by a crash. It is settled before the own one opens: the ledger gets a loss from the last
 * commit on, and what was in memory then is counted as gone, in the transaction that closes the row.
 */
import { type BootAnchor, powerOnNs } from "../model/chunk.ts";
import { failpoint } from "../std/failpoint.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import type { RingLedger } from "./ring-ledger.ts";
import { type BootRow, type OpenedBoot, openBoot, readBoots } from "./tables.ts";

/** Chunks not yet committed began at most so long before the newest committed one. */
const COMMIT_LAG_NS = 1_000_000_000n;
/** More ids than a process gives out between two commits: bytes without a row may lie in segment files under them. */
const IDS_PER_COMMIT_MAX = 1_000_000;

export class Boot {
  readonly #db: Db;
  readonly #ledger: RingLedger;
  readonly #bootId: string;
  /** Of the row. */
  readonly id: number;
  /** Processes that opened the ring in this boot, this one too. */
  readonly openings: number;
  readonly sequenceFloor: number;
  readonly firstChunkId: number;
  /** Up to where earlier processes had committed, each boot in its own log_time. */
  readonly lastStoredByBoot: ReadonlyMap<string, bigint>;
  readonly #unknownEnds: ReadonlySet<string>;

  private constructor(db: Db, ledger: RingLedger, bootId: string, row: OpenedBoot, boots: readonly BootRow[]) {
    this.#db = db;
    this.#ledger = ledger;
    this.#bootId = bootId;
    this.id = row.id;
    this.openings = row.openings;
    this.sequenceFloor = row.sequenceFloor;
    this.firstChunkId = row.firstChunkId;
    this.#unknownEnds = new Set(boots.filter((boot) => !boot.isEndKnown).map((boot) => boot.bootId));
    this.lastStoredByBoot = new Map(boots.map((boot) => [boot.bootId, boot.lastCommitNs]));
  }

  static open(db: Db, ledger: RingLedger, anchor: BootAnchor, nowNs: bigint): Boot {
    const boots = readBoots(db);
    const crashed = boots.filter((boot) => !boot.isClosed);
    ledger.attach(db, anchor.bootId);
    const areTold = addCrashes(ledger, crashed, anchor, nowNs);
    failpoint("boot.crashes_listed");
    const open = db.transaction(() => {
      // Where the journal takes no rows they wait in memory; an open row has them told again at the next opening.
      for (const boot of crashed) {
        if (!areTold && boot.bootId !== anchor.bootId) continue;
        ledger.forgetMemory(boot.bootId, boot.isCapturing);
        closeRow(db, boot.id);
        failpoint("boot.settling");
      }
      const firstChunkId = lastChunkId(db) + (crashed.length > 0 ? IDS_PER_COMMIT_MAX : 1);
      forgetBoots(db, ledger, anchor.bootId);
      const opened = openBoot(db, anchor, nowNs, firstChunkId);
      const own = crashed.find(({ bootId }) => bootId === anchor.bootId);
      if (!areTold && own !== undefined)
        db.prepare("UPDATE boot SET owed_ns = ? WHERE id = ?").run(own.owedNs ?? own.lastCommitNs, own.id);
      return opened;
    });
    return new Boot(db, ledger, anchor.bootId, open.immediate(), boots);
  }

  /** undefined: nobody knows. */
  lastStoredNs(bootId: string): bigint | undefined {
    return this.#unknownEnds.has(bootId) ? undefined : this.lastStoredByBoot.get(bootId);
  }

  /** Inside the ring's transaction. `isCapturing`: a crash from here on loses what an episode wants. */
  save(newestNs: bigint, isCapturing: boolean, owedNs: bigint | undefined): void {
    this.#db
      .prepare("UPDATE boot SET last_commit_ns = max(last_commit_ns, ?), is_capturing = ?, owed_ns = ? WHERE id = ?")
      .run(newestNs, Number(isCapturing), owedNs ?? null, this.id);
  }

  /** Everything is durable; what is in memory goes with the process. */
  close(): void {
    this.#db.transaction(() => {
      this.#ledger.forgetMemory(this.#bootId, false);
      closeRow(this.#db, this.id);
    })();
    failpoint("boot.closed");
  }
}

/** The highest that any row has, or that an opening began with. */
function lastChunkId(db: Db): number {
  const sql = `SELECT max(coalesce((SELECT max(id) FROM chunk), 0), coalesce((SELECT max(first_chunk_id) FROM boot), 0),
    coalesce((SELECT first_free_id FROM rebuild), 0))`;
  return db.prepare<[], number>(sql).pluck().get() ?? 0;
}

/** Counters of boots that have nothing left in the ring are summed up; their rows go when no older boot has anything. */
function forgetBoots(db: Db, ledger: RingLedger, ownBootId: string): void {
  if (db.prepare("SELECT 1 FROM rebuild").get() !== undefined) return; // what is left is not known yet
  const empty = db.prepare<[string], string>(
    `SELECT boot_id FROM boot WHERE boot_id <> ? AND is_closed = 1
       AND NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.boot = boot.id)`,
  );
  for (const bootId of empty.pluck().all(ownBootId)) ledger.foldBoot(bootId);
  db.prepare(
    `DELETE FROM boot WHERE boot_id <> ? AND is_closed = 1 AND id < (SELECT coalesce(min(boot), 1e18) FROM chunk)
       AND NOT EXISTS (SELECT 1 FROM latched WHERE latched.boot = boot.id)`,
  ).run(ownBootId);
}

/**
 * In the log_time of the boot that crashed. It ended before now or, if it was another one, before this one's power-on,
 * as far as the two walls agree, and at the earliest a commit's time after its last commit. True: the ledger has it.
 */
function addCrashes(ledger: RingLedger, crashed: readonly BootRow[], anchor: BootAnchor, nowNs: bigint): boolean {
  for (const { bootId, lastCommitNs, owedNs = lastCommitNs } of crashed) {
    const known = { topic: "", reason: "crash", count: undefined, bytes: undefined, bootId } as const;
    const untilNs = bootId === anchor.bootId ? nowNs : latest(lastCommitNs + COMMIT_LAG_NS, powerOnNs(anchor));
    const startNs = earliest(lastCommitNs - COMMIT_LAG_NS, owedNs);
    ledger.addLoss({ ...known, startNs, endNs: latest(lastCommitNs, untilNs) });
  }
  return ledger.saveLosses();
}

function closeRow(db: Db, id: number): void {
  db.prepare("UPDATE boot SET is_closed = 1 WHERE id = ?").run(id);
}
