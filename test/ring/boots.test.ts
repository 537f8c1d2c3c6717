/** Several boots in one ring whose clocks were wrong: log_time ranges overlap, or a later boot is behind an earlier one. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openJournal } from "../../src/daemon/journal.ts";
import { BootClocks } from "../../src/ring/boot-clocks.ts";
import { windowChunks } from "../../src/ring/window.ts";
import { auditRing } from "../support/audit.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import {
  CAMERA,
  channel,
  describeMessage,
  JOINTS,
  MS,
  noise,
  Rig,
  type RigOptions,
  START_NS,
  topicClass,
} from "./ring-rig.ts";

const TF_STATIC = channel(2, "/tf_static", "light", { isLatched: true });
const S = 1000n * MS;
const EVER = { startNs: 0n, endNs: 2n ** 62n };

let folder: string;
beforeEach(() => {
  folder = makeFolder();
});
afterEach(() => removeFolder(join(folder, "..")));

function boot(bootId: string, startNs: bigint, options: RigOptions = {}): Rig {
  const rig = new Rig({ ...options, bootId }, folder, startNs);
  if (rig.ring.channels.length === 0) for (const added of [JOINTS, TF_STATIC]) rig.addChannel(added);
  return rig;
}

/** Ten messages a second that say whose they are. */
function run(rig: Rig, name: string, seconds: number, sizeBytes = 0): void {
  for (let tick = 0; tick < seconds * 10; tick += 1) {
    rig.send(1, Buffer.concat([Buffer.from(`${name} ${tick} `), noise(sizeBytes, tick)]));
    rig.clock.advanceMs(100);
    rig.flush();
  }
  rig.settle();
}

const names = (bytes: Uint8Array) => Buffer.from(bytes).toString().split(" ")[0];

test("messages come boot by boot, whatever the clock of a boot said, and one boot can be asked for alone", () => {
  const sent: string[] = [];
  for (const [bootId, startNs] of [
    ["a", START_NS],
    ["b", 0n],
    ["c", START_NS + S],
  ] as const) {
    using rig = boot(bootId, startNs);
    run(rig, bootId, 3);
    sent.push(...rig.sent.map((one) => `${bootId} ${describeMessage(one.channelId, one.logTimeNs, one.bytes)}`));
  }
  using rig = boot("d", START_NS);
  using reader = rig.open();
  const read = (query: Parameters<typeof reader.messages>[0]) =>
    [...reader.messages(query)].map(
      (one) => `${one.bootId} ${describeMessage(one.channelId, one.logTimeNs, one.bytes)}`,
    );
  expect(read(EVER)).toEqual(sent);
  expect(read({ ...EVER, bootId: "b" })).toEqual(sent.filter((line) => line.startsWith("b")));
  const both = { startNs: START_NS + S, endNs: START_NS + 2n * S };
  expect(new Set(read(both).map((line) => line[0]))).toEqual(new Set(["a", "c"]));
});

test("the oldest boot goes first though the clock of a later one is behind it", () => {
  const options = { classes: [topicClass("light", { diskBytesMax: 150_000 }), CAMERA] };
  for (const [bootId, startNs] of [
    ["a", START_NS],
    ["b", S],
  ] as const) {
    using rig = boot(bootId, startNs, options);
    run(rig, bootId, 10, 1000);
  }
  using rig = boot("c", 2n * S, options);
  run(rig, "c", 5, 1000);
  const left = rig.readAll().map(({ bytes }) => names(bytes));
  expect(new Set(left)).toEqual(new Set(["b", "c"]));
  expect(left.filter((name) => name === "c")).toHaveLength(50);
});

test("a hold keeps its own boot's range and no other's", () => {
  const options = { classes: [topicClass("light", { diskBytesMax: 60_000 }), CAMERA] };
  {
    using rig = boot("a", START_NS);
    run(rig, "a", 4, 1000);
  }
  using rig = boot("b", START_NS, options);
  rig.ring.hold("episode", START_NS, START_NS + S, "a");
  run(rig, "b", 30, 1000);
  const left = rig.readAll();
  expect(left.filter(({ bootId }) => bootId === "a").every(({ logTimeNs }) => logTimeNs <= START_NS + 2n * S)).toBe(
    true,
  );
  expect(left.filter(({ bootId, logTimeNs }) => bootId === "a" && logTimeNs <= START_NS + S)).toHaveLength(11);
  expect(left.some(({ bootId, logTimeNs }) => bootId === "b" && logTimeNs <= START_NS + S)).toBe(false);
  expect(rig.ring.durabilityOf(START_NS, START_NS + S, "a")).toBe("durable");
});

test("a window of one boot has nothing of another's, and latched messages of before, not of a clock ahead", () => {
  for (const [bootId, startNs] of [
    ["ahead", START_NS * 2n - START_NS / 2n],
    ["a", START_NS],
    ["b", START_NS],
  ] as const) {
    using rig = boot(bootId, startNs);
    if (bootId !== "b") rig.send(2, Buffer.from(`frames of ${bootId}`));
    run(rig, bootId, 3);
  }
  using rig = boot("c", START_NS);
  using reader = rig.open();
  const query = { startNs: START_NS + S, endNs: START_NS + 2n * S, wants: () => true, isCut: () => true };
  const inWindow = (bootId: string) =>
    [...windowChunks(reader, { ...query, bootId, onDamaged: () => {} })].map((chunk) => [
      chunk.origin,
      [...chunk.index.values()].reduce((sum, { count }) => sum + count, 0),
    ]);
  expect(inWindow("b")).toEqual([["latched", 1], ...inWindow("a").slice(1)]);
  expect(
    inWindow("b")
      .slice(1)
      .reduce((sum, [, count]) => sum + Number(count), 0),
  ).toBe(11);
  const [frames] = reader.latched(START_NS + S, "b");
  expect(Buffer.from(frames?.bytes ?? []).toString()).toBe("frames of a");
});

