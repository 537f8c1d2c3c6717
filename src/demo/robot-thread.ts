/**
 * The demo robot in real time, in a thread of its own, behind a rosbridge server of ROS 2.
 *
 * `workerData` is `RobotThreadOptions`; notes to the parent are `RobotNote`, orders from it `RobotOrder`. The robot
 * starts to move when a client came and its subscriptions settled, so that nobody misses the first task.
 * A robot that cannot keep up (a busy machine) lets simulated time slip and says so; it never skips physics.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { waitForSubscriptions } from "../replay/player.ts";
import { RosbridgeServer } from "../replay/rosbridge-server.ts";
import { assert } from "../std/assert.ts";
import { systemClock } from "../std/clock.ts";
import { describeError } from "../std/fault.ts";
import { waitMs } from "../std/wait.ts";
import { CameraRig } from "./camera-rig.ts";
import { demoTopics, type TopicName } from "./messages.ts";
import { DemoRobot, type StoryEvent } from "./robot.ts";
import { Simulation } from "./simulation.ts";

export type RobotThreadOptions = {
  readonly seed: number;
  /** Of the bridge; 0 takes a free one. */
  readonly port: number;
};

export type RobotNote =
  | { readonly kind: "listening"; readonly url: string }
  /** Simulated second 0 of all story events, ns since the epoch. */
  | { readonly kind: "started"; readonly startNs: bigint }
  /** `wallNs`: when it happened, simulated time that was lost to a busy machine included. */
  | { readonly kind: "story"; readonly event: StoryEvent; readonly wallNs: bigint }
  /** Simulated time stood still for this long because the machine was busy. */
  | { readonly kind: "late"; readonly atS: number; readonly lostMs: number }
  | { readonly kind: "failed"; readonly message: string }
  /** The last note. `cpuS`: processor seconds of this thread since it started. */
  | {
      readonly kind: "stopped";
      readonly simulatedS: number;
      readonly cpuS: number;
      readonly picturesSkipped: number;
      readonly published: Readonly<Record<string, number>>;
    };

export type RobotOrder =
  | { readonly kind: "no_more_tasks" }
  /** Close the bridge and end. */
  | { readonly kind: "stop" };

/** Between two looks at the clock. */
const TICK_MS = 4;
/** More behind than this and the difference is given up. */
const BEHIND_S_MAX = 0.25;
const PICTURES_PENDING_MAX = 4;
/** How long no new subscription must come before the robot moves. */
const SETTLE_MS = 700;

class RobotThread {
  readonly #port: MessagePort;
  readonly #stop = new AbortController();
  #robot: DemoRobot | undefined;
  #isLastTask = false;
  #lostS = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on("message", (order: RobotOrder) => this.#obey(order));
  }

  async run(options: RobotThreadOptions): Promise<void> {
    await using server = await RosbridgeServer.open({ ros: 2, port: options.port, node: "/demo_robot" });
    const publishersByTopic = new Map(
      demoTopics().map((topic) => [topic.topic, server.advertise({ ...topic, encoding: "cdr" })] as const),
    );
    const simulation = await Simulation.open();
    this.#post({ kind: "listening", url: server.url });
    if (!(await waitForSubscriptions(server, SETTLE_MS, systemClock, this.#stop.signal))) return;
    const startNs = systemClock.wallNs();
    const publish = (topic: TopicName, bytes: Uint8Array): void => {
      const publisher = publishersByTopic.get(topic);
      assert(publisher !== undefined, `${topic} is advertised`);
      server.publish(publisher, bytes);
    };
    const robot = DemoRobot.open(
      { seed: options.seed, startNs, mix: "everyday" },
      { onMessage: publish, onStory: (event) => this.#tell(event, startNs) },
      simulation,
    );
    this.#robot = robot;
    if (this.#isLastTask) robot.acceptNoMoreTasks();
    this.#post({ kind: "started", startNs });
    const rig = CameraRig.open(robot, PICTURES_PENDING_MAX);
    await this.#keepTime(robot, rig);
    const published = Object.fromEntries([...server.sentCounts()].map(([name, count]) => [name, count.published]));
    const picturesSkipped = rig.skippedCount;
    this.#post({ kind: "stopped", simulatedS: robot.timeS, cpuS: cpuOfThisThreadS(), picturesSkipped, published });
  }

  /** Steps the robot in real time until the stop; resolves when the last picture is out. */
  async #keepTime(robot: DemoRobot, rig: CameraRig): Promise<void> {
    const startMs = performance.now();
    while (!this.#stop.signal.aborted) {
      const behindS = (performance.now() - startMs) / 1000 - this.#lostS - robot.timeS;
      if (behindS > BEHIND_S_MAX) this.#giveUp(behindS - BEHIND_S_MAX, robot.timeS);
      for (const untilS = robot.timeS + Math.min(behindS, BEHIND_S_MAX); robot.timeS < untilS; rig.step()) robot.step();
      await waitMs(TICK_MS, this.#stop.signal);
    }
    await rig.settle();
  }

  #giveUp(lostS: number, atS: number): void {
    this.#lostS += lostS;
    this.#post({ kind: "late", atS, lostMs: lostS * 1000 });
  }

  #tell(event: StoryEvent, startNs: bigint): void {
    this.#post({ kind: "story", event, wallNs: startNs + BigInt(Math.round((event.atS + this.#lostS) * 1e9)) });
  }

  #obey(order: RobotOrder): void {
    this.#isLastTask = true;
    this.#robot?.acceptNoMoreTasks();
    if (order.kind === "stop") this.#stop.abort();
  }

  #post(note: RobotNote): void {
    this.#port.postMessage(note);
  }
}

function cpuOfThisThreadS(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}

if (parentPort !== null) {
  const port = parentPort;
  const options: RobotThreadOptions = workerData;
  try {
    await new RobotThread(port).run(options);
  } catch (error) {
    port.postMessage({ kind: "failed", message: describeError(error) } satisfies RobotNote);
  }
  port.close();
}
