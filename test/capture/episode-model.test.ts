/**
 * Windows, overlaps, splits and on-demand topics of the episode machine against a plain reference: for rules that only
 * keep a window (nothing decides earlier), random ones, with every order and distance of firings and clearings.
 *
 * The reference keeps what happened and asks it again every time, in whole tenths of a second. It knows no commands,
 * no deadlines and no state but the open window's own list.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { MachineInput } from "../../src/capture/episode-machine.ts";
import type { CapturePolicy } from "../../src/model/rule-event.ts";
import { at, event, firing, manual, policy, run } from "./machine-rig.ts";

/** All in tenths of a second. */
type Rule = {
  readonly name: string;
  readonly pre: number;
  readonly post: number;
  readonly max: number;
  readonly onOverlap: CapturePolicy["onOverlap"];
  readonly kind: "failure" | "sample" | "manual";
  readonly onDemand: readonly string[];
};
type Happening = { readonly at: number; readonly kind: "firing" | "cleared" | "tick" | "person"; readonly rule: Rule };
/** `again`: an ignored firing of a rule that is in the episode; it keeps nothing, but its condition holds. */
type Entry = { readonly at: number; readonly kind: "firing" | "again" | "cleared"; readonly rule: Rule };
type Window = { readonly start: number; readonly end: number; readonly fired: readonly string[] };
type Wanted = { readonly at: number; readonly globs: readonly string[] };

const PERSON: Rule = {
  ...{ name: "manual", kind: "manual", pre: 20, post: 30, max: 50, onOverlap: "extend", onDemand: ["**"] },
};

class Reference {
  readonly windows: Window[] = [];
  readonly wanted: Wanted[] = [];
  ignored = 0;
  #entries: Entry[] = [];

  see({ at: now, kind, rule }: Happening): void {
    if (this.#isOpen && this.#end() <= now) this.#close(this.#end());
    if (kind === "firing" || kind === "person") this.#fire({ at: now, kind: "firing", rule });
    const isClearing = kind === "cleared" && this.#isHolding(rule);
    if (isClearing) this.#entries.push({ at: now, kind: "cleared", rule });
    this.#noteWanted(now);
  }

  get #isOpen(): boolean {
    return this.#entries.length > 0;
  }

  get #firings(): Entry[] {
    return this.#entries.filter(({ kind }) => kind === "firing");
  }

  /** The rule fired here and has not cleared since. */
  #isHolding(rule: Rule): boolean {
    const last = this.#entries.findLast((entry) => entry.rule === rule);
    return last?.kind === "firing" || last?.kind === "again";
  }

  #fire(entry: Entry): void {
    const { rule, at: now } = entry;
    if (this.#isOpen && rule.onOverlap === "ignore") {
      this.ignored += 1;
      if (this.#firings.some((fired) => fired.rule === rule)) this.#entries.push({ ...entry, kind: "again" });
    } else {
      if (this.#isOpen && this.#mustSplit(entry)) this.#close(now);
      this.#entries.push(entry);
    }
  }

  #mustSplit({ rule, at: now }: Entry): boolean {
    const firings = this.#firings;
    if (rule.kind === "manual" || firings.at(-1)?.at === now) return false;
    if (rule.onOverlap === "split") return true;
    const all = [...firings, { rule, at: now }];
    return lastPost(all) - firstPre(all) > Math.max(rule.max, rule.pre + rule.post, longest(firings));
  }

  #end(): number {
    const firings = this.#firings;
    const kept = this.#entries.filter(({ kind }) => kind !== "again").map((entry) => entry.at + entry.rule.post);
    return Math.min(Math.max(...kept), firstPre(firings) + longest(firings));
  }

  #close(end: number): void {
    const firings = this.#firings;
    this.windows.push({ start: firstPre(firings), end, fired: firings.map(({ rule, at: t }) => `${rule.name} ${t}`) });
    this.#entries = [];
  }

  #noteWanted(now: number): void {
    const globs = [...new Set(this.#firings.flatMap(({ rule }) => rule.onDemand))].toSorted();
    const last = this.wanted.at(-1)?.globs ?? [];
    if (globs.join() !== last.join()) this.wanted.push({ at: now, globs });
  }
}

