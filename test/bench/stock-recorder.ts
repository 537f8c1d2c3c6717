/**
 * The peer: what most teams write first. Stock roslib, its own decoder and transport, one row per message in
 * better-sqlite3, transactions of one second, synchronous FULL. No ring, no trigger, no retention.
 *
 * Usage: stock-recorder.ts URL DATABASE TOPIC=TYPE… ; ends on SIGTERM and prints {"messages": N}.
 */
import Database from "better-sqlite3";
import { Ros, Topic } from "roslib";

const [url = "", path = "", ...topics] = process.argv.slice(2);
const db = new Database(path);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec("CREATE TABLE message (id INTEGER PRIMARY KEY, topic TEXT, received_ms REAL, payload BLOB)");
const insert = db.prepare("INSERT INTO message (topic, received_ms, payload) VALUES (?, ?, ?)");

let messages = 0;
let rows: [string, number, Uint8Array][] = [];
const flush = db.transaction(() => {
  for (const row of rows) insert.run(...row);
  rows = [];
});
setInterval(flush, 1000);

const ros = new Ros({ url });
ros.on("connection", () => {
  for (const entry of topics) {
    const [name = "", messageType = ""] = entry.split("=");
    const topic = new Topic<{ bytes: Uint8Array }>({
      ros,
      name,
      messageType,
      compression: "cbor-raw",
      queue_length: 200,
    });
    topic.subscribe((message) => {
      messages += 1;
      // The bytes are a view into the frame: a copy is what keeps them until the transaction.
      rows.push([name, performance.now(), Buffer.from(message.bytes)]);
    });
  }
});
process.on("SIGTERM", () => {
  flush();
  process.stdout.write(`${JSON.stringify({ messages })}\n`);
  process.exit(0);
});
