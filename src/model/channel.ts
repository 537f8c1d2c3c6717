/** Channels and schemas, in MCAP's words. */

/** How a message's bytes are laid out: MCAP well-known encodings. */
export type MessageEncoding = "ros1" | "cdr" | "msgpack" | "json";
/** How a schema's text is written: MCAP well-known encodings, or "" where there is no text. */
export type SchemaEncoding = "ros1msg" | "ros2msg" | "jsonschema" | "";

export type Schema = {
  /** `sensor_msgs/msg/Imu` for `ros2msg`, `sensor_msgs/Imu` for `ros1msg`. */
  readonly name: string;
  readonly encoding: SchemaEncoding;
  /** The definition with all its dependencies, separated as `ros2 bag` and `rosbag` separate them; "" if unknown. */
  readonly text: string;
};

export type Channel = {
  /** 1…65535, ring-wide, assigned by the ingest thread, never reused while a chunk refers to it. */
  readonly id: number;
  readonly topic: string;
  readonly schema: Schema;
  readonly messageEncoding: MessageEncoding;
  /** The value class its chunks are kept under. */
  readonly className: string;
  /** Kept on the robot, never uploaded. */
  readonly isLocal: boolean;
  /** Latched or rarely sent: its last message belongs to every episode. */
  readonly isLatched: boolean;
};
