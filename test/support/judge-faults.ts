/** Every fault that a seed draws, in every recording that had none, judged with all the rules that Lode ships. */
import { seededRandom } from "../../src/std/random.ts";
import { drawFaults, type Fault } from "./faults.ts";
import { backtest, judge, openShared, ruleSets, shippedRules } from "./judging.ts";
import { type Change, spoil } from "./spoilt-recording.ts";
import { setVector, survey, vectorOf } from "./survey.ts";

export type JudgedFault = {
  readonly file: string;
  readonly seed: number;
  readonly name: string;
  readonly text: string;
  readonly events: number;
  readonly found: number;
  readonly lagsS: readonly number[];
  readonly by: readonly string[];
  readonly false: readonly string[];
};

/** Recordings in which nothing is wrong; of the Husky once more as if its IMU were mounted upside down. */
export const FAULTLESS = [
  ...["husky_gps_imu_odom.bag", "husky_gps_imu_odom.bag, IMU upside down", "kobuki_nominal.mcap"],
  ...["ackermann_gps_nav.db3", "auv_cougars_short.mcap", "kuka_lwr_joint_effort.bag", "g1_pick_bottle_ep16.mcap"],
] as const;

export async function judgeFaults(
  file: string,
  [fromSeed, toSeed]: readonly [from: number, to: number],
  isWanted: (name: string) => boolean = () => true,
): Promise<JudgedFault[]> {
  await using recording = await openShared(file.split(",")[0] ?? file);
  const mounted = spoil(recording, file.includes("upside down") ? upsideDown : () => () => "same");
  const surveyed = await survey(file, mounted);
  const judged: JudgedFault[] = [];
  for (let seed = fromSeed; seed <= toSeed; seed += 1)
    for (const fault of drawFaults(surveyed, seededRandom(seed)).filter(({ name }) => isWanted(name)))
      judged.push(await judgeOne(file, seed, fault, spoil(mounted, fault.open)));
  return judged;
}

const RULES = shippedRules(ruleSets());

async function judgeOne(
  file: string,
  seed: number,
  { name, text, truth }: Fault,
  spoilt: Parameters<typeof backtest>[0],
): Promise<JudgedFault> {
  const verdict = await backtest(spoilt, RULES, ["/diagnostics", "/rosout"]);
  const { found, false: wrong, raised } = judge(verdict, RULES, truth);
  return {
    ...{ file, seed, name, text, events: truth.length, found: found.length },
    lagsS: found.map(({ lagS }) => Math.round(lagS * 1000) / 1000),
    by: [...new Set(raised.map(({ rule }) => rule))],
    false: wrong.map(({ rule, topic, fromS }) => `${rule} on ${topic} at ${fromS.toFixed(1)} s`),
  };
}

export function lineOf({ file, seed, name, text, events, found, by, false: wrong }: JudgedFault): string {
  const said =
    found === events ? `found by ${by.join(", ")}` : `MISSED${by.length === 0 ? "" : `, told ${by.join(", ")}`}`;
  return `${file}, seed ${seed}: ${name}: ${text}: ${said}${wrong.length === 0 ? "" : `; FALSE ${wrong.join("; ")}`}`;
}

/** Per kind of fault; `lag_s` from the fault to the firing. */
export type FaultSummary = {
  readonly name: string;
  readonly files: number;
  readonly events: number;
  readonly found: number;
  readonly wrong: number;
  readonly lag_s: { readonly median: number; readonly max: number };
  readonly by: readonly string[];
};

export function summaryOf(judged: readonly JudgedFault[]): FaultSummary[] {
  const byName = Map.groupBy(judged, ({ name }) => name);
  return [...byName].map(([name, faults]) => {
    const sum = (count: (each: JudgedFault) => number): number =>
      faults.reduce((total, each) => total + count(each), 0);
    const lagsS = faults.flatMap((each) => each.lagsS).sort((a, b) => a - b);
    return {
      ...{ name, files: new Set(faults.map(({ file }) => file)).size, events: sum(({ events }) => events) },
      ...{ found: sum(({ found }) => found), wrong: sum((each) => each.false.length) },
      lag_s: { median: lagsS[lagsS.length >> 1] ?? 0, max: lagsS.at(-1) ?? 0 },
      by: [...new Set(faults.flatMap((each) => each.by))].sort(),
    };
  });
}

/** Turned by half a turn about its x axis. */
export function upsideDown(): Change {
  return (message) => {
    if (message.type !== "sensor_msgs/Imu") return "same";
    const draft = message.draft();
    for (const path of ["linear_acceleration", "angular_velocity"]) {
      const [x, y, z] = vectorOf(draft, path);
      setVector(draft, path, [x, -y, -z]);
    }
    const [x, y, z] = vectorOf(draft, "orientation");
    const w = draft.number("orientation.w");
    setVector(draft, "orientation", [w, z, -y]);
    draft.set("orientation.w", -x);
    return draft;
  };
}
