/**
 * Invalid numbers: a sensor that measured gives NaN or infinity in place of a number.
 *
 * Every `look_ms` the fields that such a sensor always fills are read (Imu: angular velocity and acceleration; JointState:
 * position, velocity, effort; Odometry: position and twist; Wrench: force and torque). Condition per topic: an element that
 * was finite in the last `looks` looks before is not finite now. What was never a number, such as the effort of a joint
 * without a sensor, is none; neither is an array of another length. False again once all those elements are finite.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import { type DetectorDeps, type DetectorKind, numbersOf, readerOf, type Subject } from "../detector.ts";
import { type FieldReader, type FieldValue, plainTypeName } from "../seams.ts";
import { PerTopic, type Stream } from "./per-topic.ts";

const parametersSchema = z.strictObject({
  look_ms: z.number().min(0).default(50),
  looks: z.number().int().min(1).default(20),
});
type Parameters = z.infer<typeof parametersSchema>;

const axes = (path: string): string[] => ["x", "y", "z"].map((axis) => `${path}.${axis}`);
const twist = (path: string): string[] => [...axes(`${path}.linear`), ...axes(`${path}.angular`)];
const wrench = (path: string): string[] => [...axes(`${path}force`), ...axes(`${path}torque`)];

const FILLED: Readonly<Record<string, readonly string[]>> = {
  "sensor_msgs/Imu": [...axes("angular_velocity"), ...axes("linear_acceleration")],
  "sensor_msgs/JointState": ["position", "velocity", "effort"],
  "nav_msgs/Odometry": [...axes("pose.pose.position"), ...twist("twist.twist")],
  "geometry_msgs/WrenchStamped": wrench("wrench."),
  "geometry_msgs/Wrench": wrench(""),
};

export const invalidNumbers: DetectorKind = {
  name: "invalid_numbers",
  parameters: parametersSchema,
  roles: ["topic"],
  needs: "an Imu, a JointState, an Odometry or a Wrench",
  recoversWhen: "cleared",
  clearForMs: 1000,
  coolDownMs: 10_000,
  open: (given, deps) => {
    const parameters = parametersSchema.parse(given);
    return new PerTopic(deps, (channel, subject) => openNumbers(parameters, deps, channel, subject));
  },
};

function openNumbers(parameters: Parameters, { fields }: DetectorDeps, channel: Channel, subject: Subject) {
  const found = (FILLED[plainTypeName(channel.schema.name)] ?? []).flatMap((path) => {
    const read = readerOf(fields, channel, path);
    return read === undefined ? [] : [{ path, read, looks: [] }];
  });
  return found.length === 0 ? undefined : new Numbers(parameters, found, subject);
}

/** `looks`: per element, how many looks in a row it was finite; it stays so while it is not. */
type Watched = { readonly path: string; readonly read: FieldReader; looks: number[] };

class Numbers implements Stream {
  readonly #parameters: Parameters;
  readonly #fields: readonly Watched[];
  readonly #subject: Subject;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(parameters: Parameters, fields: readonly Watched[], subject: Subject) {
    this.#parameters = parameters;
    this.#fields = fields;
    this.#subject = subject;
  }

  forget(): void {}

  hear(message: Uint8Array, nowMs: number): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + this.#parameters.look_ms;
    const bad = this.#fields.map((field) => this.#look(field, field.read(message))).find((name) => name !== undefined);
    this.#subject.condition = bad !== undefined;
    if (bad !== undefined) this.#subject.values = () => ({ field: bad });
  }

  /** The element that is no longer a number, as people write it. */
  #look(field: Watched, value: FieldValue): string | undefined {
    const numbers = typeof value === "number" ? [value] : numbersOf(value);
    if (field.looks.length !== numbers.length) field.looks = Array.from(numbers, () => 0);
    let bad: string | undefined;
    for (const [index, looks] of field.looks.entries()) {
      if (Number.isFinite(numbers[index])) field.looks[index] = looks + 1;
      else if (looks >= this.#parameters.looks)
        bad ??= typeof value === "number" ? field.path : `${field.path}[${index}]`;
      else field.looks[index] = 0;
    }
    return bad;
  }
}
