/** What a back-test says of made-up recordings whose truth is known to the message. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type BacktestOptions, backtest, type RecordingVerdict } from "../../src/daemon/backtest.ts";
import { backtestToWire } from "../../src/daemon/backtest-answer.ts";
import { type BacktestSource, type PlanTopic, sourceOfRecording } from "../../src/daemon/backtest-source.ts";
import { RecentSizes } from "../../src/daemon/recent-sizes.ts";
import type { TopicClass } from "../../src/model/topic-class.ts";
import type { RecordedChannel, RecordedMessage } from "../../src/replay/recording.ts";
import { silentLog } from "../../src/telemetry/log.ts";
import { parseRules } from "../../src/trigger/rule.ts";

const START_NS = 1_700_000_000_000_000_000n;
const atNs = (seconds: number): bigint => START_NS + BigInt(Math.round(seconds * 1000)) * 1_000_000n;

function channel(topic: string, more: Partial<RecordedChannel> = {}): RecordedChannel {
  const schema = { schemaName: "std_msgs/msg/Float64", schemaText: "float64 data\n" };
  return { topic, ...schema, encoding: "cdr", isLatched: false, ...more };
}

function float64(value: number): Uint8Array {
  const bytes = Buffer.from([0, 1, 0, 0, ...new Uint8Array(8)]);
  bytes.writeDoubleLE(value, 4);
  return bytes;
}
const MESSAGE_BYTES = 12;

/** Each topic at 10 Hz for 60 s; `valueOf` the load's value at a time in seconds. */
function sourceOf(
  channels: readonly RecordedChannel[],
  valueAt: (seconds: number) => number,
  planTopic?: PlanTopic,
): BacktestSource {
  const messages: RecordedMessage[] = [];
  for (let tick = 0; tick <= 600; tick += 1)
    for (const [channelIndex, { isLatched }] of channels.entries()) {
      const logTimeNs = atNs(tick / 10);
      if (isLatched && tick > 0) continue;
      messages.push({ channelIndex, logTimeNs, publishTimeNs: logTimeNs, bytes: float64(valueAt(tick / 10)) });
    }
  return sourceOfRecording(
    {
      ...{ path: "made-up", ros: 2, channels, startNs: atNs(0), endNs: atNs(60), problem: undefined },
      messageCount: messages.length,
      messages: async function* () {
        yield* messages;
      },
      [Symbol.asyncDispose]: async () => {},
    },
    planTopic,
  );
}

function optionsOf(rule: object): BacktestOptions {
  const base = { inputs: { l: "/load" }, pre_roll_ms: 2000, post_roll_ms: 1000, recovered_after_clear_ms: 1000 };
  const rules = parseRules("rules.yaml", JSON.stringify({ rules: { heavy: { ...base, ...rule } } }));
  return { rules, isExcluded: () => false, log: silentLog };
}

async function judge(source: BacktestSource, ...ruleSets: object[]): Promise<RecordingVerdict[]> {
  return await backtest(source, ruleSets.map(optionsOf));
}

const LOAD = channel("/load");
/** Rises slowly to 10 at 30 s and falls as slowly, with a peak of its own at 50 s. */
const hill = (s: number): number => (s >= 50 && s < 51 ? 6 : Math.max(0, 10 - Math.abs(s - 30)));

test("two rule sets in one pass say what each says alone, and what changes between them", async () => {
  const [low, high] = [{ when: "l.data > 5" }, { when: "l.data > 7" }];
  const [ofLow, ofHigh] = await judge(sourceOf([LOAD], hill), low, high);
  expect([ofLow?.events, ofHigh?.events]).toEqual([
    (await judge(sourceOf([LOAD], hill), low))[0]?.events,
    (await judge(sourceOf([LOAD], hill), high))[0]?.events,
  ]);
  if (ofLow === undefined || ofHigh === undefined) throw new Error("no verdicts");
  expect(ofLow.firings.map((firing) => firing.atNs)).toEqual([atNs(25.1), atNs(50)]);
  expect(ofHigh.firings.map((firing) => firing.atNs)).toEqual([atNs(27.1)]);
  const wire = JSON.parse(JSON.stringify(backtestToWire([ofHigh], [ofLow])));
  expect(wire.recordings[0].changes).toMatchObject({
    firings: { same: 0, moved: [{ rule: "heavy", at_s: 27.1, was_s: 25.1 }], added: [], removed: [{ at_s: 50 }] },
    episodes: {
      same: 0,
      changed: [{ before: { start_s: 23.1 }, after: { start_s: 25.1, outcome: "recovered" } }],
      removed: [{ start_s: 48 }],
    },
  });
  expect(wire.against.totals).toMatchObject({ firings_per_hour: 120 });
  expect(wire.totals).toMatchObject({ firings_per_hour: 60, rules: { heavy: { firings: 1, episodes: 1 } } });
  const same = JSON.parse(JSON.stringify(backtestToWire([ofLow], [ofLow])));
  expect(same.recordings[0].changes.firings).toEqual({ same: 2, moved: [], added: [], removed: [] });
});

