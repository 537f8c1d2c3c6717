/**
 * What each rule would watch on the robot that is there now: the bridge is asked for its topics and their definitions, and
 * the rules are shown them. Subscribes nothing, so what only messages tell (the names of joints) stays open.
 */
import type { Config } from "../config/schema.ts";
import { compileTopicPlan } from "../config/topic-plan.ts";
import { ChannelReader } from "../decode/channel-reader.ts";
import { Definitions } from "../decode/definitions.ts";
import type { Channel } from "../model/channel.ts";
import { BridgeLink } from "../source/bridge-link.ts";
import { Rosapi } from "../source/rosapi.ts";
import { isLatchedTopic } from "../source/well-known-topics.ts";
import { systemClock } from "../std/clock.ts";
import { silentLog } from "../telemetry/log.ts";
import type { Rule } from "../trigger/rule.ts";
import { type RuleStatus, Trigger } from "../trigger/trigger.ts";

const LINK = { frameBytesMax: 64 << 20, socketBytesMax: 256 << 20, pingMs: 5000, closeTimeoutMs: 1000 } as const;
const DEADLINE_MS = 5000;

type Announced = { readonly topic: string; readonly type: string; readonly text: string | undefined };

/** undefined: nobody tells which topics there are. */
export async function bindAtBridge(config: Config, rules: readonly Rule[]): Promise<readonly RuleStatus[] | undefined> {
  const source = config.sources[0];
  if (source === undefined) return undefined;
  const asked = await askTopics(source.url);
  const configured = Object.entries(source.types).map(([topic, type]) => ({ topic, type, text: undefined }));
  const names = new Set(asked?.map(({ topic }) => topic));
  const topics = [...(asked ?? []), ...configured.filter(({ topic }) => !names.has(topic))];
  return topics.length === 0 ? undefined : bindTo(topics, config, rules);
}

async function askTopics(url: string): Promise<readonly Announced[] | undefined> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const options = { ...LINK, openTimeoutMs: DEADLINE_MS };
  const link = await BridgeLink.open(url, options, systemClock, () => {}, signal);
  if (!(link instanceof BridgeLink)) return undefined;
  const rosapi = new Rosapi(link, DEADLINE_MS);
  const topics = await rosapi.listTopics();
  const texts = topics === undefined ? undefined : await rosapi.listDefinitions();
  link.close("asked and answered");
  await link.ended;
  return topics?.map(({ topic, type }) => ({ topic, type, text: texts?.get(type) || undefined }));
}

function bindTo(topics: readonly Announced[], config: Config, rules: readonly Rule[]): readonly RuleStatus[] {
  const definitions = Definitions.open({ folders: config.topics.msg_folders });
  const planTopic = compileTopicPlan(config.topics);
  const ros = topics.some(({ type }) => type.includes("/msg/")) ? 2 : 1;
  const trigger = Trigger.open(rules, { fields: new ChannelReader().fieldAccess, log: silentLog, onEvent: () => {} });
  for (const [index, { topic, type, text }] of topics.entries()) {
    const plan = planTopic(topic, type);
    if (plan === undefined) continue;
    const channel: Channel = {
      id: index + 1,
      topic,
      schema: definitions.schema(type, ros, text),
      messageEncoding: ros === 1 ? "ros1" : "cdr",
      className: plan.topicClass.name,
      isLocal: plan.isLocal,
      isLatched: isLatchedTopic(topic, type),
    };
    trigger.addChannel(channel);
  }
  return trigger.status();
}
