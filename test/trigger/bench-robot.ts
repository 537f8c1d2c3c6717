/** A robot for rule tests: messages in, rule events out, at times in seconds. */
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { packMessage } from "../../src/decode/msgpack.ts";
import type { Channel } from "../../src/model/channel.ts";
import type { RuleEvent } from "../../src/model/rule-event.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { parseRules } from "../../src/trigger/rule.ts";
import { Trigger } from "../../src/trigger/trigger.ts";

const START_NS = 1_700_000_000_000_000_000n;

export class TestRobot {
  readonly events: RuleEvent[] = [];
  readonly warnings: string[] = [];
  readonly trigger: Trigger;
  readonly #channels = new Map<string, Channel>();

  constructor(rules: string) {
    this.trigger = Trigger.open(parseRules("test.yaml", rules), {
      fields: new ChannelReader().fieldAccess,
      log: { ...silentLog, warn: (text, fields) => this.warnings.push(`${text} ${JSON.stringify(fields)}`) },
      onEvent: (event) => this.events.push(event),
    });
  }

  /** Messages describe themselves, so that any field may be asked for. */
  topic(topic: string, type: string): this {
    const id = this.#channels.size + 1;
    const schema = { name: type, encoding: "" as const, text: "" };
    const channel = { id, topic, schema, messageEncoding: "msgpack" as const, className: "light" };
    this.add({ ...channel, isLocal: false, isLatched: false });
    return this;
  }

  add(channel: Channel): void {
    this.#channels.set(channel.topic, channel);
    this.trigger.addChannel(channel);
  }

  send(topic: string, atS: number, message: unknown): this {
    const channel = this.#channels.get(topic);
    if (channel === undefined) throw new Error(`no topic ${topic}`);
    this.trigger.onMessage(channel, packMessage(message), START_NS + BigInt(Math.round(atS * 1e9)));
    return this;
  }

  /** Sends `message(t)` at `hz` over `[fromS, toS)`. */
  stream(topic: string, hz: number, fromS: number, toS: number, message: (atS: number) => unknown): this {
    for (let k = 0; fromS + k / hz < toS - 1e-9; k += 1) this.send(topic, fromS + k / hz, message(fromS + k / hz));
    return this;
  }

  /** "firing lost_grasp 4.30" and so on. */
  get told(): string[] {
    return this.events.map((event) => `${event.kind} ${event.rule} ${secondsOf(event.atNs).toFixed(2)}`);
  }

  firings(rule?: string): Extract<RuleEvent, { kind: "firing" }>[] {
    return this.events
      .filter((event) => event.kind === "firing")
      .filter((event) => (rule ?? event.rule) === event.rule);
  }
}

function secondsOf(ns: bigint): number {
  return Number(ns - START_NS) / 1e9;
}
