/**
 * The services of rosapi that tell a client what is there, as ROS 1's and ROS 2's own rosapi answer them.
 * Names, fields and empty answers are theirs; parameters, actions and type details are not served.
 */
type GraphTopic = {
  readonly name: string;
  readonly schemaName: string;
  readonly schemaText: string;
  readonly publisherNodes: readonly string[];
  readonly subscriberNodes: readonly string[];
};

export type Graph = {
  readonly ros: 1 | 2;
  readonly topics: readonly GraphTopic[];
  readonly nowNs: bigint;
};

type Args = Readonly<Record<string, unknown>>;
type Service = { readonly type: string; readonly answer: (graph: Graph, args: Args) => Record<string, unknown> };

const NS_PER_S = 1_000_000_000n;

const SERVICES: Readonly<Record<string, Service>> = {
  topics: { type: "Topics", answer: (graph) => ({ topics: names(graph.topics), types: types(graph.topics) }) },
  topics_and_raw_types: {
    type: "TopicsAndRawTypes",
    answer: (graph) => ({
      topics: names(graph.topics),
      types: types(graph.topics),
      typedefs_full_text: graph.topics.map((topic) => topic.schemaText),
    }),
  },
  topics_for_type: {
    type: "TopicsForType",
    answer: (graph, { type }) => ({ topics: names(graph.topics.filter((topic) => topic.schemaName === type)) }),
  },
  topic_type: { type: "TopicType", answer: (graph, { topic }) => ({ type: find(graph, topic)?.schemaName ?? "" }) },
  publishers: {
    type: "Publishers",
    answer: (graph, { topic }) => ({ publishers: find(graph, topic)?.publisherNodes ?? [] }),
  },
  subscribers: {
    type: "Subscribers",
    answer: (graph, { topic }) => ({ subscribers: find(graph, topic)?.subscriberNodes ?? [] }),
  },
  nodes: { type: "Nodes", answer: (graph) => ({ nodes: nodes(graph) }) },
  services: { type: "Services", answer: (graph) => ({ services: serviceNames(graph.ros) }) },
  service_type: {
    type: "ServiceType",
    answer: (graph, { service }) => ({ type: serviceType(graph.ros, String(service)) }),
  },
  get_time: { type: "GetTime", answer: (graph) => ({ time: rosTime(graph) }) },
  get_ros_version: { type: "GetROSVersion", answer: () => ({ version: 2, distro: "humble" }) },
};

/** `undefined`: there is no such service. */
export function answerRosapi(service: string, args: Args, graph: Graph): Record<string, unknown> | undefined {
  const name = service.startsWith("/") ? service : `/${service}`; // a relative name, which ROS resolves so
  if (!serviceNames(graph.ros).includes(name)) return undefined;
  return SERVICES[name.slice("/rosapi/".length)]?.answer(graph, args);
}

function serviceNames(ros: 1 | 2): string[] {
  const known = Object.keys(SERVICES).filter((name) => ros === 2 || name !== "get_ros_version");
  return known.map((name) => `/rosapi/${name}`);
}

function serviceType(ros: 1 | 2, service: string): string {
  const type = SERVICES[service.replace(/^\/rosapi\//, "")]?.type;
  if (type === undefined) return "";
  return ros === 1 ? `rosapi/${type}` : `rosapi_msgs/srv/${type}`;
}

function names(topics: readonly GraphTopic[]): string[] {
  return topics.map((topic) => topic.name);
}

function types(topics: readonly GraphTopic[]): string[] {
  return topics.map((topic) => topic.schemaName);
}

function find(graph: Graph, name: unknown): GraphTopic | undefined {
  return graph.topics.find((topic) => topic.name === name);
}

function nodes(graph: Graph): string[] {
  const publishing = graph.topics.flatMap((topic) => topic.publisherNodes);
  return [...new Set([...publishing, "/rosbridge_websocket", "/rosapi"])];
}

function rosTime({ ros, nowNs }: Graph): Record<string, number> {
  const seconds = Number(nowNs / NS_PER_S);
  const fraction = Number(nowNs % NS_PER_S);
  return ros === 1 ? { secs: seconds, nsecs: fraction } : { sec: seconds, nanosec: fraction };
}
