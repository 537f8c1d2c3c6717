/** Rules, inputs and a run of the episode machine, for its tests. All times are seconds. */
import {
  idleMachine,
  type MachineCommand,
  type MachineContext,
  type MachineInput,
  type MachineState,
  stepMachine,
} from "../../src/capture/episode-machine.ts";
import type { Episode, Segment } from "../../src/model/episode.ts";
import type { CapturePolicy, RuleEvent } from "../../src/model/rule-event.ts";

export const at = (seconds: number): bigint => BigInt(Math.round(seconds * 1e9));

export function policy(rule: string, changes: Partial<CapturePolicy> = {}): CapturePolicy {
  return {
    rule,
    ...{ version: "1", isDryRun: false, topics: ["**"] },
    kind: "failure",
    preRollMs: 10_000,
    postRollMs: 5000,
    maxMs: 120_000,
    onOverlap: "extend",
    recoversWhen: "explicit",
    recoveredAfterClearMs: 2000,
    recoveryTimeoutMs: 30_000,
    priority: 10,
    labels: {},
    onDemand: [],
    ...changes,
  };
}

export const POLICIES: readonly CapturePolicy[] = [
  policy("drop", { priority: 90, labels: { task: "pick" } }),
  policy("slip"),
  policy("stall", { recoversWhen: "cleared", onDemand: ["/camera/raw"] }),
  policy("current", { recoversWhen: "never" }),
  policy("split", { onOverlap: "split", recoversWhen: "never" }),
  policy("ignored", { onOverlap: "ignore", recoversWhen: "never" }),
  policy("long", { preRollMs: 60_000, recoversWhen: "never" }),
  policy("task", { kind: "span", recoversWhen: "explicit", preRollMs: 1000, postRollMs: 1000 }),
  policy("sample", { kind: "sample", recoversWhen: "never" }),
  policy("short", { maxMs: 20_000, recoversWhen: "never" }),
];

export function contextOf(policies: readonly CapturePolicy[]): MachineContext {
  let count = 0;
  return {
    policyOf: (rule) => {
      const found = policies.find((candidate) => candidate.rule === rule);
      if (found === undefined) throw new Error(`no policy of ${rule}`);
      return found;
    },
    newId: () => `episode-${++count}`,
    bootId: "boot",
  };
}

type Run = { readonly commands: readonly MachineCommand[]; readonly closed: readonly Episode[] };

export function run(inputs: readonly MachineInput[], policies = POLICIES, endSeconds = 1000): Run {
  const context = contextOf(policies);
  let state: MachineState = idleMachine;
  const commands: MachineCommand[] = [];
  for (const input of [...inputs, { kind: "tick", atNs: at(endSeconds) } as const]) {
    const step = stepMachine(state, input, context);
    state = step.state;
    commands.push(...step.commands);
  }
  return { commands, closed: commands.flatMap((command) => (command.kind === "closed" ? [command.episode] : [])) };
}

export const firing = (rule: string, seconds: number): Extract<RuleEvent, { kind: "firing" }> => ({
  kind: "firing",
  rule,
  detector: undefined,
  topic: "/joint_states",
  atNs: at(seconds),
  values: { effort: 3 },
});
export const event = (kind: Exclude<RuleEvent["kind"], "firing">, rule: string, seconds: number): RuleEvent => ({
  kind,
  rule,
  atNs: at(seconds),
});
export const manual = (seconds: number, preRollMs = 30_000, postRollMs = 10_000): MachineInput => ({
  kind: "manual",
  atNs: at(seconds),
  preRollMs,
  postRollMs,
  labels: { who: "ada" },
  note: "it squeaks",
});

/** `failure 100-103`, `recovery 1 103-110` … */
export const line = ({ kind, attempt, startNs, endNs }: Segment): string =>
  `${kind}${attempt === undefined ? "" : ` ${attempt}`} ${Number(startNs) / 1e9}-${Number(endNs) / 1e9}`;
