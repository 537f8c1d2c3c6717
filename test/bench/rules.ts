/**
 * `rules`: what twenty rules cost on a JointState of 30 joints, beyond reading the fields that they ask for.
 *
 * Ours is the trigger's whole way through a message less the time that its own field readers take for the same
 * fields of the same messages, in turns, so that both see the same machine. The peer is the CEL library's own
 * evaluation of the same conditions on an object that was decoded before, also beyond decoding; it has neither
 * windows nor hold times, so its twenty conditions are plain thresholds. Traps: one message again and again predicts
 * every branch, so there are 1,024; and a rule that fires ends its benchmark early, so nothing may fire.
 */

import { parse as parseDefinition } from "@foxglove/rosmsg";
import { MessageReader, MessageWriter } from "@foxglove/rosmsg2-serialization";
import { evaluate, parse } from "@marcbachmann/cel-js";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import { Definitions } from "../../src/decode/definitions.ts";
import type { Channel } from "../../src/model/channel.ts";
import { seededRandom } from "../../src/std/random.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { parseRules } from "../../src/trigger/rule.ts";
import { Trigger } from "../../src/trigger/trigger.ts";
import type { Benchmark } from "./bench.ts";

const TYPE = "sensor_msgs/msg/JointState";
const JOINTS = Array.from({ length: 30 }, (_, index) => `joint_${index}`);
const FIELDS = 12;
const RULES = 20;
const HZ = 300;
const VARIATIONS = 1024;
const ROUNDS = 1500; // of every message once
const NS_MAX = 500;

const effort = (joint: number) => `j.effort["joint_${joint % FIELDS}"]`;

/** Thresholds with a hold time over twelve fields; among them combinations, windows and a change. */
export function twentyRules(): string {
  const conditions = Array.from({ length: RULES }, (_, index) => {
    const limit = 40 + index;
    if (index === 16) return `max_over(abs(${effort(index)}), duration("1s")) > ${limit}`;
    if (index === 17) return `abs(delta(${effort(index)})) > ${limit}`;
    if (index === 18) return `${effort(index)} > ${limit} && ${effort(index + 1)} > ${limit}`;
    if (index === 19) return `mean_over(${effort(index)}, duration("500ms")) > ${limit}`;
    return index % 2 === 0 ? `abs(${effort(index)}) > ${limit}` : `${effort(index)} > ${limit}`;
  });
  const rules = conditions.map(
    (when, index) =>
      `  r${index}:\n    inputs: { j: /joint_states }\n    when: '${when}'\n    for_ms: ${50 + index * 10}\n`,
  );
  return `rules:\n${rules.join("")}`;
}

export async function benchmarkRules(): Promise<Benchmark> {
  const { channel, payloads } = jointStates();
  const ours = timeTrigger(channel, payloads);
  const peer = timeCel(channel, payloads);
  const overNs = ours.triggerNs - ours.readNs;
  return {
    name: "rules",
    about:
      "20 rules (thresholds with hold times over 12 fields, two windows, a change) on a JointState of 30 joints, on top " +
      "of reading the fields; the peer is the CEL library's evaluation of 20 thresholds on top of a decoded object.",
    value: Math.round(overNs),
    unit: "ns/message",
    goal: `≤ ${NS_MAX} ns`,
    holds: overNs <= NS_MAX,
    peers: { cel_on_decoded: Math.round(peer.evaluateNs) },
    ratio: overNs / peer.evaluateNs,
    detail: {
      whole_trigger_ns: Math.round(ours.triggerNs),
      reading_12_fields_ns: Math.round(ours.readNs),
      decoding_whole_message_ns: Math.round(peer.decodeNs),
      peer_whole_ns: Math.round(peer.evaluateNs + peer.decodeNs),
    },
  };
}

