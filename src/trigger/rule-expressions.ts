/**
 * The expressions of one rule on the robot's channels.
 *
 * Each is bound once every input that it reads has a channel with the fields it asks for, and bound anew when such a
 * topic comes back with another definition. One that waits is unknown, and keeps no other from being judged. Why a
 * bound one is unknown is found out when it becomes so, then 20 times a second, and said once a reason.
 */
import type { Channel } from "../model/channel.ts";
import type { FiringValue } from "../model/rule-event.ts";
import { assert } from "../std/assert.ts";
import type { RuleDeps } from "./bound-rule.ts";
import { numbersOf } from "./detector.ts";
import type { Truth } from "./edge.ts";
import { compileExpression, type Expression, ExpressionProblem, type Scope } from "./expression.ts";
import type { Feed, FeedOwner, Freshness, OnMessage } from "./feed.ts";
import type { InputSpec } from "./rule.ts";
import type { RuleBudget } from "./rule-budget.ts";
import type { RuleClock } from "./rule-clock.ts";
import type { RuleReport } from "./rule-report.ts";
import { type FieldValue, plainTypeName } from "./seams.ts";

/** An input that has its channel. */
type BoundInput = { readonly feed: Feed; readonly freshness: Freshness };
type BoundInputs = ReadonlyMap<string, BoundInput>;

export class RuleExpressions implements FeedOwner {
  readonly budget: RuleBudget;
  readonly #specs: ReadonlyMap<string, InputSpec>;
  readonly #deps: RuleDeps;
  readonly #report: RuleReport;
  readonly #evaluate: OnMessage;
  readonly #inputs = new Map<string, BoundInput>();
  readonly #parts: BoundExpression[] = [];

  /** `evaluate` is called after each message that a bound expression reads, once all have been fed. */
  constructor(specs: ReadonlyMap<string, InputSpec>, deps: RuleDeps, report: RuleReport, evaluate: OnMessage) {
    this.#specs = specs;
    this.budget = deps.budget;
    this.#deps = deps;
    this.#report = report;
    this.#evaluate = evaluate;
  }

