/** The receiver's side of the upload wire, over real sockets and with bare HTTP. */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pinKeys, receiptFromHeader, receiptFromWire, verifyReceipt } from "../../src/protocol/receipt.ts";
import { batchPath, parseDescription } from "../../src/protocol/wire.ts";
import { FolderBlobStore } from "../../src/receiver/blob-store.ts";
import { SqliteCatalog } from "../../src/receiver/catalog.ts";
import { openReceiptKey } from "../../src/receiver/receipt-key.ts";
import { Uploads } from "../../src/receiver/uploads.ts";
import { systemClock } from "../../src/std/clock.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { type Answer, ReceiverFixture, sendHttp, testBatch } from "../support/receiver-fixture.ts";

let fixture: ReceiverFixture;
const alarms: string[] = [];
const log = { ...silentLog, error: (sentence: string) => void alarms.push(sentence) };

beforeEach(async () => {
  alarms.length = 0;
  fixture = await ReceiverFixture.open({ batchBytesMax: 1_000_000, idleMs: 2500 }, log);
});
afterEach(() => fixture[Symbol.asyncDispose]());

function stored(): { parts: number; blobs: string[] } {
  const parts = readdirSync(join(fixture.folder, "parts"), { recursive: true, withFileTypes: true });
  return { parts: parts.filter((entry) => entry.isFile()).length, blobs: readdirSync(join(fixture.folder, "blobs")) };
}

function receiptOf(answer: Answer) {
  return receiptFromHeader(String(answer.headers["lode-receipt"]));
}

test("a batch sent whole is durable under its hash, and its receipt verifies with the pinned key", async () => {
  const batch = testBatch("b1");
  const answer = await fixture.put(batch);
  expect(answer.status).toBe(200);
  const receipt = receiptFromWire(JSON.parse(answer.body.toString()));
  expect(receipt).toMatchObject({ robot: "arm-7", boot: "boot-1", batch: "b1", sha256: batch.sha256, sizeBytes: 1000 });
  expect(receipt !== undefined && verifyReceipt(receipt, pinKeys([fixture.receiver.publicKey]))).toBe(true);
  expect(readFileSync(join(fixture.folder, "blobs", batch.sha256)).equals(batch.bytes)).toBe(true);
  expect(stored().parts).toBe(0);
});

test("the receipt is in every later HEAD, GET and repeated PUT, always the same", async () => {
  const batch = testBatch("b1");
  const first = receiptOf(await fixture.put(batch));
  const head = await fixture.head("b1");
  expect(head.status).toBe(204);
  expect(head.headers).toMatchObject({ "upload-complete": "?1", "upload-offset": "1000", "cache-control": "no-store" });
  expect(receiptOf(head)).toEqual(first);
  const got = await fixture.send("GET", `${batchPath("arm-7", "b1")}/receipt`);
  expect(receiptFromWire(JSON.parse(got.body.toString()))).toEqual(first);
  expect(receiptOf(await fixture.put(batch))).toEqual(first);
  expect(receiptOf(await fixture.patch(batch, 1000, Buffer.alloc(0)))).toEqual(first);
});

test("an upload goes on from the offset the receiver says, in as many pieces as it takes", async () => {
  const batch = testBatch("b1");
  expect((await fixture.head("b1")).headers).toMatchObject({ "upload-offset": "0", "upload-complete": "?0" });
  expect((await fixture.put(batch, { "upload-complete": "?0" }, batch.bytes.subarray(0, 300))).status).toBe(204);
  expect((await fixture.head("b1")).headers["upload-offset"]).toBe("300");
  const middle = await fixture.patch(batch, 300, batch.bytes.subarray(300, 1000), { "upload-complete": "?0" });
  expect(middle.headers).toMatchObject({ "upload-offset": "1000", "upload-complete": "?0" });
  const last = await fixture.patch(batch, 1000, Buffer.alloc(0));
  expect(last.status).toBe(200);
  expect(receiptOf(last)?.sha256).toBe(batch.sha256);
});

