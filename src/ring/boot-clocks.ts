/**
 * The clock of every boot, in `journal.db`: table `boot` with the one reading of both clocks that its log_time starts
 * from, and table `clock_step` with every step of the wall that was seen. Rows are few: one a boot and one a step.
 *
 * log_time = `wall_ns` + (monotonic − `monotonic_ns`). True time = log_time + `correction_ns` + the sleeps before it,
 * once `truth` says from what that is known. `offset_ns` is the wall − log_time when it was last written down.
 */
import type { BootClock, ClockStep, ClockTruth } from "../model/boot-clock.ts";
import type { BootAnchor } from "../model/chunk.ts";
import type { Db } from "../store/database.ts";

export function createBootTables(db: Db): void {
  db.exec(`
    CREATE TABLE boot (
      id INTEGER PRIMARY KEY,
      boot_id TEXT NOT NULL UNIQUE,
      monotonic_ns INTEGER NOT NULL,
      wall_ns INTEGER NOT NULL,
      offset_ns INTEGER NOT NULL,
      correction_ns INTEGER,
      truth TEXT CHECK (truth IN ('synchronised', 'set'))
    ) STRICT;
    CREATE TABLE clock_step (
      id INTEGER PRIMARY KEY,
      boot_id TEXT NOT NULL,
      at_ns INTEGER NOT NULL,
      step_ns INTEGER NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('set', 'suspend'))
    ) STRICT;
  `);
}

/** More boots, and steps of a boot, than a ring reaches back to; beyond it the oldest go. */
const BOOTS_MAX = 1000;
const STEPS_MAX = 1000;

/** Over any connection to the journal; the daemon's main thread writes. */
export class BootClocks {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  /** Oldest first, as they came, whatever their clocks said. */
  list(): BootClock[] {
    const steps = this.#steps();
    type Row = Record<"monotonic_ns" | "wall_ns", bigint> & {
      boot_id: string;
      correction_ns: bigint | null;
      truth: ClockTruth | null;
    };
    const rows = this.#db.prepare<[], Row>("SELECT * FROM boot ORDER BY id").safeIntegers().all();
    return rows.map((row) => ({
      ...{ bootId: row.boot_id, monotonicNs: row.monotonic_ns, wallNs: row.wall_ns },
      ...{ correctionNs: row.correction_ns ?? undefined, truth: row.truth ?? undefined },
      steps: steps.get(row.boot_id) ?? [],
    }));
  }

  /** The first reading of a boot is kept: a daemon that starts again goes on from it, and log_time never jumps. */
  keep(reading: BootAnchor): BootAnchor {
    this.#db
      .prepare(
        "INSERT INTO boot (boot_id, monotonic_ns, wall_ns, offset_ns) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING",
      )
      .run(reading.bootId, reading.monotonicNs, reading.wallNs);
    this.#db.prepare("DELETE FROM boot WHERE id <= (SELECT max(id) FROM boot) - ?").run(BOOTS_MAX);
    this.#db.prepare("DELETE FROM clock_step WHERE boot_id NOT IN (SELECT boot_id FROM boot)").run();
    const { bootId, monotonicNs, wallNs } = this.list().find((known) => known.bootId === reading.bootId) ?? reading;
    return { bootId, monotonicNs, wallNs };
  }

  offsetNs(bootId: string): bigint {
    const sql = "SELECT offset_ns FROM boot WHERE boot_id = ?";
    return this.#db.prepare<[string], { offset_ns: bigint }>(sql).safeIntegers().get(bootId)?.offset_ns ?? 0n;
  }

  /** What was seen at one look, in one transaction. */
  note(bootId: string, offsetNs: bigint, seen: { steps?: readonly ClockStep[]; known?: KnownTime | undefined }): void {
    const { steps = [], known } = seen;
    this.#db.transaction(() => {
      this.#db.prepare("UPDATE boot SET offset_ns = ? WHERE boot_id = ?").run(offsetNs, bootId);
      const add = this.#db.prepare("INSERT INTO clock_step (boot_id, at_ns, step_ns, kind) VALUES (?, ?, ?, ?)");
      for (const { kind, atNs, stepMs } of steps) add.run(bootId, atNs, BigInt(Math.round(stepMs * 1e6)), kind);
      const oldest =
        "SELECT id FROM clock_step WHERE boot_id = :bootId AND kind = 'set' ORDER BY id DESC LIMIT -1 OFFSET :max";
      this.#db.prepare(`DELETE FROM clock_step WHERE id IN (${oldest})`).run({ bootId, max: STEPS_MAX });
      if (known === undefined) return;
      this.#db
        .prepare("UPDATE boot SET correction_ns = ?, truth = ? WHERE boot_id = ?")
        .run(known.correctionNs, known.truth, bootId);
    })();
  }

  #steps(): Map<string, ClockStep[]> {
    type Row = { boot_id: string; at_ns: bigint; step_ns: bigint; kind: ClockStep["kind"] };
    const rows = this.#db.prepare<[], Row>("SELECT * FROM clock_step ORDER BY id").safeIntegers().all();
    const byBoot = Map.groupBy(rows, ({ boot_id }) => boot_id);
    const toStep = ({ at_ns, step_ns, kind }: Row) => ({ kind, atNs: at_ns, stepMs: Number(step_ns) / 1e6 });
    return new Map([...byBoot].map(([bootId, steps]) => [bootId, steps.map(toStep)]));
  }
}

export type KnownTime = { readonly correctionNs: bigint; readonly truth: ClockTruth };
