/**
 * Action goals: a goal of a ROS action was aborted (by its server) or cancelled (by its client).
 *
 * Reads the status topics of actions, actionlib's `…/status` (ROS 1) and `…/_action/status` (ROS 2). Condition per
 * action: its last goal to end ended in one of `ends`, and no goal has begun since. A goal that ends while another goal
 * of the same action is under way was superseded, which Nav2 reports as an abort, and is none; nor is one that had
 * ended when the topic was first heard. Gripper commands (control_msgs/GripperCommand, known by the types of an action's
 * topics or its name) do not count: their controllers abort whenever the fingers stop on an object. Attempt: another goal begins. Recovered: a goal succeeds. A rejected or lost
 * goal (ROS 1) counts as aborted, a preempted or recalled one as cancelled.
 * Source: actionlib_msgs/GoalStatus, action_msgs/GoalStatus, nav2_util/simple_action_server.hpp.
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
  textsOf,
} from "../detector.ts";
import { type FieldReader, plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  ends: z
    .array(z.enum(["aborted", "cancelled"]))
    .min(1)
    .default(["aborted"]),
  /** Only actions whose topic contains this text. */
  name_contains: z.string().default(""),
  /** Gripper commands as well, which end as aborted when the fingers stop on an object. */
  grippers: z.boolean().default(false),
});
type Parameters = z.infer<typeof parametersSchema>;

type State = "active" | "succeeded" | "aborted" | "cancelled" | "unknown";

/** By the numbers of actionlib_msgs/GoalStatus and of action_msgs/GoalStatus. */
const ROS1_STATES: readonly State[] = [
  ...(["active", "active", "cancelled", "succeeded", "aborted"] as const), // PENDING ACTIVE PREEMPTED SUCCEEDED ABORTED
  ...(["aborted", "active", "active", "cancelled", "aborted"] as const), // REJECTED PREEMPTING RECALLING RECALLED LOST
];
const ROS2_STATES: readonly State[] = [
  ...(["unknown", "active", "active", "active"] as const), // UNKNOWN ACCEPTED EXECUTING CANCELING
  ...(["succeeded", "cancelled", "aborted"] as const), // SUCCEEDED CANCELED ABORTED
];
const STATUS_TYPES = new Map([
  ["actionlib_msgs/GoalStatusArray", { states: ROS1_STATES, id: "goal_id.id" }],
  ["action_msgs/GoalStatusArray", { states: ROS2_STATES, id: "goal_info.goal_id.uuid" }],
]);
/** By the types of an action's goal, feedback and result, and by the names that such actions go by. */
const GRIPPER_TYPE = /^control_msgs\/(action\/)?(Parallel)?GripperCommand/;
const GRIPPER_ACTION = /gripper_(cmd|command|action)$/i;
const GOALS_MAX = 1000; // a server keeps its goals for seconds (ROS 1) to minutes (ROS 2)

export const actionGoal: DetectorKind = {
  name: "action_goal",
  parameters: parametersSchema,
  roles: ["status"],
  needs: "the status topic of an action (actionlib_msgs or action_msgs GoalStatusArray)",
  recoversWhen: "explicit",
  clearForMs: 0,
  coolDownMs: 0,
  open: (parameters, deps) => new ActionGoal(parametersSchema.parse(parameters), deps),
};