function jointStates() {
  const text = Definitions.open({ folders: [] }).find(TYPE, 2) ?? "";
  const writer = new MessageWriter(parseDefinition(text, { ros2: true }));
  const random = seededRandom(30);
  const noisy = () => JOINTS.map(() => (random() - 0.5) * 30);
  const payloads = Array.from({ length: VARIATIONS }, (_, index) => {
    const header = { stamp: { sec: index, nanosec: 0 }, frame_id: "base" };
    return new Uint8Array(
      writer.writeMessage({ header, name: JOINTS, position: noisy(), velocity: noisy(), effort: noisy() }),
    );
  });
  const channel: Channel = {
    ...{ id: 1, topic: "/joint_states", schema: { name: TYPE, encoding: "ros2msg", text }, messageEncoding: "cdr" },
    ...{ className: "light", isLocal: false, isLatched: false },
  };
  return { channel, payloads };
}

function timeTrigger(channel: Channel, payloads: readonly Uint8Array[]) {
  let firings = 0;
  const fields = new ChannelReader().fieldAccess;
  const trigger = Trigger.open(parseRules("rules.yaml", twentyRules()), {
    fields,
    log: silentLog,
    onEvent: () => {
      firings += 1;
    },
  });
  trigger.addChannel(channel);
  if (trigger.status().some(({ state }) => state !== "bound")) throw new Error("a rule is not bound");
  const readers = Array.from({ length: FIELDS }, (_, joint) => fields(channel, effort(joint).slice(2))).map(
    (reader) => {
      if (typeof reader !== "function") throw new Error(reader.problem);
      return reader;
    },
  );
  let atNs = 1_700_000_000_000_000_000n;
  let sum = 0;
  const stepNs = BigInt(Math.round(1e9 / HZ));
  const judge = (payload: Uint8Array) => {
    atNs += stepNs;
    trigger.onMessage(channel, payload, atNs);
  };
  const read = (payload: Uint8Array) => {
    for (const reader of readers) sum += Number(reader(payload));
  };
  const times = inTurns(payloads, [judge, read]);
  if (firings > 0 || Number.isNaN(sum)) throw new Error("nothing may fire, and everything must be read");
  return { triggerNs: times[0] ?? Number.NaN, readNs: times[1] ?? Number.NaN };
}

function timeCel({ schema }: Channel, payloads: readonly Uint8Array[]) {
  const reader = new MessageReader(parseDefinition(schema.text, { ros2: true }));
  const conditions = Array.from({ length: RULES }, (_, index) => parse(`j.effort[${index}] > ${40 + index}.0`));
  // The library refuses typed arrays.
  const decoded = payloads.map((payload) => {
    const message = reader.readMessage<{ effort: Float64Array }>(payload);
    return { j: { ...message, effort: Array.from(message.effort) } };
  });
  let isAny = false;
  const evaluateAll = (context: { readonly j: object }) => {
    for (const condition of conditions) if (condition(context) === true) isAny = true;
  };
  const [evaluateNs = Number.NaN] = inTurns(decoded, [evaluateAll], ROUNDS / 5);
  const [decodeNs = Number.NaN] = inTurns(payloads, [(payload) => void reader.readMessage(payload)], ROUNDS / 5);
  if (isAny || evaluate("1 > 0") !== true) throw new Error("the peer's conditions are false of every message");
  return { evaluateNs, decodeNs };
}

/**
 * What an action on an item takes while nobody interrupts it, in ns: of many short rounds, in turns, the tenth part
 * that was the fastest, its slowest one. The first third warms up.
 */
function inTurns<T>(items: readonly T[], actions: readonly ((item: T) => void)[], rounds = ROUNDS): number[] {
  const times = actions.map((): number[] => []);
  for (let round = 0; round < rounds; round += 1)
    for (const [index, action] of actions.entries()) times[index]?.push(timeRound(items, action));
  const warm = Math.floor(rounds / 3);
  return times.map((all) => all.slice(warm).sort((a, b) => a - b)[Math.floor((rounds - warm) / 10)] ?? Number.NaN);
}

function timeRound<T>(items: readonly T[], action: (item: T) => void): number {
  const startMs = performance.now();
  for (const item of items) action(item);
  return ((performance.now() - startMs) * 1e6) / items.length;
}
