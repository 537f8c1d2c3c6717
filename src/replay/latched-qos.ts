/** Whether a ROS 2 topic's publisher keeps its last message for late subscribers, as rosbag2 wrote it down. */

/** tf2 always publishes these so, and converted recordings carry no profile. */
const ALWAYS_LATCHED = new Set(["/tf_static", "/robot_description"]);

/** `profiles` is YAML; durability 1 or `transient_local` (rmw's `RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL`). */
export function isLatchedQos(topic: string, profiles: string): boolean {
  return ALWAYS_LATCHED.has(topic) || /durability:\s*(1\b|transient_local)/.test(profiles);
}
