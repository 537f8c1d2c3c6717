/** Episodes whose boot is over, in a ring where the next boot's log_time has the same range. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Capture } from "../../src/capture/capture.ts";
import { createCaptureTables, EpisodeTable } from "../../src/capture/episode-table.ts";
import { readLosses } from "../../src/ledger/ledger.ts";
import type { Episode } from "../../src/model/episode.ts";
import type { CapturePolicy } from "../../src/model/rule-event.ts";
import { BootClocks } from "../../src/ring/boot-clocks.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { write } from "../batch/episode-rig.ts";
import { JOINTS, MS, Rig } from "../ring/ring-rig.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import { readMcapBySpec } from "../support/mcap-spec-reader.ts";

const S = 1000n * MS;
/** Both boots begin there: no clock was ever set. */
const POWER_ON_NS = 10n * S;
const POLICY: CapturePolicy = {
  ...{ version: "1", isDryRun: false, topics: ["**"] },
  ...{ rule: "drop", kind: "failure", preRollMs: 30_000, postRollMs: 10_000, maxMs: 60_000, onOverlap: "extend" },
  ...{ recoversWhen: "never", recoveredAfterClearMs: 0, recoveryTimeoutMs: 0, priority: 90, labels: {}, onDemand: [] },
};

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(join(folder, "..")));

class Line {
  readonly rig: Rig;
  readonly capture: Capture;
  readonly sealed: Episode[] = [];

  constructor(bootId: string) {
    this.rig = new Rig({ bootId }, folder, POWER_ON_NS);
    if (this.rig.ring.channels.length === 0) this.rig.addChannel(JOINTS);
    const isNew = this.rig.journal.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'episode'").get() === undefined;
    if (isNew) createCaptureTables(this.rig.journal);
    this.capture = Capture.open(this.rig.journal, [POLICY], {
      ...{ ring: this.rig.ring, log: silentLog, bootId, newId: () => `episode of ${bootId}` },
      lastStoredNs: (known) => this.rig.ring.lastStoredNs(known),
      onDemand: () => {},
      onSealed: (episode) => this.sealed.push(episode),
    });
  }

  run(seconds: number, name: string): void {
    for (let tick = 0; tick < seconds * 10; tick += 1) {
      this.rig.send(JOINTS.id, Buffer.from(`${name} ${tick}`));
      this.rig.clock.advanceMs(100);
      this.rig.flush();
      if (tick % 5 === 0) this.rig.ring.commit();
    }
    this.rig.settle();
  }

  fire(): void {
    const event = { kind: "firing", rule: "drop", detector: undefined, topic: JOINTS.topic, values: {} } as const;
    this.capture.onEvent({ ...event, atNs: this.rig.nowNs });
  }
}

test("an episode cut off by a power cut has its own boot's messages and losses, whatever the next boot records", async () => {
  const first = new Line("a");
  first.run(5, "a");
  first.fire();
  first.run(3, "a");
  const endNs = first.rig.nowNs;
  first.rig.journal.close(); // the power is cut

  const next = new Line("b");
  next.capture.tick(next.rig.nowNs); // at once: the window is behind us though this boot's clock says otherwise
  expect(next.sealed).toMatchObject([{ id: "episode of a", bootId: "a", isInterrupted: true }]);
  const [episode] = next.sealed;
  if (episode === undefined) throw new Error("there is one");
  expect(episode.endNs).toBeGreaterThan(endNs - 2n * S);
  expect(episode.endNs).toBeLessThanOrEqual(endNs);
  expect(episode.startNs).toBeLessThan(0n); // 30 s before a firing 15 s after 1970
  next.run(20, "b");
  next.rig.ledger.addLoss({
    ...{ topic: JOINTS.topic, reason: "queue_full", startNs: POWER_ON_NS, endNs: POWER_ON_NS + S, count: 7, bytes: 70 },
  });
  next.rig.ledger.saveLosses();

  const losses = readLosses(next.rig.journal, episode.startNs, episode.endNs, { bootId: episode.bootId });
  const { batches, episode: written } = await write(next.rig, { losses }, episode);
  const light = batches.find(({ kind }) => kind === "light");
  const file = readMcapBySpec(light?.path ?? "");
  const joints = file.messages.filter(({ channelId }) => channelId === JOINTS.id);
  const texts = joints.map(({ bytes }) => Buffer.from(bytes).toString());
  expect(texts.length).toBeGreaterThanOrEqual(60);
  expect(texts).toEqual(first.rig.sent.slice(0, texts.length).map(({ bytes }) => Buffer.from(bytes).toString()));
  const [topic] = written.completeness;
  expect(topic).toMatchObject({ topic: JOINTS.topic, dropped: {} });
  expect(topic?.gaps.map(({ reason }) => reason)).not.toContain("queue_full");
  next.rig[Symbol.dispose]();
});

test("the newest episodes come first, though the clock of their boot is behind", () => {
  const first = new Line("a");
  first.rig.clock.advanceMs(1_000_000);
  first.fire();
  first.rig[Symbol.dispose]();
  const next = new Line("b");
  next.rig.clock.advanceMs(5000);
  next.fire();
  const table = new EpisodeTable(next.rig.journal);
  expect(table.list(10).map(({ episode }) => episode.id)).toEqual(["episode of b", "episode of a"]);
  next.rig[Symbol.dispose]();
});

test("an episode cut off by a power cut that cost the index too is not cut back to its firing", () => {
  const first = new Line("a");
  new BootClocks(first.rig.journal).keep({ bootId: "a", monotonicNs: 0n, wallNs: POWER_ON_NS });
  first.run(5, "a");
  first.fire();
  const firedNs = first.rig.nowNs;
  first.run(3, "a");
  first.rig.journal.close(); // the power is cut
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(folder, `ring.db${suffix}`));
  const next = new Line("b");
  next.rig.settle();
  next.capture.tick(next.rig.nowNs);
  expect(next.sealed).toMatchObject([{ id: "episode of a", isInterrupted: true, endNs: firedNs + 10n * S }]);
  next.rig[Symbol.dispose]();
});
