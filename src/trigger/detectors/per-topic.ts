/**
 * A detector that watches each sensor topic by itself, or the one that the rule names under `topic`.
 *
 * A topic that comes back with another definition or in another form of delivery keeps its subject and begins anew.
 */
import type { Channel } from "../../model/channel.ts";
import type { Detector, DetectorDeps, Listener, Subject } from "../detector.ts";
import { plainTypeName } from "../seams.ts";

/** One topic's messages. Conditions are looked at after `tick`. */
export interface Stream {
  readonly hear: Listener;
  tick?(nowMs: number): void;
  /** Everything was silent for seconds. */
  forget(): void;
}

/** undefined: messages of this channel have nothing to watch. */
export type OpenStream = (channel: Channel, subject: Subject) => Stream | undefined;

export class PerTopic implements Detector {
  readonly isJudgedAtTicks = true;
  readonly #deps: DetectorDeps;
  readonly #open: OpenStream;
  readonly #streams = new Map<string, { readonly subject: Subject; readonly stream: Stream }>();

  constructor(deps: DetectorDeps, open: OpenStream) {
    this.#deps = deps;
    this.#open = open;
  }

  bind(channel: Channel): Listener | undefined {
    const { topic } = channel;
    const named = this.#deps.topicOf("topic");
    if (named === undefined ? !isSensor(channel) : topic !== named) return undefined;
    const known = this.#streams.get(topic)?.subject;
    const subject = known ?? this.#deps.watch(topic, topic);
    const stream = this.#open(channel, subject);
    if (stream === undefined) return undefined;
    this.#streams.set(topic, { subject, stream });
    return (message, nowMs, atNs) => stream.hear(message, nowMs, atNs);
  }

  onTick(nowMs: number): void {
    for (const { stream } of this.#streams.values()) stream.tick?.(nowMs);
  }

  onLongSilence(): void {
    for (const { subject, stream } of this.#streams.values()) {
      subject.condition = undefined;
      stream.forget();
    }
  }

  describe(): readonly string[] {
    return [...this.#streams.keys()];
  }
}

const SENSOR_TYPES = new Set(
  [
    ...["BatteryState", "CompressedImage", "FluidPressure", "Illuminance", "Image", "Imu", "JointState", "LaserScan"],
    ...["MagneticField", "MultiEchoLaserScan", "NavSatFix", "PointCloud", "PointCloud2", "Range", "Temperature"],
  ].map((name) => `sensor_msgs/${name}`),
)
  .add("nav_msgs/Odometry")
  .add("geometry_msgs/PoseStamped")
  .add("geometry_msgs/WrenchStamped")
  .add("geometry_msgs/Wrench");

const COMMAND_NAME = /cmd|command|goal|target|desired|reference|setpoint|teleop/i;
/** What perception sees: things and people that are not the robot. */
export const SEEN_NAME =
  /marker|aruco|april|(^|[/_])tags?(?![a-z])|fiducial|object|detect|person(?!al)|people|(?<!inter|sur)face/i;
/** What comes when somebody looks. */
const EVENT_NAME = /debug|result|annotat|overlay/i;

/** What a sensor sends by itself; commands, events and anything named so may stop at will. */
function isSensor({ topic, schema, isLatched }: Channel): boolean {
  const isFree = isLatched || [COMMAND_NAME, SEEN_NAME, EVENT_NAME].some((name) => name.test(topic));
  return SENSOR_TYPES.has(plainTypeName(schema.name)) && !isFree;
}
