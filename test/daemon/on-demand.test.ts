/** On-demand topics between two threads: firings are told at once, the store's answers come whenever they come. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { idleMachine, type MachineInput, stepMachine } from "../../src/capture/episode-machine.ts";
import { OnDemand } from "../../src/daemon/on-demand.ts";
import { at, contextOf, event, firing, policy } from "../capture/machine-rig.ts";

const RULES = [
  policy("drop", { onDemand: ["/camera/raw"], postRollMs: 3000, recoversWhen: "never" }),
  policy("stall", { onDemand: ["/camera/raw", "/lidar"], postRollMs: 5000 }),
  policy("split", { onDemand: ["/lidar"], onOverlap: "split", recoversWhen: "never" }),
  policy("ignored", { onDemand: ["/debug"], onOverlap: "ignore", recoversWhen: "never" }),
  policy("none", { onDemand: [], recoversWhen: "never" }),
];

test("a firing's topics are wanted before the store has heard of it, and its answer stands afterwards", () => {
  const onDemand = new OnDemand();
  onDemand.onFiring(["/camera/raw"]);
  expect(onDemand.globs).toEqual(["/camera/raw"]);
  onDemand.onAnswer(["/camera/raw"], 1);
  onDemand.onAnswer([], 1);
  expect(onDemand.globs).toEqual([]);
});

test("an episode's end that the store tells before it heard of the next firing takes nothing away from that", () => {
  const onDemand = new OnDemand();
  onDemand.onFiring(["/camera/raw"]);
  onDemand.onAnswer(["/camera/raw"], 1);
  onDemand.onFiring(["/camera/raw"]);
  onDemand.onAnswer([], 1);
  expect(onDemand.globs).toEqual(["/camera/raw"]);
});

/** The store as it is: it steps its machine when it gets round to it, and answers each firing and each change. */
class SlowStore {
  readonly inbox: MachineInput[] = [];
  readonly #context = contextOf(RULES);
  #state = idleMachine;
  #globs: readonly string[] = [];
  #firingCount = 0;

  /** Returns its answer to the oldest note. */
  work(): { globs: readonly string[]; firingCount: number } | undefined {
    const input = this.inbox.shift();
    if (input === undefined) return undefined;
    const { state, commands } = stepMachine(this.#state, input, this.#context);
    this.#state = state;
    this.#firingCount += Number(input.kind === "firing");
    for (const command of commands) if (command.kind === "on_demand") this.#globs = command.globs;
    return { globs: this.#globs, firingCount: this.#firingCount };
  }

  /** What the rules of the open episode want, straight from its firings. */
  get wanted(): readonly string[] {
    const rules = this.#state.open?.firings.map(({ rule }) => rule) ?? [];
    return [...new Set(RULES.filter(({ rule }) => rules.includes(rule)).flatMap((known) => known.onDemand))];
  }
}

const anyNote = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...RULES).map(({ rule }) => ({ kind: "firing", rule }) as const) },
  { weight: 1, arbitrary: fc.constantFrom("cleared", "recovered").map((kind) => ({ kind, rule: "stall" }) as const) },
  { weight: 2, arbitrary: fc.constant({ kind: "tick" } as const) },
  { weight: 4, arbitrary: fc.constant({ kind: "answer" } as const) },
);

test("whatever the store is behind: what an unanswered firing or the open episode wants is subscribed, and in the end nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ note: anyNote, afterS: fc.integer({ min: 0, max: 4 }) })), (steps) => {
      const [onDemand, store] = [new OnDemand(), new SlowStore()];
      let nowS = 100;
      const answer = () => {
        const told = store.work();
        if (told !== undefined) onDemand.onAnswer(told.globs, told.firingCount);
        return told !== undefined;
      };
      for (const { note, afterS } of steps) {
        nowS += afterS;
        if (note.kind === "answer") answer();
        else if (note.kind === "tick") store.inbox.push({ kind: "tick", atNs: at(nowS) });
        else if (note.kind !== "firing") store.inbox.push(event(note.kind, note.rule, nowS));
        else {
          store.inbox.push(firing(note.rule, nowS));
          onDemand.onFiring(RULES.find(({ rule }) => rule === note.rule)?.onDemand ?? []);
        }
        const waiting = store.inbox.flatMap((input) => (input.kind === "firing" ? [input.rule] : []));
        const fired = RULES.filter(({ rule }) => waiting.includes(rule)).flatMap((known) => known.onDemand);
        expect(onDemand.globs.toSorted()).toEqual([...new Set([...store.wanted, ...fired])].toSorted());
      }
      while (answer());
      expect(onDemand.globs.toSorted()).toEqual(store.wanted.toSorted());
      store.inbox.push({ kind: "tick", atNs: at(nowS + 1000) });
      answer();
      expect(onDemand.globs).toEqual([]);
    }),
    { numRuns: 500 },
  );
});
