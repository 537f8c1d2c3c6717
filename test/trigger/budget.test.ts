/** What a rule may take, what becomes of one that breaks, and of those that are exchanged. */
import { expect, test } from "vitest";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { packMessage } from "../../src/decode/msgpack.ts";
import type { Channel } from "../../src/model/channel.ts";
import type { RuleEvent } from "../../src/model/rule-event.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { parseRules } from "../../src/trigger/rule.ts";
import type { FieldAccess } from "../../src/trigger/seams.ts";
import { Trigger } from "../../src/trigger/trigger.ts";

const START_NS = 1_700_000_000_000_000_000n;
const CHANNEL: Channel = {
  ...{ id: 1, topic: "/j", schema: { name: "test/J", encoding: "", text: "" }, messageEncoding: "msgpack" },
  ...{ className: "light", isLocal: false, isLatched: false },
};
const OTHER: Channel = { ...CHANNEL, id: 2, topic: "/k" };
const rule = (name: string, when: string, more = "") =>
  `  ${name}:\n    inputs: { j: /j }\n    when: ${when}\n    clear_for_ms: 0\n    cool_down_ms: 0\n${more}`;

/** `costMs` is what reading the field takes. */
class Rig {
  readonly told: string[] = [];
  readonly trigger: Trigger;
  clockMs = 0;
  costMs: Readonly<Record<string, number>> = {};
  breaks: string | undefined;

  constructor(rules: string, firingsPerHourMax = 120) {
    const reader = new ChannelReader();
    const fields: FieldAccess = (channel, path) => {
      const read = reader.fieldAccess(channel, path);
      if (typeof read !== "function") return read;
      return (message) => {
        this.clockMs += this.costMs[path] ?? 0;
        return read(message);
      };
    };
    this.trigger = Trigger.open(parseRules("test.yaml", `rules:\n${rules}`), {
      fields,
      log: silentLog,
      limits: { firingsPerHourMax, cpuPercentMax: 5 },
      clockMs: () => this.clockMs,
      onEvent: (event) => this.#onEvent(event),
    });
    this.trigger.addChannel(CHANNEL);
  }

  /** A rule may break in whoever hears of it too. */
  #onEvent(event: RuleEvent): void {
    if (event.rule === this.breaks && event.kind !== "gone") throw new Error("broken");
    this.told.push(`${event.kind} ${event.rule} ${Number(event.atNs - START_NS) / 1e9}`);
  }

  send(atS: number, message: object, channel = CHANNEL): this {
    this.trigger.onMessage(channel, packMessage(message), START_NS + BigInt(Math.round(atS * 1e9)));
    return this;
  }

  setRules(rules: string): void {
    this.trigger.setRules(parseRules("test.yaml", `rules:\n${rules}`));
  }

  status(name: string) {
    return this.trigger.status().find(({ rule }) => rule === name);
  }
}

test("a rule that fires too often says so many firings an hour, in pairs with their ends, and tells how many it passed over", () => {
  const rig = new Rig(rule("flaps", "j.x > 1"), 12);
  for (let k = 0; k < 100; k += 1) rig.send(k * 0.2, { x: k % 2 === 0 ? 2 : 0 });
  expect(rig.told.filter((text) => text.startsWith("firing"))).toHaveLength(12);
  expect(rig.told.filter((text) => text.startsWith("cleared"))).toHaveLength(12);
  expect(rig.status("flaps")).toMatchObject({
    firings: 50,
    throttled: expect.stringContaining("38 firings beyond 12"),
  });
  // One is there again each five minutes.
  for (let k = 0; k < 400; k += 1) rig.send(20 + k, { x: 0 });
  rig.send(420, { x: 2 }).send(420.2, { x: 0 }).send(420.4, { x: 2 });
  expect(rig.told.slice(24)).toEqual(["firing flaps 420", "cleared flaps 420.2"]);
});

