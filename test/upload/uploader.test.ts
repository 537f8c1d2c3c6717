/** The uploader against the real receiver, over real sockets, with a journal on disk. */
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLog } from "../../src/telemetry/log.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { ReceiverFixture } from "../support/receiver-fixture.ts";
import { type Home, UploaderFixture } from "../support/uploader-fixture.ts";

/** Waits long: two busy cores and real fsyncs are slow, and only a broken case takes the time. */
const poll = <T>(read: () => T) => expect.poll(read, { timeout: 15_000, interval: 10 });

let home: ReceiverFixture;
let robots: UploaderFixture[] = [];
let servers: Server[] = [];

beforeEach(async () => {
  home = await ReceiverFixture.open({ batchBytesMax: 50_000_000 });
});
afterEach(async () => {
  for (const robot of robots) await robot[Symbol.asyncDispose]();
  for (const server of servers) server.close();
  for (const server of servers) server.closeAllConnections();
  [robots, servers] = [[], []];
  await home[Symbol.asyncDispose]();
});

function robot(...[at, ...rest]: Partial<ConstructorParameters<typeof UploaderFixture>>): UploaderFixture {
  const made = new UploaderFixture(at ?? homeAt(home.url), ...rest);
  robots.push(made);
  return made;
}

function homeAt(url: string): Home {
  return { url, token: home.token, publicKey: home.receiver.publicKey };
}

