/**
 * Localisation jump: the robot believes to be elsewhere from one message to the next.
 *
 * Inputs: where the robot is, from Odometry, PoseStamped and PoseWithCovarianceStamped on topics named so (pose, odom,
 * localization …), and NavSatFix. step = distance between two positions in the same frame; dt = the time between
 * them, by log time or stamps, whichever is longer. Condition: step − max(`factor` × usual speed, speed before) × dt
 * − g × dt² > `jump_m`. The usual speed is the usual peak of step/dt, see usual-peak.ts: a fix that scatters and a
 * filter that is corrected by a bit all the time are known by it; g is what rubber on a road accelerates by at most. Held for `hold_ms`, as a jump has no length. Unknown in the first seconds, after a gap
 * of `GAP_MS`, and for `TOLD_MS` after somebody told the robot where it is (`initialpose`).
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numberOf,
  readerOf,
  type Subject,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";
import { GRAVITY } from "./body-imu.ts";
import { SEEN_NAME } from "./per-topic.ts";
import { UsualPeak } from "./usual-peak.ts";
import { type Vector, vectorReaderOf } from "./vector.ts";

const parametersSchema = z.strictObject({
  jump_m: z.number().positive().default(0.5).describe("beyond what the speed explains (m)"),
  factor: z.number().min(1).default(2.5).describe("times the usual peak of the speed"),
  hold_ms: z.number().min(50).default(500).describe("how long a jump is told (ms)"),
});
type Parameters = z.infer<typeof parametersSchema>;

export const localisationJump: DetectorKind = {
  name: "localisation_jump",
  parameters: parametersSchema,
  roles: ["pose"],
  needs: "a pose, an Odometry or a NavSatFix",
  recoversWhen: "never",
  clearForMs: 500,
  coolDownMs: 2000,
  open: (parameters, deps) => new LocalisationJump(parametersSchema.parse(parameters), deps),
};

const POSES = new Map([
  ["nav_msgs/Odometry", "pose.pose.position"],
  ["geometry_msgs/PoseStamped", "pose.position"],
  ["geometry_msgs/PoseWithCovarianceStamped", "pose.pose.position"],
]);
/** Where the robot is; not where it shall go, or where something else is. */
const OWN_POSE =
  /odom|localiz|localis|amcl|slam|(robot|vehicle|base|ekf|filtered|estimated|mcl|current|local|global)_?pose$|(^|\/)pose$/i;
const NOT_OWN =
  /goal|target|desired|command|cmd|set_?point|initial|gripper|hand|tool|eef|tcp|camera|obstacle|landmark|human(?!oid)/i;
/** Motion capture follows whatever wears its markers: a body counts if its name says that it is the robot. */
const OTHER_BODY =
  /(vrpn|mocap|motion_?capture|optitrack|vicon|qualisys|natnet)(?!.*(robot|vehicle|base|rover|drone|uav|bot\d*\/))/i;

