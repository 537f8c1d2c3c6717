/**
 * ROS 2 bags in SQLite (rosbag2_storage_sqlite3): tables `topics` and `messages`, and since Iron
 * `message_definitions`. Types without a recorded definition are looked up.
 */
import { Fault } from "../std/fault.ts";
import { type Db, openDatabaseForReading } from "../store/database.ts";
import { isLatchedQos } from "./latched-qos.ts";
import {
  nothingToServe,
  type RecordedChannel,
  type RecordedMessage,
  type Recording,
  type RecordingDeps,
  readings,
} from "./recording.ts";

type TopicRow = { id: number; name: string; type: string; serialization_format: string; offered_qos_profiles: string };
type MessageRow = [topicId: bigint, timestamp: bigint, data: Uint8Array];
type SpanRow = { first: bigint | null; last: bigint | null; count: bigint };

const BATCH_BYTES = 1 << 19;
const BATCH_MESSAGES = 256;

export async function openDb3(path: string, deps: RecordingDeps): Promise<Recording> {
  using db = openForReading(path);
  const tables = new Set(rows<{ name: string }>(db, "SELECT name FROM sqlite_schema").map((row) => row.name));
  if (!tables.has("topics") || !tables.has("messages"))
    throw new Fault("unknown_recording", `${path} is a database, but no ROS 2 bag.`, "Give a .db3 that rosbag2 wrote.");
  const topics = rows<TopicRow>(db, "SELECT * FROM topics ORDER BY id");
  const served = topics.filter((topic) => topic.serialization_format === "cdr");
  const formats = topics.map((topic) => topic.serialization_format);
  if (served.length === 0) throw nothingToServe(path, formats);
  const texts = recordedDefinitions(db, tables);
  const findText = (type: string): string | undefined => texts.get(type) ?? deps.findDefinition(type, 2);
  const channelIndexById = new Map(served.map((topic, index) => [BigInt(topic.id), index]));
  const span = db
    .prepare<[], SpanRow>("SELECT min(timestamp) first, max(timestamp) last, count(*) count FROM messages")
    .safeIntegers()
    .get();
  return {
    path,
    ros: 2,
    channels: served.map((topic) => toChannel(topic, findText)),
    startNs: span?.first ?? 0n,
    endNs: span?.last ?? 0n,
    messageCount: Number(span?.count ?? 0n),
    problem:
      served.length < topics.length ? `Topics in other encodings are left out: ${formats.join(", ")}.` : undefined,
    ...readings(path, () => readRows(path, channelIndexById)),
    [Symbol.asyncDispose]: async () => {},
  };
}

function toChannel(topic: TopicRow, findText: (type: string) => string | undefined): RecordedChannel {
  return {
    topic: topic.name,
    schemaName: topic.type,
    schemaText: findText(topic.type),
    encoding: "cdr",
    isLatched: isLatchedQos(topic.name, topic.offered_qos_profiles),
  };
}

function recordedDefinitions(db: Db, tables: ReadonlySet<string>): Map<string, string> {
  if (!tables.has("message_definitions")) return new Map();
  const sql = "SELECT topic_type, encoded_message_definition text FROM message_definitions WHERE encoding = 'ros2msg'";
  return new Map(rows<{ topic_type: string; text: string }>(db, sql).map((row) => [row.topic_type, row.text]));
}

async function* readRows(
  path: string,
  channelIndexById: ReadonlyMap<bigint, number>,
): AsyncGenerator<readonly RecordedMessage[]> {
  using db = openForReading(path);
  const select = db.prepare<[], MessageRow>("SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp, id");
  let batch: RecordedMessage[] = [];
  let batchBytes = 0;
  for (const [topicId, logTimeNs, bytes] of select.raw().safeIntegers().iterate()) {
    const channelIndex = channelIndexById.get(topicId);
    if (channelIndex === undefined) continue;
    batch.push({ channelIndex, logTimeNs, publishTimeNs: logTimeNs, bytes });
    batchBytes += bytes.byteLength;
    if (batchBytes < BATCH_BYTES && batch.length < BATCH_MESSAGES) continue;
    yield batch;
    [batch, batchBytes] = [[], 0];
  }
  yield batch;
}

function openForReading(path: string): Db & Disposable {
  const db = openDatabaseForReading(path);
  return Object.assign(db, { [Symbol.dispose]: () => void db.close() });
}

function rows<Row>(db: Db, sql: string): Row[] {
  return db.prepare<[], Row>(sql).all();
}
