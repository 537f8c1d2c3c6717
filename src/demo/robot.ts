/**
 * The demo robot: world, instruments, controller and topics, stepped together; who calls `step` owns the time.
 *
 * One seed gives one run, to the last byte of every message, however fast it is stepped. Tasks follow one another
 * without end; a cup that a task left lying or out of reach is stood up somewhere by an operator.
 */
import { type Random, seededRandom } from "../std/random.ts";
import { CONTROL_HZ, type ControlCommand, Controller, type ControlNote, HOME } from "./controller.ts";
import { handPoseOf, solveJoints } from "./kinematics.ts";
import { type DemoTopic, demoTopics, MessageEncoder, type TopicName } from "./messages.ts";
import { type Readings, Sensors } from "./sensors.ts";
import { cupUprightness, type Push, type Simulation, type WorldState } from "./simulation.ts";
import { type TaskTruth, type TruthEvent, TruthObserver } from "./truth.ts";
import { drawConditions, drawPlace, isInReach, type Place, type TaskConditions } from "./variation.ts";
import { ARM_JOINTS, FINGER_JOINTS, PHYSICS_HZ } from "./world.ts";

/** What happens, for whoever tells or checks the story; times in seconds since the start. */
export type StoryEvent =
  | { readonly kind: "task_started"; readonly atS: number; readonly task: number; readonly conditions: TaskConditions }
  | { readonly kind: "truth"; readonly atS: number; readonly task: number; readonly event: TruthEvent }
  | { readonly kind: "belief"; readonly atS: number; readonly note: ControlNote }
  | { readonly kind: "task_ended"; readonly atS: number; readonly truth: TaskTruth }
  | { readonly kind: "operator_reset"; readonly atS: number; readonly task: number };

export type DemoRobotOptions = {
  readonly seed: number;
  /** The wall's time at simulated second 0, ns since the epoch. */
  readonly startNs: bigint;
};

export type DemoRobotDeps = {
  onMessage(topic: TopicName, bytes: Uint8Array, stampNs: bigint): void;
  onStory(event: StoryEvent): void;
};

const STEPS_PER_CONTROL = PHYSICS_HZ / CONTROL_HZ;
const STEPS_PER_IMU = 2.5; // 200 Hz
/** Between two tasks. */
const PAUSE_S = 0.6;
const MOTORS = [...ARM_JOINTS, ...FINGER_JOINTS];

type Task = {
  readonly id: number;
  readonly startS: number;
  readonly conditions: TaskConditions;
  readonly goal: Place;
  looks: number;
  liftedAtS: number | undefined;
};

export class DemoRobot {
  readonly topics: readonly DemoTopic[];
  readonly #startNs: bigint;
  readonly #deps: DemoRobotDeps;
  readonly #encoder: MessageEncoder;
  readonly #simulation: Simulation;
  readonly #random: Random;
  readonly #sensors: Sensors;
  readonly #controller: Controller;
  readonly #truth: TruthObserver;
  #task: Task | undefined;
  #isAccepting = true;
  #taskCount = 0;
  #lastEndS = 0;
  #steps = 0;
  #command: ControlCommand;
  #belief: "" | "placed" | "gave_up" = "";
  #problem: ControlNote | undefined;