class ActionGoal implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #actions = new Map<string, Action>();
  readonly #grippers = new Set<string>();

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const typeName = plainTypeName(channel.schema.name);
    const name = nameOf(channel.topic);
    if (GRIPPER_TYPE.test(typeName) || GRIPPER_ACTION.test(name)) this.#grippers.add(name);
    const type = STATUS_TYPES.get(typeName);
    const named = this.#deps.topicOf("status");
    const isWanted =
      named === undefined ? channel.topic.includes(this.#parameters.name_contains) : channel.topic === named;
    if (type === undefined || !isWanted) return undefined;
    const [states, ids, texts] = ["status", type.id, "text"].map((path) =>
      readerOf(this.#deps.fields, channel, `status_list[*].${path}`),
    );
    if (states === undefined || ids === undefined) return undefined;
    const action = this.#open(channel.topic, name);
    return (message) => {
      if (this.#counts(name)) action.hear(readGoals(message, { states, ids, texts }, type.states));
    };
  }

  onLongSilence(): void {
    for (const action of this.#actions.values()) action.forget();
  }

  describe(): readonly string[] {
    return [...this.#actions.keys()].filter((name) => this.#counts(name));
  }

  #counts(name: string): boolean {
    return this.#parameters.grippers || this.#deps.topicOf("status") !== undefined || !this.#grippers.has(name);
  }

  #open(topic: string, name: string): Action {
    const { ends } = this.#parameters;
    const known = this.#actions.get(name);
    const action = known ?? new Action(ends, this.#deps.watch(topic, name), (signal) => this.#deps.signal(signal));
    this.#actions.set(name, action);
    return action;
  }
}

/** Of the action that a topic belongs to. */
function nameOf(topic: string): string {
  return topic.replace(/\/(_action\/)?(status|feedback|goal|result|cancel)$/, "");
}

type Goal = { readonly id: string; readonly state: State; readonly text: string };
type Readers = { readonly states: FieldReader; readonly ids: FieldReader; readonly texts: FieldReader | undefined };

function readGoals(message: Uint8Array, readers: Readers, states: readonly State[]): Goal[] {
  const numbers = numbersOf(readers.states(message));
  const ids = readers.ids(message);
  const texts = textsOf(readers.texts?.(message));
  return Array.from(numbers, (number, index) => ({
    id: idAt(ids, index, numbers.length),
    state: states[number] ?? "unknown",
    text: texts[index] ?? "",
  }));
}

/** ROS 2's ids are 16 bytes each, which come one after the other. */
function idAt(ids: ReturnType<FieldReader>, index: number, count: number): string {
  const texts = textsOf(ids);
  if (texts.length > 0) return texts[index] ?? "";
  const bytes = Array.from(numbersOf(ids));
  const length = bytes.length / count;
  return bytes.slice(index * length, (index + 1) * length).join(".");
}

class Action {
  readonly #ends: readonly State[];
  readonly #subject: Subject;
  readonly #signal: (signal: "attempt" | "recovered") => void;
  #stateById: ReadonlyMap<string, State> | undefined;
  #hasFailed = false;

  constructor(ends: readonly State[], subject: Subject, signal: (signal: "attempt" | "recovered") => void) {
    this.#ends = ends;
    this.#subject = subject;
    this.#signal = signal;
  }

  forget(): void {
    this.#stateById = undefined;
  }

  hear(goals: readonly Goal[]): void {
    const before = this.#stateById;
    this.#stateById = new Map(goals.slice(-GOALS_MAX).map(({ id, state }) => [id, state]));
    if (before === undefined) {
      this.#subject.condition = false;
      return;
    }
    const isUnderWay = goals.some(({ state }) => state === "active");
    for (const goal of goals) if (goal.state !== before.get(goal.id)) this.#turn(goal, before.has(goal.id), isUnderWay);
  }

  #turn({ id, state, text }: Goal, isKnown: boolean, isUnderWay: boolean): void {
    const subject = this.#subject;
    if (state === "active" && !isKnown) {
      if (this.#hasFailed) this.#signal("attempt");
      subject.condition = false;
    } else if (state === "succeeded") {
      if (this.#hasFailed) this.#signal("recovered");
      this.#hasFailed = false;
      subject.condition = false;
    } else if (this.#ends.includes(state) && !isUnderWay) {
      this.#hasFailed = true;
      subject.condition = true;
      subject.values = () => ({ action: subject.name, goal: id, end: state, text });
    }
  }
}
