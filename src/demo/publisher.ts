/** Turns readings and commands into the robot's messages, each with its stamp, and hands them on as CDR. */
import type { ControlCommand, ControlNote } from "./controller.ts";
import { type DemoTopic, MessageEncoder, type TopicName } from "./messages.ts";
import { type ImuReadings, RANGE_M_MAX, RANGE_M_MIN, type Readings } from "./sensors.ts";
import { quaternionOf, SCENE_VIEW, type Viewpoint, WRIST_MOUNT } from "./viewpoint.ts";
import { ARM_JOINTS, FINGER_JOINTS } from "./world.ts";

export type MessageSink = (topic: TopicName, bytes: Uint8Array, stampNs: bigint) => void;

/** What the controller thinks of its task. */
export type TaskBelief = {
  readonly task: number;
  readonly phase: string;
  readonly attempt: number;
  readonly result: "" | "placed" | "gave_up";
};

type Fields = Readonly<Record<string, unknown>>;

const MOTORS = [...ARM_JOINTS, ...FINGER_JOINTS];
const LOG_LEVELS = { info: 20, warn: 30, error: 40 } as const; // rcl_interfaces/Log
const DIAGNOSTIC_LEVELS = { info: 0, warn: 1, error: 2 } as const; // diagnostic_msgs/DiagnosticStatus
const NO_COVARIANCE = new Float64Array(9);
const INFRARED = 1; // sensor_msgs/Range

export class RobotPublisher {
  readonly #encoder: MessageEncoder;
  readonly #send: MessageSink;
  #stampNs = 0n;

  constructor(topics: readonly DemoTopic[], send: MessageSink) {
    this.#encoder = MessageEncoder.open(topics);
    this.#send = send;
  }

  /** The stamp of what follows, ns since the epoch. */
  setTime(stampNs: bigint): void {
    this.#stampNs = stampNs;
  }

  readings({ positions, velocities, efforts, currents, force, torque, rangeM }: Readings): void {
    this.#publish("/joint_states", "", { name: MOTORS, position: positions, velocity: velocities, effort: efforts });
    this.#publish("/motor_currents", "", { name: MOTORS, effort: currents });
    this.#publish("/wrist/wrench", "ft", { wrench: { force: vector(force), torque: vector(torque) } });
    const limits = { min_range: RANGE_M_MIN, max_range: RANGE_M_MAX };
    const beam = { radiation_type: INFRARED, field_of_view: 0.05, ...limits };
    this.#publish("/gripper/palm_range", "palm", { ...beam, range: rangeM, variance: 0 });
  }

  gripper({ gapM, velocities, efforts }: Readings, command: ControlCommand): void {
    const fingers = ARM_JOINTS.length;
    const hasArrived = Math.abs(gapM - command.gapM) < 0.002;
    const isMoving = Math.abs(velocities[fingers] ?? 0) > 0.01;
    this.#publish("/gripper/state", "gripper", {
      position: gapM,
      effort: -((efforts[fingers] ?? 0) + (efforts[fingers + 1] ?? 0)) / 2,
      stalled: !hasArrived && !isMoving,
      reached_goal: hasArrived,
    });
  }

  imu({ acceleration, rate, orientation: [w = 1, x = 0, y = 0, z = 0] }: ImuReadings): void {
    this.#publish("/imu/data", "imu", {
      orientation: { x, y, z, w },
      orientation_covariance: NO_COVARIANCE,
      angular_velocity: vector(rate),
      angular_velocity_covariance: NO_COVARIANCE,
      linear_acceleration: vector(acceleration),
      linear_acceleration_covariance: NO_COVARIANCE,
    });
  }

  command({ positions, velocities, gapM, forceN }: ControlCommand): void {
    this.#publish("/joint_commands", "", { name: ARM_JOINTS, position: positions, velocity: velocities });
    this.#encode("/gripper/command", { position: gapM, max_effort: forceN });
  }

  belief(belief: TaskBelief): void {
    this.#publish("/task/state", "", { task_type: "pick_and_place", ...belief });
  }

  note({ level, text: msg }: ControlNote): void {
    const origin = { name: "pick_and_place", file: "", function: "", line: 0 };
    this.#encode("/rosout", { stamp: this.#stamp(), level: LOG_LEVELS[level], msg, ...origin });
  }

  /** `problem`: the last thing that went wrong in this task. */
  diagnostics(problem: ControlNote | undefined, { currents }: Readings): void {
    const hardware_id = "arm";
    const level = DIAGNOSTIC_LEVELS[problem?.level ?? "info"];
    const amperes = currents.map((value, index) => ({ key: MOTORS[index] ?? "", value: value.toFixed(2) }));
    const task = { level, name: "pick_and_place", message: problem?.text ?? "ok", hardware_id, values: [] };
    const motors = { level: 0, name: "motors", message: "ok", hardware_id, values: amperes };
    this.#publish("/diagnostics", "", { status: [task, motors] });
  }

  staticTransforms(): void {
    const transform = (frame_id: string, child_frame_id: string, view?: Viewpoint): Fields => {
      const [x, y, z, w] = view === undefined ? [0, 0, 0, 1] : quaternionOf(view);
      const placed = { translation: vector(view?.eye ?? []), rotation: { x, y, z, w } };
      return { header: { stamp: this.#stamp(), frame_id }, child_frame_id, transform: placed };
    };
    const sensors = [transform("hand", "imu"), transform("hand", "ft")];
    const cameras = [transform("world", "scene_camera", SCENE_VIEW), transform("hand", "wrist_camera", WRIST_MOUNT)];
    this.#encode("/tf_static", { transforms: [...cameras, ...sensors] });
  }

  image(camera: "scene" | "wrist", jpeg: Uint8Array, stampNs: bigint): void {
    this.setTime(stampNs);
    this.#publish(`/camera/${camera}/image/compressed`, `${camera}_camera`, { format: "jpeg", data: jpeg });
  }

  #publish(topic: TopicName, frame_id: string, fields: Fields): void {
    this.#encode(topic, { header: { stamp: this.#stamp(), frame_id }, ...fields });
  }

  #encode(topic: TopicName, message: Fields): void {
    this.#send(topic, this.#encoder.encode(topic, message), this.#stampNs);
  }

  #stamp(): { sec: number; nanosec: number } {
    return { sec: Number(this.#stampNs / 1_000_000_000n), nanosec: Number(this.#stampNs % 1_000_000_000n) };
  }
}

function vector(values: readonly number[]): { x: number; y: number; z: number } {
  return { x: values[0] ?? 0, y: values[1] ?? 0, z: values[2] ?? 0 };
}
