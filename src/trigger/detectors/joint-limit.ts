/**
 * Joint limit: a joint is beyond what the robot's description allows, or pushes against its end.
 *
 * Limits come from `limits`, or from the `<limit>` of each joint in the URDF on a topic named `robot_description`
 * (std_msgs/String); http://wiki.ros.org/urdf/XML/joint. Continuous and mimicking joints have none.
 * Condition per joint: position beyond `lower` or `upper` by more than `beyond` (calibration and noise: 0.02 rad is a
 * degree); or within `beyond` of one of them while |effort| > `effort_share` × its limit of effort. Units are those
 * of the joint, rad and N·m, or m and N. A joint that parks at its end without a push is at rest, not in trouble.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numbersOf,
  readerOf,
  type Subject,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";
import { layoutReaderOf } from "./joint-layout.ts";
import { COMMAND_NAME } from "./tracking-error.ts";

const parametersSchema = z.strictObject({
  limits: z
    .record(z.string(), z.tuple([z.number(), z.number()]))
    .optional()
    .describe("joint name: [lower, upper] (rad or m); else those of the URDF"),
  beyond: z.number().min(0).default(0.02).describe("calibration and noise (rad or m)"),
  effort_share: z.number().positive().default(0.9).describe("of the limit of effort, is pushing"),
});
type Parameters = z.infer<typeof parametersSchema>;
type Limit = { readonly lower: number; readonly upper: number; readonly effort: number };

export const jointLimit: DetectorKind = {
  name: "joint_limit",
  parameters: parametersSchema,
  roles: ["description", "joints"],
  needs: "a URDF on robot_description, or limits, and a JointState",
  recoversWhen: "cleared",
  clearForMs: 500,
  coolDownMs: 2000,
  open: (parameters, deps) => new JointLimit(parametersSchema.parse(parameters), deps),
};

class JointLimit implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #limits: Map<string, Limit>;
  readonly #subjects = new Map<string, Subject>();
  /** Moves on when limits become known after joints were seen. */
  #edition = 0;

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
    this.#limits = new Map(
      Object.entries(parameters.limits ?? {}).map(([name, [lower, upper]]) => [
        name,
        { lower, upper, effort: Number.NaN },
      ]),
    );
  }

  bind(channel: Channel): Listener | undefined {
    const type = plainTypeName(channel.schema.name);
    const [description, joints] = [this.#deps.topicOf("description"), this.#deps.topicOf("joints")];
    const isDescription =
      description === undefined ? /robot_description$/.test(channel.topic) : channel.topic === description;
    if (type === "std_msgs/String" && isDescription) return this.#listenToDescription(channel);
    const isState = joints === undefined ? !COMMAND_NAME.test(channel.topic) : channel.topic === joints;
    return type === "sensor_msgs/JointState" && isState ? this.#listenToJoints(channel) : undefined;
  }

  describe(): readonly string[] {
    return [...this.#subjects.values()].map(({ topic, name }) => `${topic}: ${name}`);
  }

  #listenToDescription(channel: Channel): Listener | undefined {
    const text = readerOf(this.#deps.fields, channel, "data");
    if (text === undefined) return undefined;
    return (message) => {
      const own = this.#parameters.limits ?? {};
      for (const [name, limit] of parseLimits(String(text(message) ?? "")))
        if (!Object.hasOwn(own, name)) this.#limits.set(name, limit);
      this.#edition += 1;
    };
  }

  #listenToJoints(channel: Channel): Listener | undefined {
    const [positions, efforts] = ["position", "effort"].map((path) => readerOf(this.#deps.fields, channel, path));
    const namesOf = layoutReaderOf(channel, this.#deps, "name", (names) => ({
      names,
      edition: -1,
      joints: [] as Joint[],
    }));
    if (positions === undefined || efforts === undefined || namesOf === undefined) return undefined;
    return (message) => {
      const layout = namesOf(message);
      if (layout.edition !== this.#edition) {
        layout.edition = this.#edition;
        layout.joints = this.#open(channel.topic, layout.names);
      }
      if (layout.joints.length === 0) return;
      const [position, effort] = [numbersOf(positions(message)), numbersOf(efforts(message))];
      for (const { index, limit, subject } of layout.joints)
        this.#judge(subject, limit, position[index] ?? Number.NaN, effort[index] ?? Number.NaN);
    };
  }

  #open(topic: string, names: readonly string[]): Joint[] {
    return names.flatMap((name, index) => {
      const limit = this.#limits.get(name);
      if (limit === undefined) return [];
      const subject = this.#subjects.get(name) ?? this.#deps.watch(topic, name);
      this.#subjects.set(name, subject);
      return [{ index, limit, subject }];
    });
  }

  #judge(subject: Subject, { lower, upper, effort: effortMax }: Limit, position: number, effort: number): void {
    const { beyond, effort_share } = this.#parameters;
    if (Number.isNaN(position)) {
      subject.condition = undefined;
      return;
    }
    const over = Math.max(lower - position, position - upper);
    const isPushing = Math.abs(effort) > effort_share * effortMax;
    subject.condition = over > beyond || (over > -beyond && isPushing);
    if (subject.condition) subject.values = () => ({ joint: subject.name, position, lower, upper });
  }
}

type Joint = { readonly index: number; readonly limit: Limit; readonly subject: Subject };

const URDF_CHARS_MAX = 4 << 20;

/** The limits in a URDF, by joint; not a whole XML parser: joints, their type, their limit. */
function parseLimits(urdf: string): Map<string, Limit> {
  const limits = new Map<string, Limit>();
  if (urdf.length > URDF_CHARS_MAX) return limits;
  const text = urdf.replace(/<!--[\s\S]*?-->/g, "");
  for (const [, attributes = "", body = ""] of text.matchAll(/<joint\s([^>]*[^/])>([\s\S]*?)<\/joint>/g)) {
    const name = attributeOf(attributes, "name");
    const limit = /<limit\s([^>]*?)\/?>/.exec(body)?.[1];
    const isLimited = /^(revolute|prismatic)$/.test(attributeOf(attributes, "type") ?? "");
    if (name === undefined || limit === undefined || !isLimited || /<mimic\s/.test(body)) continue;
    const [lower, upper, effort] = ["lower", "upper", "effort"].map((key) => Number(attributeOf(limit, key) ?? 0));
    if (lower === undefined || upper === undefined || !(lower < upper)) continue;
    // An effort of 0 is what generators write when they do not know.
    limits.set(name, { lower, upper, effort: effort !== undefined && effort > 0 ? effort : Number.NaN });
  }
  return limits;
}

function attributeOf(text: string, name: string): string | undefined {
  return new RegExp(`(?:^|\\s)${name}\\s*=\\s*["']([^"']*)["']`).exec(text)?.[1];
}