type Fired = Pick<Entry, "at" | "rule">;
const firstPre = (firings: readonly Fired[]): number => Math.min(...firings.map(({ at: t, rule }) => t - rule.pre));
const lastPost = (firings: readonly Fired[]): number => Math.max(...firings.map(({ at: t, rule }) => t + rule.post));

/** What the window may last: the longest of its rules, and what a person or firings of one instant ask for. */
function longest(firings: readonly Fired[]): number {
  const own = firings.map(({ rule }) => Math.max(rule.max, rule.pre + rule.post));
  const asked = firings.flatMap(({ at: now, rule }, index) => {
    const before = firings.slice(0, index + 1);
    const isKept = rule.kind === "manual" || firings[index - 1]?.at === now;
    return isKept ? [lastPost(before) - firstPre(before)] : [];
  });
  return Math.max(...own, ...asked);
}

const tenths = (count: number): bigint => at(count / 10);
const inTenths = (ns: bigint): number => Number(ns) / 1e8;

function toPolicy({ name, pre, post, max, onOverlap, kind, onDemand }: Rule): CapturePolicy {
  const window = { preRollMs: pre * 100, postRollMs: post * 100, maxMs: max * 100 };
  return policy(name, { ...window, onOverlap, kind, onDemand, recoversWhen: "never" });
}

function toInput({ at: now, kind, rule }: Happening): MachineInput {
  if (kind === "person") return manual(now / 10, PERSON.pre * 100, PERSON.post * 100);
  if (kind === "tick") return { kind, atNs: tenths(now) };
  return kind === "firing" ? firing(rule.name, now / 10) : event("cleared", rule.name, now / 10);
}

const anyRule = fc.record({
  pre: fc.integer({ min: 0, max: 60 }),
  post: fc.integer({ min: 0, max: 60 }),
  max: fc.integer({ min: 10, max: 150 }),
  onOverlap: fc.constantFrom("extend", "extend", "split", "ignore"),
  kind: fc.constantFrom("failure", "failure", "sample", "manual"),
  onDemand: fc.subarray(["/camera/raw", "/lidar", "/debug"]),
});

const anyHistory = fc
  .array(anyRule, { minLength: 1, maxLength: 4 })
  .map((rules) => rules.map((rule, index): Rule => ({ ...rule, name: `rule ${index}` })))
  .chain((rules) => {
    const happening = fc.record({
      after: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 80 })),
      kind: fc.constantFrom("firing", "firing", "firing", "cleared", "cleared", "tick", "person"),
      rule: fc.constantFrom(...rules),
    });
    return fc.record({ rules: fc.constant(rules), steps: fc.array(happening, { maxLength: 40 }) });
  })
  .map(({ rules, steps }) => {
    let now = 1000;
    const happenings = steps.map(({ after, kind, rule }): Happening => {
      now += after;
      return { at: now, kind, rule: kind === "person" ? PERSON : rule };
    });
    return { rules, happenings };
  });

test("windows, splits, ignored firings and on-demand topics are those of a plain reference", () => {
  fc.assert(
    fc.property(anyHistory, ({ rules, happenings }) => {
      const reference = new Reference();
      for (const happening of happenings) reference.see(happening);
      const [any] = rules;
      if (any === undefined) return;
      reference.see({ at: 100_000, kind: "tick", rule: any });
      const { closed, commands } = run(happenings.map(toInput), rules.map(toPolicy), 10_000);
      const windows = closed.map(({ startNs, endNs, firings }) => ({
        start: inTenths(startNs),
        end: inTenths(endNs),
        fired: firings.map(({ rule, atNs }) => `${rule} ${inTenths(atNs)}`),
      }));
      expect(windows).toEqual(reference.windows);
      const told = commands.flatMap((command) => (command.kind === "on_demand" ? [command.globs] : []));
      expect(told).toEqual(reference.wanted.map(({ globs }) => globs));
      expect(commands.filter(({ kind }) => kind === "ignored")).toHaveLength(reference.ignored);
    }),
    { numRuns: 2000 },
  );
});
