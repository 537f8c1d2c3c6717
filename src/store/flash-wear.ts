/**
 * Bytes written to flash per day, as the block layer saw them: by everybody on the disk under the data folder, and
 * Lode's own part. Where there is no block device, Lode's own part is all that is known, and said to be.
 *
 * Read once a minute, saved every ten and at the end. What the disk took while Lode was away is found at the next
 * start, since the kernel counts on, and belongs to today as far as today was part of that time; a new boot counts
 * from 0. Table `wear_day` keeps the days of about a year.
 */
import type { Clock } from "../std/clock.ts";
import { describeError } from "../std/fault.ts";
import { waitMs } from "../std/wait.ts";
import { type BlockDevice, blockDeviceOf, processWrittenBytes } from "./block-device.ts";
import type { Db } from "./database.ts";

const DAY_MS = 86_400_000;
const SAMPLE_MS = 60_000;
const SAVE_MS = 10 * 60_000;
/** The rate is that of the last hour; less than ten minutes say little. */
const RATE_MS_MAX = 3_600_000;
const RATE_MS_MIN = 600_000;
const DAYS_MAX = 400;
const DAYS_SHOWN = 7;
/** A warning ends when the day will stay so far below the budget. */
const CALM_SHARE = 0.9;

type WearDay = { readonly day: string; readonly bytes: number; readonly ownBytes: number };

export type WearStatus = {
  /** "block": all that was written to `device`; "process": only what Lode wrote. */
  readonly source: "block" | "process";
  readonly device: string;
  readonly bytesToday: number;
  readonly ownBytesToday: number;
  /** At the rate of the last hour; undefined: too early to say. */
  readonly bytesPerDay: number | undefined;
  /** 0: none. */
  readonly budgetBytes: number;
  /** Today will be over the budget at this rate, or is. */
  readonly isOverBudget: boolean;
  /** The last week, today included, the newest first. */
  readonly days: readonly WearDay[];
};

export type FlashWearDeps = {
  readonly db: Db;
  readonly clock: Clock;
  readonly bootId: string;
  readonly log: Record<"info" | "warn", (sentence: string, fields?: Readonly<Record<string, unknown>>) => void>;
  /** Where `sys/` and `proc/` are, and how a file's device number is asked for; tests have their own. */
  readonly root?: string;
  readonly devOf?: (path: string) => number;
};

type Bytes = { device: number; own: number };

/** In the migration to format 2 of `journal.db`. */
export function createWearTables(db: Db): void {
  db.exec(`
    CREATE TABLE wear_day (day TEXT PRIMARY KEY, bytes INTEGER NOT NULL, own_bytes INTEGER NOT NULL);
    CREATE TABLE wear_reading (
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), device TEXT NOT NULL, boot_id TEXT NOT NULL,
      bytes INTEGER NOT NULL, at_ms INTEGER NOT NULL);
  `);
}

export class FlashWear {
  readonly #deps: FlashWearDeps;
  readonly #budgetBytes: number;
  readonly #block: BlockDevice | undefined;
  #last: Bytes;
  /** By day, the latest last. */
  readonly #days = new Map<string, Bytes>();
  readonly #unsaved = new Map<string, Bytes>();
  #samples: { readonly ms: number; readonly bytes: number }[] = [];
  #savedMs: number;
  #isRefused = false;
  #isOverBudget = false;

  private constructor(folder: string, budgetBytes: number, deps: FlashWearDeps) {
    this.#deps = deps;
    this.#budgetBytes = budgetBytes;
    this.#block = blockDeviceOf(folder, deps.root, deps.devOf);
    this.#last = this.#read() ?? { device: 0, own: 0 };
    this.#savedMs = this.#monotonicMs();
  }

  /** `budgetBytes` a day; 0: none. */
  static open(folder: string, budgetBytes: number, deps: FlashWearDeps): FlashWear {
    const wear = new FlashWear(folder, budgetBytes, deps);
    wear.#load();
    wear.#addWhileAway();
    wear.sample();
    wear.save();
    return wear;
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (await waitMs(SAMPLE_MS, signal)) this.sample();
    this.sample();
    this.save();
  }

