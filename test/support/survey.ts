/** What must be known of a recording before a fault can be put into it. */
import type { Recording } from "../../src/replay/recording.ts";
import { type Draft, type Spoilable, spoil } from "./spoilt-recording.ts";

export type Vector = readonly [x: number, y: number, z: number];
export type Sample = { readonly atS: number; readonly values: readonly number[] };

export type SurveyedTopic = {
  readonly topic: string;
  readonly type: string;
  readonly firstS: number;
  lastS: number;
  count: number;
  /** Of its messages: seconds since the epoch, 0 without. */
  readonly stampS: number;
  /** Imu: acceleration; Odometry: speed; JointState: positions. */
  readonly samples: Sample[];
};

export type Survey = {
  readonly file: string;
  readonly endS: number;
  readonly topics: readonly SurveyedTopic[];
};

const SAMPLED: Readonly<Record<string, (draft: Draft) => readonly number[]>> = {
  "sensor_msgs/Imu": (draft) => vectorOf(draft, "linear_acceleration"),
  "nav_msgs/Odometry": (draft) => [draft.number("twist.twist.linear.x")],
  "sensor_msgs/JointState": (draft) => draft.names("name").map((_, index) => draft.number(`position.${index}`)),
};

export async function survey(file: string, recording: Recording): Promise<Survey> {
  const topics = new Map<string, SurveyedTopic>();
  const look = (message: Spoilable): "same" => {
    const known = topics.get(message.topic) ?? begin(message);
    topics.set(message.topic, known);
    known.lastS = message.atS;
    known.count += 1;
    const values = SAMPLED[message.type];
    if (values !== undefined) known.samples.push({ atS: message.atS, values: values(message.draft()) });
    return "same";
  };
  for await (const _ of spoil(recording, () => look).messages()) {
    // the looking is all
  }
  return { file, endS: Number(recording.endNs - recording.startNs) / 1e9, topics: [...topics.values()] };
}

function begin(message: Spoilable): SurveyedTopic {
  const { topic, type, atS } = message;
  return { topic, type, firstS: atS, lastS: atS, count: 0, stampS: stampOf(message), samples: [] };
}

function stampOf(message: Spoilable): number {
  try {
    const draft = message.draft();
    return draft.number("header.stamp.sec") || draft.number("header.stamp.secs") || 0;
  } catch {
    return 0; // a type that nobody can decode
  }
}

export function vectorOf(draft: Draft, path: string): Vector {
  return [draft.number(`${path}.x`), draft.number(`${path}.y`), draft.number(`${path}.z`)];
}

export function setVector(draft: Draft, path: string, [x, y, z]: Vector): void {
  draft.set(`${path}.x`, x);
  draft.set(`${path}.y`, y);
  draft.set(`${path}.z`, z);
}

/** Mean of what was sampled up to `toS`. */
export function meanOf({ samples }: SurveyedTopic, toS: number): Vector {
  const sum: [number, number, number] = [0, 0, 0];
  const early = samples.filter(({ atS }) => atS <= toS);
  for (const { values } of early)
    for (const axis of [0, 1, 2] as const) sum[axis] += (values[axis] ?? 0) / early.length;
  return sum;
}

/** v turned by `angle` about a unit axis (Rodrigues). */
export function turned(v: Vector, axis: Vector, angle: number): Vector {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const along = (axis[0] * v[0] + axis[1] * v[1] + axis[2] * v[2]) * (1 - c);
  const [ax, ay, az] = axis;
  return [
    v[0] * c + (ay * v[2] - az * v[1]) * s + ax * along,
    v[1] * c + (az * v[0] - ax * v[2]) * s + ay * along,
    v[2] * c + (ax * v[1] - ay * v[0]) * s + az * along,
  ];
}

/** A unit vector at a right angle to `v`, `angle` around it. */
export function acrossOf(v: Vector, angle: number): Vector {
  const norm = Math.hypot(...v);
  const unit: Vector = [v[0] / norm, v[1] / norm, v[2] / norm];
  const other: Vector = Math.abs(unit[0]) < 0.8 ? [1, 0, 0] : [0, 1, 0];
  const across: Vector = [
    unit[1] * other[2] - unit[2] * other[1],
    unit[2] * other[0] - unit[0] * other[2],
    unit[0] * other[1] - unit[1] * other[0],
  ];
  const length = Math.hypot(...across);
  return turned([across[0] / length, across[1] / length, across[2] / length], unit, angle);
}
