/** A real receiver on a free port with one enrolled robot, and bare HTTP against it, independent of the uploader. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { batchPath, formatDescription } from "../../src/protocol/wire.ts";
import { RECEIVER_DEFAULTS, Receiver, type ReceiverOptions } from "../../src/receiver/receiver.ts";
import { systemClock } from "../../src/std/clock.ts";
import { type Log, silentLog } from "../../src/telemetry/log.ts";

export type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: Buffer };

export class ReceiverFixture {
  readonly folder: string;
  readonly receiver: Receiver;
  readonly token: string;
  readonly port: number;
  readonly url: string;

  private constructor(folder: string, receiver: Receiver, token: string, port: number) {
    this.folder = folder;
    this.receiver = receiver;
    this.token = token;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async open(options: Partial<ReceiverOptions> = {}, log: Log = silentLog): Promise<ReceiverFixture> {
    const folder = mkdtempSync(join(tmpdir(), "lode-receiver-"));
    const all = { ...RECEIVER_DEFAULTS, freeBytesMin: 0, folder, ...options, port: 0 };
    const receiver = Receiver.open(all, { clock: systemClock, log });
    const token = receiver.addRobot("arm-7");
    const { port } = await receiver.listen();
    return new ReceiverFixture(folder, receiver, token, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.receiver[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** One request; `headers` overrides, and a value of `""` removes. */
  send(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>> = {},
    body?: Uint8Array,
  ): Promise<Answer> {
    return sendHttp(this.port, method, path, { authorization: `Bearer ${this.token}`, ...headers }, body);
  }

  put(batch: TestBatch, headers: Readonly<Record<string, string>> = {}, body = batch.bytes): Promise<Answer> {
    return this.send(
      "PUT",
      batchPath("arm-7", batch.id),
      { ...batch.headers, "upload-complete": "?1", ...headers },
      body,
    );
  }

  patch(
    batch: TestBatch,
    offset: number,
    body: Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const more = {
      "content-type": "application/partial-upload",
      "upload-offset": String(offset),
      "upload-complete": "?1",
    };
    return this.send("PATCH", batchPath("arm-7", batch.id), { ...batch.headers, ...more, ...headers }, body);
  }

  head(id: string): Promise<Answer> {
    return this.send("HEAD", batchPath("arm-7", id));
  }
}

export type TestBatch = {
  readonly id: string;
  readonly bytes: Buffer;
  readonly sha256: string;
  readonly headers: Readonly<Record<string, string>>;
};

export function testBatch(id: string, bytes: Buffer = randomBytes(1000), more: object = {}): TestBatch {
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const description = {
    ...({ boot: "boot-1", episode: "0198-episode", kind: "light", index: 0, mediaType: "application/mcap" } as const),
    ...{ sizeBytes: bytes.length, sha256 },
    ...more,
  };
  return { id, bytes, sha256, headers: formatDescription(description) };
}

export function sendHttp(
  port: number,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: Uint8Array,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const kept = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ""));
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    const sent = request({ port, host: "127.0.0.1", method, path, headers: { ...length, ...kept }, agent: false });
    sent.on("error", reject);
    sent.on("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces) }),
      );
    });
    sent.end(body);
  });
}
