/**
 * One channel's messages on their way to rules: each wanted field is read once per message, whoever wants it.
 *
 * Order within a message: fields, then detectors, then windows and deltas of every rule, then conditions. So windows
 * see every message, whatever a condition short-circuits. A rule that throws is named and left out, and the others go
 * on. What each rule costs is measured on some messages (each `STRIDE`-th, and every one once a rule is slow).
 */
import type { Channel } from "../model/channel.ts";
import type { RuleBudget } from "./rule-budget.ts";
import type { FieldAccess, FieldReader, FieldValue } from "./seams.ts";

/** The message is borrowed for the call; `nowMs` is rule time. */
export type OnMessage = (nowMs: number, atNs: bigint, message: Uint8Array) => void;

/** What a rule wants done with every message of a channel, in this order. */
export type FeedHook = {
  readonly listen?: OnMessage;
  /** Windows and deltas. */
  readonly feed?: OnMessage;
  readonly evaluate?: OnMessage;
};

export interface FeedOwner {
  readonly budget: RuleBudget;
}

type Steps = { readonly [Phase in keyof FeedHook]-?: readonly Step[] };
type Step = { readonly owner: FeedOwner; readonly run: OnMessage; tookMs: number };

/** The latest value of one field; undefined while missing or stale. */
export class Slot {
  readonly wantedBy = new Set<RuleBudget>();
  readonly #read: FieldReader;
  /** Beside the value, since a number in a place for values of any kind is allocated anew with every message. */
  number = Number.NaN;
  #other: FieldValue | null = undefined;
  tookMs = 0;

  constructor(read: FieldReader) {
    this.#read = read;
  }

  get value(): FieldValue {
    return this.#other === null ? this.number : this.#other;
  }

  take(message: Uint8Array): void {
    const value = this.#read(message);
    if (typeof value === "number") {
      this.number = value;
      this.#other = null;
    } else this.#put(value);
  }

  clear(): void {
    this.#put(undefined);
  }

  #put(value: FieldValue): void {
    this.number = typeof value === "boolean" ? Number(value) : Number.NaN;
    this.#other = value;
  }
}

/** Whether the latest values still count, for those who let them live `staleMs` (undefined: by the topic's rhythm). */
export type Freshness = {
  readonly staleMs: number | undefined;
  isFresh: boolean;
  readonly slots: Map<string, Slot>;
};

export type FeedDeps = {
  readonly fields: FieldAccess;
  /** Real time in ms, to measure costs by; undefined: they are not measured. */
  readonly clockMs: (() => number) | undefined;
  onBreak(owner: FeedOwner, error: unknown): void;
};

const STRIDE = 16;
const SLOW_MS = 0.2; // of a step: from there on every message is measured

const PERIODS = 10; // a value lives ten of its topic's periods …
const STALE_MS_MIN = 2000; // … and two seconds at least: bridges and radios pause for a second
const SMOOTHING = 0.1;
const RATE_MS = 2000;

export class Feed {
  readonly channel: Channel;
  /** Rules that have found it, also those that hook nothing yet since they wait for another input. */
  readonly holders = new Set<RuleBudget>();
  readonly #deps: FeedDeps;
  readonly #freshnesses: Freshness[] = [];
  readonly #hooks: { readonly owner: FeedOwner; readonly hook: FeedHook }[] = [];
  /** Of rules that are not at rest. */
  #slots: readonly Slot[] = [];
  #steps: Steps = { listen: [], feed: [], evaluate: [] };
  /** Messages until the next one whose costs are measured, and those that passed since the last. */
  #untilMeasured = 0;
  #unmeasured = 0;
  /** Rule time of the last message; NaN before the first. */
  lastMs = Number.NaN;
  /** Smoothed over about ten messages; NaN before the second. */
  periodMs = Number.NaN;
  /** Arrivals of the last `RATE_MS`, in a ring; only kept when a rule asks for a rate. */
  #arrivals: number[] | undefined;
  #firstMs = Number.NaN;

  constructor(channel: Channel, deps: FeedDeps) {
    this.channel = channel;
    this.#deps = deps;
  }

