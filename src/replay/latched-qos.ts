/** Whether a topic's publisher keeps its last message for late subscribers, by its name or by what rosbag2 wrote down. */

/** These always are, and converted or old recordings do not say so. */
const ALWAYS_LATCHED = new Set(["/tf_static", "/robot_description"]);

/** `profiles` is YAML; durability 1 or `transient_local` (rmw's `RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL`). */
export function isLatchedQos(topic: string, profiles: string): boolean {
  return ALWAYS_LATCHED.has(topic) || /durability:\s*(1\b|transient_local)/.test(profiles);
}