test("a wrong offset is refused with the right one", async () => {
  const batch = testBatch("b1");
  await fixture.put(batch, { "upload-complete": "?0" }, batch.bytes.subarray(0, 300));
  for (const offset of [0, 200, 301]) {
    const answer = await fixture.patch(batch, offset, batch.bytes.subarray(offset));
    expect(answer.status).toBe(409);
    expect(answer.headers["upload-offset"]).toBe("300");
  }
  expect((await fixture.patch(batch, 300, batch.bytes.subarray(300))).status).toBe(200);
});

test("content with another hash is refused, and nothing of it stays", async () => {
  const batch = testBatch("b1");
  const answer = await fixture.put(batch, {}, randomBytes(1000));
  expect(answer.status).toBe(422);
  expect(stored()).toEqual({ parts: 0, blobs: [] });
  expect((await fixture.head("b1")).headers["upload-offset"]).toBe("0");
  expect((await fixture.put(batch)).status).toBe(200);
});

test("the same id with another content is refused, raises an alarm, and leaves the first one alone", async () => {
  const [first, second] = [testBatch("b1"), testBatch("b1")];
  await fixture.put(first);
  const answer = await fixture.put(second);
  expect(answer.status).toBe(409);
  expect(answer.headers["upload-offset"]).toBeUndefined();
  expect(alarms).toHaveLength(1);
  expect(stored().blobs).toEqual([first.sha256]);
  expect(receiptOf(await fixture.head("b1"))?.sha256).toBe(first.sha256);
});

test("malformed requests are named, and nothing is stored", async () => {
  const batch = testBatch("b1");
  const cases: [number, Record<string, string>][] = [
    [400, { "upload-complete": "" }],
    [400, { "upload-complete": "yes" }],
    [400, { "upload-length": "" }],
    [400, { "upload-length": "-5" }],
    [400, { "upload-length": "999" }],
    [400, { "repr-digest": "sha-256=xyz" }],
    [400, { "repr-digest": "" }],
    [400, { "lode-kind": "huge" }],
    [400, { "lode-episode": "../../etc" }],
    [400, { "lode-boot": "" }],
    [415, { "content-encoding": "gzip" }],
  ];
  for (const [status, headers] of cases) {
    const answer = await fixture.put(batch, headers);
    expect([answer.status, answer.headers["content-type"]], JSON.stringify(headers)).toEqual([
      status,
      "application/problem+json; charset=utf-8",
    ]);
  }
  expect((await fixture.patch(batch, 0, batch.bytes, { "content-type": "application/mcap" })).status).toBe(415);
  expect((await fixture.patch(batch, 0, batch.bytes, { "upload-offset": "" })).status).toBe(400);
  expect(stored()).toEqual({ parts: 0, blobs: [] });
});

test("a body that is longer or shorter than it said is refused, whatever its framing", async () => {
  const batch = testBatch("b1");
  for (const body of [Buffer.concat([batch.bytes, Buffer.from("x")]), batch.bytes.subarray(1)]) {
    const answer = await sendChunked(batch, body);
    expect(answer).toBe(400);
  }
  expect(stored()).toEqual({ parts: 0, blobs: [] });
});

