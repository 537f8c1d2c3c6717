/** The operation that an episode was cut from: what was being done, where, by which robot, with which software. */

export type Operation = {
  /** What the robot was at: of the episode's labels, of a topic, or as configured; "" if nobody said. */
  readonly taskType: string;
  readonly robot: string;
  readonly site: string;
  readonly embodiment: string;
  /** Lode, Node, the kernel, ROS, and what the configuration names. */
  readonly software: readonly { readonly name: string; readonly version: string }[];
  readonly physics: Physics;
};

/** The label that names an episode's task type, whoever sets it. */
export const TASK_TYPE_LABEL = "task_type";

/** Whether the data is of a robot in the world or of a simulated one. */
export type Physics = {
  readonly kind: "physical" | "simulated";
  /** `configured`: a person said it. `signs`: the data does. `presumed`: nobody said, and there is no sign of a simulator. */
  readonly basis: "configured" | "signs" | "presumed";
  /** What of the data says that it is simulated. */
  readonly signs: readonly string[];
  /** Configured as physical, and there are signs of a simulator. */
  readonly isContradicted: boolean;
};

export function judgePhysics(configured: "auto" | Physics["kind"], signs: readonly string[]): Physics {
  const isContradicted = configured === "physical" && signs.length > 0;
  if (configured !== "auto") return { kind: configured, basis: "configured", signs, isContradicted };
  if (signs.length > 0) return { kind: "simulated", basis: "signs", signs, isContradicted };
  return { kind: "physical", basis: "presumed", signs, isContradicted };
}

const CLOCK_TYPE = /^rosgraph_msgs\/(msg\/)?Clock$/;
const SIMULATOR_TYPE =
  /^(gazebo_msgs|turtlesim|ros_gz_interfaces|ros_ign_interfaces|carla_msgs|webots_ros2?|mujoco_\w+|isaac_\w+)\//;
const SIMULATOR_TOPIC = /^\/(gazebo|gz|ignition|carla|webots|mujoco|isaac_?sim|coppeliasim|stage|unity_sim)\//i;

/**
 * What a topic's name and type say of a simulator; undefined: nothing. Sources: gazebo_ros, ros_gz_bridge,
 * carla-ros-bridge, webots_ros; ROS Clock design: `/clock` is there only where time is simulated, or replayed.
 */
export function simulationSign(topic: string, schemaName: string): string | undefined {
  if (CLOCK_TYPE.test(schemaName)) return `${topic}: time comes from a simulator, or from a replay`;
  if (SIMULATOR_TYPE.test(schemaName)) return `${topic} is of type ${schemaName}`;
  return SIMULATOR_TOPIC.test(topic) ? `${topic} is a simulator's topic` : undefined;
}

/**
 * What a topic is to who learns from an episode. `action`: a command to the robot. `observation`: what was sensed, and
 * the robot's state. `operator`: what a person's device says. `context`: about the system, or the same all the time.
 */
export const TOPIC_ROLES = ["action", "observation", "operator", "context"] as const;
export type TopicRole = (typeof TOPIC_ROLES)[number];

const DEVICE =
  /teleop|joy(stick)?($|[/_\d])|keyboard|leader|gello|space_?(nav|mouse)|(^|\/)(master|operator|remote)($|[/_])/i;
const CONTEXT_TYPE =
  /^(rosgraph_msgs|rcl_interfaces|rosbag2_interfaces|diagnostic_msgs|bond|dynamic_reconfigure|rosapi_msgs|lifecycle_msgs)\/|\/CameraInfo$/;
const CONTEXT_NAME =
  /(^|\/)(tf_static|robot_description\w*|rosout(_agg)?|map(_metadata)?|parameter_\w+|connected_clients|client_count)$/;
/** What an action server says of its goals, and what a controller says of itself. */
const ANSWER_NAME = /(^|\/)(feedback|result|status|state|states|odom\w*)$/;
const COMMAND_TYPE =
  /^(trajectory_msgs|ackermann_msgs)\/|\/(\w*Command|\w*Cmd|\w*ActionGoal|JointJog|AttitudeTarget|PositionTarget|ActuatorControl|OverrideRCIn)$/;
const COMMAND_NAME =
  /(^|[/_])(cmd|commands?|cmd_\w+|goal|setpoints?|target|desired(_\w+)?|reference|joint_trajectory)($|\/(velocity|position|effort|motor_power|unstamped|raw)$)/i;

/** By convention, from a topic's name and type; the configuration may know better (`topics.assign`, `role`). */
export function topicRole(topic: string, schemaName: string): TopicRole {
  const type = schemaName.replace("/msg/", "/");
  if (type === "sensor_msgs/Joy" || DEVICE.test(topic)) return "operator";
  if (CONTEXT_TYPE.test(type) || CONTEXT_NAME.test(topic)) return "context";
  if (ANSWER_NAME.test(topic)) return "observation";
  const isTwist = /^geometry_msgs\/Twist(Stamped)?$/.test(type) && /cmd|vel/i.test(topic);
  return isTwist || COMMAND_TYPE.test(type) || COMMAND_NAME.test(topic) ? "action" : "observation";
}
