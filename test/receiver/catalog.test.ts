/** What people and programs see of what came: episodes by cursor, files, blobs; and the check of the store. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Episode, type Outcome, UNSAID } from "../../src/model/episode.ts";
import { formatManifest, type Manifest } from "../../src/protocol/manifest.ts";
import { type Answer, ReceiverFixture, sendHttp, testBatch } from "../support/receiver-fixture.ts";

let fixture: ReceiverFixture;
let reader: string;

beforeEach(async () => {
  fixture = await ReceiverFixture.open();
  reader = fixture.receiver.addReader("lab");
});
afterEach(() => fixture[Symbol.asyncDispose]());

const START_NS = 1_772_374_000_500_000_000n; // 2026-03-01T14:06:40.5Z

function manifest(id: string, rule: string, outcome: Outcome, startNs: bigint, batches: number): Buffer {
  const episode: Episode = {
    ...{ id, bootId: "boot-1", kind: "failure", rule, priority: 5, startNs, endNs: startNs + 20_000_000_000n, outcome },
    ...{ attempts: 2, firings: [], segments: [], labels: {}, note: "", isInterrupted: false, completeness: [] },
    ...UNSAID,
  };
  const common = {
    mediaType: "application/mcap",
    sizeBytes: 1,
    sha256: undefined,
    startNs,
    endNs: startNs,
    channels: [],
  };
  const listed = Array.from({ length: batches }, (_, index) => ({
    ...common,
    id: `l${index}`,
    kind: "heavy" as const,
    index,
  }));
  const robot = { id: "arm-7", site: "", embodiment: "", labels: {} };
  const whole: Manifest = { robot, lodeVersion: "1", createdNs: startNs, episode, batches: listed, previews: [] };
  return Buffer.from(formatManifest(whole));
}

async function putEpisode(id: string, rule: string, outcome: Outcome, startNs = START_NS): Promise<void> {
  const meta = { kind: "meta", mediaType: "application/json", episode: id };
  expect((await fixture.put(testBatch(`${id}-m`, manifest(id, rule, outcome, startNs, 1), meta))).status).toBe(200);
}

async function get(path: string): Promise<{ status: number; json: Record<string, unknown>; answer: Answer }> {
  const answer = await sendHttp(fixture.port, "GET", path, { authorization: `Bearer ${reader}` });
  const isJson = String(answer.headers["content-type"]).startsWith("application/json");
  return { status: answer.status, json: isJson ? JSON.parse(answer.body.toString()) : {}, answer };
}

async function ids(query: string): Promise<unknown> {
  const { episodes } = (await get(`/v1/episodes?${query}`)).json;
  return Array.isArray(episodes) ? episodes.map((episode) => episode.id) : undefined;
}

test("an episode is listed with what its manifest says, and is complete when all its batches are here", async () => {
  await putEpisode("0198-e1aaaaaa", "lost_grasp", "recovered");
  const first = await get("/v1/episodes/0198-e1aaaaaa");
  expect(first.json).toMatchObject({
    ...{ robot: "arm-7", rule: "lost_grasp", kind: "failure", outcome: "recovered", attempts: 2, is_complete: false },
    ...{ start_time: "2026-03-01T14:06:40.500000000Z", end_time: "2026-03-01T14:07:00.500000000Z" },
  });
  await fixture.put(testBatch("e1-h", randomBytes(500), { kind: "heavy", index: 1, episode: "0198-e1aaaaaa" }));
  const whole = await get("/v1/episodes/0198-e1aaaaaa");
  expect(whole.json).toMatchObject({
    is_complete: true,
    batches: [{ kind: "meta" }, { kind: "heavy", index: 1, bytes: 500 }],
  });
});

test("a consumer that follows the cursor sees every episode, and again when it grows", async () => {
  await putEpisode("0198-e1aaaaaa", "lost_grasp", "recovered");
  await putEpisode("0198-e2bbbbbb", "stall", "failed");
  const all = (await get("/v1/episodes?after=0")).json;
  expect(await ids("after=0")).toEqual(["0198-e1aaaaaa", "0198-e2bbbbbb"]);
  expect(await ids(`after=${all.next}`)).toEqual([]);
  await fixture.put(testBatch("e1-h", randomBytes(500), { kind: "heavy", index: 1, episode: "0198-e1aaaaaa" }));
  expect(await ids(`after=${all.next}`)).toEqual(["0198-e1aaaaaa"]);
  expect(await ids("limit=1")).toEqual(["0198-e2bbbbbb"]);
});

test("lists can be narrowed by robot, rule, outcome and time", async () => {
  await putEpisode("0198-e1aaaaaa", "lost_grasp", "recovered");
  await putEpisode("0198-e2bbbbbb", "stall", "failed", START_NS + 3_600_000_000_000n);
  expect(await ids("rule=stall")).toEqual(["0198-e2bbbbbb"]);
  expect(await ids("outcome=recovered")).toEqual(["0198-e1aaaaaa"]);
  expect(await ids("robot=arm-8")).toEqual([]);
  expect(await ids("from=2026-03-01T14:06:40.500Z")).toHaveLength(2);
  expect(await ids("from=2026-03-01T14:06:40.501Z")).toEqual(["0198-e2bbbbbb"]);
  for (const bad of ["after=-1", "limit=x", "from=yesterday", "wait=1.5"])
    expect((await get(`/v1/episodes?${bad}`)).status).toBe(400);
});

test("a long poll answers as soon as something comes, and with nothing when its time is over", async () => {
  const startedAt = performance.now();
  const waiting = get("/v1/episodes?after=0&wait=30");
  await putEpisode("0198-e1aaaaaa", "lost_grasp", "recovered");
  expect((await waiting).json.episodes).toHaveLength(1);
  expect(performance.now() - startedAt).toBeLessThan(10_000);
  expect((await get("/v1/episodes?after=9&wait=1")).json).toEqual({ episodes: [], next: 9 });
});

test("a person finds the files by robot, time and rule; they are the blobs themselves", async () => {
  const bytes = randomBytes(500);
  await fixture.put(testBatch("e1-h", bytes, { kind: "heavy", index: 1, episode: "0198-e1aaaaaa" }));
  expect((await get("/v1/episodes/0198-e1aaaaaa")).json.files).toEqual([]); // its name is in the manifest
  await putEpisode("0198-e1aaaaaa", "lost_grasp", "recovered");
  const folder = "received/arm-7/2026-03-01T14-06-40-lost_grasp-aaaaaa";
  const expected = [`${folder}/manifest.json`, `${folder}/heavy-1.mcap`];
  expect((await get("/v1/episodes/0198-e1aaaaaa")).json.files).toEqual(expected);
  await expect
    .poll(() => filesOf("0198-e1aaaaaa"), { timeout: 10_000 })
    .toEqual(expected.map((path) => join(fixture.folder, path)));
  const path = join(fixture.folder, folder, "heavy-1.mcap");
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(statSync(path).nlink).toBe(2);
});

async function filesOf(id: string): Promise<readonly string[]> {
  const episode = await fixture.receiver.findEpisode(id);
  return episode === undefined ? [] : fixture.receiver.files(episode);
}

test("a rule's name cannot leave the folder of its robot", async () => {
  await putEpisode("0198-e1aaaaaa", "../../../evil rule", "failed");
  await expect.poll(() => filesOf("0198-e1aaaaaa"), { timeout: 10_000 }).toHaveLength(1);
  expect(readdirSync(join(fixture.folder, "received"))).toEqual(["arm-7"]);
  expect(readdirSync(join(fixture.folder, "received", "arm-7"))).toEqual([
    "2026-03-01T14-06-40-.._.._.._evil_rule-aaaaaa",
  ]);
});

test("a meta batch that is no manifest is kept and receipted, and its episode listed without one", async () => {
  for (const [index, text] of ["not json", "{}", "[]", '{"format":"lode-manifest-1"}', ""].entries()) {
    const meta = { kind: "meta", mediaType: "application/json", episode: `e${index}` };
    expect((await fixture.put(testBatch(`m${index}`, Buffer.from(text), meta))).status).toBe(200);
  }
  const { json } = await get("/v1/episodes/e1");
  expect(json).toMatchObject({ id: "e1", is_complete: false, files: [] });
  expect(json).not.toHaveProperty("rule");
});

test("a reader fetches a blob by its hash, and nothing that is not in the catalog", async () => {
  const batch = testBatch("b1");
  await fixture.put(batch);
  const { answer } = await get(`/v1/blobs/${batch.sha256}`);
  expect(answer.body.equals(batch.bytes)).toBe(true);
  for (const sha of ["0".repeat(64), "../receipt.key", "..%2freceipt.key", "x"])
    expect((await get(`/v1/blobs/${sha}`)).status).toBe(404);
});

test("fsck finds what is missing, changed or nobody's, and repairs only what is certain", async () => {
  const [gone, flipped, short, good] = ["a", "b", "c", "d"].map((id) => testBatch(id)) as [T, T, T, T];
  for (const batch of [gone, flipped, short, good]) await fixture.put(batch);
  expect(await fixture.receiver.fsck(false)).toMatchObject({ batches: 4, blobs: 4, bytes: 4000, problems: [] });
  const blob = (sha256: string) => join(fixture.folder, "blobs", sha256);
  rmSync(blob(gone.sha256));
  writeFileSync(blob(flipped.sha256), randomBytes(1000));
  writeFileSync(blob(short.sha256), "x");
  for (const name of ["0".repeat(64), "1".repeat(64)]) writeFileSync(blob(name), "x");
  utimesSync(blob("0".repeat(64)), 1, 1);
  const { problems } = await fixture.receiver.fsck(true);
  expect(new Map(problems.map((problem) => [problem.sha256, problem.kind]))).toEqual(
    new Map([
      [gone.sha256, "missing"],
      [flipped.sha256, "wrong_hash"],
      [short.sha256, "wrong_size"],
      ["0".repeat(64), "orphan"],
      ["1".repeat(64), "orphan"],
    ]),
  );
  // The young one may be an upload under way.
  expect(problems.filter((problem) => problem.isRemoved).map((problem) => problem.sha256)).toEqual(["0".repeat(64)]);
});

type T = ReturnType<typeof testBatch>;