class LocalisationJump implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #places = new Map<string, Place>();

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const type = plainTypeName(channel.schema.name);
    if (/initialpose$/.test(channel.topic)) return (_message, nowMs) => this.#tell(nowMs);
    const position = this.#isOwn(channel, type) ? positionReaderOf(type, channel, this.#deps) : undefined;
    if (position === undefined) return undefined;
    const frame = readerOf(this.#deps.fields, channel, "header.frame_id");
    const stamp = readerOf(this.#deps.fields, channel, "header.stamp");
    const place =
      this.#places.get(channel.topic) ?? new Place(this.#parameters, this.#deps.watch(channel.topic, "position"));
    this.#places.set(channel.topic, place);
    return (message, nowMs) => {
      place.be(position(message), String(frame?.(message) ?? ""), nowMs, numberOf(stamp?.(message)) * 1000);
    };
  }

  onTick(nowMs: number): void {
    for (const place of this.#places.values()) place.rest(nowMs);
  }

  onLongSilence(): void {
    for (const place of this.#places.values()) place.forget();
  }

  describe(): readonly string[] {
    return [...this.#places.keys()];
  }

  #isOwn({ topic }: Channel, type: string): boolean {
    const named = this.#deps.topicOf("pose");
    if (named !== undefined) return topic === named;
    if (type === "sensor_msgs/NavSatFix") return true;
    const isOther = [NOT_OWN, SEEN_NAME, OTHER_BODY].some((name) => name.test(topic));
    return POSES.has(type) && OWN_POSE.test(topic) && !isOther;
  }

  #tell(nowMs: number): void {
    for (const place of this.#places.values()) place.tell(nowMs);
  }
}

type PositionReader = (message: Uint8Array) => Vector;

function positionReaderOf(type: string, channel: Channel, deps: DetectorDeps): PositionReader | undefined {
  const path = POSES.get(type);
  if (path !== undefined) return vectorReaderOf(deps, channel, path);
  const [latitude, longitude] = ["latitude", "longitude"].map((name) => readerOf(deps.fields, channel, name));
  const status = readerOf(deps.fields, channel, "status.status");
  if (latitude === undefined || longitude === undefined) return undefined;
  return (message) => {
    // sensor_msgs/NavSatStatus: -1 is no fix.
    const isFixed = !(numberOf(status?.(message)) < 0);
    const north = numberOf(latitude(message)) * METRES_PER_DEGREE;
    const east = numberOf(longitude(message)) * METRES_PER_DEGREE * Math.cos(numberOf(latitude(message)) * RADIANS);
    return isFixed ? [east, north, 0] : [Number.NaN, Number.NaN, Number.NaN];
  };
}

const RADIANS = Math.PI / 180;
const METRES_PER_DEGREE = 111_195; // of a great circle of the mean earth, radius 6371 km
const GAP_MS = 3000;
const TOLD_MS = 3000;
const PERIOD_MS_MIN = 10;
const LEARN_S = 3;

class Place {
  readonly subject: Subject;
  readonly #parameters: Parameters;
  readonly #usualSpeed = new UsualPeak(LEARN_S);
  #last:
    | { readonly position: Vector; readonly frame: string; readonly nowMs: number; readonly stampMs: number }
    | undefined;
  #periodMs = Number.NaN;
  #speed = 0;
  #jumpedMs = Number.NaN;
  #toldMs = Number.NaN;

  constructor(parameters: Parameters, subject: Subject) {
    this.#parameters = parameters;
    this.subject = subject;
  }

  forget(): void {
    this.#last = undefined;
    this.subject.condition = undefined;
  }

  tell(nowMs: number): void {
    this.#toldMs = nowMs;
  }

  rest(nowMs: number): void {
    if (this.subject.condition === true && nowMs - this.#jumpedMs >= this.#parameters.hold_ms)
      this.subject.condition = false;
  }

  be(position: Vector, frame: string, nowMs: number, stampMs: number): void {
    const last = this.#last;
    if (Number.isNaN(Math.hypot(...position))) return;
    this.#last = { position, frame, nowMs, stampMs };
    if (last === undefined || last.frame !== frame || nowMs - last.nowMs > GAP_MS) return;
    const stampedMs = stampMs - last.stampMs;
    const dtMs = Math.max(nowMs - last.nowMs, stampedMs > 0 && stampedMs < GAP_MS ? stampedMs : 0, PERIOD_MS_MIN);
    this.#periodMs = Number.isNaN(this.#periodMs) ? dtMs : this.#periodMs + 0.1 * (dtMs - this.#periodMs);
    this.#judge(distance(position, last.position), Math.max(dtMs, this.#periodMs), nowMs);
  }

  #judge(step: number, dtMs: number, nowMs: number): void {
    const { jump_m, factor } = this.#parameters;
    const dtS = dtMs / 1000;
    const usual = Math.max(factor * this.#usualSpeed.value, this.#speed) * dtS + GRAVITY * dtS * dtS;
    this.#speed = step / dtS;
    const isTold = nowMs - this.#toldMs <= TOLD_MS;
    this.#usualSpeed.add(this.#speed, nowMs);
    if (Number.isNaN(usual) || isTold) {
      this.subject.condition = undefined;
      return;
    }
    if (step - usual > jump_m) {
      this.#jumpedMs = nowMs;
      this.subject.condition = true;
      this.subject.values = () => ({ jump_m: step, usual_m: usual });
    } else if (this.subject.condition === undefined) this.subject.condition = false;
  }
}

function distance(a: Vector, b: Vector): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}
