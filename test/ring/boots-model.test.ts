/**
 * Whatever the walls of several boots did: a range of true time gives exactly the messages that were received in it, in
 * order, and log_time keeps their order and distances.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { logTimeRanges, trueTimeNs } from "../../src/model/boot-clock.ts";
import { BootClocks } from "../../src/ring/boot-clocks.ts";
import { JOINTS, MS, Rig, START_NS } from "./ring-rig.ts";

const S = 1000n * MS;

type Boot = {
  /** What its wall showed at power-on, too much. */
  readonly wallErrorS: number;
  /** Off before it. */
  readonly offS: number;
  readonly messages: number;
  /** Between two messages. */
  readonly gapMs: readonly number[];
  /** After which the daemon was started again. */
  readonly restartAt: number;
  readonly isKnown: boolean;
};
type Sent = { readonly boot: number; readonly text: string; readonly trueNs: bigint; readonly isKnown: boolean };

const YEARS_S = 57 * 365 * 86_400;
const boot: fc.Arbitrary<Boot> = fc.record({
  wallErrorS: fc.oneof(
    fc.integer({ min: -YEARS_S, max: YEARS_S }),
    fc.integer({ min: -20, max: 20 }),
    fc.constant(-YEARS_S),
  ),
  offS: fc.integer({ min: 0, max: 100 }),
  messages: fc.integer({ min: 1, max: 30 }),
  gapMs: fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 5 }),
  restartAt: fc.integer({ min: 0, max: 40 }),
  isKnown: fc.boolean(),
});

function record(folder: string, boots: readonly Boot[]): Sent[] {
  const sent: Sent[] = [];
  let trueNs = START_NS;
  for (const [index, { wallErrorS, offS, messages, gapMs, restartAt, isKnown }] of boots.entries()) {
    trueNs += BigInt(offS) * S;
    const bootId = `boot-${index}`;
    const wallNs = trueNs + BigInt(wallErrorS) * S;
    let rig = open(folder, bootId, wallNs);
    for (let number = 0; number < messages; number += 1) {
      const text = `${bootId} ${number}`;
      rig.send(1, Buffer.from(text));
      sent.push({ boot: index, text, trueNs: trueNs + (rig.nowNs - wallNs), isKnown });
      if (number === restartAt) {
        const { nowNs } = rig;
        rig.settle();
        rig[Symbol.dispose]();
        rig = open(folder, bootId, nowNs);
      }
      rig.clock.advanceMs(gapMs[number % gapMs.length] ?? 0);
      rig.flush();
    }
    rig.settle();
    const clocks = new BootClocks(rig.journal);
    clocks.keep({ bootId, monotonicNs: 0n, wallNs });
    const correctionNs = -BigInt(wallErrorS) * S;
    if (isKnown) clocks.note(bootId, correctionNs, { known: { correctionNs, truth: "synchronised" } });
    trueNs += rig.nowNs - wallNs;
    rig[Symbol.dispose]();
  }
  return sent;
}

function open(folder: string, bootId: string, nowNs: bigint): Rig {
  const rig = new Rig({ bootId }, folder, nowNs);
  if (rig.ring.channels.length === 0) rig.addChannel(JOINTS);
  return rig;
}

test("ranges of true time over boots with any clocks give exactly what was received in them", {
  timeout: 60_000,
}, () => {
  const property = fc.property(
    fc.array(boot, { minLength: 1, maxLength: 4 }),
    fc.array(fc.tuple(fc.nat(200), fc.nat(100)), { minLength: 1, maxLength: 4 }),
    (boots, ranges) => {
      const folder = mkdtempSync(join(tmpdir(), "lode-boots-"));
      try {
        const sent = record(folder, boots);
        using rig = new Rig({ bootId: "last" }, folder, START_NS);
        using reader = rig.open();
        const clocks = new BootClocks(rig.journal).list();
        const read = (startNs: bigint, endNs: bigint) =>
          logTimeRanges(clocks, startNs, endNs).flatMap((range) => [...reader.messages(range)]);
        const all = read(-(2n ** 62n), 2n ** 62n);
        expect(all.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(sent.map(({ text }) => text));
        for (const [index, { bootId, logTimeNs }] of all.entries()) {
          const [one, next] = [sent[index], sent[index + 1]];
          const following = all[index + 1];
          if (one?.boot === next?.boot && one !== undefined && next !== undefined)
            expect((following?.logTimeNs ?? 0n) - logTimeNs).toBe(next.trueNs - one.trueNs);
          const clock = clocks.find((known) => known.bootId === bootId);
          if (one?.isKnown === true && clock !== undefined) expect(trueTimeNs(clock, logTimeNs)).toBe(one.trueNs);
        }
        for (const [fromS, lengthS] of ranges) {
          const startNs = START_NS + BigInt(fromS) * S;
          const endNs = startNs + BigInt(lengthS) * S;
          const isIn = ({ trueNs }: Sent) => trueNs >= startNs && trueNs <= endNs;
          const known = new Set(sent.filter(({ isKnown }) => isKnown).map(({ text }) => text));
          const got = read(startNs, endNs).map(({ bytes }) => Buffer.from(bytes).toString());
          expect(got.filter((text) => known.has(text))).toEqual(
            sent.filter((one) => one.isKnown && isIn(one)).map(({ text }) => text),
          );
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
  fc.assert(property, { numRuns: 15 });
});