test("a rule that costs too much rests, and the others go on", () => {
  const rig = new Rig(rule("dear", "j.y > 1", "    for_ms: 200\n") + rule("cheap", "j.x > 1"));
  rig.costMs = { y: 50 };
  let atS = 0;
  const run = (seconds: number, message: object) => {
    for (const endS = atS + seconds; atS < endS; atS += 0.1) {
      rig.clockMs += 100;
      rig.send(atS, message);
    }
  };
  run(6, { x: 0, y: 0 });
  expect(rig.status("dear")?.throttled).toMatch(/costs too much: rests.* 5 %/);
  expect(rig.status("cheap")?.throttled).toBeUndefined();
  run(1, { x: 2, y: 2 });
  expect(rig.told).toHaveLength(1);
  expect(rig.told[0]).toMatch(/^firing cheap/);
  rig.costMs = {};
  run(30, { x: 2, y: 2 });
  expect(rig.told).toHaveLength(2);
  expect(rig.told[1]).toMatch(/^firing dear/);
  expect(rig.status("dear")?.throttled).toMatch(/rested 1 times/);
});

test("one slow message is no slow rule: a thread may have been interrupted", () => {
  const rig = new Rig(rule("fair", "j.x > 1"));
  for (let k = 0; k < 1000; k += 1) {
    rig.costMs = k === 160 ? { x: 500 } : {};
    rig.clockMs += 10;
    rig.send(k / 100, { x: 0 });
  }
  expect(rig.status("fair")?.throttled).toBeUndefined();
});

test("a rule that breaks is switched off and says why; the others hear the same message", () => {
  const rig = new Rig(rule("bad", "j.x > 1") + rule("good", "j.x > 1"));
  rig.send(0, { x: 2 });
  rig.breaks = "bad";
  rig.send(1, { x: 0 }).send(2, { x: 2 });
  expect(rig.told).toEqual(["firing bad 0", "firing good 0", "gone bad 1", "cleared good 1", "firing good 2"]);
  expect(rig.status("bad")).toMatchObject({ state: "disabled", reason: expect.stringContaining("broken") });
  rig.breaks = undefined;
  rig.setRules(rule("bad", "j.x > 1") + rule("good", "j.x > 1"));
  rig.send(3, { x: 0 }).send(4, { x: 2 });
  expect(rig.told.slice(5)).toContain("firing bad 4");
});

test("a rule that means the same goes on as if nothing had happened: hold, window and count", () => {
  const rules = rule("held", "j.x > 1", "    for_ms: 1000\n") + rule("seen", 'max_over(j.x, duration("2s")) > 5');
  const rig = new Rig(rules);
  rig.send(0, { x: 9 }).send(0.5, { x: 2 });
  rig.setRules(`# a comment\n${rules}${rule("more", "j.x > 100")}`);
  rig.send(1, { x: 2 }).send(1.9, { x: 2 }).send(2, { x: 2 });
  expect(rig.told).toEqual(["firing held 1", "firing seen 2"]);
  expect(rig.status("held")).toMatchObject({ firings: 1, place: "test.yaml:4:5" });
});

test("a changed rule takes over what has fired: it neither fires again nor forgets to say the end", () => {
  const rig = new Rig(rule("hot", "j.x > 10", "    recovered_when: j.done > 0\n"));
  rig.send(0, { x: 20, done: 0 });
  rig.setRules(rule("hot", "j.x > 5", "    recovered_when: j.done > 0\n"));
  rig.send(1, { x: 20, done: 0 }).send(2, { x: 1, done: 0 }).send(3, { x: 1, done: 1 });
  expect(rig.told).toEqual(["firing hot 0", "cleared hot 2", "recovered hot 3"]);
});

test("rules that are gone read no fields and hear no message any more", () => {
  const rig = new Rig(rule("gone", "j.y > 1") + rule("stays", "j.x > 1"));
  rig.setRules(rule("stays", "j.x > 1"));
  rig.costMs = { y: 1 };
  rig.send(0, { x: 2, y: 2 });
  expect(rig.told).toEqual(["firing stays 0"]);
  expect(rig.clockMs).toBe(0);
});

test.each(["removed", "broken"])("a rule that waits for a second input keeps its first while another is %s", (how) => {
  const waits = "  both:\n    inputs: { a: /j, b: /k }\n    when: a.x > 1 && b.x > 1\n";
  const rig = new Rig(waits + rule("other", "j.x > 1"));
  if (how === "removed") rig.setRules(waits);
  else {
    rig.breaks = "other";
    rig.send(0, { x: 2 });
    expect(rig.status("other")?.state).toBe("disabled");
  }
  rig.trigger.addChannel(OTHER);
  rig.send(1, { x: 0 }).send(1.1, { x: 2 }, OTHER).send(1.2, { x: 2 });
  expect(rig.told.filter((text) => text.startsWith("firing"))).toEqual(["firing both 1.2"]);
});