test("an episode costs the messages of its window on the topics it keeps, and what was latched before", async () => {
  const channels = [LOAD, channel("/arm/state"), channel("/camera"), channel("/tf_static", { isLatched: true })];
  const [verdict] = await judge(sourceOf(channels, hill), { when: "l.data > 8", topics: ["/load", "/arm/**"] });
  const [judged, ...others] = verdict?.episodes ?? [];
  if (judged === undefined) throw new Error("no episode");
  expect(others).toEqual([]);
  const tenths = Number(judged.episode.endNs - judged.episode.startNs) / 1e8;
  // Of two topics at 10 Hz both ends belong to the window.
  expect(judged.messages).toBe(2 * (Math.floor(tenths) + 1) + 1);
  expect(judged.bytes).toBe(judged.messages * MESSAGE_BYTES);
});

test("no rule sees what the configuration does not record, and what is on demand costs only while it is wanted", async () => {
  const topicClass: TopicClass = {
    ...{ name: "light", rank: 0, tier: "disk", baselineHz: 0, memoryMs: 0, memoryBytesMax: 0 },
    ...{ diskMsMax: 0, diskBytesMax: 0, diskShareMax: 1, queueLength: 1 },
  };
  const planned: PlanTopic = (topic) =>
    topic === "/secret" ? undefined : { topicClass, isLocal: false, isOnDemand: topic === "/debug" };
  const channels = [LOAD, channel("/debug"), channel("/secret")];
  const rule = { when: "l.data > 8", on_demand: ["/debug"] };
  const [all] = await judge(sourceOf([LOAD], hill), rule);
  const [verdict] = await judge(sourceOf(channels, hill, planned), rule);
  const [without, judged] = [all?.episodes[0], verdict?.episodes[0]];
  if (without === undefined || judged === undefined) throw new Error("no episode");
  const { startNs, endNs } = judged.episode;
  const firingNs = judged.episode.firings[0]?.atNs ?? 0n;
  // From the message after the firing on; nothing of its pre-roll.
  expect(judged.messages - without.messages).toBe(Number((endNs - firingNs) / 100_000_000n) + 1);
  expect(firingNs - startNs).toBe(2_000_000_000n);
  const [blind] = await judge(sourceOf(channels, hill, planned), { when: "l.data > 8", inputs: { l: "/secret" } });
  expect(blind?.firings).toEqual([]);
  const wire = JSON.parse(JSON.stringify(backtestToWire(blind === undefined ? [] : [blind])));
  expect(wire.recordings[0].missed_inputs).toMatchObject([{ rule: "heavy", reason: expect.stringMatching(/secret/) }]);
});

test("a rule on trial fires and keeps nothing", async () => {
  const [verdict] = await judge(sourceOf([LOAD], hill), { when: "l.data > 8", dry_run: true });
  const wire = JSON.parse(JSON.stringify(backtestToWire(verdict === undefined ? [] : [verdict])));
  expect(wire.recordings[0]).toMatchObject({ firings: [{ at_s: 28.1, dry_run: true }], episodes: [] });
  expect(wire.totals.bytes_kept).toBe(0);
});

test("sizes of a window are those of a plain list, however much was forgotten before it", () => {
  const message = fc.record({ gapMs: fc.nat(20), channel: fc.nat(20), bytes: fc.nat(1000) });
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 100, maxLength: 400 }),
      fc.nat(400),
      fc.nat(400),
      (gaps, keepMs, lengthMs) => {
        let nowNs = 0n;
        const sizes = new RecentSizes(() => nowNs - BigInt(keepMs), 16);
        const plain: { atNs: bigint; channel: number; bytes: number }[] = [];
        for (const { gapMs, channel: index, bytes } of gaps) {
          nowNs += BigInt(gapMs);
          sizes.add(nowNs, index, bytes);
          plain.push({ atNs: nowNs, channel: index, bytes });
        }
        const [startNs, endNs] = [nowNs - BigInt(keepMs), nowNs - BigInt(keepMs) + BigInt(lengthMs)];
        const inside = plain.filter((one) => one.atNs >= startNs && one.atNs <= endNs && one.channel < 9);
        const latched = plain.findLast((one) => one.atNs < startNs && one.channel === 1);
        const expected = [...inside, ...(latched === undefined ? [] : [latched])];
        expect(
          sizes.sum(startNs, endNs, new Set(Array.from({ length: 9 }, (_, index) => index)), new Set([1])),
        ).toEqual({
          messages: expected.length,
          bytes: expected.reduce((sum, { bytes }) => sum + bytes, 0),
        });
      },
    ),
  );
});
