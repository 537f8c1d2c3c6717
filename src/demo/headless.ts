/**
 * The demo robot without a bridge and without waiting: a recording and the truth about it.
 *
 * Writes `<name>.mcap` (ROS 2 CDR, lz4 chunks) and `<name>.truth.json`. The run ends when the task that is under way
 * at `seconds` has ended, so every task of the truth is whole. The same options give the same bytes.
 */

import { once } from "node:events";
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { McapWriter } from "@mcap/core";
import { compressFrameSync } from "lz4-napi";
import { CameraRig } from "./camera-rig.ts";
import { BELIEF_TOPICS, type TopicName } from "./messages.ts";
import { DemoRobot, type StoryEvent } from "./robot.ts";
import { Simulation } from "./simulation.ts";
import { type TaskTruth, truthToWire } from "./truth.ts";

export type HeadlessOptions = {
  readonly seed: number;
  readonly seconds: number;
  readonly folder: string;
  /** File name without ending. */
  readonly name: string;
  /** Leaves out what the controller believes: `/diagnostics`, `/rosout`, `/task/state`. */
  readonly isBeliefHidden: boolean;
  /** Draws the cameras' pictures; without it the camera topics stay empty. */
  readonly cameras: boolean;
};

export type HeadlessResult = {
  readonly recordingPath: string;
  readonly truthPath: string;
  readonly durationS: number;
  readonly tasks: readonly TaskTruth[];
  readonly story: readonly StoryEvent[];
};

/** Simulated second 0 of every recording. */
const START_NS = 1_767_312_000_000_000_000n; // 2026-01-02T00:00:00Z
/** Simulated time between two visits to the file. */
const SLICE_S = 0.5;
/** What is recorded after the last task: long enough to see that a robot that gave up does not try again. */
const TAIL_S = 10;
/** No task takes longer; if one does, the recording ends without it. */
const TASK_S_MAX = 60;

type Pending = { readonly topic: TopicName; readonly bytes: Uint8Array; readonly stampNs: bigint };

export async function recordHeadless(options: HeadlessOptions): Promise<HeadlessResult> {
  mkdirSync(options.folder, { recursive: true });
  const recordingPath = join(options.folder, `${options.name}.mcap`);
  const truthPath = join(options.folder, `${options.name}.truth.json`);
  const story: StoryEvent[] = [];
  const pending: Pending[] = [];
  const robot = DemoRobot.open(
    { seed: options.seed, startNs: START_NS },
    {
      onMessage: (topic, bytes, stampNs) => pending.push({ topic, bytes, stampNs }),
      onStory: (event) => story.push(event),
    },
    await Simulation.open(),
  );
  const file = await RecordingFile.open(recordingPath, robot, options.isBeliefHidden ? BELIEF_TOPICS : []);
  const rig = options.cameras ? CameraRig.open(robot, Number.POSITIVE_INFINITY) : undefined;
  await runSlices(robot, rig, options.seconds, async () => {
    await rig?.settle();
    await file.append(pending.splice(0).sort((a, b) => Number(a.stampNs - b.stampNs)));
  });
  await file.close();
  const tasks = story.flatMap((event) => (event.kind === "task_ended" ? [event.truth] : []));
  const wire = { seed: options.seed, start_time_ns: `${START_NS}`, duration_s: robot.timeS };
  writeFileSync(truthPath, `${JSON.stringify({ ...wire, tasks: tasks.map(truthToWire) }, undefined, 1)}\n`);
  return { recordingPath, truthPath, durationS: robot.timeS, tasks, story };
}

async function runSlices(
  robot: DemoRobot,
  rig: CameraRig | undefined,
  seconds: number,
  flush: () => Promise<void>,
): Promise<void> {
  const runUntil = async (isOver: () => boolean): Promise<void> => {
    while (!isOver()) {
      for (const endS = robot.timeS + SLICE_S; robot.timeS < endS; rig?.step()) robot.step();
      await flush();
    }
  };
  await runUntil(() => robot.timeS >= seconds);
  robot.acceptNoMoreTasks();
  await runUntil(() => !robot.isBusy || robot.timeS > seconds + TASK_S_MAX);
  const tailFromS = robot.timeS;
  await runUntil(() => robot.timeS >= tailFromS + TAIL_S);
}

/** An MCAP file that takes the demo's topics but the hidden ones. */
class RecordingFile {
  readonly #writer: McapWriter;
  readonly #stream: ReturnType<typeof createWriteStream>;
  readonly #channelsByTopic: ReadonlyMap<TopicName, number>;
  #sequence = 0;

  private constructor(
    writer: McapWriter,
    stream: ReturnType<typeof createWriteStream>,
    channelsByTopic: ReadonlyMap<TopicName, number>,
  ) {
    this.#writer = writer;
    this.#stream = stream;
    this.#channelsByTopic = channelsByTopic;
  }

  static async open(path: string, robot: DemoRobot, hidden: readonly TopicName[]): Promise<RecordingFile> {
    const stream = createWriteStream(path);
    let position = 0n;
    const write = async (bytes: Uint8Array): Promise<void> => {
      position += BigInt(bytes.length);
      if (!stream.write(bytes.slice())) await once(stream, "drain");
    };
    const compressChunk = (bytes: Uint8Array) => ({
      compression: "lz4",
      compressedData: compressFrameSync(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)),
    });
    const writer = new McapWriter({ writable: { write, position: () => position }, compressChunk });
    await writer.start({ profile: "ros2", library: "lode demo" });
    const channelsByTopic = new Map<TopicName, number>();
    for (const { topic, schemaName, schemaText } of robot.topics.filter((each) => !hidden.includes(each.topic))) {
      const schema = { name: schemaName, encoding: "ros2msg", data: new TextEncoder().encode(schemaText) };
      const schemaId = await writer.registerSchema(schema);
      const channel = { topic, schemaId, messageEncoding: "cdr", metadata: new Map<string, string>() };
      channelsByTopic.set(topic, await writer.registerChannel(channel));
    }
    return new RecordingFile(writer, stream, channelsByTopic);
  }

  async append(messages: readonly Pending[]): Promise<void> {
    for (const { topic, bytes, stampNs } of messages) {
      const channelId = this.#channelsByTopic.get(topic);
      if (channelId === undefined) continue;
      this.#sequence += 1;
      const times = { logTime: stampNs, publishTime: stampNs };
      await this.#writer.addMessage({ channelId, sequence: this.#sequence, ...times, data: bytes });
    }
  }

  async close(): Promise<void> {
    await this.#writer.end();
    this.#stream.end();
    await once(this.#stream, "close");
  }
}
