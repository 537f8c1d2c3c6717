/**
 * The demo robot without a bridge and without waiting: a recording and the truth about it.
 *
 * `simulate` gives the messages as they happen, `recordHeadless` writes them as `<name>.mcap` (ROS 2 CDR, lz4 chunks)
 * beside `<name>.truth.json`. The run ends when the task that is under way at `seconds` has ended, so every task of
 * the truth is whole. The same options give the same bytes.
 */

import { once } from "node:events";
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { McapWriter } from "@mcap/core";
import { compressFrameSync } from "lz4-napi";
import { CameraRig } from "./camera-rig.ts";
import { BELIEF_TOPICS, type DemoTopic, type TopicName } from "./messages.ts";
import { DemoRobot, type StoryEvent } from "./robot.ts";
import { Simulation } from "./simulation.ts";
import { type TaskTruth, truthToWire } from "./truth.ts";
import type { Mix } from "./variation.ts";

export type SimulationOptions = {
  readonly seed: number;
  readonly seconds: number;
  /** Leaves out what the controller believes: `/diagnostics`, `/rosout`, `/task/state`. */
  readonly isBeliefHidden: boolean;
  /** Draws the cameras' pictures; without it the camera topics stay empty. */
  readonly cameras: boolean;
  readonly mix?: Mix;
};

export type HeadlessOptions = SimulationOptions & {
  readonly folder: string;
  /** File name without ending. */
  readonly name: string;
};

export type HeadlessResult = {
  readonly recordingPath: string;
  readonly truthPath: string;
  readonly durationS: number;
  readonly tasks: readonly TaskTruth[];
  readonly story: readonly StoryEvent[];
};

type SimulatedMessage = { readonly topic: TopicName; readonly bytes: Uint8Array; readonly stampNs: bigint };

export type SimulatedRun = {
  readonly topics: readonly DemoTopic[];
  /** Once, in the order of their stamps; `story` grows with them. */
  readonly messages: AsyncIterable<readonly SimulatedMessage[]>;
  readonly story: readonly StoryEvent[];
  /** Simulated seconds so far. */
  readonly timeS: () => number;
};

/** Simulated second 0 of every recording. */
export const START_NS = 1_767_312_000_000_000_000n; // 2026-01-02T00:00:00Z
/** Simulated time between two visits to the file. */
const SLICE_S = 0.5;
/** What is recorded after the last task: long enough to see that a robot that gave up does not try again. */
const TAIL_S = 10;
/** No task takes longer; if one does, the recording ends without it. */
const TASK_S_MAX = 60;

export async function simulate(options: SimulationOptions): Promise<SimulatedRun> {
  const story: StoryEvent[] = [];
  const pending: SimulatedMessage[] = [];
  const robot = DemoRobot.open(
    { seed: options.seed, startNs: START_NS, mix: options.mix ?? "everyday" },
    {
      onMessage: (topic, bytes, stampNs) => pending.push({ topic, bytes, stampNs }),
      onStory: (event) => story.push(event),
    },
    await Simulation.open(),
  );
  const hidden = options.isBeliefHidden ? BELIEF_TOPICS : [];
  const rig = options.cameras ? CameraRig.open(robot, Number.POSITIVE_INFINITY) : undefined;
  async function* messages(): AsyncGenerator<readonly SimulatedMessage[]> {
    for (const endS of sliceEnds(robot, options.seconds)) {
      for (; robot.timeS < endS; rig?.step()) robot.step();
      await rig?.settle();
      yield pending
        .splice(0)
        .filter(({ topic }) => !hidden.includes(topic))
        .sort((a, b) => Number(a.stampNs - b.stampNs));
    }
  }
  const topics = robot.topics.filter(({ topic }) => !hidden.includes(topic));
  return { topics, messages: messages(), story, timeS: () => robot.timeS };
}

/** Until when to step next: for `seconds`, then to the end of the task under way, and a little longer. */
function* sliceEnds(robot: DemoRobot, seconds: number): Generator<number> {
  while (robot.timeS < seconds) yield robot.timeS + SLICE_S;
  robot.acceptNoMoreTasks();
  while (robot.isBusy && robot.timeS <= seconds + TASK_S_MAX) yield robot.timeS + SLICE_S;
  for (const tailFromS = robot.timeS; robot.timeS < tailFromS + TAIL_S; ) yield robot.timeS + SLICE_S;
}

/** The tasks that ended so far. */
export function tasksOf(story: readonly StoryEvent[]): readonly TaskTruth[] {
  return story.flatMap((event) => (event.kind === "task_ended" ? [event.truth] : []));
}

export async function recordHeadless(options: HeadlessOptions): Promise<HeadlessResult> {
  mkdirSync(options.folder, { recursive: true });
  const recordingPath = join(options.folder, `${options.name}.mcap`);
  const truthPath = join(options.folder, `${options.name}.truth.json`);
  const { topics, messages, story, timeS } = await simulate(options);
  const file = await RecordingFile.open(recordingPath, topics);
  for await (const slice of messages) await file.append(slice);
  await file.close();
  const tasks = tasksOf(story);
  const wire = { seed: options.seed, start_time_ns: `${START_NS}`, duration_s: timeS() };
  writeFileSync(truthPath, `${JSON.stringify({ ...wire, tasks: tasks.map(truthToWire) }, undefined, 1)}\n`);
  return { recordingPath, truthPath, durationS: timeS(), tasks, story };
}

/** An MCAP file of the demo's topics. */
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

  static async open(path: string, topics: readonly DemoTopic[]): Promise<RecordingFile> {
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
    for (const { topic, schemaName, schemaText } of topics) {
      const schema = { name: schemaName, encoding: "ros2msg", data: new TextEncoder().encode(schemaText) };
      const schemaId = await writer.registerSchema(schema);
      const channel = { topic, schemaId, messageEncoding: "cdr", metadata: new Map<string, string>() };
      channelsByTopic.set(topic, await writer.registerChannel(channel));
    }
    return new RecordingFile(writer, stream, channelsByTopic);
  }

  async append(messages: readonly SimulatedMessage[]): Promise<void> {
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
