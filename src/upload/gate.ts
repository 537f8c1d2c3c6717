/**
 * Whether Lode may send now, how much, and why not: a pure function of what is sensed and what is configured.
 *
 * Closing is immediate. Opening has hysteresis: the link must have been the same for `linkSettledMs`, and a budget
 * that was used up opens again only when a twentieth of it is free, so that a flapping link or a nearly empty
 * budget does not start transfers that end at once.
 */
import { createTask, validate } from "node-cron";
import { Fault } from "../std/fault.ts";
import { formatBytes } from "../std/time-text.ts";
import type { Link } from "./link.ts";

export type GatePolicy = {
  /** Bytes a day and link; 0: no bound. */
  readonly dailyBytesMax: Readonly<Record<"free" | "metered", number>>;
  readonly linkSettledMs: number;
};

export type GateInput = {
  readonly link: Link;
  /** Since when the link is what it is. */
  readonly linkForMs: number;
  /** Inside one of the configured time windows, or there are none. */
  readonly isInWindow: boolean;
  /** Sent today over this link. */
  readonly sentBytes: number;
  /** A person paused the upload. */
  readonly pause: { readonly untilNs: bigint | undefined } | undefined;
  readonly hasReceiver: boolean;
};

export type GateDecision = {
  readonly isOpen: boolean;
  /** What may still be sent today; Infinity without a bound. */
  readonly bytesAllowed: number;
  /** Why it is closed, or what will close it; sentences for people. */
  readonly reasons: readonly string[];
};

const BUDGET_REOPENS_AT = 1 / 20;

/** `previous`: what it said last time, for the hysteresis. */
export function decideGate(input: GateInput, policy: GatePolicy, previous: GateDecision | undefined): GateDecision {
  const bytesAllowed = input.link === "offline" ? 0 : bytesLeft(input.sentBytes, policy.dailyBytesMax[input.link]);
  const reasons = closingReasons(input, policy, previous, bytesAllowed);
  return { isOpen: reasons.length === 0, bytesAllowed, reasons };
}

function closingReasons(
  input: GateInput,
  policy: GatePolicy,
  previous: GateDecision | undefined,
  bytesAllowed: number,
): readonly string[] {
  const reasons: string[] = [];
  const wasOpen = previous?.isOpen ?? false;
  if (!input.hasReceiver) reasons.push("No receiver is configured.");
  if (input.pause !== undefined) reasons.push("A person paused the upload.");
  if (input.link === "offline") reasons.push("There is no network.");
  else if (!wasOpen && input.linkForMs < policy.linkSettledMs) reasons.push("The network has only just come.");
  if (!input.isInWindow) reasons.push("This is outside the configured time windows.");
  if (input.link !== "offline") {
    const maxBytes = policy.dailyBytesMax[input.link];
    const neededBytes = wasOpen || maxBytes === 0 ? 1 : maxBytes * BUDGET_REOPENS_AT;
    if (bytesAllowed < neededBytes)
      reasons.push(`Today's budget of ${formatBytes(maxBytes)} for the ${input.link} link is used up.`);
  }
  return reasons;
}

function bytesLeft(sentBytes: number, maxBytes: number): number {
  return maxBytes === 0 ? Number.POSITIVE_INFINITY : Math.max(0, maxBytes - sentBytes);
}

export type Windows = (at: Date) => boolean;

/**
 * Cron expressions of the minutes in which sending is allowed, in local time (`* 1-5 * * *`: from 01:00 to 05:59);
 * none: always. Throws `Fault("bad_window")`.
 */
export function compileWindows(expressions: readonly string[]): Windows {
  const matchers = expressions.map((expression) => {
    if (!validate(expression))
      throw new Fault(
        "bad_window",
        `"${expression}" is not a cron expression.`,
        'Write the minutes in which sending is allowed, such as "* 1-5 * * *" for 01:00 to 05:59.',
      );
    return createTask(expression, () => {});
  });
  return (at) => matchers.length === 0 || matchers.some((task) => task.match(startOfMinute(at)));
}

/** Five-field expressions match second 0 only. */
function startOfMinute(at: Date): Date {
  const minute = new Date(at);
  minute.setSeconds(0, 0);
  return minute;
}
