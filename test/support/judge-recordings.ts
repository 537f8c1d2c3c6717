/** Every recording in test/data against what is known of it, by rule files and with the robot's own words or without. */
import { readdirSync } from "node:fs";
import type { RecordingVerdict } from "../../src/daemon/backtest.ts";
import { upsideDown } from "./judge-faults.ts";
import { backtest, judge, openShared, type Raised, RECORDINGS, shippedRules, type TruthEvent } from "./judging.ts";
import { spoil } from "./spoilt-recording.ts";

/** What the robot says of itself: the motor currents and the motion alone must tell. */
export const OWN_WORDS = ["/diagnostics", "/diagnostics_agg", "/rosout", "/rosout_agg"];

type Truth = {
  readonly events: readonly TruthEvent[];
  /** Where the recording's origin says it. */
  readonly outcome?: string;
  readonly attempts?: number;
};

const NOTHING: Truth = { events: [] };
/** One period of the robot's /diagnostics, which tells what was so at one instant of it. */
export const PERIOD_S = 1.2;
const MOTORS = ["over_current", "stall"];
/** What else may be said of a base with a faulty wheel. */
const OF_A_WHEEL = ["tracking_error", "wheel_slip", "diagnostics", "log_error", "anomaly"];

/** From MANIFEST.md and sim_truth.json; nothing is known to be wrong in any other recording. */
const TRUTHS: Readonly<Record<string, Truth>> = {
  "kobuki_left_wheel_fault.mcap": {
    events: [
      ...highCurrent(12.2, 12.2),
      ...highCurrent(19.9, 22.1),
      ...highCurrent(24.3, 24.3),
      ...highCurrent(27.6, 28.7),
      ...highCurrent(30.8, 38.4),
      ...highCurrent(40.6, 46.1),
      ...highCurrent(49.4, 49.4),
      ...highCurrent(51.6, 62.6),
      ...highCurrent(64.8, 64.8),
      { name: "over-current bits at 53 s", kinds: ["over_current"], fromS: 53, toS: 55.3 },
      { name: "over-current bits at 62 s", kinds: ["over_current"], fromS: 62, toS: 67.8 },
    ],
  },
  "sim_cup_slip_recover.mcap": {
    events: [{ name: "drop at 4.37 s", kinds: ["lost_grasp"], fromS: 3.77, toS: 6.87, isInstant: true }],
    outcome: "recovered",
    attempts: 2,
  },
};

/** While it drives, from 7.3 s on, the wheel is faulty all along: what is said of its motors is not false. */
const DRIVES_S = [7.3, 71.9] as const;

function highCurrent(fromS: number, toS: number): TruthEvent[] {
  const name = `very high current at ${fromS === toS ? fromS : `${fromS}–${toS}`} s`;
  return [{ name, kinds: MOTORS, fromS: fromS - PERIOD_S, toS: toS + PERIOD_S }];
}

export type JudgedRecording = {
  readonly file: string;
  readonly seconds: number;
  readonly events: number;
  readonly found: number;
  readonly missed: readonly string[];
  readonly raised: readonly Raised[];
  readonly false: readonly Raised[];
  readonly truth: Truth;
  /** Of the failure episodes: outcome and attempts. */
  readonly told: readonly { readonly outcome: string; readonly attempts: number }[];
};

/** The recordings of test/data, and the Husky's once more as if its IMU were mounted upside down. */
export function recordingsToJudge(): string[] {
  const files = readdirSync(RECORDINGS).filter((name) => /\.(mcap|bag|db3)$/.test(name));
  return files.flatMap((name) => (name.startsWith("husky") ? [name, `${name}, IMU upside down`] : [name]));
}

export async function judgeRecording(
  file: string,
  sets: readonly string[],
  exclude: readonly string[],
): Promise<JudgedRecording> {
  const rules = shippedRules(sets);
  await using recording = await openShared(file.split(",")[0] ?? file);
  const mounted = file.includes("upside down") ? spoil(recording, upsideDown) : recording;
  const verdict = await backtest(mounted, rules, exclude);
  const truth = TRUTHS[file] ?? NOTHING;
  const judged = judge(verdict, rules, truth.events);
  return {
    ...{ file, truth, seconds: Number(verdict.endNs - verdict.startNs) / 1e9, events: truth.events.length },
    ...{
      found: judged.found.length,
      missed: judged.missed.map(({ name }) => name),
    },
    ...{ raised: judged.raised, false: judged.false.filter((each) => !isOfFaultyWheel(file, each)) },
    told: failuresOf(verdict),
  };
}

function isOfFaultyWheel(file: string, { kind, fromS }: Raised): boolean {
  if (file !== "kobuki_left_wheel_fault.mcap" || fromS < DRIVES_S[0] || fromS > DRIVES_S[1]) return false;
  return MOTORS.includes(kind) || OF_A_WHEEL.includes(kind);
}

function failuresOf({ episodes }: RecordingVerdict): JudgedRecording["told"] {
  return episodes
    .map(({ episode }) => episode)
    .filter(({ kind }) => kind === "failure")
    .map(({ outcome, attempts }) => ({ outcome, attempts }));
}
