/**
 * Episodes over a real ring against a plain list of what was sent: random firings, back to back and while the episode
 * before is still being written, with a disk that is slow or not, and crashes at any moment and between any two words
 * that capture says to the ring. A failure names the seed and the shortest history that leads to it.
 */
import { deepStrictEqual, ok } from "node:assert";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Capture, type CaptureDeps } from "../../src/capture/capture.ts";
import { createCaptureTables, EpisodeTable } from "../../src/capture/episode-table.ts";
import type { Episode } from "../../src/model/episode.ts";
import type { CapturePolicy } from "../../src/model/rule-event.ts";
import { compileGlobs } from "../../src/std/glob.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { write } from "../batch/episode-rig.ts";
import { channel, IMAGE, JOINTS, MS, noise, Rig, topicClass } from "../ring/ring-rig.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";
import { policy } from "./machine-rig.ts";

const TF_STATIC = channel(3, "/tf_static", "light", { isLatched: true });
const DEBUG = channel(4, "/debug", "light");
const CHANNELS = [JOINTS, IMAGE, TF_STATIC, DEBUG];

/** Every pre-roll is within what the memory tier holds, 10 s. */
const POLICIES: readonly CapturePolicy[] = [
  policy("extend", { recoversWhen: "never", preRollMs: 3000, postRollMs: 2000, maxMs: 8000, onDemand: [DEBUG.topic] }),
  policy("split", { recoversWhen: "never", preRollMs: 2000, postRollMs: 1000, maxMs: 6000, onOverlap: "split" }),
  policy("ignore", { recoversWhen: "never", preRollMs: 1000, postRollMs: 1000, maxMs: 6000, onOverlap: "ignore" }),
  policy("narrow", { recoversWhen: "never", preRollMs: 4000, postRollMs: 1500, maxMs: 9000, topics: [JOINTS.topic] }),
  policy("stall", {
    ...{ recoversWhen: "cleared", recoveredAfterClearMs: 500, recoveryTimeoutMs: 4000 },
    ...{ preRollMs: 1500, postRollMs: 1000, maxMs: 8000 },
  }),
];
const RULES = POLICIES.map(({ rule }) => rule);
type RuleName = (typeof RULES)[number];

/** Little more than the longest pre-roll: what no episode holds is soon gone. */
const CLASSES = [topicClass("light", { diskMsMax: 6000 }), topicClass("camera", { diskMsMax: 6000 })];

const TICK_MS = 50;
const TICKS_A_FLUSH = 10;
/** Whole chunks reach beyond a window by what a chunk gathers: a flush closes it. */
const HEAVY_SLACK_NS = BigInt(TICK_MS * (TICKS_A_FLUSH + 1)) * MS;

type Sent = { readonly channelId: number; readonly atNs: bigint; readonly text: string };
type Fired = { readonly rule: RuleName; readonly atNs: bigint };

class Crash extends Error {}

class World {
  #rig: Rig;
  #capture: Capture;
  /** Of what was lost in a crash nothing is here. */
  #sent: Sent[] = [];
  #fired: Fired[] = [];
  #sealed: Episode[] = [];
  #wantsDebug = false;
  #wordsUntilCrash: number | undefined;
  #crashNs: bigint[] = [];
  #flushedNs: bigint;
  #count = 0;
  #episodes = 0;
  #ignored = 0;
  #isDiskSlow: boolean;

