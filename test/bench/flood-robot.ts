/**
 * A robot that sends as fast as a socket takes it, or at a pace: whole stretches of a mix as prebuilt WebSocket frames,
 * one write each, so that the load costs little beside the recorder it shares two cores with.
 *
 * It serves one client and waits for the socket instead of dropping: a recorder that reads too slowly lowers
 * `published`, one that drops is short of it. Prints {"url", "topics"}, and {"event": "subscribed"} when every topic is;
 * starts on SIGUSR2; on SIGTERM it ends after the stretch at hand and prints what it published, in what time, and what
 * that cost itself.
 *
 * Usage: flood-robot.ts camera|sensors [SCALE]; SCALE times the mix's own rates, 0 = as fast as it goes
 */
import type { Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { rawFrame, rawFramePrefix } from "../../src/replay/publish-frame.ts";
import { answerRosapi } from "../../src/replay/rosapi.ts";
import { type MixName, openMix, stretchOf } from "./robot-streams.ts";

const [name = "camera", scaleText = "0"] = process.argv.slice(2);
const mix = await openMix(name as MixName);
const scale = Number(scaleText);
const STRETCH_S = name === "camera" ? 0.1 : 0.2;
const STRETCHES = 8;
/** Waiting in this process; the kernel's buffers come on top. */
const WAITING_BYTES_MAX = 8 << 20;

const prefixes = new Map(mix.map(({ topic }) => [topic, rawFramePrefix(topic)]));
const nowNs = BigInt(Date.now()) * 1_000_000n;
const stretches = Array.from({ length: STRETCHES }, (_, index) => {
  const parts = stretchOf(mix, STRETCH_S, index).map(({ stream, payload }) => {
    const frame = rawFrame(prefixes.get(stream.topic) ?? Buffer.alloc(0), nowNs, payload);
    return Buffer.concat([frameHead(frame.length), frame]);
  });
  return Buffer.concat(parts);
});

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
await new Promise((resolve) => server.once("listening", resolve));
const address = server.address();
const port = typeof address === "object" && address !== null ? address.port : 0;
console.log(
  JSON.stringify({
    url: `ws://127.0.0.1:${port}`,
    topics: mix.map(({ topic, schemaName }) => `${topic}=${schemaName}`),
  }),
);

let count = 0;
let startMs = 0;
let cpuAtStart = process.cpuUsage();
let isStopping = false;
const go = new Promise((resolve) => process.once("SIGUSR2", resolve));

server.on("connection", (socket, request) => {
  const subscribed = new Set<string>();
  socket.on("message", (data: Buffer) => {
    const op = JSON.parse(data.toString());
    if (op.op === "call_service") answer(socket, op);
    if (op.op !== "subscribe" || subscribed.has(op.topic)) return;
    subscribed.add(op.topic);
    if (subscribed.size < mix.length) return;
    console.log(JSON.stringify({ event: "subscribed" }));
    void go.then(() => start(request.socket));
  });
});

function answer(socket: WebSocket, op: { id: string; service: string; args: Record<string, unknown> }): void {
  const topics = mix.map(({ topic, schemaName, schemaText }) => ({
    ...{ name: topic, schemaName, schemaText, publisherNodes: ["/robot"], subscriberNodes: [] },
  }));
  const values = answerRosapi(op.service, op.args, { ros: 2, topics, nowNs: BigInt(Date.now()) * 1_000_000n });
  socket.send(JSON.stringify({ op: "service_response", id: op.id, service: op.service, result: true, values }));
}

function start(socket: Socket): void {
  startMs = performance.now();
  cpuAtStart = process.cpuUsage();
  socket.on("error", () => process.exit(1));
  const fill = () => {
    while (!isStopping && isDue() && socket.writableLength < WAITING_BYTES_MAX) {
      socket.write(stretches[count % STRETCHES] ?? Buffer.alloc(0));
      count += 1;
    }
    if (isStopping && socket.writableLength === 0) finish();
  };
  socket.on("drain", fill);
  // Gone: whoever received has everything.
  socket.on("close", () => process.exit(0));
  setInterval(fill, 1);
}

function isDue(): boolean {
  return scale === 0 || count * STRETCH_S <= ((performance.now() - startMs) / 1000) * scale;
}

let isFinished = false;
function finish(): void {
  if (isFinished) return;
  isFinished = true;
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpuAtStart);
  const topics: Record<string, { published: number; publishedBytes: number }> = {};
  for (let index = 0; index < Math.min(count, STRETCHES); index += 1) {
    const times = Math.ceil((count - index) / STRETCHES);
    for (const { stream, payload } of stretchOf(mix, STRETCH_S, index)) {
      topics[stream.topic] ??= { published: 0, publishedBytes: 0 };
      const sums = topics[stream.topic];
      if (sums === undefined) continue;
      sums.published += times;
      sums.publishedBytes += times * payload.length;
    }
  }
  console.log(JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, topics }));
}

process.on("SIGTERM", () => {
  isStopping = true;
  if (startMs === 0 || isFinished) process.exit(0);
});

/** An unmasked binary frame's head (RFC 6455 §5.2). */
function frameHead(sizeBytes: number): Buffer {
  if (sizeBytes < 126) return Buffer.from([0x82, sizeBytes]);
  const head = Buffer.alloc(sizeBytes < 65536 ? 4 : 10);
  head[0] = 0x82;
  head[1] = sizeBytes < 65536 ? 126 : 127;
  if (sizeBytes < 65536) head.writeUInt16BE(sizeBytes, 2);
  else head.writeBigUInt64BE(BigInt(sizeBytes), 2);
  return head;
}
