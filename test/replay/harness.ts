/** A plain rosbridge client on `ws`, a condition with a deadline, and a folder that goes when the test ends. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Ros, Topic } from "roslib";
import { onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { Definitions } from "../../src/decode/definitions.ts";
import { compileEncoder } from "../../src/decode/encoder.ts";
import { parseSchema } from "../../src/decode/parsed-schema.ts";
import type { RecordedChannel, Recording } from "../../src/replay/recording.ts";

export const RECORDINGS = resolve(import.meta.dirname, "../data/recordings");

const definitions = Definitions.open({ folders: [] });
export const deps = { findDefinition: (name: string, ros: 1 | 2) => definitions.find(name, ros) };

export async function until(isReached: () => boolean, what: string, deadlineMs = 10_000): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!isReached()) {
    if (performance.now() > endMs) throw new Error(`not reached in time: ${what}`);
    await sleep(5);
  }
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "lode-replay-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export class PlainClient {
  readonly socket: WebSocket;
  readonly binary: Buffer[] = [];
  readonly json: Record<string, unknown>[] = [];
  #callCount = 0;

  private constructor(url: string) {
    this.socket = new WebSocket(url, { maxPayload: 1 << 28 });
    this.socket.on("message", (content: Buffer, isBinary) => {
      if (isBinary) this.binary.push(content);
      else this.json.push(JSON.parse(content.toString()));
    });
  }

  static async open(url: string): Promise<PlainClient> {
    const client = new PlainClient(url);
    await new Promise((done, fail) => client.socket.once("open", done).once("error", fail));
    onTestFinished(() => client.socket.terminate());
    return client;
  }

  send(op: Record<string, unknown>): void {
    this.socket.send(JSON.stringify(op));
  }

  /** Everything sent before has been handled by the server when this resolves. */
  async call(service: string, args: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    this.#callCount += 1;
    const id = `call:${this.#callCount}`;
    this.send({ op: "call_service", service, args, id });
    const find = () => this.json.find((message) => message.op === "service_response" && message.id === id);
    await until(() => find() !== undefined, `the answer of ${service}`);
    return find() ?? {};
  }

  async settle(): Promise<void> {
    await this.call("/rosapi/get_time");
  }

  published(topic: string): unknown[] {
    return this.json.filter((message) => message.op === "publish" && message.topic === topic).map(({ msg }) => msg);
  }
}

export function channelOf(
  topic: string,
  schemaName: string,
  ros: 1 | 2 = 2,
  more: Partial<RecordedChannel> = {},
): RecordedChannel {
  const schemaText = deps.findDefinition(schemaName, ros);
  return { topic, schemaName, schemaText, encoding: ros === 1 ? "ros1" : "cdr", isLatched: false, ...more };
}

/** JSON → the bytes that a publisher of the channel would send. */
export function encode(channel: RecordedChannel, json: unknown): Uint8Array {
  const encoding = channel.encoding === "ros1" ? "ros1msg" : "ros2msg";
  const schema = parseSchema({ name: channel.schemaName, encoding, text: channel.schemaText ?? "" });
  const encoder = "problem" in schema ? schema : compileEncoder(schema, channel.encoding);
  if ("problem" in encoder) throw new Error(encoder.problem);
  return encoder(json).bytes;
}

/** Stock roslib with its own transport and CBOR decoder: a client that shares no code with the server. */
export async function openRoslib(url: string): Promise<Ros> {
  const ros = new Ros();
  await ros.connect(url);
  onTestFinished(() => ros.close());
  return ros;
}

export async function subscribeWithRoslib(url: string, channel: RecordedChannel, compression: string) {
  const ros = await openRoslib(url);
  const received: unknown[] = [];
  const topic = new Topic({ ros, name: channel.topic, messageType: channel.schemaName, compression });
  topic.subscribe((message) => received.push(message));
  return received;
}

/** How often each (topic, sha256 of the payload) came. */
export class Multiset {
  readonly counts = new Map<string, number>();

  add(topic: string, payload: Uint8Array): void {
    const key = `${topic} ${createHash("sha256").update(payload).digest("hex")}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }

  get size(): number {
    return this.counts.values().reduce((sum, count) => sum + count, 0);
  }

  static async of(recording: Recording): Promise<Multiset> {
    const all = new Multiset();
    for await (const message of recording.messages())
      all.add(recording.channels[message.channelIndex]?.topic ?? "", message.bytes);
    return all;
  }
}

export type ManifestEntry = {
  readonly file: string;
  readonly messages: number;
  readonly topics: ReadonlyMap<string, { readonly type: string; readonly count: number }>;
};

/** What MANIFEST.md says of each recording. */
export function readManifest(): ManifestEntry[] {
  const text = readFileSync(join(RECORDINGS, "MANIFEST.md"), "utf8");
  return text
    .split(/^### /m)
    .slice(1)
    .filter((section) => /^\S+\.(mcap|bag|db3)\n/.test(section))
    .map((section) => ({
      file: section.split("\n")[0] ?? "",
      messages: Number(/ msgs (\d+) /.exec(section)?.[1]),
      topics: new Map(
        [...section.matchAll(/^ {2}- (\/\S+) {2}([\w/]+)\S* {2}n=(\d+)/gm)].map((match) => [
          match[1] ?? "",
          { type: match[2] ?? "", count: Number(match[3]) },
        ]),
      ),
    }));
}
