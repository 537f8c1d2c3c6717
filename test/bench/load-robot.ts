/**
 * The nominal robot (`robot-streams.ts`) as a load, through a rosbridge server of its own process. Prints {"url"} once
 * it listens; on SIGTERM stops publishing, waits until the sockets have drained and prints what it published and sent
 * per topic: the ledger a recorder is held against.
 *
 * Usage: load-robot.ts [SCALE] (1 = nominal)
 */
import type { Publisher } from "../../src/replay/bridge-topic.ts";
import { RosbridgeServer } from "../../src/replay/rosbridge-server.ts";
import { seededRandom } from "../../src/std/random.ts";
import { nominalStreams } from "./robot-streams.ts";

const scale = Number(process.argv[2] ?? "1");
const random = seededRandom(11);
const server = await RosbridgeServer.open({ port: 0, ros: 2 });

type Stream = {
  readonly publisher: Publisher;
  readonly hz: number;
  readonly payloads: readonly Uint8Array[];
  due: number;
  index: number;
};
const streams = (await nominalStreams()).map(({ topic, schemaName, schemaText, hz, payloads }): Stream => {
  const publisher = server.advertise({ topic, schemaName, schemaText, encoding: "cdr", isLatched: false });
  return { publisher, hz: hz * scale, payloads, due: random() / hz, index: 0 };
});

console.log(
  JSON.stringify({
    url: server.url,
    topics: streams.map((entry) => `${entry.publisher.channel.topic}=${entry.publisher.channel.schemaName}`),
  }),
);

let startMs: number | undefined;
const timer = setInterval(() => {
  // Publishing starts when everybody listens, so that "published" is what a recorder must have.
  if (startMs === undefined && streams.every((entry) => server.subscriberCount(entry.publisher.channel.topic) > 0))
    startMs = performance.now();
  if (startMs === undefined) return;
  const now = (performance.now() - startMs) / 1000;
  for (const stream of streams) publishDue(stream, now);
}, 2);

function publishDue(stream: Stream, nowS: number): void {
  while (stream.due <= nowS) {
    const payload = stream.payloads[stream.index % stream.payloads.length];
    if (payload !== undefined) server.publish(stream.publisher, payload);
    stream.index += 1;
    stream.due += 1 / stream.hz;
  }
}

process.on("SIGTERM", () => {
  clearInterval(timer);
  void server.whenDrained(AbortSignal.timeout(10_000)).then(() => {
    console.log(
      JSON.stringify({
        seconds: startMs === undefined ? 0 : (performance.now() - startMs) / 1000,
        topics: Object.fromEntries(server.sentCounts()),
      }),
    );
    process.exit(0);
  });
});
