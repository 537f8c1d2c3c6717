/** Which topics are recorded, and under which class: globs from the configuration, compiled once. */
import { type TopicRole, topicRole } from "../model/operation.ts";
import type { TopicClass, TopicPlan } from "../model/topic-class.ts";
import { compileGlobs, type Matcher } from "../std/glob.ts";
import { type AssignmentConfig, type Config, defaultAssignments } from "./schema.ts";

type PlannedTopic = TopicPlan & { readonly role: TopicRole };
export type PlanTopic = (topic: string, schemaName: string) => PlannedTopic | undefined;

export function compileTopicPlan(topics: Config["topics"]): PlanTopic {
  const includes = compileGlobs(topics.include);
  const excludes = compileGlobs(topics.exclude);
  const classes = topicClasses(topics);
  const light = classes.get("light");
  const assignments = [...topics.assign, ...defaultAssignments].map(compileAssignment);
  return (topic, schemaName) => {
    if (!includes(topic) || excludes(topic) || light === undefined) return undefined;
    const type = shortTypeName(schemaName);
    const matching = assignments.filter((entry) => entry.matchesTopic(topic) && entry.matchesType(type));
    // First match wins for each property on its own, so that one line can set privacy and another the class.
    const privacy = matching.find((entry) => entry.privacy !== undefined)?.privacy ?? "upload";
    if (privacy === "never") return undefined;
    const className = matching.find((entry) => entry.className !== undefined)?.className ?? "light";
    return {
      topicClass: classes.get(className) ?? light,
      isOnDemand: matching.find((entry) => entry.isOnDemand !== undefined)?.isOnDemand ?? false,
      isLocal: privacy === "local",
      role: matching.find((entry) => entry.role !== undefined)?.role ?? topicRole(topic, schemaName),
    };
  };
}

export function topicClasses(topics: Config["topics"]): ReadonlyMap<string, TopicClass> {
  const entries = Object.entries(topics.classes).map(([name, entry]): [string, TopicClass] => [
    name,
    {
      name,
      rank: entry.rank,
      tier: entry.tier,
      baselineHz: entry.baseline_hz,
      memoryMs: entry.memory_ms,
      memoryBytesMax: entry.memory_bytes_max,
      diskMsMax: entry.disk_ms_max,
      diskBytesMax: entry.disk_bytes_max,
      diskShareMax: entry.disk_share_max,
      queueLength: entry.queue_length,
    },
  ]);
  return new Map(entries);
}

/** `sensor_msgs/msg/Imu` → `sensor_msgs/Imu`, so that one glob serves both ROS generations. */
function shortTypeName(name: string): string {
  return name.replace("/msg/", "/");
}

type CompiledAssignment = {
  readonly matchesTopic: Matcher;
  readonly matchesType: Matcher;
  readonly className: string | undefined;
  readonly isOnDemand: boolean | undefined;
  readonly privacy: AssignmentConfig["privacy"];
  readonly role: TopicRole | undefined;
};

function compileAssignment(entry: AssignmentConfig): CompiledAssignment {
  return {
    matchesTopic: compileGlobs(entry.match),
    matchesType: compileGlobs(entry.types),
    className: entry.class,
    isOnDemand: entry.on_demand,
    privacy: entry.privacy,
    role: entry.role,
  };
}