function sendChunked(batch: ReturnType<typeof testBatch>, body: Buffer): Promise<number> {
  const headers = { ...batch.headers, "upload-complete": "?1", "transfer-encoding": "chunked" };
  const authorization = `Bearer ${fixture.token}`;
  return new Promise((resolve, reject) => {
    const sent = request(
      { port: fixture.port, method: "PUT", path: batchPath("arm-7", batch.id), headers: { ...headers, authorization } },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

test("a batch over the limit is refused before its body, with the limit", async () => {
  const batch = testBatch("b1", Buffer.alloc(1_000_001));
  const answer = await fixture.put(batch);
  expect(answer.status).toBe(413);
  expect(answer.headers["upload-limit"]).toBe("max-size=1000000");
  expect(stored()).toEqual({ parts: 0, blobs: [] });
});

test("a receiver without room says when to come back, and stores nothing", async () => {
  await using full = await ReceiverFixture.open({ freeBytesMin: Number.MAX_SAFE_INTEGER });
  const answer = await full.put(testBatch("b1"));
  expect(answer.status).toBe(507);
  expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
  expect(readdirSync(join(full.folder, "blobs"))).toEqual([]);
});

test("without a token, with an unknown or a revoked one, every route says the same and nothing else", async () => {
  const revoked = fixture.receiver.addRobot("arm-8");
  fixture.receiver.removeRobot("arm-8");
  await fixture.put(testBatch("b1"));
  const paths = [batchPath("arm-7", "b1"), batchPath("arm-7", "never"), batchPath("nobody", "b1")];
  const gets = [...paths.map((path) => `${path}/receipt`), "/v1/episodes", "/v1/episodes/x", "/v1/blobs/x"];
  const bodies = new Set<string>();
  for (const authorization of [
    "",
    "Bearer ",
    "Basic abc",
    "Bearer lode-robot-wrong-wrong-wrong",
    `Bearer ${revoked}`,
  ]) {
    for (const [method, path] of [
      ...paths.flatMap((path) => ["PUT", "PATCH", "HEAD"].map((method) => [method, path] as const)),
      ...gets.map((path) => ["GET", path] as const),
    ]) {
      const answer = await sendHttp(
        fixture.port,
        method,
        path,
        { authorization },
        method === "PUT" ? Buffer.from("x") : undefined,
      );
      expect(answer.status, `${method} ${path} ${authorization}`).toBe(401);
      if (method !== "HEAD") bodies.add(answer.body.toString());
    }
  }
  expect(bodies.size).toBe(1);
});

test("a robot reaches only its own batches, and no reader's route; a reader writes nothing", async () => {
  const other = fixture.receiver.addRobot("arm-8");
  const reader = fixture.receiver.addReader("lab");
  const batch = testBatch("b1");
  await fixture.put(batch);
  const as = (token: string) => ({ authorization: `Bearer ${token}` });
  for (const path of [batchPath("arm-7", "b1"), batchPath("arm-7", "b2"), batchPath("nobody", "b1")]) {
    for (const method of ["PUT", "PATCH", "HEAD"])
      for (const token of [other, reader])
        expect((await sendHttp(fixture.port, method, path, { ...as(token), ...batch.headers })).status).toBe(403);
    expect((await sendHttp(fixture.port, "GET", `${path}/receipt`, as(other))).status).toBe(403);
  }
  for (const path of ["/v1/episodes", "/v1/episodes/0198-episode", `/v1/blobs/${batch.sha256}`])
    expect((await sendHttp(fixture.port, "GET", path, as(other))).status).toBe(403);
});

test("tricks with paths and ids reach no file", async () => {
  for (const id of ["..%2f..%2fetc", "%2e%2e", "a%00b", "a%2fb", "x".repeat(65), ".hidden"]) {
    const { headers, bytes } = testBatch("b1");
    const path = `/v1/robots/arm-7/batches/${id}`;
    const answer = await fixture.send("PUT", path, { ...headers, "upload-complete": "?1" }, bytes);
    expect([400, 404], id).toContain(answer.status);
  }
  expect((await fixture.send("GET", "/v1/robots/arm-7/batches/../../../etc/passwd")).status).toBe(404);
  expect((await fixture.send("GET", "/nothing")).status).toBe(404);
  expect(stored()).toEqual({ parts: 0, blobs: [] });
  expect(() => fixture.receiver.addRobot("../x")).toThrow(expect.objectContaining({ code: "bad_name" }));
});

test("tokens are nowhere in the receiver's folder, and the signing key is its user's alone", async () => {
  await fixture.put(testBatch("b1"));
  for (const name of readdirSync(fixture.folder).filter((name) => name.startsWith("receiver.db")))
    expect(readFileSync(join(fixture.folder, name)).includes(fixture.token)).toBe(false);
  expect(statSync(join(fixture.folder, "receipt.key")).mode & 0o777).toBe(0o600);
});

/** Sends the head of a PUT and some of its body, then keeps the connection open. */
function beginUpload(batch: ReturnType<typeof testBatch>, bytes: number) {
  const socket = connect(fixture.port, "127.0.0.1");
  const lines = Object.entries({
    ...{ ...batch.headers, host: "x", authorization: `Bearer ${fixture.token}`, "upload-complete": "?1" },
    "content-length": String(batch.bytes.length),
  }).map(([name, value]) => `${name}: ${value}`);
  socket.on("error", () => {});
  socket.write(`PUT ${batchPath("arm-7", batch.id)} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  socket.write(batch.bytes.subarray(0, bytes));
  return { socket, closed: new Promise((resolve) => socket.once("close", resolve)) };
}

const partPath = (id: string) => join(fixture.folder, "parts", "arm-7", id);

test("a newer request ends an older one that hangs, and goes on where that stopped", async () => {
  const batch = testBatch("b1", randomBytes(200_000));
  const older = beginUpload(batch, 150_000);
  await expect
    .poll(() => existsSync(partPath("b1")) && statSync(partPath("b1")).size, { timeout: 10_000 })
    .toBe(150_000);
  const head = await fixture.head("b1");
  await older.closed;
  expect(head.headers["upload-offset"]).toBe("150000");
  expect((await fixture.patch(batch, 150_000, batch.bytes.subarray(150_000))).status).toBe(200);
});

test("of many requests for one batch at once it is stored once, and everybody may try again", async () => {
  const batch = testBatch("b1", randomBytes(300_000));
  const tries = await Promise.allSettled(Array.from({ length: 8 }, () => fixture.put(batch)));
  const answers = tries.flatMap((tried) => (tried.status === "fulfilled" ? [tried.value] : []));
  for (const answer of answers) expect([200, 423]).toContain(answer.status);
  const receipts = new Set(
    answers.filter((answer) => answer.status === 200).map((answer) => answer.headers["lode-receipt"]),
  );
  expect(receipts.size).toBe(1);
  expect((await fixture.put(batch)).status).toBe(200);
  expect(stored()).toEqual({ parts: 0, blobs: [batch.sha256] });
});

test("of two requests that find a batch free at the same instant, one is asked to come again", async () => {
  const batch = testBatch("b1");
  const description = parseDescription(batch.headers);
  if ("problem" in description) throw new Error(description.problem);
  using catalog = SqliteCatalog.open(join(fixture.folder, "receiver.db"));
  const uploads = new Uploads(
    { batchBytesMax: 1e6, freeBytesMin: 0, perRobotMax: 8 },
    {
      ...{ catalog, blobs: FolderBlobStore.open(fixture.folder), key: openReceiptKey(fixture.folder) },
      ...{ clock: systemClock, log: silentLog, onCommitted: async () => {} },
    },
  );
  const send = (robot: string) =>
    uploads.append({
      ...{ robot, batch: "b1", description, offset: undefined, isComplete: true },
      body: Readable.from([batch.bytes]),
    });
  const kinds = (await Promise.all([send("arm-7"), send("arm-7"), send("arm-9")])).map(({ kind }) => kind);
  expect(kinds).toEqual(["receipted", "busy", "receipted"]);
});

test("a robot has so many uploads at the same time and no more", async () => {
  const begun = Array.from({ length: 8 }, (_, index) => beginUpload(testBatch(`b${index}`), 100));
  await expect.poll(() => stored().parts, { timeout: 10_000 }).toBe(8);
  const answer = await fixture.put(testBatch("b9"));
  expect([answer.status, answer.headers["retry-after"]]).toEqual([423, "2"]);
  for (const { socket } of begun) socket.destroy();
});

test("a sender that stops in mid-body is let go after the idle time, and what came is kept", async () => {
  const batch = testBatch("b1");
  const hanging = beginUpload(batch, 400);
  await hanging.closed;
  expect((await fixture.head("b1")).headers["upload-offset"]).toBe("400");
});

test("a peer that never ends its headers is let go", async () => {
  const socket = connect(fixture.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.resume();
  socket.write("GET /v1/health HTTP/1.1\r\nx: ");
  const drip = setInterval(() => socket.write("a"), 200);
  await new Promise((resolve) => socket.once("close", resolve));
  clearInterval(drip);
});

test("headers larger than any robot sends are refused", async () => {
  const answer = await fixture.send("GET", "/v1/health", { "x-bomb": "a".repeat(20_000) });
  expect(answer.status).toBe(431);
});

test("anybody may ask for health, and learns nothing more", async () => {
  const answer = await sendHttp(fixture.port, "GET", "/v1/health", {});
  expect([answer.status, JSON.parse(answer.body.toString())]).toEqual([200, { status: "ok" }]);
});
