/**
 * Takes in a robot's frames and counts them, as raw `ws` does or as our source does (frame reading, transport,
 * subscriptions; no decoding, no storage). Ends on SIGTERM.
 *
 * Usage: adapter-client.ts ws|lode URL TOPIC=TYPE… ; then prints {"messages", "bytes"}
 */
import { WebSocket } from "ws";
import type { TopicClass } from "../../src/model/topic-class.ts";
import { RosbridgeSource } from "../../src/source/rosbridge-source.ts";
import { systemClock } from "../../src/std/clock.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const [kind = "", url = "", ...topics] = process.argv.slice(2);
let messages = 0;
let bytes = 0;

if (kind === "ws") {
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 256 << 20 });
  socket.on("open", () => {
    for (const entry of topics) {
      const [topic, type] = entry.split("=");
      socket.send(JSON.stringify({ op: "subscribe", topic, type, compression: "cbor-raw", queue_length: 200 }));
    }
  });
  socket.on("message", (frame: Buffer) => {
    messages += 1;
    bytes += frame.length;
  });
} else {
  const topicClass: TopicClass = {
    ...{ name: "light", rank: 0, tier: "disk", baselineHz: 0, memoryMs: 0, memoryBytesMax: 0 },
    ...{ diskMsMax: 0, diskBytesMax: 0, diskShareMax: 1, queueLength: 200 },
  };
  const source = RosbridgeSource.open(
    { url },
    {
      ...{ clock: systemClock, random: Math.random, log: silentLog },
      planTopic: () => ({ topicClass, isOnDemand: false, isLocal: false }),
      configuredTypes: new Map(
        topics.map((entry): [string, string] => [entry.split("=")[0] ?? "", entry.split("=")[1] ?? ""]),
      ),
    },
    {
      openTopic: () => 0,
      closeTopic: () => {},
      onBytes: (_, message) => {
        messages += 1;
        bytes += message.length;
      },
      onJson: () => {},
      onDrop: () => {},
      onConnection: () => {},
    },
  );
  void source.run(new AbortController().signal);
}

process.on("SIGTERM", () => {
  console.log(JSON.stringify({ messages, bytes }));
  process.exit(0);
});
