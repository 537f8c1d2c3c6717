/**
 * One channel's messages on their way to rules: each wanted field is read once per message, whoever wants it.
 *
 * Order within a message: fields, then windows and deltas of every rule, then conditions. So windows see every
 * message, whatever a condition short-circuits.
 */
import type { Channel } from "../model/channel.ts";
import type { FieldAccess, FieldReader, FieldValue } from "./seams.ts";

/** What a rule wants done with every message of a channel, in this order, `evaluate` last. */
export type FeedHook = {
  readonly before?: (atNs: bigint) => void;
  /** The bytes are borrowed for the call. */
  readonly listen?: (message: Uint8Array, nowMs: number, atNs: bigint) => void;
  /** Windows and deltas. */
  readonly feed?: () => void;
  readonly evaluate?: (atNs: bigint) => void;
};

type Phases = { readonly [Key in keyof FeedHook]-?: readonly NonNullable<FeedHook[Key]>[] };
const NO_PHASES: Phases = { before: [], listen: [], feed: [], evaluate: [] };

/** The latest value of one field; undefined while missing or stale. */
export type Slot = { readonly read: FieldReader; value: FieldValue };

/** Whether the latest values still count, for those who let them live `staleMs` (undefined: by the topic's rhythm). */
export type Freshness = {
  readonly staleMs: number | undefined;
  isFresh: boolean;
  readonly slots: Map<string, Slot>;
};

const PERIODS = 10; // a value lives ten of its topic's periods …
const STALE_MS_MIN = 2000; // … and two seconds at least: bridges and radios pause for a second
const SMOOTHING = 0.1;
const RATE_MS = 2000;

export class Feed {
  readonly channel: Channel;
  readonly #fields: FieldAccess;
  readonly #slotList: Slot[] = [];
  readonly #freshnesses: Freshness[] = [];
  #hooks: { readonly owner: object; readonly hook: FeedHook }[] = [];
  #phases: Phases = NO_PHASES;
  /** Rule time of the last message; NaN before the first. */
  lastMs = Number.NaN;
  /** Smoothed over about ten messages; NaN before the second. */
  periodMs = Number.NaN;
  /** Arrivals of the last `RATE_MS`, in a ring; only kept when a rule asks for a rate. */
  #arrivals: number[] | undefined;
  #firstMs = Number.NaN;

  constructor(channel: Channel, fields: FieldAccess) {
    this.channel = channel;
    this.#fields = fields;
  }

  /** The slot of a field whose values live as long as `freshness` says, or why there is none. */
  slot(path: string, { slots }: Freshness): Slot | { readonly problem: string } {
    const known = slots.get(path);
    if (known !== undefined) return known;
    const read = this.#fields(this.channel, path);
    if (typeof read !== "function") return read;
    const slot: Slot = { read, value: undefined };
    slots.set(path, slot);
    this.#slotList.push(slot);
    return slot;
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
      for (const slot of freshness.slots.values()) slot.value = undefined;
    }
  }

  get #staleMs(): number {
    // A topic that was sent once, as latched ones are, says nothing about when to expect the next.
    return Number.isNaN(this.periodMs) ? Number.POSITIVE_INFINITY : Math.max(STALE_MS_MIN, PERIODS * this.periodMs);
  }

  receive(message: Uint8Array, nowMs: number, atNs: bigint): void {
    this.#arrive(nowMs);
    const { before, listen, feed, evaluate } = this.#phases;
    for (const freshness of this.#freshnesses) freshness.isFresh = true;
    for (const run of before) run(atNs);
    for (const slot of this.#slotList) slot.value = slot.read(message);
    for (const run of listen) run(message, nowMs, atNs);
    for (const run of feed) run();
    for (const run of evaluate) run(atNs);
  }

  attach(owner: object, hook: FeedHook): void {
    this.#hooks.push({ owner, hook });
    this.#sortHooks();
  }

  detach(owner: object): void {
    this.#hooks = this.#hooks.filter((entry) => entry.owner !== owner);
    this.#sortHooks();
  }

  #sortHooks(): void {
    const pick = <Key extends keyof FeedHook>(key: Key): NonNullable<FeedHook[Key]>[] =>
      this.#hooks.flatMap(({ hook }) => hook[key] ?? []);
    this.#phases = { before: pick("before"), listen: pick("listen"), feed: pick("feed"), evaluate: pick("evaluate") };
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
