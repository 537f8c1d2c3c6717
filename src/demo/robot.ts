/**
 * The demo robot: world, instruments, controller and topics, stepped together; who calls `step` owns the time.
 *
 * One seed gives one run, to the last byte of every message, however fast it is stepped. Tasks follow one another
 * without end; a cup that a task left lying or out of reach is stood up somewhere by an operator.
 */
import { type Random, seededRandom } from "../std/random.ts";
import { CONTROL_HZ, type ControlCommand, Controller, type ControlNote, HOME } from "./controller.ts";
import { isInReach, type Place, solveJoints } from "./kinematics.ts";
import { type DemoTopic, demoTopics } from "./messages.ts";
import { type MessageSink, RobotPublisher, type TaskBelief } from "./publisher.ts";
import { Sensors } from "./sensors.ts";
import { cupUprightness, type Push, type Simulation, type WorldState } from "./simulation.ts";
import { type TaskTruth, type TruthEvent, TruthObserver } from "./truth.ts";
import { drawConditions, drawPlace, type Mix, type TaskConditions } from "./variation.ts";
import { PHYSICS_HZ } from "./world.ts";

/** What happens, for whoever tells or checks the story; times in seconds since the start. */
export type StoryEvent =
  | { readonly kind: "task_started"; readonly atS: number; readonly task: number; readonly conditions: TaskConditions }
  | { readonly kind: "truth"; readonly atS: number; readonly task: number; readonly event: TruthEvent }
  /** Somebody bumps into the cup, from `atS` on. */
  | { readonly kind: "push"; readonly atS: number; readonly task: number }
  | { readonly kind: "belief"; readonly atS: number; readonly note: ControlNote }
  | { readonly kind: "task_ended"; readonly atS: number; readonly truth: TaskTruth }
  | { readonly kind: "operator_reset"; readonly atS: number; readonly task: number };

export type DemoRobotOptions = {
  readonly seed: number;
  /** The wall's time at simulated second 0, ns since the epoch. */
  readonly startNs: bigint;
  readonly mix: Mix;
};

export type DemoRobotDeps = {
  /** The bytes are the receiver's. */
  readonly onMessage: MessageSink;
  readonly onStory: (event: StoryEvent) => void;
};

/**
 * The first seed that begins with a task in which nothing happens and goes on with a cup that is knocked out of the
 * hand in mid-air within a quarter of a minute and caught up with: what a demo should show first.
 */
export const DEMO_SEED = 24;

const STEPS_PER_CONTROL = PHYSICS_HZ / CONTROL_HZ;
const STEPS_PER_IMU = 2.5; // 200 Hz
/** Between two tasks; and how long a person takes to come and mend what the robot gave up. */
const PAUSE_S = 1.5;
const FIRST_TASK_S = 0.6;
const OPERATOR_PAUSE_S = 12;
const OPERATOR_RESET_S = 8;

type Task = {
  readonly id: number;
  readonly startS: number;
  readonly conditions: TaskConditions;
  readonly goal: Place;
  looks: number;
  liftedAtS: number | undefined;
  isPushed: boolean;
};

export class DemoRobot {
  readonly topics: readonly DemoTopic[];
  readonly #startNs: bigint;
  readonly #mix: Mix;
  readonly #deps: DemoRobotDeps;
  readonly #publisher: RobotPublisher;
  readonly #simulation: Simulation;
  readonly #random: Random;
  readonly #sensors: Sensors;
  readonly #controller: Controller;
  readonly #truth: TruthObserver;
  #task: Task | undefined;
  #isAccepting = true;
  #taskCount = 0;
  #nextTaskAtS = FIRST_TASK_S;
  #resetAtS: number | undefined;
  #steps = 0;
  #command: ControlCommand;
  #result: TaskBelief["result"] = "";
  #problem: ControlNote | undefined;

