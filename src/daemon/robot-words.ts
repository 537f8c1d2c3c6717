/**
 * What the robot says about its operation beside its data: labels on topics that the configuration names, signs that
 * it is simulated, which ROS it runs. Bounded: the configured labels, twenty signs. A topic is a sign until it is gone,
 * or silent for a minute: a recording that was played back once says nothing of what comes after.
 */
import type { Channel } from "../model/channel.ts";
import { simulationSign } from "../model/operation.ts";
import type { CallResult } from "../source/bridge-link.ts";
import type { TopicStatus } from "../source/source.ts";
import type { FieldAccess, FieldReader, MessageListener } from "./message-listener.ts";

/** Crosses to the store thread, and goes into the episodes that open from then on. */
export type Said = {
  readonly labels: Readonly<Record<string, string>>;
  readonly signs: readonly string[];
  /** Such as "1 noetic"; "" while nobody knows. */
  readonly ros: string;
};

export const NOTHING_SAID: Said = { labels: {}, signs: [], ros: "" };

const SIGNS_MAX = 20;
const SILENCE_NS = 60_000_000_000n;
const TEXT_LENGTH_MAX = 1000;
const PARAMETER_EVENT = /^rcl_interfaces\/(msg\/)?ParameterEvent$/;
const SIM_TIME = "use_sim_time";

export class RobotWords {
  readonly #fields: FieldAccess;
  /** Label → topic and field. */
  readonly #labelFields: readonly { readonly label: string; readonly topic: string; readonly field: string }[];
  /** What topics are signs of; others were said once, and hold. */
  #topicSigns: readonly string[] = [];
  #saidSigns: readonly string[] = [];
  #said: Said = NOTHING_SAID;
  #isTold = true;

  /** `labelTopics`: label → `topic` or `topic:field`. */
  constructor(labelTopics: Readonly<Record<string, string>>, fields: FieldAccess) {
    this.#fields = fields;
    this.#labelFields = Object.entries(labelTopics).map(([label, place]) => {
      const [topic = "", field = "data"] = place.split(":");
      return { label, topic, field };
    });
  }

  /** The last words, if they are not the same as the last time. */
  take(): Said | undefined {
    if (this.#isTold) return undefined;
    this.#isTold = true;
    return this.#said;
  }

  /** Every topic that the robot has, recorded or not. */
  noteTopic(topic: string, schemaName: string): void {
    const sign = simulationSign(topic, schemaName);
    if (sign !== undefined) this.#setSigns([...this.#topicSigns, sign], this.#saidSigns);
  }

  /** All that the robot has now; `nowNs` by the monotonic clock. */
  reviewTopics(topics: readonly TopicStatus[], nowNs: bigint): void {
    const live = topics.filter((topic) => isLive(topic, nowNs));
    const signs = live.map(({ topic, schemaName }) => simulationSign(topic, schemaName));
    const found = signs.filter((sign) => sign !== undefined);
    this.#setSigns(found, this.#saidSigns);
  }

  listenersOf(channel: Channel): MessageListener[] {
    const { topic, schema } = channel;
    const labels = this.#labelFields
      .filter((one) => one.topic === topic)
      .map((one) => this.#labelListener(channel, one));
    const isParameters = PARAMETER_EVENT.test(schema.name);
    const all = isParameters ? [...labels, ...this.#parameterListeners(channel)] : labels;
    return all.filter((listener) => listener !== undefined);
  }

  /** Asks once a connection what only a question tells. A bridge that does not know the answer costs nothing. */
  async ask(ros: 1 | 2, call: (service: string, type: string, args: object) => Promise<CallResult>): Promise<void> {
    const param = async (name: string) => {
      const value = textIn(await call("/rosapi/get_param", "rosapi/GetParam", { name, default: '""' }), "value");
      return value.replace(/["\s]|\\n/g, ""); // JSON of text that ends with a line break
    };
    const distro =
      ros === 1
        ? await param("/rosdistro")
        : textIn(await call("/rosapi/get_ros_version", "rosapi_msgs/srv/GetROSVersion", {}), "distro");
    this.#say({ ros: `${ros} ${distro}`.trim() });
    // Nodes of ROS 2 have one each, and a question to a node that hangs would stop the bridge: their events tell.
    if (ros === 1 && (await param(`/${SIM_TIME}`)) === "true") this.#addSign(`/${SIM_TIME} is true`);
  }

  #labelListener(channel: Channel, { label, field }: { label: string; field: string }): MessageListener | undefined {
    const read = this.#reader(channel, field);
    if (read === undefined) return undefined;
    return (message) => {
      const value = read(message);
      if (typeof value === "object" || value === undefined) return;
      const text = String(value).slice(0, TEXT_LENGTH_MAX);
      if (this.#said.labels[label] !== text) this.#say({ labels: { ...this.#said.labels, [label]: text } });
    };
  }

  #parameterListeners(channel: Channel): (MessageListener | undefined)[] {
    return ["new_parameters", "changed_parameters"].map((list) => {
      const names = this.#reader(channel, `${list}[*].name`);
      const values = this.#reader(channel, `${list}[*].value.bool_value`);
      if (names === undefined || values === undefined) return undefined;
      return (message) => {
        const index = listOf(names(message)).indexOf(SIM_TIME);
        if (index >= 0 && listOf(values(message))[index]) this.#addSign(`${SIM_TIME} is true`);
      };
    });
  }

  #reader(channel: Channel, path: string): FieldReader | undefined {
    const reader = this.#fields(channel, path);
    return typeof reader === "function" ? reader : undefined;
  }

  #addSign(sign: string): void {
    this.#setSigns(this.#topicSigns, [...this.#saidSigns, sign]);
  }

  #setSigns(topicSigns: readonly string[], saidSigns: readonly string[]): void {
    this.#topicSigns = bounded(topicSigns);
    this.#saidSigns = bounded(saidSigns);
    const signs = bounded([...this.#topicSigns, ...this.#saidSigns]);
    if (signs.join("\n") !== this.#said.signs.join("\n")) this.#say({ signs });
  }

  #say(words: Partial<Said>): void {
    this.#said = { ...this.#said, ...words };
    this.#isTold = false;
  }
}

const bounded = (signs: readonly string[]): string[] => [...new Set(signs)].slice(0, SIGNS_MAX);

/** A topic that nobody listens to at present is live while it is published, as far as that is known. */
function isLive({ mode, lastMessageNs, publishers }: TopicStatus, nowNs: bigint): boolean {
  const isHeard = mode !== "on_demand" && lastMessageNs !== undefined;
  return isHeard ? nowNs - lastMessageNs <= SILENCE_NS : publishers?.length !== 0;
}

function listOf(value: ReturnType<FieldReader>): readonly (string | number)[] {
  return typeof value === "object" ? [...value] : [];
}

function textIn(result: CallResult, name: string): string {
  const value = result.kind === "ok" ? Object.getOwnPropertyDescriptor(Object(result.values), name)?.value : undefined;
  return typeof value === "string" ? value.slice(0, TEXT_LENGTH_MAX) : "";
}