test("the last four latched messages are those of the last boots, however late the clock of an earlier one was", () => {
  for (const [bootId, startNs] of [
    ["ahead", START_NS * 2n],
    ["a", START_NS],
    ["b", START_NS],
  ] as const) {
    using rig = boot(bootId, startNs);
    for (let index = 0; index < 6; index += 1) {
      rig.send(2, Buffer.from(`${bootId} ${index}`));
      run(rig, bootId, 1);
    }
  }
  using rig = boot("c", START_NS);
  using reader = rig.open();
  expect(reader.latched(START_NS + 100n * S, "b").map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["b 5"]);
  expect(reader.latched(START_NS + 2n * S + S / 2n, "b").map(({ bytes }) => Buffer.from(bytes).toString())).toEqual([
    "b 2",
  ]);
  expect(reader.latched(START_NS + 100n * S, "a")).toEqual([]); // nothing of a boot that came later
});

test("a crash of an earlier boot is a loss in that boot's log_time", () => {
  const rig = boot("a", START_NS);
  run(rig, "a", 3);
  rig.journal.close(); // as a power cut leaves it
  using next = boot("b", S);
  const [crash] = next.ledger.losses(EVER.startNs, EVER.endNs, { bootId: "a" });
  expect(crash).toMatchObject({ reason: "crash", count: undefined, bootId: "a" });
  expect(crash?.startNs).toBeGreaterThan(START_NS);
  expect(crash?.endNs).toBeGreaterThanOrEqual(START_NS + 3n * S - 100n * MS);
  expect(next.ledger.losses(EVER.startNs, EVER.endNs, { bootId: "b" })).toEqual([]);
});

/** Three boots of ten seconds each; the clock of the second one is far off. */
function threeBoots(secondNs: bigint, options: RigOptions, know: (clocks: BootClocks) => void = () => {}): Rig {
  for (const [bootId, startNs] of [
    ["a", START_NS],
    ["b", secondNs],
  ] as const) {
    using rig = boot(bootId, startNs);
    new BootClocks(rig.journal).keep({ bootId, monotonicNs: 0n, wallNs: startNs });
    run(rig, bootId, 10);
  }
  const rig = boot("c", START_NS + 60n * S, options);
  const clocks = new BootClocks(rig.journal);
  clocks.keep({ bootId: "c", monotonicNs: 0n, wallNs: START_NS + 60n * S });
  know(clocks);
  run(rig, "c", 4);
  return rig;
}

const bootsIn = (rig: Rig) => [...new Set(rig.readAll().map(({ bytes }) => names(bytes)))];

test.for([0n, START_NS * 2n])(
  "an age is counted in what ran since, whatever the clock of a boot said: %d",
  (secondNs) => {
    const aged = (seconds: number) => ({ classes: [topicClass("light", { diskMsMax: seconds * 1000 }), CAMERA] });
    using young = threeBoots(secondNs, aged(30));
    expect(bootsIn(young)).toEqual(["a", "b", "c"]);
    using rig = young.reopen({ ...aged(72), bootId: "c" });
    rig.settle();
    expect(bootsIn(rig)).toEqual(["b", "c"]); // a minute has gone by
  },
);

test("where true times are known, the time in which the computer was off counts as well", () => {
  const options = { classes: [topicClass("light", { diskMsMax: 40_000 }), CAMERA] };
  using unknown = threeBoots(0n, options);
  expect(bootsIn(unknown)).toEqual(["a", "b", "c"]);
  removeFolder(folder);
  mkdirSync(folder);
  using rig = threeBoots(0n, options, (clocks) => {
    clocks.note("a", 0n, { known: { correctionNs: 0n, truth: "synchronised" } });
    clocks.note("b", 0n, { known: { correctionNs: START_NS + 45n * S, truth: "set" } });
    clocks.note("c", 0n, { known: { correctionNs: 0n, truth: "synchronised" } });
  });
  expect(bootsIn(rig)).toEqual(["b", "c"]);
});

test("a boot of which nothing is left in the ring is forgotten, and its messages stay counted", () => {
  for (let index = 0; index < 30; index += 1) {
    using rig = boot(`boot-${index}`, START_NS + BigInt(index) * 3600n * S, {
      classes: [topicClass("light", { diskBytesMax: 3000 }), CAMERA],
    });
    run(rig, "x", 2);
    rig.clock.advanceMs(2000);
    rig.settle();
  }
  using rig = boot("last", START_NS + 31n * 3600n * S);
  const boots = rig.ledger.bootIds();
  expect(boots.length).toBeLessThan(10);
  const received = boots.flatMap((bootId) => rig.ledger.snapshot(rig.ring.heldAmounts(bootId), bootId));
  expect(received.reduce((sum, counts) => sum + counts.received, 0)).toBe(30 * 20);
  expect(auditRing(folder)).toEqual([]);
});

test("a ring that never was has no past, though the journal knows the present boot already", () => {
  const journal = openJournal(folder);
  new BootClocks(journal).keep({ bootId: "a", monotonicNs: 0n, wallNs: START_NS });
  journal.close();
  using rig = new Rig({ bootId: "a", openJournal }, folder, START_NS + 10n * S);
  expect(rig.ring.recordedUntilNs).toBeUndefined();
});
