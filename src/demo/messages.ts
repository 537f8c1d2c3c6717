/**
 * The demo's topics: their types, definitions and encoders, as a ROS 2 robot publishes them (CDR).
 *
 * Units are SI. `/motor_currents` carries amperes without sign in the `effort` field of a JointState.
 * `/gripper/command` and `/gripper/state` speak of the gap between the pads in metres (0 closed, 0.09 open) and of
 * the force of each finger in newtons; `/joint_states` has each finger's way from the middle (0 … 0.045) and its
 * signed force, negative while it squeezes. `/wrist/wrench` is measured in the hand's frame, whose z axis points out
 * of the palm: force.z is about −3.5 N with an empty hand that points down and grows more negative with a load.
 * `/gripper/palm_range` looks out of the palm: a cup that slides out of the hand moves away.
 */
import { fileURLToPath } from "node:url";
import { parse } from "@foxglove/rosmsg";
import { MessageWriter } from "@foxglove/rosmsg2-serialization";
import { Definitions } from "../decode/definitions.ts";
import { assert } from "../std/assert.ts";

export type DemoTopic = {
  readonly topic: TopicName;
  /** As ROS 2 says it: `sensor_msgs/msg/Imu`. */
  readonly schemaName: string;
  /** With all dependencies, separated as `ros2 bag` does it. */
  readonly schemaText: string;
  readonly isLatched: boolean;
};

const TYPES = {
  "/joint_states": "sensor_msgs/JointState",
  "/joint_commands": "sensor_msgs/JointState",
  "/motor_currents": "sensor_msgs/JointState",
  "/wrist/wrench": "geometry_msgs/WrenchStamped",
  "/imu/data": "sensor_msgs/Imu",
  "/gripper/command": "control_msgs/GripperCommand",
  "/gripper/state": "lode_demo_msgs/GripperState",
  "/gripper/palm_range": "sensor_msgs/Range",
  "/camera/scene/image/compressed": "sensor_msgs/CompressedImage",
  "/camera/wrist/image/compressed": "sensor_msgs/CompressedImage",
  "/task/state": "lode_demo_msgs/TaskState",
  "/tf_static": "tf2_msgs/TFMessage",
  "/diagnostics": "diagnostic_msgs/DiagnosticArray",
  "/rosout": "rcl_interfaces/Log",
} as const;

export type TopicName = keyof typeof TYPES;

/** What the controller believes; a judge of the rules hides these. */
export const BELIEF_TOPICS: readonly TopicName[] = ["/diagnostics", "/rosout", "/task/state"];

/** The demo's own types lie beside this file as ROS packages lay them out. */
const OWN_TYPES = fileURLToPath(new URL("./msg", import.meta.url));

/** Every topic with its definition; reads the bundled types once. */
export function demoTopics(): DemoTopic[] {
  const definitions = Definitions.open({ folders: [OWN_TYPES] });
  return topicNames().map((topic) => {
    const schemaText = definitions.find(TYPES[topic], 2);
    assert(schemaText !== undefined, `a definition of ${TYPES[topic]} is there`);
    return { topic, schemaName: TYPES[topic].replace("/", "/msg/"), schemaText, isLatched: topic === "/tf_static" };
  });
}

function topicNames(): TopicName[] {
  const isTopicName = (name: string): name is TopicName => name in TYPES;
  return Object.keys(TYPES).filter(isTopicName);
}

/** Encodes messages as CDR; one writer a topic. The bytes are the caller's. */
export class MessageEncoder {
  readonly #writersByTopic: ReadonlyMap<TopicName, MessageWriter>;

  private constructor(writersByTopic: ReadonlyMap<TopicName, MessageWriter>) {
    this.#writersByTopic = writersByTopic;
  }

  static open(topics: readonly DemoTopic[]): MessageEncoder {
    const writers = topics.map(
      ({ topic, schemaText }) => [topic, new MessageWriter(parse(schemaText, { ros2: true }))] as const,
    );
    return new MessageEncoder(new Map(writers));
  }

  encode(topic: TopicName, message: Readonly<Record<string, unknown>>): Uint8Array {
    const writer = this.#writersByTopic.get(topic);
    assert(writer !== undefined, `${topic} is one of the demo's topics`);
    return writer.writeMessage(message);
  }
}