/** A server that answers every request as told. */
async function stranger(answer: (method: string, url: string) => { status: number; headers?: Record<string, string> }) {
  const server = createServer((request, response) => {
    const { status, headers } = answer(request.method ?? "", request.url ?? "");
    request.resume();
    request.on("end", () => response.writeHead(status, headers).end());
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return homeAt(`http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`);
}

test("batches arrive in order of value, each released after its receipt", async () => {
  const order: string[] = [];
  const log = {
    ...silentLog,
    debug: (_: string, fields?: Readonly<Record<string, unknown>>) => void order.push(String(fields?.batch_id)),
  };
  const { uploader, queue, receipts } = bind(robot(undefined, {}, log));
  queue.add("low", randomBytes(10_000), { priority: 1 });
  queue.add("high", randomBytes(20_000), { priority: 3 });
  queue.add("middle", Buffer.alloc(0), { priority: 2 });
  robots[0]?.start();
  await poll(() => queue.idsIn("deleted").length).toBe(3);
  expect(order).toEqual(["high", "middle", "low"]);
  for (const id of ["low", "high", "middle"]) {
    expect(receipts().get(id)).toBe(queue.batches.get(id)?.sha256);
    expect(queue.hasFile(id)).toBe(false);
  }
  expect(uploader.status()).toMatchObject({ alarm: "", lastResult: "accepted", sentBytesToday: 30_000 });
});

function bind(made: UploaderFixture) {
  return { uploader: made.uploader, queue: made.queue, receipts: () => made.receipts() };
}

test("a batch is never released before its receipt, and never without one", async () => {
  const at = await stranger((method) =>
    method === "HEAD"
      ? { status: 204, headers: { "upload-offset": "0", "upload-complete": "?0" } }
      : { status: 200, headers: { "upload-complete": "?1" } },
  );
  const errors: string[] = [];
  const made = robot(at, {}, { ...silentLog, error: (sentence) => void errors.push(sentence) });
  made.queue.add("b1", randomBytes(100));
  made.start();
  await poll(() => made.uploader.attemptsOf("b1")).toBeGreaterThan(2);
  expect(made.queue.idsIn("queued")).toEqual(["b1"]);
  expect(made.queue.hasFile("b1")).toBe(true);
  expect(made.uploader.status().alarm).toContain("bad receipt");
  expect(errors).toHaveLength(1); // a change of state, not its every repetition
});

test.each([
  [
    "another receiver's key",
    async () => homeWith({ publicKey: (await otherHome()).receiver.publicKey }),
    "is not pinned",
  ],
  ["another robot", async () => receiptFrom("arm-8", "b1", Buffer.from("right")), "another robot"],
  ["another batch", async () => receiptFrom("arm-7", "b2", Buffer.from("right")), "another batch"],
  ["another content", async () => receiptFrom("arm-7", "b1", Buffer.from("wrong")), "another content"],
])("a receipt of %s is refused, raises an alarm, and releases nothing", async (_name, at, words) => {
  const made = robot(await at());
  made.queue.add("b1", Buffer.from("right"));
  made.start();
  await poll(() => made.uploader.status().alarm).toContain(words);
  expect(made.queue.idsIn("queued")).toEqual(["b1"]);
  expect(made.receipts().size).toBe(0);
});

function homeWith(change: Partial<Home>): Home {
  return { ...homeAt(home.url), ...change };
}

async function otherHome(): Promise<ReceiverFixture> {
  const other = await ReceiverFixture.open();
  extra.push(other);
  return other;
}
const extra: ReceiverFixture[] = [];
afterEach(async () => {
  for (const other of extra.splice(0)) await other[Symbol.asyncDispose]();
});

/** A stranger that answers with a true receipt of the right receiver, but for something else. */
async function receiptFrom(name: string, batch: string, bytes: Buffer): Promise<Home> {
  const source = name === "arm-7" ? home.token : home.receiver.addRobot(name);
  const { testBatch, sendHttp } = await import("../support/receiver-fixture.ts");
  const sent = testBatch(batch, bytes);
  const headers = { ...sent.headers, authorization: `Bearer ${source}`, "upload-complete": "?1" };
  const answer = await sendHttp(home.port, "PUT", `/v1/robots/${name}/batches/${batch}`, headers, bytes);
  const receipt = String(answer.headers["lode-receipt"]);
  return stranger(() => ({
    status: 204,
    headers: { "upload-offset": "5", "upload-complete": "?1", "lode-receipt": receipt },
  }));
}

test("a damaged file is set aside with a reason and sends not one byte", async () => {
  const made = robot();
  for (const id of ["flipped", "short", "gone", "good"]) made.queue.add(id, randomBytes(1000));
  const path = (id: string) => join(made.folder, "batches", id);
  const bytes = readFileSync(path("flipped"));
  bytes.writeUInt8(bytes.readUInt8(500) ^ 1, 500);
  writeFileSync(path("flipped"), bytes);
  writeFileSync(path("short"), bytes.subarray(0, 999));
  made.queue.batches.set("gone", {
    ...(made.queue.batches.get("gone") ?? made.queue.add("gone", bytes)),
    path: path("nowhere"),
  });
  made.start();
  await poll(() => made.queue.idsIn("deleted")).toEqual(["good"]);
  expect(made.queue.idsIn("quarantined").sort()).toEqual(["flipped", "gone", "short"]);
  for (const id of ["flipped", "gone", "short"]) expect(made.queue.batches.get(id)?.quarantineReason).toContain("file");
  expect(readdirSync(join(home.folder, "blobs"))).toHaveLength(1);
});

test.each([400, 409, 413, 415, 422])(
  "a refusal with %i sets the batch aside, and the next one goes on",
  async (status) => {
    const refused = await stranger((method) =>
      method === "HEAD"
        ? { status: 204, headers: { "upload-offset": "0", "upload-complete": "?0" } }
        : { status, headers: { "upload-limit": "max-size=1" } },
    );
    const made = robot(refused);
    made.queue.add("b1", randomBytes(100), { priority: 2 });
    made.queue.add("b2", randomBytes(100));
    made.start();
    await poll(() => made.queue.idsIn("quarantined")).toEqual(["b1", "b2"]);
    expect(made.queue.batches.get("b1")?.quarantineReason).toContain(String(status));
    expect(made.queue.hasFile("b1")).toBe(true);
  },
);

test.each([200, 302, 400, 405, 413, 422])(
  "an answer %i of a proxy or a login page sets nothing aside",
  async (status) => {
    let asked = 0;
    const made = robot(await stranger(() => ({ status, headers: { "x-asked": String(++asked) } })));
    made.queue.add("b1", randomBytes(100));
    made.start();
    await poll(() => asked).toBeGreaterThan(3);
    expect(made.queue.idsIn("queued")).toEqual(["b1"]);
    expect(made.uploader.status().alarm).toContain(String(status));
  },
);

test.each([401, 403, 404, 500, 502, 503, 507, 429, 423])(
  "an answer %i gives nothing up: it is tried again",
  async (status) => {
    let asked = 0;
    const at = await stranger(() => ({
      status: ++asked < 5 ? status : 204,
      headers: { "upload-offset": "0", "upload-complete": "?0" },
    }));
    const made = robot(at);
    made.queue.add("b1", randomBytes(100));
    made.start();
    await poll(() => asked).toBeGreaterThan(5);
    expect(made.queue.idsIn("queued")).toEqual(["b1"]);
  },
);

test("a wrong token is reported and mended by writing the right one into its file", async () => {
  const made = robot(homeWith({ token: "lode-robot-wrong-wrong-wrong" }));
  made.queue.add("b1", randomBytes(100));
  made.start();
  await poll(() => made.uploader.status().alarm).toContain("401");
  writeFileSync(join(made.folder, "token"), home.token);
  await poll(() => made.queue.idsIn("deleted")).toEqual(["b1"]);
  expect(made.uploader.status().alarm).toBe("");
});

test("Retry-After is honoured", async () => {
  let asked = 0;
  const at = await stranger(() => ({ status: ++asked > 0 ? 503 : 200, headers: { "retry-after": "3000" } }));
  const made = robot(at);
  made.queue.add("b1", randomBytes(100));
  made.start();
  await poll(() => made.uploader.status().retryInMs).toBeGreaterThan(2_900_000);
  expect(asked).toBe(1);
});

test("a batch that always fails does not hold up the others", async () => {
  const proxy = await FaultProxy.open(
    () => home.port,
    () => ({ kind: "cut", direction: "up", afterBytes: 20_000 }),
  );
  await using _proxy = proxy;
  // Each connection dies after 20 kB, so the huge batch needs dozens of attempts; the small ones pass between them.
  const made = robot(homeAt(proxy.url), { backOff: { baseMs: 5, maxMs: 100 } });
  made.queue.add("huge", randomBytes(5_000_000), { priority: 9 });
  for (let index = 0; index < 10; index += 1) made.queue.add(`small-${index}`, randomBytes(1000));
  made.start();
  await poll(() => made.queue.idsIn("deleted").filter((id) => id.startsWith("small")).length).toBe(10);
  expect(made.queue.idsIn("deleted")).not.toContain("huge");
});

test("an unreachable receiver is said once, and found again without a restart", async () => {
  let port = 1; // nobody listens there
  const proxy = await FaultProxy.open(
    () => port,
    () => ({ kind: "none" }),
  );
  await using _proxy = proxy;
  const said: string[] = [];
  const log = {
    ...silentLog,
    warn: (sentence: string) => void said.push(sentence),
    error: (sentence: string) => void said.push(sentence),
  };
  const made = robot(homeAt(proxy.url), {}, log);
  made.queue.add("b1", randomBytes(100));
  made.start();
  await poll(() => made.uploader.attemptsOf("b1")).toBeGreaterThan(4);
  expect(said).toEqual(["The receiver cannot be reached; batches wait."]);
  port = home.port;
  await poll(() => made.queue.idsIn("deleted")).toEqual(["b1"]);
});

test("a pause stops a transfer within a second, survives a restart, and resume goes on from the offset", async () => {
  const proxy = await FaultProxy.open(
    () => home.port,
    () => ({ kind: "narrow", bytesPerS: 5_000_000 }) /* so that it lasts until it is stopped */,
  );
  await using _proxy = proxy;
  const made = robot(homeAt(proxy.url));
  const bytes = randomBytes(30_000_000);
  made.queue.add("b1", bytes);
  made.start();
  await poll(() => made.uploader.status().sending?.sentBytes ?? 0).toBeGreaterThan(500_000);
  made.uploader.pause(undefined);
  const pausedAt = performance.now();
  await poll(() => made.uploader.status().sending).toBeUndefined();
  expect(performance.now() - pausedAt).toBeLessThan(1000);
  expect(made.queue.idsIn("queued")).toEqual(["b1"]);
  await made.close();
  robots = [];

  const again = robot(homeAt(home.url), {}, silentLog, made.folder);
  again.start();
  expect(again.uploader.status().gate).toMatchObject({ isOpen: false, reasons: ["A person paused the upload."] });
  again.uploader.resume();
  await poll(() => again.queue.idsIn("deleted")).toEqual(["b1"]);
  expect(again.receipts().size).toBe(1);
});

test("a link that becomes metered in mid-transfer stops it within a second, and what follows keeps to that budget", async () => {
  const root = mkdtempSync(join(tmpdir(), "lode-root-"));
  const setCarrier = (name: string, carrier: string) => {
    mkdirSync(join(root, "sys/class/net", name), { recursive: true });
    writeFileSync(join(root, "sys/class/net", name, "operstate"), "up");
    writeFileSync(join(root, "sys/class/net", name, "carrier"), carrier);
  };
  setCarrier("eth0", "1");
  const proxy = await FaultProxy.open(
    () => home.port,
    () => ({ kind: "narrow", bytesPerS: 5_000_000 }) /* so that it lasts until it is stopped */,
  );
  await using _proxy = proxy;
  const gate = { dailyBytesMax: { free: 0, metered: 1000 }, linkSettledMs: 0 };
  // 0.0.0.0 is this machine too, but not known as such: the interfaces decide.
  const at = homeAt(`http://0.0.0.0:${proxy.port}`);
  const made = robot(at, { gate, sensorRoot: root, meteredInterfaces: ["wwan*"] });
  made.queue.add("b1", randomBytes(30_000_000));
  made.start();
  await poll(() => made.uploader.status().sending?.sentBytes ?? 0).toBeGreaterThan(500_000);
  setCarrier("wwan0", "1");
  setCarrier("eth0", "0");
  const changedAt = performance.now();
  await poll(() => made.uploader.status()).toMatchObject({ link: "metered", sending: undefined });
  expect(performance.now() - changedAt).toBeLessThan(1000);
  await poll(() => made.uploader.status().gate.reasons.join()).toContain("metered link is used up");
  expect(made.uploader.status().sentBytesToday).toBe(1000);
  setCarrier("eth0", "0");
  rmSync(root, { recursive: true, force: true });
  await poll(() => made.uploader.status().link).toBe("offline");
});

test("a pause for a while ends by itself", async () => {
  const made = robot();
  made.queue.add("b1", randomBytes(100));
  made.uploader.pause(BigInt(Date.now() + 300) * 1_000_000n);
  made.start();
  expect(made.uploader.status().gate.isOpen).toBe(false);
  await poll(() => made.queue.idsIn("deleted")).toEqual(["b1"]);
});

test("a day's budget is kept to the byte, over a restart too, and the batch goes on the next day", async () => {
  const gate = { dailyBytesMax: { free: 250_000, metered: 0 }, linkSettledMs: 0 };
  const made = robot(undefined, { gate });
  made.queue.add("b1", randomBytes(100_000), { priority: 2 });
  made.queue.add("b2", randomBytes(400_000));
  made.start();
  await poll(() => made.uploader.status().gate.isOpen).toBe(false);
  await poll(() => made.uploader.status().sending).toBeUndefined();
  expect(made.queue.idsIn("deleted")).toEqual(["b1"]);
  expect(made.uploader.status().sentBytesToday).toBe(250_000);
  expect((await home.head("b2")).headers["upload-offset"]).toBe("150000");
  await made.close();
  robots = [];

  const again = robot(undefined, { gate }, silentLog, made.folder);
  again.start();
  expect(again.uploader.status().gate.reasons[0]).toContain("budget");
  again.db.prepare("UPDATE attempt SET start_ns = start_ns - 86400000000000").run(); // yesterday
  await poll(() => again.queue.idsIn("deleted")).toEqual(["b2"]);
});

test("a receipt that was committed just before a crash releases its batch without sending it again", async () => {
  const made = robot();
  const bytes = randomBytes(1000);
  made.queue.add("b1", bytes);
  made.start();
  await poll(() => made.queue.idsIn("deleted")).toEqual(["b1"]);
  await made.close();
  robots = [];

  const again = robot(homeAt("http://127.0.0.1:1"), {}, silentLog, made.folder);
  again.queue.add("b1", bytes);
  again.start();
  await poll(() => again.queue.idsIn("deleted")).toEqual(["b1"]);
  expect(again.uploader.attemptsOf("b1")).toBe(1);
});

test("tokens are in no log line", async () => {
  const lines: string[] = [];
  const keep = (sentence: string, fields?: object) => void lines.push(sentence + JSON.stringify(fields));
  const made = robot(
    homeWith({ token: "lode-robot-secret-secret" }),
    {},
    { debug: keep, info: keep, warn: keep, error: keep },
  );
  made.queue.add("b1", randomBytes(100));
  made.start();
  await poll(() => made.uploader.attemptsOf("b1")).toBeGreaterThan(2);
  expect(lines.length).toBeGreaterThan(2);
  expect(lines.join("\n") + JSON.stringify(made.uploader.status())).not.toContain("secret-secret");
});
