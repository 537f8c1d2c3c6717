/**
 * A rule with expressions: bound once every input has a channel with the fields it asks for, and bound anew when a
 * topic comes back with another definition.
 */
import type { Channel } from "../model/channel.ts";
import type { FiringValue } from "../model/rule-event.ts";
import { assert } from "../std/assert.ts";
import type { BoundRule, RuleDeps } from "./bound-rule.ts";
import { numbersOf } from "./detector.ts";
import { Edge, type Truth } from "./edge.ts";
import { compileExpression, type Expression, ExpressionProblem, type Scope } from "./expression.ts";
import type { Feed, Freshness } from "./feed.ts";
import type { InputSpec, Rule } from "./rule.ts";
import type { RuleClock } from "./rule-clock.ts";
import { RuleReport, type RuleStatus } from "./rule-report.ts";
import { type FieldValue, plainTypeName } from "./seams.ts";

/** An input that has its channel. */
type BoundInput = { readonly feed: Feed; readonly freshness: Freshness };

type Compiled = {
  readonly inputs: ReadonlyMap<string, BoundInput>;
  readonly resets: readonly (() => void)[];
  evaluate(atNs: bigint): void;
};

export class ExpressionRule implements BoundRule {
  readonly rule: Rule;
  readonly #deps: RuleDeps;
  readonly #report: RuleReport;
  readonly #feeds = new Map<string, Feed>();
  #compiled: Compiled | undefined;
  #reason: string | undefined;

  constructor(rule: Rule, deps: RuleDeps) {
    this.rule = rule;
    this.#deps = deps;
    this.#report = new RuleReport(rule, deps.onEvent);
  }