  /** Reads the counters, and says what changed for the budget. */
  sample(): void {
    const now = this.#read();
    if (now === undefined) return;
    this.#add(now.device - this.#last.device, now.own - this.#last.own);
    this.#last = now;
    const ms = this.#monotonicMs();
    this.#samples = [...this.#samples.filter((old) => ms - old.ms <= RATE_MS_MAX), { ms, bytes: now.device }];
    if (ms - this.#savedMs >= SAVE_MS) this.save();
    this.#judge();
  }

  /** What a disk that refuses leaves unsaved is saved the next time. */
  save(): void {
    const { db, bootId, log } = this.#deps;
    this.#savedMs = this.#monotonicMs();
    try {
      db.transaction(() => {
        const add = db.prepare(`INSERT INTO wear_day VALUES (?, ?, ?) ON CONFLICT (day)
          DO UPDATE SET bytes = bytes + excluded.bytes, own_bytes = own_bytes + excluded.own_bytes`);
        for (const [day, { device, own }] of this.#unsaved) add.run(day, device, own);
        db.prepare("DELETE FROM wear_day WHERE rowid <= (SELECT max(rowid) FROM wear_day) - ?").run(DAYS_MAX);
        db.prepare("INSERT OR REPLACE INTO wear_reading VALUES (1, ?, ?, ?, ?)").run(
          ...[this.#block?.name ?? "", bootId, this.#last.device, this.#wallMs()],
        );
      }).immediate();
      this.#unsaved.clear();
      this.#isRefused = false;
    } catch (error) {
      if (!this.#isRefused)
        log.warn("The bytes written to flash could not be saved; they wait in memory.", {
          reason: describeError(error),
        });
      this.#isRefused = true;
    }
  }

  status(): WearStatus {
    const latest = [...this.#days].slice(-DAYS_SHOWN).reverse();
    const { device: bytesToday, own: ownBytesToday } = this.#days.get(this.#today()) ?? { device: 0, own: 0 };
    return {
      source: this.#block === undefined ? "process" : "block",
      ...{ device: this.#block?.name ?? "", budgetBytes: this.#budgetBytes, bytesToday, ownBytesToday },
      days: latest.map(([day, { device, own }]) => ({ day, bytes: device, ownBytes: own })),
      ...{ bytesPerDay: this.#bytesPerDay(), isOverBudget: this.#isOverBudget },
    };
  }

  #judge(): void {
    const { log } = this.#deps;
    const budget_bytes = this.#budgetBytes;
    if (budget_bytes === 0) return;
    const { bytesToday: today_bytes, bytesPerDay: per_day_bytes = 0 } = this.status();
    const expected = today_bytes + per_day_bytes * (1 - this.#sinceMidnightMs() / DAY_MS);
    const isOver = expected > budget_bytes * (this.#isOverBudget ? CALM_SHARE : 1);
    if (isOver === this.#isOverBudget) return;
    this.#isOverBudget = isOver;
    const fields = { today_bytes, per_day_bytes: Math.round(per_day_bytes), budget_bytes };
    if (isOver) log.warn("At this rate more is written to flash today than its budget allows.", fields);
    else log.info("What is written to flash is within its budget again.", fields);
  }

  #bytesPerDay(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.ms - first.ms < RATE_MS_MIN) return undefined;
    return ((last.bytes - first.bytes) / (last.ms - first.ms)) * DAY_MS;
  }

  #addWhileAway(): void {
    type Reading = { device: string; boot_id: string; bytes: number; at_ms: number };
    const reading = this.#deps.db.prepare<[], Reading>("SELECT * FROM wear_reading").get();
    if (this.#block === undefined || reading?.device !== this.#block.name) return;
    const sinceBytes = reading.boot_id === this.#deps.bootId ? reading.bytes : 0;
    const todayShare = Math.min(1, this.#sinceMidnightMs() / Math.max(1, this.#wallMs() - reading.at_ms));
    this.#add((this.#last.device - sinceBytes) * todayShare, 0);
  }

  /** A counter that went back (a disk was changed under us) adds nothing. */
  #add(device: number, own: number): void {
    const day = this.#today();
    for (const days of [this.#days, this.#unsaved]) {
      const bytes = days.get(day) ?? { device: 0, own: 0 };
      days.set(day, { device: bytes.device + Math.max(0, Math.round(device)), own: bytes.own + own });
    }
  }

  #load(): void {
    type Row = { day: string; bytes: number; own_bytes: number };
    const query = this.#deps.db.prepare<[number], Row>("SELECT * FROM wear_day ORDER BY rowid DESC LIMIT ?");
    for (const { day, bytes, own_bytes } of query.all(DAYS_SHOWN).reverse())
      this.#days.set(day, { device: bytes, own: own_bytes });
  }

  /** undefined: the disk has gone from under us. */
  #read(): Bytes | undefined {
    const own = processWrittenBytes(this.#deps.root) ?? 0;
    const device = this.#block === undefined ? own : this.#block.writtenBytes();
    return device === undefined ? undefined : { device, own };
  }

  #today(): string {
    const date = new Date(this.#wallMs());
    return new Date(this.#wallMs() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
  }

  /** Of the robot's own day. */
  #sinceMidnightMs(): number {
    return this.#wallMs() - new Date(this.#wallMs()).setHours(0, 0, 0, 0);
  }

  #wallMs(): number {
    return Number(this.#deps.clock.wallNs() / 1_000_000n);
  }

  #monotonicMs(): number {
    return Number(this.#deps.clock.monotonicNs()) / 1e6;
  }
}
