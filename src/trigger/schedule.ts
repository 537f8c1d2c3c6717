/** When samples are taken: a cron expression over the wall clock, asked second by second. */
import { createTask, validateDetailed } from "node-cron";

export type Schedule = (atMs: number) => boolean;

/**
 * Five fields (minute, hour, day of month, month, day of week) or six, with seconds before them; `timeZone` undefined:
 * the computer's own. Answers what is wrong instead of throwing.
 */
export function compileSchedule(expression: string, timeZone: string | undefined): Schedule | { problem: string } {
  const [error] = validateDetailed(expression).errors;
  if (error !== undefined) return { problem: `"${expression}" is not a cron expression: ${error.message}.` };
  if (timeZone !== undefined && !isTimeZone(timeZone)) return { problem: `there is no time zone "${timeZone}".` };
  const task = createTask(expression, () => {}, timeZone === undefined ? {} : { timezone: timeZone });
  return (atMs) => task.match(new Date(atMs));
}

function isTimeZone(name: string): boolean {
  try {
    return Intl.DateTimeFormat("en", { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}