  /** The slot of a field whose values live as long as `freshness` says, or why there is none. */
  slot(path: string, { slots }: Freshness, owner: FeedOwner): Slot | { readonly problem: string } {
    const slot = slots.get(path) ?? this.#openSlot(path);
    if ("problem" in slot) return slot;
    slots.set(path, slot);
    slot.wantedBy.add(owner.budget);
    this.refresh();
    return slot;
  }

  #openSlot(path: string): Slot | { readonly problem: string } {
    const read = this.#deps.fields(this.channel, path);
    return typeof read === "function" ? new Slot(read) : read;
  }

  freshness(staleMs: number | undefined): Freshness {
    const known = this.#freshnesses.find((freshness) => freshness.staleMs === staleMs);
    if (known !== undefined) return known;
    const freshness: Freshness = { staleMs, isFresh: false, slots: new Map() };
    this.#freshnesses.push(freshness);
    return freshness;
  }

  /** At every tick. */
  age(nowMs: number): void {
    const ageMs = nowMs - this.lastMs;
    for (const freshness of this.#freshnesses) {
      if (!freshness.isFresh || ageMs <= (freshness.staleMs ?? this.#staleMs)) continue;
      freshness.isFresh = false;
      for (const slot of freshness.slots.values()) slot.clear();
    }
  }

  get #staleMs(): number {
    // A topic that was sent once, as latched ones are, says nothing about when to expect the next.
    return Number.isNaN(this.periodMs) ? Number.POSITIVE_INFINITY : Math.max(STALE_MS_MIN, PERIODS * this.periodMs);
  }

  receive(message: Uint8Array, nowMs: number, atNs: bigint): void {
    this.#arrive(nowMs);
    for (const freshness of this.#freshnesses) freshness.isFresh = true;
    if (this.#deps.clockMs !== undefined && this.#untilMeasured === 0)
      this.#measure(message, nowMs, atNs, this.#deps.clockMs);
    else {
      this.#untilMeasured -= 1;
      this.#unmeasured += 1;
      for (const slot of this.#slots) slot.take(message);
      this.#pass(message, nowMs, atNs);
    }
  }

  /** A loop each, so that each of them calls few kinds of functions: those are inlined, and one kind of them all is not. */
  #pass(message: Uint8Array, nowMs: number, atNs: bigint): void {
    const { listen, feed, evaluate } = this.#steps;
    let running: Step | undefined;
    try {
      for (const step of listen) {
        running = step;
        step.run(nowMs, atNs, message);
      }
      for (const step of feed) {
        running = step;
        step.run(nowMs, atNs, message);
      }
      for (const step of evaluate) {
        running = step;
        step.run(nowMs, atNs, message);
      }
    } catch (error) {
      if (running === undefined) throw error;
      const all = [...listen, ...feed, ...evaluate];
      const rest = this.#leaveOut(running, all.slice(all.indexOf(running) + 1), error);
      this.#passEach(rest, message, nowMs, atNs);
    }
  }

  #passEach(
    steps: readonly Step[],
    message: Uint8Array,
    nowMs: number,
    atNs: bigint,
    then?: (step: Step) => void,
  ): void {
    for (const [index, step] of steps.entries())
      try {
        step.run(nowMs, atNs, message);
        then?.(step);
      } catch (error) {
        this.#passEach(this.#leaveOut(step, steps.slice(index + 1), error), message, nowMs, atNs, then);
        return;
      }
  }

  /** Its rule broke: of the steps that follow, those of others. */
  #leaveOut({ owner }: Step, following: readonly Step[], error: unknown): readonly Step[] {
    this.#deps.onBreak(owner, error);
    return following.filter((step) => step.owner.budget !== owner.budget);
  }

  /** As `receive`, and each rule is charged for what it took, on behalf of the messages that were not measured. */
  #measure(message: Uint8Array, nowMs: number, atNs: bigint, clockMs: () => number): void {
    const messages = this.#unmeasured + 1;
    let fromMs = clockMs();
    let slowestMs = 0;
    // A thread that was interrupted meanwhile is no slow rule: of two measurements the lesser counts.
    const take = (measured: { tookMs: number }, budgets: Iterable<RuleBudget>): void => {
      const untilMs = clockMs();
      const tookMs = Math.min(untilMs - fromMs, measured.tookMs);
      measured.tookMs = untilMs - fromMs;
      slowestMs = Math.max(slowestMs, measured.tookMs);
      for (const budget of budgets) budget.charge(tookMs * messages, untilMs);
      fromMs = clockMs();
    };
    for (const slot of this.#slots) {
      slot.take(message);
      take(slot, slot.wantedBy);
    }
    const { listen, feed, evaluate } = this.#steps;
    const charge = (step: Step): void => take(step, [step.owner.budget]);
    this.#passEach([...listen, ...feed, ...evaluate], message, nowMs, atNs, charge);
    this.#unmeasured = 0;
    this.#untilMeasured = slowestMs > SLOW_MS ? 0 : STRIDE - 1;
  }

  attach(owner: FeedOwner, hook: FeedHook): void {
    this.#hooks.push({ owner, hook });
    this.refresh();
  }

  detach(owner: FeedOwner): void {
    this.#drop((entry) => entry.owner === owner);
  }

  /** Nothing of the rule is left here. */
  forget(budget: RuleBudget): void {
    for (const { slots } of this.#freshnesses)
      for (const [path, { wantedBy }] of slots) if (wantedBy.delete(budget) && wantedBy.size === 0) slots.delete(path);
    this.#drop(({ owner }) => owner.budget === budget);
    this.holders.delete(budget);
  }

  #drop(isDropped: (entry: { readonly owner: FeedOwner }) => boolean): void {
    const kept = this.#hooks.filter((entry) => !isDropped(entry));
    this.#hooks.splice(0, this.#hooks.length, ...kept);
    this.refresh();
  }

  /** After a rule came, went, began to rest or goes on. */
  refresh(): void {
    const isAwake = (budget: RuleBudget): boolean => !budget.isResting;
    const all = this.#freshnesses.flatMap(({ slots }) => [...slots.values()]);
    this.#slots = all.filter(({ wantedBy }) => [...wantedBy].some(isAwake));
    for (const slot of all) if (!this.#slots.includes(slot)) slot.clear();
    const hooks = this.#hooks.filter(({ owner }) => isAwake(owner.budget));
    const stepsOf = (phase: keyof FeedHook): Step[] =>
      hooks.flatMap(({ owner, hook }) => {
        const run = hook[phase];
        return run === undefined ? [] : [{ owner, run, tookMs: 0 }];
      });
    this.#steps = { listen: stepsOf("listen"), feed: stepsOf("feed"), evaluate: stepsOf("evaluate") };
  }

  forgetRhythm(): void {
    this.#arrivals = this.#arrivals && [];
    this.#firstMs = Number.NaN;
  }

  countArrivals(): void {
    this.#arrivals ??= [];
  }

  /** Messages a second over the last two seconds; NaN before they have passed. */
  rateHz(nowMs: number): number {
    const arrivals = this.#arrivals;
    if (arrivals === undefined || !(nowMs - this.#firstMs >= RATE_MS)) return Number.NaN;
    let first = 0;
    while (first < arrivals.length && (arrivals[first] ?? 0) <= nowMs - RATE_MS) first += 1;
    if (first > 0) arrivals.splice(0, first);
    return (arrivals.length * 1000) / RATE_MS;
  }

  #arrive(nowMs: number): void {
    const gapMs = nowMs - this.lastMs;
    if (gapMs >= 0)
      this.periodMs = Number.isNaN(this.periodMs) ? gapMs : this.periodMs + SMOOTHING * (gapMs - this.periodMs);
    this.lastMs = nowMs;
    if (Number.isNaN(this.#firstMs)) this.#firstMs = nowMs;
    if (this.#arrivals === undefined) return;
    this.#arrivals.push(nowMs);
    if (this.#arrivals.length > 64 && this.#arrivals.length % 64 === 0) this.rateHz(nowMs);
  }
}