  private constructor(options: DemoRobotOptions, deps: DemoRobotDeps, simulation: Simulation) {
    this.topics = demoTopics();
    this.#startNs = options.startNs;
    this.#deps = deps;
    this.#encoder = MessageEncoder.open(this.topics);
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
    if (Math.floor(this.#steps / STEPS_PER_IMU) > Math.floor((this.#steps - 1) / STEPS_PER_IMU))
      this.#publishImu(state);
  }

  /** A camera's frame, rendered by the caller, who knows whether it can afford one. */
  publishImage(topic: TopicName, jpeg: Uint8Array, stampNs: bigint): void {
    const frame = topic.includes("wrist") ? "wrist_camera" : "scene_camera";
    const message = { header: header(stampNs, frame), format: "jpeg", data: jpeg };
    this.#deps.onMessage(topic, this.#encoder.encode(topic, message), stampNs);
  }

  nowNs(): bigint {
    return this.#startNs + BigInt(this.#steps) * BigInt(1e9 / PHYSICS_HZ);
  }

  #control(): void {
    const isFree = this.#task === undefined && this.#isAccepting;
    if (isFree && this.timeS - this.#lastEndS >= PAUSE_S) this.#startTask();
    const readings = this.#sensors.read(this.#simulation.state());
    this.#command = this.#controller.step(readings);
    this.#publishReadings(readings);
    const tick = this.#steps / STEPS_PER_CONTROL;
    if (tick % 5 === 0) this.#publishCommand();
    if (tick % 10 === 0) this.#publishTaskState();
    if (tick % CONTROL_HZ === 0) this.#publishDiagnostics(readings);
    if (tick === 0) this.#publishStaticTransforms();
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
    const conditions = drawConditions(this.#random, cup);
    this.#simulation.setCup(conditions.cup);
    const goal = drawPlace(this.#random, cup);
    this.#taskCount += 1;
    const id = this.#taskCount;
    this.#task = { id, startS: this.timeS, conditions, goal, looks: 0, liftedAtS: undefined };
    this.#belief = "";
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
    const push = this.#task?.conditions.push;
    const liftedAtS = this.#task?.liftedAtS;
    if (push === undefined || liftedAtS === undefined) return undefined;
    const sinceS = this.timeS - liftedAtS - push.afterLiftS;
    return sinceS >= 0 && sinceS < push.durationS ? push.force : undefined;
  }

  #endTask(belief: "placed" | "gave_up"): void {
    const task = this.#task;
    if (task === undefined) return;
    this.#belief = belief;
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
    this.#lastEndS = this.timeS;
    if (isResetByOperator) this.#resetCup(id);
  }

  #resetCup(task: number): void {
    const hand = handPoseOf(this.#simulation.state().positions);
    const place = drawPlace(this.#random, { x: hand.radius * Math.cos(hand.yaw), y: hand.radius * Math.sin(hand.yaw) });
    this.#simulation.placeCup(place.x, place.y);
    this.#deps.onStory({ kind: "operator_reset", atS: this.timeS, task });
  }

  #tellTruth(event: TruthEvent): void {
    this.#deps.onStory({ kind: "truth", atS: event.atS, task: this.#task?.id ?? this.#taskCount, event });
  }

  #say(note: ControlNote): void {
    const level = { info: 20, warn: 30, error: 40 }[note.level];
    if (note.level !== "info") this.#problem = note;
    this.#publish("/rosout", (stamp) => ({
      stamp,
      level,
      name: "pick_and_place",
      msg: note.text,
      file: "",
      function: "",
      line: 0,
    }));
    this.#deps.onStory({ kind: "belief", atS: this.timeS, note });
  }

  #publish(topic: TopicName, compose: (stamp: RosTime) => Readonly<Record<string, unknown>>): void {
    const stampNs = this.nowNs();
    this.#deps.onMessage(topic, this.#encoder.encode(topic, compose(rosTime(stampNs))), stampNs);
  }

  #publishReadings(readings: Readings): void {
    const { positions, velocities, efforts, currents } = readings;
    this.#publish("/joint_states", (stamp) => ({
      header: { stamp, frame_id: "" },
      name: MOTORS,
      position: positions,
      velocity: velocities,
      effort: efforts,
    }));
    this.#publish("/motor_currents", (stamp) => ({ header: { stamp, frame_id: "" }, name: MOTORS, effort: currents }));
    this.#publish("/wrist/wrench", (stamp) => ({
      header: { stamp, frame_id: "ft" },
      wrench: { force: vector(readings.force), torque: vector(readings.torque) },
    }));
    const { gapM } = readings;
    const squeezeN = -((efforts[4] ?? 0) + (efforts[5] ?? 0)) / 2;
    const reached_goal = Math.abs(gapM - this.#command.gapM) < 0.002;
    const isMoving = Math.abs(velocities[4] ?? 0) > 0.01;
    this.#publish("/gripper/state", (stamp) => ({
      header: { stamp, frame_id: "gripper" },
      position: gapM,
      effort: squeezeN,
      stalled: !reached_goal && !isMoving,
      reached_goal,
    }));
    this.#publish("/gripper/palm_range", (stamp) => ({
      header: { stamp, frame_id: "palm" },
      radiation_type: 1,
      field_of_view: 0.05,
      min_range: 0.01,
      max_range: 0.4,
      range: readings.rangeM,
      variance: 0,
    }));
  }

  #publishImu(state: WorldState): void {
    const { acceleration, rate, orientation } = this.#sensors.readImu(state);
    const [w = 1, x = 0, y = 0, z = 0] = orientation;
    this.#publish("/imu/data", (stamp) => ({
      header: { stamp, frame_id: "imu" },
      orientation: { x, y, z, w },
      orientation_covariance: NO_COVARIANCE,
      angular_velocity: vector(rate),
      angular_velocity_covariance: NO_COVARIANCE,
      linear_acceleration: vector(acceleration),
      linear_acceleration_covariance: NO_COVARIANCE,
    }));
  }

  #publishCommand(): void {
    const { positions, velocities, gapM, forceN } = this.#command;
    this.#publish("/joint_commands", (stamp) => ({
      header: { stamp, frame_id: "" },
      name: ARM_JOINTS,
      position: positions,
      velocity: velocities,
    }));
    this.#publish("/gripper/command", () => ({ position: gapM, max_effort: forceN }));
  }

  #publishTaskState(): void {
    this.#publish("/task/state", (stamp) => ({
      header: { stamp, frame_id: "" },
      task: this.#taskCount,
      task_type: "pick_and_place",
      phase: this.#controller.phase,
      attempt: this.#controller.tries,
      result: this.#belief,
    }));
  }

  #publishDiagnostics(readings: Readings): void {
    const problem = this.#problem;
    const level = problem === undefined ? 0 : problem.level === "error" ? 2 : 1;
    const amperes = readings.currents.map((value, index) => ({ key: MOTORS[index] ?? "", value: value.toFixed(2) }));
    this.#publish("/diagnostics", (stamp) => ({
      header: { stamp, frame_id: "" },
      status: [
        { level, name: "pick_and_place", message: problem?.text ?? "ok", hardware_id: "arm", values: [] },
        { level: 0, name: "motors", message: "ok", hardware_id: "arm", values: amperes },
      ],
    }));
  }

  #publishStaticTransforms(): void {
    this.#publish("/tf_static", (stamp) => ({
      transforms: [
        transform(stamp, "world", "scene_camera", [0.62, -0.42, 0.42], [0.35, 0.25, 0.5, 0.75]),
        transform(stamp, "hand", "imu", [0, 0, 0], [0, 0, 0, 1]),
        transform(stamp, "hand", "wrist_camera", [-0.06, 0, 0.01], [0, 0, 0, 1]),
      ],
    }));
  }
}

type RosTime = { readonly sec: number; readonly nanosec: number };

const NO_COVARIANCE = new Float64Array(9);

function rosTime(stampNs: bigint): RosTime {
  return { sec: Number(stampNs / 1_000_000_000n), nanosec: Number(stampNs % 1_000_000_000n) };
}

function header(stampNs: bigint, frame_id: string): { stamp: RosTime; frame_id: string } {
  return { stamp: rosTime(stampNs), frame_id };
}

function vector(values: readonly number[]): { x: number; y: number; z: number } {
  return { x: values[0] ?? 0, y: values[1] ?? 0, z: values[2] ?? 0 };
}

function transform(
  stamp: RosTime,
  frame_id: string,
  child_frame_id: string,
  at: readonly [number, number, number],
  turn: readonly [number, number, number, number],
): Readonly<Record<string, unknown>> {
  const [x, y, z, w] = turn;
  return {
    header: { stamp, frame_id },
    child_frame_id,
    transform: { translation: vector(at), rotation: { x, y, z, w } },
  };
}

function placeOf(state: WorldState): Place {
  return { x: state.cup.position[0] ?? 0, y: state.cup.position[1] ?? 0 };
}
