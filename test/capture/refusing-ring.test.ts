/** Capture over a real ring that takes no more: what the files of an episode then hold, and what they say is missing. */
import { expect, test } from "vitest";
import { Capture } from "../../src/capture/capture.ts";
import { createCaptureTables } from "../../src/capture/episode-table.ts";
import type { Episode } from "../../src/model/episode.ts";
import type { CapturePolicy } from "../../src/model/rule-event.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { write } from "../batch/episode-rig.ts";
import { brokenIdentities, IMAGE, JOINTS, LIGHT, noise, Rig, type RigOptions, topicClass } from "../ring/ring-rig.ts";
import { BrokenDisk } from "../support/broken-disk.ts";

const STORED_CAMERA = topicClass("camera", { tier: "disk", memoryBytesMax: 0 });
const RULE = "drop";
const POLICY: CapturePolicy = {
  ...{ version: "1", isDryRun: false, topics: ["**"] },
  ...{ rule: RULE, kind: "failure", preRollMs: 2000, postRollMs: 10_000, maxMs: 60_000, onOverlap: "extend" },
  ...{ recoversWhen: "never", recoveredAfterClearMs: 0, recoveryTimeoutMs: 0, priority: 90, labels: {}, onDemand: [] },
};

class Line implements Disposable {
  readonly rig: Rig;
  readonly capture: Capture;
  readonly sealed: Episode[] = [];

  constructor(options: RigOptions) {
    this.rig = new Rig({ classes: [LIGHT, STORED_CAMERA], segmentBytes: 256 * 1024, ...options });
    for (const known of [JOINTS, IMAGE]) this.rig.addChannel(known);
    createCaptureTables(this.rig.journal);
    this.capture = Capture.open(this.rig.journal, [POLICY], {
      ...{
        ring: this.rig.ring,
        log: silentLog,
        bootId: "boot-1",
        newId: () => "episode-1",
        lastStoredNs: () => undefined,
      },
      onDemand: () => {},
      onSealed: (episode) => this.sealed.push(episode),
    });
  }

  fire(): void {
    this.capture.onEvent({
      ...{ kind: "firing", rule: RULE, detector: undefined, topic: JOINTS.topic, atNs: this.rig.nowNs, values: {} },
    });
  }

  /** Joints at 20 Hz and 20 kB images at 10 Hz, and the store thread's tick. */
  run(seconds: number): void {
    for (let tick = 0; tick < seconds * 20; tick += 1) {
      this.rig.send(JOINTS.id, noise(100, this.rig.sent.length));
      if (tick % 2 === 0) this.rig.send(IMAGE.id, noise(20_000, this.rig.sent.length));
      this.rig.clock.advanceMs(50);
      this.rig.flush();
      this.capture.tick(this.rig.nowNs);
      this.rig.ring.step(20);
      if (tick % 10 === 9) this.rig.ring.commit();
    }
  }

  /** As the daemon does: files from what is stored, then the hold goes. Returns what they say of a topic. */
  async batch(topic: string) {
    const [episode] = this.sealed;
    if (episode === undefined) throw new Error("nothing was sealed");
    const { startNs, endNs } = episode;
    const result = await write(this.rig, { losses: this.rig.ledger.losses(startNs, endNs) }, episode);
    this.capture.markBatched(result.episode, () => {});
    const complete = result.episode.completeness.find((entry) => entry.topic === topic);
    const sent = this.rig.sent.filter(
      ({ channelId, logTimeNs }) => this.rig.topicOf(channelId) === topic && logTimeNs >= startNs && logTimeNs <= endNs,
    );
    return { messages: complete?.messages ?? 0, dropped: complete?.dropped ?? {}, sent: sent.length };
  }

  [Symbol.dispose](): void {
    this.rig[Symbol.dispose]();
  }
}

test("the files of an episode wait for what a full disk still owes its window", async () => {
  const disk = new BrokenDisk();
  using line = new Line({ io: disk.io });
  line.run(5);
  line.fire();
  line.run(5);
  disk.refuses = true;
  line.run(20);
  expect(line.rig.ring.status().isDiskRefusing).toBe(true);
  expect(line.sealed).toEqual([]);
  disk.refuses = false;
  line.run(2);
  const { messages, dropped, sent } = await line.batch(IMAGE.topic);
  expect(messages).toBeGreaterThanOrEqual(sent); // whole chunks: a few from beside the window
  expect(dropped).toEqual({});
  expect(brokenIdentities(line.rig)).toEqual([]);
});

test("a ring that an episode's own hold fills lets go of it within seconds, says what is missing, and recovers", async () => {
  using line = new Line({ bytesMax: 2 * 1024 * 1024 });
  line.run(5);
  line.fire();
  line.run(13);
  expect(line.rig.ring.status().isDiskRefusing).toBe(true);
  expect(line.sealed).toEqual([]);
  line.run(5);
  expect(line.rig.ledger.snapshot().find(({ topic }) => topic === JOINTS.topic)?.dropped).toEqual({});
  const { messages, dropped, sent } = await line.batch(IMAGE.topic);
  const { disk_full: lost = 0 } = dropped;
  expect(messages).toBeGreaterThan(0);
  expect(lost).toBeGreaterThan(0);
  expect(messages + lost).toBeGreaterThanOrEqual(sent);
  expect(brokenIdentities(line.rig)).toEqual([]);
  const joints = line.rig.ledger.snapshot().find(({ topic }) => topic === JOINTS.topic);
  // Nobody but time: the hold is gone, so the ring takes data again and evicts as ever.
  line.run(10);
  expect(line.rig.ring.status()).toMatchObject({ isDiskRefusing: false, backlogBytes: 0, holds: 0 });
  expect(line.rig.ledger.snapshot().find(({ topic }) => topic === JOINTS.topic)?.stored).toBeGreaterThan(
    joints?.stored ?? 0,
  );
  expect(brokenIdentities(line.rig)).toEqual([]);
});