  constructor(isDiskSlow: boolean) {
    this.#isDiskSlow = isDiskSlow;
    this.#rig = new Rig({ classes: CLASSES });
    this.#rig.addChannel(...CHANNELS);
    createCaptureTables(this.#rig.journal);
    this.#flushedNs = this.#rig.nowNs;
    this.#capture = this.#openCapture();
    this.#send(TF_STATIC.id, "base -> tool");
  }

  get episodes(): number {
    return new EpisodeTable(this.#rig.journal).list(1000).length;
  }

  get crashes(): number {
    return this.#crashNs.length;
  }

  remove(): void {
    this.#rig.remove();
  }

  /** The robot goes on; what has had time to arrive is written and, `batches` willing, becomes files. */
  async run(ticks: number, batches: boolean): Promise<void> {
    for (let tick = 0; tick < ticks; tick += 1) await this.#surviving(() => this.#tick(batches));
  }

  async fire(rule: RuleName): Promise<void> {
    const atNs = this.#rig.nowNs;
    const before = this.#capture.ignoredFirings;
    const life = this.#crashNs.length;
    await this.#surviving(() => {
      this.#flush();
      const event = { kind: "firing", rule, detector: undefined, topic: JOINTS.topic, atNs, values: {} } as const;
      this.#capture.onEvent(event);
    });
    if (this.#crashNs.length > life) return; // it may be there or not
    if (this.#capture.ignoredFirings > before) this.#ignored += 1;
    else this.#fired.push({ rule, atNs });
    this.#commit();
  }

  async clear(): Promise<void> {
    const atNs = this.#rig.nowNs;
    await this.#surviving(() => this.#capture.onEvent({ kind: "cleared", rule: "stall", atNs }));
  }

  /** At once, or when capture has said so many words more. */
  async crash(words: number): Promise<void> {
    if (words === 0) this.#restart();
    else this.#wordsUntilCrash = words;
  }

  /** Everything has become files: each firing is in one of them, and nothing is held any more. */
  async finish(): Promise<void> {
    this.#wordsUntilCrash = undefined;
    await this.run(200, true);
    this.#isDiskSlow = false;
    await this.run(200, true);
    const table = new EpisodeTable(this.#rig.journal);
    const stored = table.list(1000);
    deepStrictEqual(
      stored.filter(({ state }) => state !== "batched"),
      [],
      "every episode has its files",
    );
    deepStrictEqual(this.#rig.journal.prepare("SELECT count(*) AS n FROM hold").get(), { n: 0 });
    deepStrictEqual(this.#rig.ring.status().holds, 0, "nothing is held");
    for (const { rule, atNs } of this.#fired) {
      const homes = stored.filter(({ episode }) =>
        episode.firings.some((one) => one.rule === rule && one.atNs === atNs),
      );
      deepStrictEqual(homes.length > 0, true, `${rule} at ${atNs} is in an episode`);
    }
    ok(this.#fired.length + this.#ignored <= this.#count);
  }

  async #tick(batches: boolean): Promise<void> {
    this.#count += 1;
    this.#send(JOINTS.id, `joints ${this.#count} ${"0.1 ".repeat(10)}`);
    if (this.#count % 2 === 0) this.#send(IMAGE.id, Buffer.from(noise(3000, this.#count)).toString("latin1"));
    if (this.#wantsDebug) this.#send(DEBUG.id, `debug ${this.#count}`);
    this.#rig.clock.advanceMs(TICK_MS);
    if (this.#count % TICKS_A_FLUSH === 0) {
      this.#flush();
      this.#commit();
    }
    this.#capture.tick(this.#rig.nowNs, this.#flushedNs);
    if (!this.#isDiskSlow) this.#rig.ring.step(20);
    else if (this.#count % 20 === 0) this.#rig.ring.step(0); // a chunk a second
    const episode = batches ? this.#sealed.shift() : undefined;
    if (episode !== undefined) await this.#batch(episode);
  }

  #flush(): void {
    this.#rig.builder.flushAll();
    this.#flushedNs = this.#rig.nowNs;
  }

  #commit(): void {
    ok(this.#rig.ring.commit().isDurable);
  }

  #send(channelId: number, text: string): void {
    const atNs = this.#rig.nowNs;
    this.#rig.send(channelId, Buffer.from(text, "latin1"));
    this.#sent.push({ channelId, atNs, text });
  }

  /** As the daemon does it: files of what is stored, then the rows, then the ring lets go. */
  async #batch(episode: Episode): Promise<void> {
    const folder = join(this.#rig.folder, "batches");
    mkdirSync(folder, { recursive: true });
    const losses = this.#rig.ledger.losses(episode.startNs, episode.endNs);
    const result = await write(this.#rig, { losses, folder }, episode);
    this.#check(result.episode, [...result.batches.filter(({ kind }) => kind !== "meta").map(({ path }) => path)]);
    this.#capture.markBatched(result.episode, () => this.#reach());
  }

  /** Against the list of what was sent. */
  #check(episode: Episode, paths: readonly string[]): void {
    const found = paths.flatMap((path) => readMcapBySpec(path).messages);
    const textsOf = (channelId: number) =>
      found
        .filter((message) => message.channelId === channelId)
        .map(({ bytes }) => Buffer.from(bytes).toString("latin1"))
        .toSorted();
    const { startNs, endNs, topics, firings, isInterrupted } = episode;
    const sent = (channelId: number, slackNs = 0n) =>
      this.#sent
        .filter((one) => one.channelId === channelId && one.atNs >= startNs - slackNs && one.atNs <= endNs + slackNs)
        .map(({ text }) => text)
        .toSorted();
    const keeps = compileGlobs(topics);
    for (const { id, topic } of [JOINTS, DEBUG])
      deepStrictEqual(textsOf(id), keeps(topic) ? sent(id) : [], `${topic} is cut to the message`);
    deepStrictEqual(textsOf(TF_STATIC.id), ["base -> tool"], "what is latched is in, whatever the window");
    const images = textsOf(IMAGE.id);
    deepStrictEqual(new Set(images).size, images.length, "no frame twice");
    const allowed = new Set(sent(IMAGE.id, HEAVY_SLACK_NS));
    ok(
      images.every((image) => allowed.has(image)),
      "no more frames than whole chunks bring",
    );
    if (keeps(IMAGE.topic) && !this.#isCutByCrash(episode)) {
      const missing = sent(IMAGE.id).filter((image) => !images.includes(image));
      deepStrictEqual(missing.length, 0, `${missing.length} frames are missing of ${startNs}–${endNs}`);
      const told = episode.completeness.find(({ topic }) => topic === IMAGE.topic);
      if (images.length > 0) deepStrictEqual([told?.coverage, told?.cutTo], ["full", "chunk"]);
    }
    for (const { rule, atNs } of firings) {
      const { preRollMs } = POLICIES.find((known) => known.rule === rule) ?? { preRollMs: 0 };
      ok(startNs <= atNs - BigInt(preRollMs) * MS, "every firing has its pre-roll");
      ok(endNs >= atNs, "and is in the window");
    }
    ok(isInterrupted || endNs - startNs <= 120_000n * MS);
  }

  /** What was in memory only went with the process. */
  #isCutByCrash({ startNs, endNs, isInterrupted }: Episode): boolean {
    return isInterrupted || this.#crashNs.some((atNs) => atNs >= startNs && atNs - 10_000n * MS <= endNs);
  }

  async #surviving(act: () => void | Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.#restart();
    }
  }

  /** Before each word that capture says. */
  #reach(): void {
    if (this.#wordsUntilCrash === undefined) return;
    this.#wordsUntilCrash -= 1;
    if (this.#wordsUntilCrash === 0) throw new Crash();
  }

  /** What lies in the files at this moment is all that a killed process leaves. */
  #restart(): void {
    this.#wordsUntilCrash = undefined;
    const left = mkdtempSync(join(tmpdir(), "lode-episodes-"));
    rmSync(left, { recursive: true });
    cpSync(this.#rig.folder, left, { recursive: true });
    const nowNs = this.#rig.nowNs + 2000n * MS;
    this.#crashNs.push(this.#rig.nowNs);
    this.#rig.remove();
    this.#rig = new Rig({ classes: CLASSES }, left, nowNs);
    const known = new Set(this.#rig.ring.channels.map(({ id }) => id));
    this.#rig.addChannel(...CHANNELS.filter(({ id }) => !known.has(id)));
    const there = new Set(this.#rig.readAll().map(({ channelId, logTimeNs }) => `${channelId} ${logTimeNs}`));
    this.#sent = this.#sent.filter(
      ({ channelId, atNs }) => channelId === IMAGE.id || there.has(`${channelId} ${atNs}`),
    );
    this.#sealed = [];
    this.#wantsDebug = false;
    this.#flushedNs = nowNs;
    this.#capture = this.#openCapture();
  }

  #openCapture(): Capture {
    const { ring, journal } = this.#rig;
    const saying =
      <Words extends unknown[], Result>(say: (...words: Words) => Result) =>
      (...words: Words): Result => {
        this.#reach();
        return say(...words);
      };
    const heard: CaptureDeps["ring"] = {
      hold: saying((...words) => ring.hold(...words)),
      release: saying((id) => ring.release(id)),
      promote: saying((...words) => ring.promote(...words)),
      setFullRate: saying((isOn) => ring.setFullRate(isOn)),
      durabilityOf: (...words) => ring.durabilityOf(...words),
      giveUp: saying((...words) => ring.giveUp(...words)),
    };
    return Capture.open(journal, POLICIES, {
      ...{ ring: heard, log: silentLog, bootId: "boot-1" },
      newId: () => `episode-${++this.#episodes}`,
      lastStoredNs: (bootId) => ring.lastStoredNs(bootId),
      onDemand: saying((globs) => {
        this.#wantsDebug = compileGlobs(globs)(DEBUG.topic);
      }),
      onSealed: saying((episode) => {
        this.#sealed.push(episode);
      }),
    });
  }
}

type Action = { readonly ticks: number; readonly batches: boolean; readonly act: (world: World) => Promise<void> };

const firing = fc.constantFrom(...RULES).map((rule) => (world: World) => world.fire(rule));
const clearing = fc.constant((world: World) => world.clear());
const crash = fc.integer({ min: 0, max: 8 }).map((words) => (world: World) => world.crash(words));

/** Throws at the first broken promise, with the seed and the history that leads to it. */
export async function proveWindows({ runs, seed, crashes }: WindowProof): Promise<void> {
  const act = fc.oneof({ weight: 6, arbitrary: firing }, clearing, ...(crashes ? [crash] : []));
  const action: fc.Arbitrary<Action> = fc.record({
    ticks: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 60 }), fc.integer({ min: 40, max: 140 })),
    batches: fc.boolean(),
    act,
  });
  const history = fc.record({ isDiskSlow: fc.boolean(), actions: fc.array(action, { minLength: 1, maxLength: 8 }) });
  await fc.assert(
    fc.asyncProperty(history, async ({ isDiskSlow, actions }) => {
      const world = new World(isDiskSlow);
      try {
        await world.run(100, true); // the longest pre-roll, and more
        for (const { ticks, batches, act } of actions) {
          await world.run(ticks, batches);
          await act(world);
        }
        await world.finish();
      } finally {
        world.remove();
      }
    }),
    { numRuns: runs, seed },
  );
}

/**
 * One episode from its firing until it is let go, the process ended before every word in turn: with its row and before
 * the ring heard of it, sealed, waiting for its files, with its files and before their rows, before the ring let go.
 * Returns at how many words.
 */
export async function proveEveryWord(): Promise<number> {
  for (let words = 1; ; words += 1) {
    const world = new World(false);
    try {
      await world.run(60, true);
      await world.crash(words);
      await world.fire("extend");
      await world.run(100, true);
      const isOver = world.crashes === 0;
      await world.finish();
      // The first word, to the topics on demand, is the only one before the row.
      deepStrictEqual(world.episodes, words === 1 ? 0 : 1, `as many episodes after word ${words}`);
      if (isOver) return words - 1;
    } finally {
      world.remove();
    }
  }
}

type WindowProof = { readonly runs: number; readonly seed: number; readonly crashes: boolean };