  private constructor(options: DemoRobotOptions, deps: DemoRobotDeps, simulation: Simulation) {
    this.topics = demoTopics();
    this.#startNs = options.startNs;
    this.#mix = options.mix;
    this.#deps = deps;
    this.#publisher = new RobotPublisher(this.topics, deps.onMessage);
    this.#simulation = simulation;
    this.#random = seededRandom(options.seed);
    this.#sensors = new Sensors(seededRandom(options.seed ^ 0x5eed));
    this.#controller = new Controller({
      look: () => this.#look(),
      onNote: (note) => this.#say(note),
      onTaskEnd: (end) => this.#endTask(end),
    });
    this.#truth = new TruthObserver((event) => this.#tellTruth(event));
    this.#command = {
      positions: solveJoints(HOME),
      velocities: [0, 0, 0, 0],
      gapM: 0.09,
      forceN: 10,
    };
  }

  /** The world is the robot's from now on. */
  static open(options: DemoRobotOptions, deps: DemoRobotDeps, simulation: Simulation): DemoRobot {
    const robot = new DemoRobot(options, deps, simulation);
    simulation.placeArm(solveJoints(HOME));
    const place = drawPlace(robot.#random, undefined);
    simulation.placeCup(place.x, place.y);
    return robot;
  }

  get timeS(): number {
    return this.#simulation.timeS;
  }

  /** Whether a task is under way. */
  get isBusy(): boolean {
    return this.#task !== undefined;
  }

  /** The task under way is the last. */
  acceptNoMoreTasks(): void {
    this.#isAccepting = false;
  }

  /** These two are for the renderer. */
  bodyId(name: string): number {
    return this.#simulation.bodyId(name);
  }

  state(): WorldState {
    return this.#simulation.state();
  }

  /** One step of physics, and whatever falls due with it. */
  step(): void {
    if (this.#steps % STEPS_PER_CONTROL === 0) this.#control();
    this.#simulation.step(this.#interpolated(), this.#push());
    this.#steps += 1;
    const state = this.#simulation.state();
    this.#truth.observe(state);
    if (this.#task !== undefined && this.#truth.hasLifted) this.#task.liftedAtS ??= this.#simulation.timeS;
    if (this.#steps % STEPS_PER_IMU < 1) {
      this.#publisher.setTime(this.nowNs());
      this.#publisher.imu(this.#sensors.readImu(state));
    }
  }

  /** A camera's picture of the world at `stampNs`. */
  publishImage(camera: "scene" | "wrist", jpeg: Uint8Array, stampNs: bigint): void {
    this.#publisher.image(camera, jpeg, stampNs);
  }

  nowNs(): bigint {
    return this.#startNs + BigInt(this.#steps) * BigInt(1e9 / PHYSICS_HZ);
  }

  #control(): void {
    if (this.#resetAtS !== undefined && this.timeS >= this.#resetAtS) this.#resetCup();
    if (this.#task === undefined && this.#isAccepting && this.timeS >= this.#nextTaskAtS) this.#startTask();
    const readings = this.#sensors.read(this.#simulation.state());
    this.#publisher.setTime(this.nowNs());
    this.#command = this.#controller.step(readings);
    this.#publisher.readings(readings);
    this.#publisher.gripper(readings, this.#command);
    const tick = this.#steps / STEPS_PER_CONTROL;
    const isDue = (hz: number): boolean => tick % (CONTROL_HZ / hz) === 0;
    if (isDue(20)) this.#publisher.command(this.#command);
    if (isDue(10)) this.#publisher.belief(this.#belief());
    if (isDue(1)) this.#publisher.diagnostics(this.#problem, readings);
    if (tick === 0) this.#publisher.staticTransforms();
  }

  #belief(): TaskBelief {
    const { phase, tries: attempt } = this.#controller;
    return { task: this.#taskCount, phase, attempt, result: this.#result };
  }

  /** The servo loop runs faster than the controller and goes on along its velocities. */
  #interpolated(): ControlCommand {
    const { positions, velocities } = this.#command;
    const aheadS = (this.#steps % STEPS_PER_CONTROL) / PHYSICS_HZ;
    const at = (index: 0 | 1 | 2 | 3): number => positions[index] + velocities[index] * aheadS;
    return { ...this.#command, positions: [at(0), at(1), at(2), at(3)] };
  }

  #startTask(): void {
    const state = this.#simulation.state();
    const cup = placeOf(state);
    const conditions = drawConditions(this.#random, cup, this.#mix);
    this.#simulation.setCup(conditions.cup);
    const goal = drawPlace(this.#random, cup);
    this.#taskCount += 1;
    const id = this.#taskCount;
    this.#task = { id, startS: this.timeS, conditions, goal, looks: 0, liftedAtS: undefined, isPushed: false };
    this.#result = "";
    this.#problem = undefined;
    this.#truth.startTask();
    this.#deps.onStory({ kind: "task_started", atS: this.timeS, task: id, conditions });
    this.#controller.accept({ id, goal, gripForceN: conditions.gripForceN });
  }

  #look(): ReturnType<Sensors["look"]> {
    const task = this.#task;
    const isFirst = task !== undefined && task.looks === 0;
    if (task !== undefined) task.looks += 1;
    return this.#sensors.look(this.#simulation.state(), isFirst ? task.conditions.sightErrorM : 0);
  }

  #push(): Push | undefined {
    const task = this.#task;
    const push = task?.conditions.push;
    if (task?.liftedAtS === undefined || push === undefined) return undefined;
    const sinceS = this.timeS - task.liftedAtS - push.afterLiftS;
    if (sinceS < 0 || sinceS >= push.durationS) return undefined;
    if (!task.isPushed) this.#deps.onStory({ kind: "push", atS: this.timeS, task: task.id });
    task.isPushed = true;
    return push.force;
  }

  #endTask(belief: "placed" | "gave_up"): void {
    const task = this.#task;
    if (task === undefined) return;
    this.#result = belief;
    const state = this.#simulation.state();
    const { id, startS, conditions, goal } = task;
    const isResetByOperator = cupUprightness(state) < 0.97 || !isInReach(placeOf(state)) || belief === "gave_up";
    const ended = { task: id, startS, endS: this.timeS, conditions, goal, isResetByOperator };
    this.#deps.onStory({
      kind: "task_ended",
      atS: this.timeS,
      truth: { ...ended, ...this.#truth.endTask(state, goal) },
    });
    this.#task = undefined;
    this.#nextTaskAtS = this.timeS + (isResetByOperator ? OPERATOR_PAUSE_S : PAUSE_S);
    if (isResetByOperator) this.#resetAtS = this.timeS + OPERATOR_RESET_S;
  }

  #resetCup(): void {
    this.#resetAtS = undefined;
    const [x = 0, y = 0] = this.#simulation.state().hand.position;
    const place = drawPlace(this.#random, { x, y }); // away from the hand
    this.#simulation.placeCup(place.x, place.y);
    this.#deps.onStory({ kind: "operator_reset", atS: this.timeS, task: this.#taskCount });
  }

  #tellTruth(event: TruthEvent): void {
    this.#deps.onStory({ kind: "truth", atS: event.atS, task: this.#task?.id ?? this.#taskCount, event });
  }

  #say(note: ControlNote): void {
    if (note.level !== "info") this.#problem = note;
    this.#publisher.note(note);
    this.#deps.onStory({ kind: "belief", atS: this.timeS, note });
  }
}

function placeOf(state: WorldState): Place {
  return { x: state.cup.position[0] ?? 0, y: state.cup.position[1] ?? 0 };
}
