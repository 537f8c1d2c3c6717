/**
 * A robot behind a rosbridge server in this process that goes on sending until it is ended: joints, one camera,
 * `/tf_static` sent once before anybody listens, a debug topic, and on wish
 * what a person asks of Lode. It keeps its own ledger of what it sent.
 */
import { createHash, randomBytes } from "node:crypto";
import { parse } from "@foxglove/rosmsg";
import { MessageWriter } from "@foxglove/rosmsg2-serialization";
import { Definitions } from "../../src/decode/definitions.ts";
import type { Publisher } from "../../src/replay/bridge-topic.ts";
import { RosbridgeServer } from "../../src/replay/rosbridge-server.ts";

export const JOINTS = "/joint_states";
export const CAMERA = "/camera/image/compressed";
export const TF_STATIC = "/tf_static";
export const DEBUG = "/debug/force";
export const CAPTURE = "/lode/capture";

type Sent = { readonly topic: string; readonly sha256: string; readonly wallMs: number };

export type LiveRobotOptions = {
  readonly port?: number;
  readonly jointsHz?: number;
  readonly cameraHz?: number;
  /** Of one frame; random, so that nothing compresses it. */
  readonly frameBytes?: number;
  /** Has a topic on which a person asks for captures. */
  readonly isAsking?: boolean;
};

export class LiveRobot {
  readonly server: RosbridgeServer;
  /** In the order of sending. */
  readonly sent: Sent[] = [];
  readonly #lanes = new Map<string, { readonly publisher: Publisher; readonly writer: MessageWriter }>();
  readonly #timers: NodeJS.Timeout[] = [];
  #count = 0;

  private constructor(server: RosbridgeServer) {
    this.server = server;
  }

  static async open(options: LiveRobotOptions = {}): Promise<LiveRobot> {
    const { port = 0, jointsHz = 50, cameraHz = 10, frameBytes = 20_000, isAsking = false } = options;
    const robot = new LiveRobot(await RosbridgeServer.open({ ros: 2, port }));
    robot.#advertise(TF_STATIC, "tf2_msgs/msg/TFMessage", true);
    robot.#advertise(JOINTS, "sensor_msgs/msg/JointState");
    robot.#advertise(CAMERA, "sensor_msgs/msg/CompressedImage");
    robot.#advertise(DEBUG, "geometry_msgs/msg/WrenchStamped");
    if (isAsking) robot.#advertise(CAPTURE, "std_msgs/msg/String");
    robot.#publish(TF_STATIC, { transforms: [] });
    robot.#every(1000 / jointsHz, () => robot.#publish(JOINTS, robot.#joints()));
    robot.#every(1000 / cameraHz, () => robot.#publish(CAMERA, robot.#frame(frameBytes)));
    robot.#every(100, () => robot.#publish(DEBUG, { header: robot.#header() }));
    return robot;
  }

  get port(): number {
    return this.server.port;
  }

  isSubscribed(topic: string): boolean {
    return this.server.subscriberCount(topic) > 0;
  }

  /** What it sent of a topic within an interval of the wall clock. */
  sentBetween(topic: string, fromMs: number, toMs: number): readonly string[] {
    return this.sent
      .filter((one) => one.topic === topic && one.wallMs >= fromMs && one.wallMs < toMs)
      .map(({ sha256 }) => sha256);
  }

  /** Something pushes against the elbow, for one message. */
  push(): void {
    this.#publish(JOINTS, this.#joints(9));
  }

  /** A person asks for a capture. */
  ask(words: string): void {
    this.#publish(CAPTURE, { data: words });
  }

  /** It says nothing more; the connections stay. */
  stopSending(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopSending();
    await this.server[Symbol.asyncDispose]();
  }

  #advertise(topic: string, schemaName: string, isLatched = false): void {
    const schemaText = Definitions.open({ folders: [] }).find(schemaName, 2) ?? "";
    const publisher = this.server.advertise({ topic, schemaName, schemaText, encoding: "cdr", isLatched });
    this.#lanes.set(topic, { publisher, writer: new MessageWriter(parse(schemaText, { ros2: true })) });
  }

  #publish(topic: string, message: object): void {
    const lane = this.#lanes.get(topic);
    if (lane === undefined) return;
    const bytes = lane.writer.writeMessage(message);
    this.server.publish(lane.publisher, bytes);
    this.sent.push({ topic, sha256: sha256(bytes), wallMs: Date.now() });
  }

  #every(intervalMs: number, body: () => void): void {
    this.#timers.push(setInterval(body, intervalMs));
  }

  /** Its stamp counts, so that no two messages are alike. */
  #header(): object {
    this.#count += 1;
    return { stamp: { sec: 1_700_000_000 + this.#count, nanosec: 0 }, frame_id: "base" };
  }

  #joints(elbowEffort = 1): object {
    const name = ["shoulder", "elbow"];
    return { header: this.#header(), name, position: [0.1, 0.2], velocity: [0, 0], effort: [1, elbowEffort] };
  }

  #frame(bytes: number): object {
    return { header: this.#header(), format: "jpeg", data: randomBytes(bytes) };
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
