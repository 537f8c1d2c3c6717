/** What people are told of clocks that were wrong, and of times that are corrected. */
import type { ClockAnswer } from "../control/answers.ts";
import { formatDuration } from "../std/time-text.ts";
import type { Wire } from "../std/wire.ts";
import { paint } from "./screen.ts";

type Clock = Wire<ClockAnswer>;
/** Of a time whose boot may have had a wrong clock. */
type Told = { readonly start_time: string; readonly true_start_time?: string | undefined };

/** What a correction must reach to be told. */
const TOLD_MS = 1000;
/** Before this the clock was never set. */
const PLAUSIBLE_YEAR = "2025";
const STEPS_TOLD = 3;

/** A line for each boot whose clock was wrong or was stepped, the present one last; none if all is well. */
export function clockLines(clocks: readonly Clock[]): string[] {
  return clocks.flatMap((clock, index) => {
    const name = index === clocks.length - 1 ? "this boot" : `boot ${clock.boot_id.slice(0, 8)}`;
    const words = [...dateWords(clock), ...stepWords(clock)];
    return words.length === 0 ? [] : [`${name}: ${words.join("; ")}`];
  });
}

function dateWords(clock: Clock): string[] {
  const began = `began as ${short(clock.start_time)}`;
  if (clock.state === "impossible")
    return [
      `${began} ${paint("red", "with a clock that was never set: order and durations are right, dates are not")}`,
    ];
  if (!isCorrected(clock)) return [];
  const source = clock.state === "synchronised" ? "the clock is synchronised since" : "the clock was set since";
  return [`${began}, in truth ${paint("yellow", short(clock.true_start_time ?? ""))} (${source})`];
}

function stepWords({ steps }: Clock): string[] {
  const told = steps.slice(-STEPS_TOLD).map(({ kind, at_time, step_ms }) => {
    const by = formatDuration(Math.abs(step_ms));
    return kind === "suspend"
      ? `slept ${by}`
      : `clock stepped ${step_ms < 0 ? "back" : "ahead"} ${by} at ${short(at_time)}`;
  });
  return steps.length > told.length ? [`${steps.length} steps, the last`, ...told] : told;
}

/** The true time, in local words; `*`: it is corrected, `?`: the clock was never set, and nothing tells. */
export function toldTime(times: Told): string {
  const mark = isCorrected(times) ? " *" : isUnknown(times) ? " ?" : "";
  return localTime(times.true_start_time ?? times.start_time) + mark;
}

/** What the marks of these times mean. */
export function markLines(times: readonly Told[]): string[] {
  const corrected = times.some(isCorrected) ? ["* corrected: the clock was wrong then (lode status)"] : [];
  return [...corrected, ...(times.some(isUnknown) ? ["? the clock was never set; the true time is not known"] : [])];
}

function isCorrected({ start_time, true_start_time = start_time }: Told): boolean {
  return Math.abs(Date.parse(true_start_time) - Date.parse(start_time)) >= TOLD_MS;
}

function isUnknown({ start_time, true_start_time }: Told): boolean {
  return true_start_time === undefined && start_time < PLAUSIBLE_YEAR;
}

const short = (time: string): string => `${time.slice(0, 19)}Z`;

function localTime(time: string): string {
  return new Date(time).toLocaleString("sv-SE", { timeZoneName: "short" });
}
