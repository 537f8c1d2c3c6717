/**
 * The ledger of operating hours: table `operating_hours` of journal.db, a row for each robot, site, boot and measure
 * (of failures, each rule).
 *
 * Times are saved once a minute and at the end: a power cut costs a minute of them. What an episode counts for is
 * written in the transaction that seals it, so that it counts once whatever crashes.
 */
import type { Episode } from "../model/episode.ts";
import { HOURS_MEASURES, type HoursMeasure, type HoursRow } from "../model/operating-hours.ts";
import type { EpisodeKind } from "../model/rule-event.ts";
import { describeError } from "../std/fault.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";

/** In the migration to format 2 of `journal.db`. */
export function createHoursTable(db: Db): void {
  db.exec(`
    CREATE TABLE operating_hours (
      robot TEXT NOT NULL, site TEXT NOT NULL, boot_id TEXT NOT NULL, measure TEXT NOT NULL, rule TEXT NOT NULL,
      amount INTEGER NOT NULL, UNIQUE (robot, site, boot_id, measure, rule)) STRICT;
  `);
}

/** As saved; boots in the order in which they were first seen. */
export function readHours(db: Db): HoursRow[] {
  const sql = "SELECT robot, site, boot_id AS bootId, measure, rule, amount FROM operating_hours ORDER BY rowid";
  return db
    .prepare<[], HoursRow>(sql)
    .all()
    .filter(({ measure }) => HOURS_MEASURES.includes(measure));
}

export type HoursPlace = { readonly robot: string; readonly site: string };
type Time = "on_ms" | "connected_ms" | "watched_ms" | "moving_ms";

export class OperatingHours {
  readonly #db: Db;
  readonly #bootId: string;
  readonly #log: Log;
  #place: HoursPlace;
  #unsaved = new Map<Time, number>();
  #isRefused = false;

  constructor(db: Db, place: HoursPlace, deps: { readonly bootId: string; readonly log: Log }) {
    this.#db = db;
    this.#place = place;
    this.#bootId = deps.bootId;
    this.#log = deps.log;
  }

  /** With what is not saved yet. */
  rows(): HoursRow[] {
    const common = { ...this.#place, bootId: this.#bootId, rule: "" };
    return [...readHours(this.#db), ...[...this.#unsaved].map(([measure, amount]) => ({ ...common, measure, amount }))];
  }

  /** The robot is at another site from now on. */
  moveTo(site: string): void {
    if (site === this.#place.site) return;
    this.save();
    this.#place = { ...this.#place, site };
  }

  addTime(measure: Time, ms: number): void {
    this.#unsaved.set(measure, (this.#unsaved.get(measure) ?? 0) + ms);
  }

  /** What a disk that refuses leaves unsaved is saved the next time. */
  save(): void {
    const whole = [...this.#unsaved].map(([measure, ms]) => [measure, Math.floor(ms)] as const);
    try {
      this.#db
        .transaction(() => whole.forEach(([measure, ms]) => void this.#add(this.#place, measure, "", ms)))
        .immediate();
      for (const [measure, ms] of whole) this.addTime(measure, -ms);
      this.#isRefused = false;
    } catch (error) {
      if (!this.#isRefused)
        this.#log.warn("Operating hours could not be saved; it is tried again.", { reason: describeError(error) });
      this.#isRefused = true;
    }
  }

  /** Within the caller's transaction. `sign` −1: it counts no longer so. `kindOf`: of a rule, where it is known. */
  countEpisode(episode: Episode, kindOf: (rule: string) => EpisodeKind | undefined, sign: 1 | -1): void {
    const { firings, kind, rule, outcome, attempts, operation } = episode;
    const place = operation === undefined ? this.#place : { robot: operation.robot, site: operation.site };
    const tasks = firings.filter((firing) => kindOf(firing.rule) === "span").length;
    this.#add(place, "tasks", "", sign * tasks);
    if (kind !== "failure") return;
    const first = firings.find((firing) => kindOf(firing.rule) === "failure")?.rule ?? rule;
    this.#add(place, "failures", first, sign);
    this.#add(place, "attempts", "", sign * attempts);
    if (outcome === "recovered") this.#add(place, "recoveries", "", sign);
    if (outcome === "failed") this.#add(place, "unrecovered", "", sign);
    if (outcome === "operator_took_over") this.#add(place, "interventions", "", sign);
  }

  #add({ robot, site }: HoursPlace, measure: HoursMeasure, rule: string, amount: number): void {
    if (amount === 0) return;
    this.#db
      .prepare(
        `INSERT INTO operating_hours VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`,
      )
      .run(robot, site, this.#bootId, measure, rule, amount);
  }
}
