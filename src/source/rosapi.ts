/** What rosapi tells of a robot: its topics, their types and definitions, who publishes, which ROS it speaks. */
import type { BridgeLink } from "./bridge-link.ts";

export type DiscoveredTopic = { readonly topic: string; readonly type: string };

/** A robot has hundreds of topics; a list over this is none. */
const TOPICS_MAX = 10_000;
/** rosapi reads the definition of every type from files for each answer. */
const DEFINITIONS_PATIENCE = 3;
const STUCK_PATIENCE = 3;
/** What rosapi for ROS 2 says in place of a definition that it does not find. */
const NO_DEFINITION = "# failed to get full definition text";

/** Every answer is undefined where rosapi is not there, fails, or takes too long. */
export class Rosapi {
  /** Of the last question that was not answered. */
  failure = "";
  readonly #link: BridgeLink;
  readonly #timeoutMs: number;
  #hasAnswered = false;
  /** Since when, and how often in a row, no answer came. */
  #unansweredMs = 0;
  #unansweredCount = 0;

  constructor(link: BridgeLink, timeoutMs: number) {
    this.#link = link;
    this.#timeoutMs = timeoutMs;
  }

  /** Only ROS 2 knows the question. */
  async askVersion(): Promise<1 | 2 | undefined> {
    const values = await this.#call("get_ros_version", "GetROSVersion", {});
    return values === undefined ? undefined : values.version === 1 ? 1 : 2;
  }

  /** All topics whose type is known. */
  async listTopics(): Promise<readonly DiscoveredTopic[] | undefined> {
    const values = await this.#call("topics", "Topics", {});
    if (values === undefined) return undefined;
    const types = stringsOf(values.types);
    return stringsOf(values.topics)
      .map((topic, index) => ({ topic, type: types[index] ?? "" }))
      .filter(({ topic, type }) => topic !== "" && type !== "");
  }

  /** Full definitions by type name, "" where there is none. Slow on the bridge's side, and one bad type may fail it for all. */
  async listDefinitions(): Promise<ReadonlyMap<string, string> | undefined> {
    const values = await this.#call("topics_and_raw_types", "TopicsAndRawTypes", {}, DEFINITIONS_PATIENCE);
    if (values === undefined) return undefined;
    const texts = stringsOf(values.typedefs_full_text);
    const known = (text: string) => (text.startsWith(NO_DEFINITION) ? "" : text);
    return new Map(stringsOf(values.types).map((type, index) => [type, known(texts[index] ?? "")]));
  }

  /** Names of the nodes that publish a topic. */
  async listPublishers(topic: string): Promise<readonly string[] | undefined> {
    const values = await this.#call("publishers", "Publishers", { topic });
    return values === undefined ? undefined : stringsOf(values.publishers);
  }

  /**
   * It answered on this connection and has not for long. rosbridge_suite for ROS 2 reads nothing more from a
   * connection while a call of it waits, and a call into a service that died waits for ever.
   */
  get isStuck(): boolean {
    const isLong = performance.now() - this.#unansweredMs > STUCK_PATIENCE * this.#timeoutMs;
    return this.#hasAnswered && this.#unansweredCount >= STUCK_PATIENCE && isLong;
  }

  #noteAnswer(hasCome: boolean): void {
    this.#hasAnswered ||= hasCome;
    if (hasCome) this.#unansweredCount = 0;
    else if (this.#unansweredCount++ === 0) this.#unansweredMs = performance.now() - this.#timeoutMs;
  }

  /** rosbridge_suite finds the type by itself, whatever stands here. */
  async #call(name: string, type: string, args: object, patience = 1): Promise<Values | undefined> {
    if (this.#link.isJsonOnly) {
      this.failure ||= "a bridge that only has JSON has no rosapi";
      return undefined;
    }
    const timeoutMs = patience * this.#timeoutMs;
    const result = await this.#link.call(`/rosapi/${name}`, `rosapi_msgs/srv/${type}`, args, timeoutMs);
    this.#noteAnswer(result.kind !== "unanswered");
    if (result.kind === "ok" && isValues(result.values)) return result.values;
    this.failure = result.kind === "ok" ? "an answer without values" : result.reason;
    return undefined;
  }
}

type Values = Readonly<Record<string, unknown>>;

function isValues(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.slice(0, TOPICS_MAX).map((item) => (typeof item === "string" ? item : "")) : [];
}
