/**
 * A recording of a robot, whatever its file format: .mcap, ROS 1 .bag or ROS 2 .db3.
 *
 * Promises: messages come in log-time order with their bytes exactly as recorded; memory stays bounded by a few
 * chunks of the file; a file that cannot be read is a `Fault` that says what to do, and a damaged one gives what is
 * readable and says what is missing in `problem`.
 */
import { describeError, Fault } from "../std/fault.ts";

export type RecordedChannel = {
  readonly topic: string;
  /** `sensor_msgs/msg/Imu` in ROS 2, `sensor_msgs/Imu` in ROS 1. */
  readonly schemaName: string;
  /** The full definition as recorded or found; `undefined` if nobody knows it. */
  readonly schemaText: string | undefined;
  readonly encoding: "ros1" | "cdr";
  /** Its publisher keeps the last message for late subscribers. */
  readonly isLatched: boolean;
};

export type RecordedMessage = {
  /** Into `channels`. */
  readonly channelIndex: number;
  readonly logTimeNs: bigint;
  readonly publishTimeNs: bigint;
  /** The reader's own copy; the caller may keep it. */
  readonly bytes: Uint8Array;
};

export interface Recording {
  readonly path: string;
  readonly ros: 1 | 2;
  /** One per publisher, so that a topic may be there several times. */
  readonly channels: readonly RecordedChannel[];
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly messageCount: number;
  /** What of the file cannot be served, and why; `undefined` if it is whole. */
  readonly problem: string | undefined;
  /** From the start, in log-time order; may be called again. Throws `Fault("broken_recording")` at damage. */
  messages(): AsyncIterable<RecordedMessage>;
  /** The same in the runs in which they were read, for who has no time for a promise a message. */
  batches?(): AsyncIterable<readonly RecordedMessage[]>;
  [Symbol.asyncDispose](): Promise<void>;
}

export type RecordingDeps = {
  /** The full definition of a type that the recording itself does not carry. */
  readonly findDefinition: (typeName: string, ros: 1 | 2) => string | undefined;
};

/** Both ways to read, over one. */
export function readings(
  path: string,
  read: () => AsyncIterable<readonly RecordedMessage[]>,
): Required<Pick<Recording, "messages" | "batches">> {
  return { batches: () => readBatches(path, read()), messages: () => readMessages(path, read()) };
}

async function* readBatches(
  path: string,
  batches: AsyncIterable<readonly RecordedMessage[]>,
): AsyncGenerator<readonly RecordedMessage[], void, void> {
  try {
    yield* batches;
  } catch (error) {
    throw brokenRecording(path, error);
  }
}

async function* readMessages(
  path: string,
  batches: AsyncIterable<readonly RecordedMessage[]>,
): AsyncGenerator<RecordedMessage, void, void> {
  for await (const batch of readBatches(path, batches)) yield* batch;
}

/** Whatever a reader threw, as the one fault a person can act on. */
export function brokenRecording(path: string, cause: unknown): Fault {
  if (cause instanceof Fault) return cause;
  return new Fault(
    "broken_recording",
    `${path} is damaged: ${describeError(cause)}.`,
    "Copy the file again, or mend it: `mcap recover`, `rosbag reindex`, `sqlite3 .recover`.",
    cause,
  );
}

/** A recording in which no channel can be served over rosbridge. */
export function nothingToServe(path: string, encodings: readonly string[]): Fault {
  const found = encodings.length === 0 ? "no channels" : `only ${[...new Set(encodings)].join(", ")}`;
  return new Fault(
    "unknown_recording",
    `${path} has ${found}.`,
    "A recording with ROS 1 (ros1) or ROS 2 (cdr) messages is needed.",
  );
}
