/**
 * Opens a recording by what its first bytes say it is, never by its name.
 *
 * Throws `Fault`: `unreadable_recording`, `unknown_recording` or `broken_recording`.
 */
import { type FileHandle, open } from "node:fs/promises";
import { describeError, Fault } from "../std/fault.ts";
import { openBag } from "./bag-recording.ts";
import { openDb3 } from "./db3-recording.ts";
import { openMcap } from "./mcap-recording.ts";
import { brokenRecording, type Recording, type RecordingDeps } from "./recording.ts";

const FORMATS = [
  { magic: Buffer.from("894d434150300d0a", "hex"), open: openMcap },
  { magic: Buffer.from("#ROSBAG V2.0\n"), open: openBag },
  { magic: Buffer.from("SQLite format 3\0"), open: openDb3 },
];
const MAGIC_BYTES_MAX = 16;

export async function openRecording(path: string, deps: RecordingDeps): Promise<Recording> {
  const first = await readMagic(path);
  const format = FORMATS.find(({ magic }) => first.subarray(0, magic.length).equals(magic));
  if (format === undefined)
    throw new Fault(
      "unknown_recording",
      `${path} is no recording that Lode knows.`,
      "Give an .mcap file, a ROS 1 .bag (version 2.0) or a ROS 2 .db3; compressed wholes (.zst, .gz) must be unpacked.",
    );
  try {
    return await format.open(path, deps);
  } catch (error) {
    throw brokenRecording(path, error);
  }
}

async function readMagic(path: string): Promise<Buffer> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAGIC_BYTES_MAX), 0, MAGIC_BYTES_MAX, 0);
    return buffer.subarray(0, bytesRead);
  } catch (cause) {
    const text = `${path} cannot be read: ${describeError(cause)}.`;
    throw new Fault("unreadable_recording", text, "Check the path and its permissions.", cause);
  } finally {
    await file?.close();
  }
}
