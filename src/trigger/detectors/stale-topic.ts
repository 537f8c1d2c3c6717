/**
 * Stale topic: a sensor that sent regularly has stopped, while others go on.
 *
 * Condition per topic: silence > max(`silent_ms`, `gap_factor` × the longest gap seen, `period_factor` × mean period),
 * known only after `history_ms` and `messages` messages. Only sensor-like types count; commands, events and
 * anything named like a command may stop at will. Rule time stands still while everything is silent, so neither the
 * end of a recording nor a lost connection counts; after a long silence a topic must be heard again first.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import type { Detector, DetectorDeps, DetectorKind, Listener, Subject } from "../detector.ts";
import { plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  silent_ms: z.number().min(100).default(3000),
  gap_factor: z.number().min(1).default(5),
  period_factor: z.number().min(1).default(20),
  history_ms: z.number().min(0).default(10_000),
  messages: z.number().int().min(2).default(50),
});
type Parameters = z.infer<typeof parametersSchema>;

const SENSOR_TYPES = new Set(
  [
    ...["BatteryState", "CompressedImage", "FluidPressure", "Illuminance", "Image", "Imu", "JointState", "LaserScan"],
    ...["MagneticField", "MultiEchoLaserScan", "NavSatFix", "PointCloud", "PointCloud2", "Range", "Temperature"],
  ].map((name) => `sensor_msgs/${name}`),
)
  .add("nav_msgs/Odometry")
  .add("geometry_msgs/WrenchStamped")
  .add("geometry_msgs/Wrench");

const COMMAND_NAME = /cmd|command|goal|target|desired|reference|setpoint|teleop/i;

export const staleTopic: DetectorKind = {
  name: "stale_topic",
  parameters: parametersSchema,
  roles: ["topic"],
  needs: "a sensor topic",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 10_000,
  open: (parameters, deps) => new StaleTopic(parametersSchema.parse(parameters), deps),
};

type Rhythm = {
  readonly subject: Subject;
  firstMs: number;
  lastMs: number;
  count: number;
  gapMaxMs: number;
  isHeard: boolean;
};

class StaleTopic implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #rhythms: Rhythm[] = [];

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const named = this.#deps.topicOf("topic");
    if (named === undefined ? !isSensor(channel) : channel.topic !== named) return undefined;
    const subject = this.#deps.watch(channel.topic, channel.topic);
    const rhythm: Rhythm = { subject, firstMs: Number.NaN, lastMs: Number.NaN, count: 0, gapMaxMs: 0, isHeard: false };
    this.#rhythms.push(rhythm);
    return (_message, nowMs) => hear(rhythm, nowMs);
  }

  onTick(nowMs: number): void {
    for (const rhythm of this.#rhythms) this.#judge(rhythm, nowMs);
  }

  onLongSilence(): void {
    for (const rhythm of this.#rhythms) {
      rhythm.isHeard = false;
      rhythm.subject.condition = undefined;
    }
  }

  describe(): readonly string[] {
    return this.#rhythms.map((rhythm) => rhythm.subject.topic);
  }

  #judge(rhythm: Rhythm, nowMs: number): void {
    const { silent_ms, gap_factor, period_factor, history_ms, messages } = this.#parameters;
    const spanMs = rhythm.lastMs - rhythm.firstMs;
    if (!rhythm.isHeard || rhythm.count < messages || !(spanMs >= history_ms)) return;
    const periodMs = spanMs / (rhythm.count - 1);
    const silentMs = nowMs - rhythm.lastMs;
    rhythm.subject.condition = silentMs > Math.max(silent_ms, gap_factor * rhythm.gapMaxMs, period_factor * periodMs);
    if (rhythm.subject.condition) rhythm.subject.values = () => ({ silent_ms: silentMs, period_ms: periodMs });
  }
}

/** A gap that was reported as stale, or lay in a silence of everything, is not part of the rhythm. */
function hear(rhythm: Rhythm, nowMs: number): void {
  if (rhythm.isHeard && rhythm.subject.condition !== true)
    rhythm.gapMaxMs = Math.max(rhythm.gapMaxMs, nowMs - rhythm.lastMs);
  if (Number.isNaN(rhythm.firstMs)) rhythm.firstMs = nowMs;
  rhythm.isHeard = true;
  rhythm.lastMs = nowMs;
  rhythm.count += 1;
}

function isSensor(channel: Channel): boolean {
  return (
    SENSOR_TYPES.has(plainTypeName(channel.schema.name)) && !COMMAND_NAME.test(channel.topic) && !channel.isLatched
  );
}