  /** `key` is where the expression stands in the rule. Before the first channel. */
  add(key: string, expression: Expression): BoundExpression {
    const part = new BoundExpression(key, expression, (reason) => this.#report.noteUnknown(reason));
    this.#parts.push(part);
    return part;
  }

  addChannel(channel: Channel): void {
    const names = [...this.#specs].filter(([name, spec]) => {
      const bound = this.#inputs.get(name)?.feed.channel;
      return matches(spec, channel) && (bound === undefined || bound.topic === channel.topic);
    });
    const readers = this.#parts.filter(({ expression }) => names.some(([name]) => expression.inputs.includes(name)));
    if (readers.length === 0) return;
    this.#report.noteInput(channel);
    const feed = this.#deps.feedOf(channel);
    for (const { feed: former } of this.#inputs.values()) former.detach(this);
    for (const [name, { staleMs }] of names) this.#inputs.set(name, { feed, freshness: feed.freshness(staleMs) });
    for (const part of readers) {
      if (!part.expression.inputs.every((name) => this.#inputs.has(name))) continue;
      part.bind(this.#inputs, this.#deps.clock, this);
      if (part.problem !== undefined) this.#report.noteUnknown(`${part.key}: ${part.problem}`);
    }
    this.#attach();
  }

  onLongSilence(): void {
    for (const part of this.#parts) part.reset();
  }

  /** `j: /joint_states` of every input that is there. */
  boundTo(): string[] {
    return [...this.#inputs].map(([name, { feed }]) => `${name}: ${feed.channel.topic}`);
  }

  /** Of the first field that it reads, or else of its first input. */
  topicOf({ readings, expression }: BoundExpression): string {
    const feed = readings[0]?.input.feed ?? this.#inputs.get(expression.inputs[0] ?? "")?.feed;
    return feed?.channel.topic ?? "";
  }

  /** What waits besides the condition: "recovered_when: no such topic yet: s: /task/state". */
  waiting(condition?: BoundExpression): string[] {
    return this.#parts.flatMap((part) => {
      const reason = part === condition ? undefined : this.reasonOf(part);
      return reason === undefined ? [] : [`${part.key}: ${reason}`];
    });
  }

  /** Why an expression is not bound; undefined if it is. */
  reasonOf(part: BoundExpression): string | undefined {
    if (part.isBound || part.problem !== undefined) return part.problem;
    const missing = [...this.#specs].filter(
      ([name]) => part.expression.inputs.includes(name) && !this.#inputs.has(name),
    );
    return `no such topic yet: ${missing.map(([name, spec]) => `${name}: ${describeInput(spec)}`).join(", ")}`;
  }

  #attach(): void {
    const bound = this.#parts.filter((part) => part.isBound);
    for (const { feed, run } of bound.flatMap((part) => part.feeders)) feed.attach(this, { feed: run });
    const names = new Set(bound.flatMap(({ expression }) => expression.inputs));
    const feeds = new Set([...names].flatMap((name) => this.#inputs.get(name)?.feed ?? []));
    for (const feed of feeds) feed.attach(this, { evaluate: this.#evaluate });
  }
}

type Feeder = { readonly feed: Feed; readonly run: (nowMs: number) => void };
/** A field that an expression reads. */
type Reading = { readonly text: string; readonly input: BoundInput; readonly read: () => FieldValue };

type Binding = {
  readonly run: () => Truth;
  readonly readings: readonly Reading[];
  readonly feeders: readonly Feeder[];
  readonly resets: readonly (() => void)[];
};
const UNBOUND: Binding = { run: () => undefined, readings: [], feeders: [], resets: [] };

const EXPLAIN_MS = 50;

export class BoundExpression {
  readonly key: string;
  readonly expression: Expression;
  readonly #onUnknown: (reason: string) => void;
  #binding = UNBOUND;
  #problem: string | undefined;
  #explainedMs = Number.NEGATIVE_INFINITY;
  #isUnknown = false;

  constructor(key: string, expression: Expression, onUnknown: (reason: string) => void) {
    this.key = key;
    this.expression = expression;
    this.#onUnknown = onUnknown;
  }

  get isBound(): boolean {
    return this.#binding !== UNBOUND;
  }

  /** Why it cannot be bound although its topics are there. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get readings(): readonly Reading[] {
    return this.#binding.readings;
  }

  /** What it reads at present; of an array, the element of the largest magnitude. */
  values(): Record<string, FiringValue> {
    const values: Record<string, FiringValue> = {};
    for (const { text, read } of this.#binding.readings) {
      const value = read();
      if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") values[text] = value;
      else if (value !== undefined) {
        const numbers = Array.from(numbersOf(value));
        const largest = numbers.reduce((best, x, k) => (Math.abs(x) > Math.abs(numbers[best] ?? 0) ? k : best), 0);
        if (numbers.length > 0) values[`${text}[${largest}]`] = numbers[largest] ?? Number.NaN;
      }
    }
    return values;
  }

  get feeders(): readonly Feeder[] {
    return this.#binding.feeders;
  }

  /** Bound whole or not at all; what it had seen before no longer counts. */
  bind(inputs: BoundInputs, clock: RuleClock, owner: FeedOwner): void {
    this.#binding = UNBOUND;
    this.#problem = undefined;
    const [feeders, resets]: [Feeder[], (() => void)[]] = [[], []];
    const scope = scopeOf(inputs, clock, owner, (names, run, reset) => {
      for (const feed of new Set([...names].map((name) => inputOf(inputs, name).feed))) feeders.push({ feed, run });
      resets.push(reset);
    });
    try {
      // What is read shows when it is bound: of a vector, its parts.
      const readings = new Map<string, Reading>();
      const field: typeof scope.field = (input, path) => {
        const read = scope.field(input, path);
        const text = `${input}.${path}`;
        readings.set(text, { text, input: inputOf(inputs, input), read });
        return read;
      };
      const run = compileExpression(this.expression, { ...scope, field });
      this.#binding = { run, readings: [...readings.values()], feeders, resets };
    } catch (error) {
      if (!(error instanceof ExpressionProblem)) throw error;
      this.#problem = `${error.message} ${error.hint}`;
    }
  }

  reset(): void {
    for (const reset of this.#binding.resets) reset();
  }

  /** Without a word about why it is unknown. */
  peek(): Truth {
    return this.#binding.run();
  }

  truth(nowMs: number): Truth {
    const truth = this.#binding.run();
    if (truth !== undefined) this.#isUnknown = false;
    else if (!this.#isUnknown || nowMs - this.#explainedMs >= EXPLAIN_MS) this.#explain(nowMs);
    return truth;
  }

  #explain(nowMs: number): void {
    this.#explainedMs = nowMs;
    this.#isUnknown = true;
    const { readings } = this.#binding;
    const isAwaited = readings.length === 0 || readings.some(({ input }) => Number.isNaN(input.feed.lastMs));
    const reasons = readings.flatMap((reading) => unknownReason(reading) ?? []);
    for (const reason of reasons) this.#onUnknown(`${this.key}: ${reason}`);
    // What looks back is unknown until enough has come.
    if (reasons.length === 0 && !isAwaited && !this.expression.looksBack)
      this.#onUnknown(`${this.key}: its fields are not of the kinds that it compares`);
  }
}

function unknownReason({ text, input: { feed, freshness }, read }: Reading): string | undefined {
  if (Number.isNaN(feed.lastMs)) return undefined; // nothing has been sent yet
  if (!freshness.isFresh) return `${feed.channel.topic} has gone stale`;
  const value = read();
  if (value === undefined) return `${text} is missing`;
  if (Number.isNaN(value)) return `${text} is NaN`;
  if (typeof value !== "object") return undefined;
  if (value.length === 0) return `${text} is empty`;
  return value.some((item: unknown) => Number.isNaN(item)) ? `${text} holds NaN` : undefined;
}

export function matches(spec: InputSpec, channel: Channel): boolean {
  const type = plainTypeName(channel.schema.name);
  if (spec.topic !== undefined) return spec.topic === channel.topic;
  return spec.types.some((wanted) => plainTypeName(wanted) === type);
}

export function describeInput({ topic, types }: InputSpec): string {
  return topic ?? types.join(" or ");
}

function inputOf(inputs: BoundInputs, name: string): BoundInput {
  const input = inputs.get(name);
  assert(input !== undefined, "an expression is bound when all its inputs are there");
  return input;
}

function scopeOf(inputs: BoundInputs, clock: RuleClock, owner: FeedOwner, onMessage: Scope["onMessage"]): Scope {
  return {
    inputs: [...inputs.keys()],
    nowMs: () => clock.nowMs,
    field: (name, path) => {
      const { feed, freshness } = inputOf(inputs, name);
      const slot = feed.slot(path, freshness, owner);
      if ("problem" in slot) throw new ExpressionProblem(slot.problem, `Topic ${feed.channel.topic}.`, 0);
      return Object.assign((): FieldValue => slot.value, { cell: slot });
    },
    hasField: (name, path) => {
      const { feed, freshness } = inputOf(inputs, name);
      return !("problem" in feed.slot(path, freshness, owner));
    },
    age: (name) => {
      const { feed } = inputOf(inputs, name);
      return () => clock.nowMs - feed.lastMs;
    },
    rateHz: (name) => {
      const { feed } = inputOf(inputs, name);
      feed.countArrivals();
      return () => feed.rateHz(clock.nowMs);
    },
    onMessage,
  };
}
