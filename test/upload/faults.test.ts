/** Hundreds of uploads through a network that breaks at chosen bytes: catalog = journal, none lost, none doubled. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seededRandom } from "../../src/std/random.ts";
import { type Fault, FaultProxy } from "../support/fault-proxy.ts";
import { ReceiverFixture } from "../support/receiver-fixture.ts";
import { UploaderFixture } from "../support/uploader-fixture.ts";

const UPLOADS = 200;
const BODY_MAX = 40_000;

/** Every class of position: in the headers, at the first and last byte, inside; both ways; lost answers. */
function faultAt(connection: number, random: () => number): Fault {
  const inside = Math.floor(random() * BODY_MAX);
  const kinds: readonly Fault[] = [
    { kind: "cut", direction: "up", afterBytes: BODY_MAX + inside }, // some whole batches on one connection
    { kind: "cut", direction: "up", afterBytes: 1 + Math.floor(random() * 300) }, // the HEAD's own headers
    { kind: "cut", direction: "up", afterBytes: 300 + Math.floor(random() * 700) }, // the PUT's headers and first bytes
    { kind: "cut", direction: "up", afterBytes: 1000 + inside },
    { kind: "cut", direction: "down", afterBytes: 1 + Math.floor(random() * 250) }, // in the HEAD's answer
    { kind: "cut", direction: "down", afterBytes: 250 + Math.floor(random() * 900) }, // in the final response
    { kind: "swallow_answer", afterBytes: 240 },
    { kind: "cut", direction: "down", afterBytes: 2_000 + Math.floor(inside / 10) }, // in some later batch's answer
  ];
  return kinds[connection % kinds.length] ?? { kind: "none" };
}

test("200 uploads over a breaking network: each arrives once, whole, with its receipt", async () => {
  await using home = await ReceiverFixture.open();
  const random = seededRandom(11);
  await using proxy = await FaultProxy.open(
    () => home.port,
    (connection) => faultAt(connection, random),
  );
  const at = { url: proxy.url, token: home.token, publicKey: home.receiver.publicKey };
  await using robot = new UploaderFixture(at, { backOff: { baseMs: 1, maxMs: 3 }, idleMs: 2_000 });
  const sent = new Map<string, Buffer>();
  for (let index = 0; index < UPLOADS; index += 1) {
    const bytes = randomBytes(Math.floor(random() * BODY_MAX));
    sent.set(`batch-${index}`, bytes);
    robot.queue.add(`batch-${index}`, bytes);
  }
  robot.start();
  await expect.poll(() => robot.queue.idsIn("deleted").length, { timeout: 60_000, interval: 50 }).toBe(UPLOADS);

  expect(proxy.cuts).toBeGreaterThan(100);
  const episode = await home.receiver.findEpisode("0198-episode");
  const catalog = new Map(episode?.batches.map((batch) => [batch.batch, batch.sha256]));
  expect(catalog).toEqual(robot.receipts());
  expect(episode?.batches).toHaveLength(UPLOADS);
  for (const [id, bytes] of sent)
    expect(readFileSync(join(home.folder, "blobs", catalog.get(id) ?? "missing")).equals(bytes), id).toBe(true);
  expect(readdirSync(join(home.folder, "parts", "arm-7"))).toEqual([]);
}, 90_000);

test("a large batch arrives although every connection dies after a while: nothing is sent twice", async () => {
  await using home = await ReceiverFixture.open();
  await using proxy = await FaultProxy.open(
    () => home.port,
    () => ({ kind: "cut", direction: "up", afterBytes: 500_000, silentMs: 100 }),
  );
  const at = { url: proxy.url, token: home.token, publicKey: home.receiver.publicKey };
  await using robot = new UploaderFixture(at, { backOff: { baseMs: 1, maxMs: 3 } });
  robot.queue.add("large", randomBytes(4_000_000));
  robot.start();
  await expect.poll(() => robot.queue.idsIn("deleted"), { timeout: 20_000 }).toEqual(["large"]);
  expect(proxy.cuts).toBeGreaterThan(6);
  // Headers, and what was on its way when a connection died.
  expect(proxy.bytesUp).toBeLessThan(4_000_000 * 1.3);
});