  addChannel(channel: Channel): void {
    const taken = [...this.rule.inputs].filter(([name, spec]) => {
      const isSameTopic = this.#feeds.get(name)?.channel.topic === channel.topic;
      return matches(spec, channel) && (isSameTopic || !this.#feeds.has(name));
    });
    if (taken.length === 0) return;
    this.#report.noteInput(channel);
    for (const [name] of taken) this.#feeds.set(name, this.#deps.feedOf(channel));
    if (this.#feeds.size === this.rule.inputs.size) this.#bind();
  }

  onTick(atNs: bigint): void {
    this.#compiled?.evaluate(atNs);
  }

  onLongSilence(): void {
    for (const reset of this.#compiled?.resets ?? []) reset();
  }

  status(): RuleStatus {
    const boundTo = [...this.#feeds].map(([name, feed]) => `${name}: ${feed.channel.topic}`);
    if (this.#compiled !== undefined) return this.#report.status("bound", boundTo, undefined);
    const missing = [...this.rule.inputs].filter(([name]) => !this.#feeds.has(name));
    const wanted = missing.map(([name, spec]) => `${name}: ${spec.topic ?? spec.types.join(" or ")}`);
    const reason = this.#reason ?? `no such topic yet: ${wanted.join(", ")}`;
    return this.#report.status("waiting", boundTo, reason);
  }

  #bind(): void {
    for (const input of this.#compiled?.inputs.values() ?? []) input.feed.detach(this);
    try {
      this.#compiled = this.#compile();
      this.#reason = undefined;
    } catch (error) {
      if (!(error instanceof ExpressionProblem)) throw error;
      this.#compiled = undefined;
      this.#reason = `${error.message} ${error.hint}`;
    }
  }

  #compile(): Compiled {
    const inputs = new Map<string, BoundInput>(
      [...this.#feeds].map(([name, feed]) => [
        name,
        { feed, freshness: feed.freshness(this.rule.inputs.get(name)?.staleMs) },
      ]),
    );
    const feeders: { readonly feed: Feed; readonly run: () => void }[] = [];
    const resets: (() => void)[] = [];
    const scope = scopeOf(inputs, this.#deps.clock, (names, run, reset) => {
      for (const feed of new Set([...names].map((name) => inputs.get(name)?.feed)))
        if (feed !== undefined) feeders.push({ feed, run });
      resets.push(reset);
    });
    const evaluate = compileRule(this.rule, scope, inputs, this.#deps.clock, this.#report);
    // Nothing is attached before everything compiled: a rule is bound whole or not at all.
    for (const { feed, run } of feeders) feed.attach(this, { feed: run });
    for (const feed of new Set([...inputs.values()].map((input) => input.feed))) feed.attach(this, { evaluate });
    return { inputs, resets, evaluate };
  }
}

function matches(spec: InputSpec, channel: Channel): boolean {
  const type = plainTypeName(channel.schema.name);
  if (spec.topic !== undefined) return spec.topic === channel.topic;
  return spec.types.some((wanted) => plainTypeName(wanted) === type);
}

function scopeOf(inputs: ReadonlyMap<string, BoundInput>, clock: RuleClock, onMessage: Scope["onMessage"]): Scope {
  const inputOf = (name: string): BoundInput => {
    const input = inputs.get(name);
    assert(input !== undefined, "an expression was checked against the inputs of its rule");
    return input;
  };
  return {
    inputs: [...inputs.keys()],
    nowMs: () => clock.nowMs,
    field: (name, path) => {
      const input = inputOf(name);
      const slot = input.feed.slot(path);
      if ("problem" in slot) throw new ExpressionProblem(slot.problem, `Topic ${input.feed.channel.topic}.`, 0);
      const { freshness } = input;
      return (): FieldValue => (freshness.isFresh ? slot.value : undefined);
    },
    hasField: (name, path) => !("problem" in inputOf(name).feed.slot(path)),
    age: (name) => {
      const { feed } = inputOf(name);
      return () => clock.nowMs - feed.lastMs;
    },
    rateHz: (name) => {
      const { feed } = inputOf(name);
      feed.countArrivals();
      return () => feed.rateHz(clock.nowMs);
    },
    onMessage,
  };
}

const AT_ONCE = { holdMs: 0, clearMs: 0, coolDownMs: 0 };

/** The rule's step after each of its messages and ticks. Throws `ExpressionProblem` where a field does not exist. */
function compileRule(
  rule: Rule,
  scope: Scope,
  inputs: ReadonlyMap<string, BoundInput>,
  clock: RuleClock,
  report: RuleReport,
): (atNs: bigint) => void {
  assert(rule.condition.kind === "expression", "an expression rule has an expression");
  const { when: condition, clearWhen: clearCondition } = rule.condition;
  const when = compileExpression(condition, scope);
  const clearWhen = clearCondition && compileExpression(clearCondition, scope);
  const readings = condition.fields.map(({ text, input, path }) => ({ text, read: scope.field(input, path) }));
  const topic = inputs.get(condition.fields[0]?.input ?? "")?.feed.channel.topic ?? firstTopic(inputs);
  const followUps = compileFollowUps(rule, scope);
  const edge = new Edge(rule.edge);
  let isOpen = false;
  return (atNs) => {
    const nowMs = clock.nowMs;
    const step = clearWhen === undefined ? edge.step(when(), nowMs) : edge.step(when(), nowMs, clearWhen());
    if (step === "fired") {
      isOpen = true;
      report.fire(topic, atNs, valuesOf(readings));
    } else if (step === "cleared") report.tell("cleared", atNs);
    for (const followUp of followUps) {
      // Stepped even while nothing is open, so that only a rise after the firing counts.
      if (followUp.edge.step(followUp.run(), nowMs) !== "fired" || !isOpen) continue;
      report.tell(followUp.signal, atNs);
      if (followUp.signal !== "attempt") isOpen = false;
    }
  };
}

type FollowUp = {
  readonly signal: "attempt" | "recovered" | "took_over";
  readonly run: () => Truth;
  readonly edge: Edge;
};

function compileFollowUps(rule: Rule, scope: Scope): FollowUp[] {
  const all: [FollowUp["signal"], Expression | undefined][] = [
    ["attempt", rule.attemptWhen],
    ["recovered", rule.recoveredWhen],
    ["took_over", rule.tookOverWhen],
  ];
  return all.flatMap(([signal, expression]) =>
    expression === undefined ? [] : [{ signal, run: compileExpression(expression, scope), edge: new Edge(AT_ONCE) }],
  );
}

function firstTopic(inputs: ReadonlyMap<string, BoundInput>): string {
  return inputs.values().next().value?.feed.channel.topic ?? "";
}

/** What the condition read when it fired; of an array, the element of the largest magnitude. */
function valuesOf(
  readings: readonly { readonly text: string; readonly read: () => FieldValue }[],
): Record<string, FiringValue> {
  const values: Record<string, FiringValue> = {};
  for (const { text, read } of readings) {
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
