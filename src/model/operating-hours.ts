/** How long a robot worked at a site, and how it went: sums over everything that its Lode has seen. */

/** Milliseconds, and numbers of. */
export const HOURS_MEASURES = [
  ...(["on_ms", "connected_ms", "watched_ms", "moving_ms", "tasks", "failures", "attempts"] as const),
  ...(["recoveries", "unrecovered", "interventions"] as const),
] as const;
export type HoursMeasure = (typeof HOURS_MEASURES)[number];

export type OperatingHours = {
  readonly robot: string;
  readonly site: string;
  /** Lode ran. */
  readonly onMs: number;
  /** The robot's bridge was there. */
  readonly connectedMs: number;
  /** Something told whether it moved; and it did. */
  readonly watchedMs: number;
  readonly movingMs: number;
  /** Firings of rules of kind `span`. */
  readonly tasks: number;
  /** Failure episodes, each under the failure rule that fired first in it. */
  readonly failures: number;
  readonly failuresByRule: readonly { readonly rule: string; readonly count: number }[];
  /** In these: tries, the failed one included. */
  readonly attempts: number;
  /** Failures that ended as `recovered`, as `failed`, as `operator_took_over`; of the others nobody knows. */
  readonly recoveries: number;
  readonly unrecovered: number;
  readonly interventions: number;
};

export type HoursRow = {
  readonly robot: string;
  readonly site: string;
  readonly bootId: string;
  readonly measure: HoursMeasure;
  /** Of `failures`. */
  readonly rule: string;
  readonly amount: number;
};

/** One for each robot and site, in the order in which they come. */
export function sumHours(rows: readonly HoursRow[]): OperatingHours[] {
  const groups = Map.groupBy(rows, ({ robot, site }) => JSON.stringify([robot, site]));
  return [...groups.values()].map((group) => {
    const sum = (measure: HoursMeasure): number =>
      Math.floor(group.reduce((total, row) => total + (row.measure === measure ? row.amount : 0), 0));
    const byRule = Map.groupBy(
      group.filter(({ measure }) => measure === "failures"),
      ({ rule }) => rule,
    );
    const counts = [...byRule].map(([rule, failures]) => ({
      rule,
      count: failures.reduce((n, { amount }) => n + amount, 0),
    }));
    const { robot = "", site = "" } = group[0] ?? {};
    return {
      ...{ robot, site, onMs: sum("on_ms"), connectedMs: sum("connected_ms"), watchedMs: sum("watched_ms") },
      ...{ movingMs: sum("moving_ms"), tasks: sum("tasks"), failures: sum("failures") },
      failuresByRule: counts.filter(({ count }) => count > 0).toSorted((a, b) => b.count - a.count),
      ...{ attempts: sum("attempts"), recoveries: sum("recoveries"), unrecovered: sum("unrecovered") },
      interventions: sum("interventions"),
    };
  });
}