const CHANGED: Channel = { ...CHANNEL, id: 3, schema: { ...CHANNEL.schema, name: "test/J2" } };

test("a channel that is offered again, and a type that comes back, fire once a message", () => {
  const rig = new Rig("  asked: { kind: manual, inputs: { j: /j } }\n");
  rig.trigger.addChannel(CHANNEL);
  rig.send(0, {});
  rig.trigger.addChannel(CHANGED);
  rig.send(1, {}, CHANGED);
  rig.trigger.addChannel(CHANNEL);
  rig.send(2, {});
  expect(rig.told).toEqual(["firing asked 0", "firing asked 1", "firing asked 2"]);
});

test("a channel that is offered again takes nothing from an expression; one whose type comes back is heard again", () => {
  const rig = new Rig(rule("seen", 'max_over(j.x, duration("1s")) > 5'));
  rig.send(0, { x: 9 });
  rig.trigger.addChannel(CHANNEL);
  rig.send(1, { x: 0 });
  expect(rig.told).toEqual(["firing seen 1"]);
  rig.trigger.addChannel(CHANGED);
  rig.trigger.addChannel(CHANNEL);
  for (let k = 0; k <= 10; k += 1) rig.send(2 + k / 5, { x: 0 });
  expect(rig.told.slice(1)).toEqual([expect.stringContaining("cleared seen")]);
});

test("a detector watches a thing once, however often its channel is offered", () => {
  const joints: Channel = {
    ...CHANNEL,
    id: 4,
    topic: "/joints",
    schema: { ...CHANNEL.schema, name: "sensor_msgs/JointState" },
  };
  const other: Channel = { ...joints, id: 5, schema: { ...CHANNEL.schema, name: "test/J2" } };
  const rig = new Rig("  dropped: { detector: lost_grasp }\n");
  for (const channel of [joints, joints, other, joints]) rig.trigger.addChannel(channel);
  rig.send(0, { name: ["finger_joint"], position: [0.5], effort: [1] }, joints);
  expect(rig.status("dropped")?.boundTo).toEqual(["/joints: finger_joint"]);
});

test("a rule that reports too many attempts says so many an hour, and tells how many it passed over", () => {
  const rig = new Rig(rule("noisy", "j.hot > 1", "    attempt_when: j.x > 1\n"), 12);
  rig.send(0, { hot: 2, x: 0 });
  for (let k = 1; k <= 100; k += 1) rig.send(k * 0.005, { hot: 2, x: k % 2 === 0 ? 0 : 2 });
  expect(rig.told.filter((text) => text.startsWith("attempt"))).toHaveLength(12);
  expect(rig.status("noisy")?.throttled).toContain("38 attempts beyond 12");
  expect(rig.status("noisy")?.throttled).not.toContain("firings");
});

const FOLLOWED =
  "    attempt_when: j.again > 0\n    recovered_after_clear_ms: 2000\n    post_roll_ms: 1000\n    max_ms: 20000\n";

test.each([
  ["the end of the condition, once it has lasted", "", ["attempt hot 2"]],
  [
    "the longest episode, where the rule sees recovery itself",
    "    recovered_when: j.done > 0\n",
    ["attempt hot 2", "attempt hot 10"],
  ],
])("what follows a firing is told until %s", (_until, more, told) => {
  const rig = new Rig(rule("hot", "j.x > 1", FOLLOWED + more));
  for (let k = 0; k <= 60; k += 1) {
    const again = [4, 20, 50].includes(k) ? 1 : 0;
    rig.send(k / 2, { x: k < 2 ? 2 : 0, done: 0, again });
  }
  expect(rig.told).toEqual(["firing hot 0", "cleared hot 1", ...told]);
});

test("a rule that goes while its firing waits for its word says so; one that is changed or never fired does not", () => {
  const rig = new Rig(rule("hot", "j.x > 1") + rule("over", "j.x > 1 && j.x < 3") + rule("never", "j.x > 100"));
  rig.send(0, { x: 2 }).send(1, { x: 4 });
  expect(rig.told).toEqual(["firing hot 0", "firing over 0", "cleared over 1"]);
  rig.setRules(rule("hot", "j.x > 1.5"));
  rig.setRules(rule("hot", "j.x > 1.5", "    enabled: false\n"));
  expect(rig.told.slice(3)).toEqual(["gone over 1", "gone hot 1"]);
});
