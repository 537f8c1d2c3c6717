/**
 * Faults put into recordings of robots that had none, so that the truth is known to the millisecond.
 *
 * A fault changes or withholds messages from an instant on, as the thing itself would: a wheel that stands keeps its
 * encoder, its joint, the odometry and the gyroscope in agreement; a robot that falls turns gravity, rate of turn and
 * orientation together. When, how much and which way is drawn; by what kinds of rule it counts as found, how soon, and
 * what else may be said of it, stands with it. Lengths in m, angles in rad, times in s.
 */
import type { Random } from "../../src/std/random.ts";
import type { TruthEvent } from "./judging.ts";
import type { Change, Draft, Spoilable } from "./spoilt-recording.ts";
import {
  acrossOf,
  meanOf,
  type Sample,
  type Survey,
  type SurveyedTopic,
  setVector,
  turned,
  type Vector,
  vectorOf,
} from "./survey.ts";

export type Fault = {
  readonly name: string;
  /** With its numbers. */
  readonly text: string;
  readonly truth: readonly TruthEvent[];
  /** A new one each time: changes remember. */
  readonly open: () => Change;
};

const IMU = "sensor_msgs/Imu";
const ODOMETRY = "nav_msgs/Odometry";
const JOINTS = "sensor_msgs/JointState";
const FIX = "sensor_msgs/NavSatFix";
const POSE = "geometry_msgs/PoseStamped";
/** What reports at its own rhythm whatever the robot does. */
const SENSORS = [IMU, ODOMETRY, JOINTS, FIX, POSE, "sensor_msgs/BatteryState", "sensor_msgs/FluidPressure"];
/** Learning takes this long: rules are asked nothing before. */
const LEARNT_S = 20;

/** One fault of every kind that the recording has the topics for. */
export function drawFaults(survey: Survey, random: Random): Fault[] {
  const makers = [stuckWheels, wheelSlip, deadTopic, rateDrop, fallen, freeFall, accelerationSpike, effortSpike];
  const more = [readingSpikes, positionJump, fixJump, clockStep, clockStepOfOne, notNumbers, stuckJoint];
  return [...makers, ...more].flatMap((make) => make(survey, random) ?? []);
}

const within = (random: Random, low: number, high: number): number => low + (high - low) * random();
const signOf = (random: Random): number => (random() < 0.5 ? -1 : 1);
const pick = <T>(random: Random, items: readonly T[]): T | undefined => items[Math.floor(random() * items.length)];
const ofType = (survey: Survey, type: string): SurveyedTopic | undefined =>
  survey.topics.find((topic) => topic.type === type && !/command|desired/.test(topic.topic));

/** When to begin, so that `forS` and a little are left. */
function drawTime(survey: Survey, random: Random, forS: number, fromS = LEARNT_S): number | undefined {
  const lastS = survey.endS - forS - 1;
  return lastS <= fromS ? undefined : within(random, fromS, lastS);
}

/** To be found by one of `kinds` within `deadlineS`; what is said of it later is true as well. */
function lasting(
  name: string,
  atS: number,
  kinds: readonly string[],
  deadlineS: number,
  alsoKinds: readonly string[] = [],
): TruthEvent {
  return { name, kinds, alsoKinds, fromS: atS, toS: atS + deadlineS, untilS: Number.POSITIVE_INFINITY };
}

function edits(isWanted: (message: Spoilable) => boolean, edit: (draft: Draft, message: Spoilable) => void): Change {
  return (message) => {
    if (!isWanted(message)) return "same";
    const draft = message.draft();
    edit(draft, message);
    return draft;
  };
}

/** Both wheels of a Kobuki, or one, stand from now on; their motors push harder, or nobody measures that. */
function stuckWheels(survey: Survey, random: Random): Fault[] {
  const core = survey.topics.find(({ type }) => type.endsWith("/SensorState"));
  const odometry = ofType(survey, ODOMETRY);
  if (core === undefined || odometry === undefined) return [];
  return (["left", "right", "both"] as const).flatMap((which) =>
    [true, false].flatMap((isFelt) => {
      const atS = pick(random, drivingAt(odometry.samples, 5));
      if (atS === undefined) return [];
      const ampere = isFelt ? Math.round(within(random, 10, 16)) : undefined;
      const text = `${which} stand from ${atS.toFixed(1)} s, currents ${ampere ?? "unchanged"}`;
      const kinds = ["stall", "over_current", "tracking_error"];
      const truth = [lasting("stuck wheel", atS, kinds, 6, ["wheel_slip", "anomaly"])];
      return [{ name: "stuck wheel", text, truth, open: () => stuckWheelChange(which, atS, ampere) }];
    }),
  );
}

/** Where a base drives and goes on driving for `forS`. */
function drivingAt(samples: readonly Sample[], forS: number): number[] {
  const lastS = samples.at(-1)?.atS ?? 0;
  const isDriving = ({ values }: Sample): boolean => Math.abs(values[0] ?? 0) > 0.15;
  return samples
    .filter(({ atS }) => atS > LEARNT_S && atS < lastS - forS)
    .filter(({ atS }) => samples.filter((each) => each.atS >= atS && each.atS <= atS + forS).every(isDriving))
    .map(({ atS }) => atS);
}

/** Of a Kobuki (its URDF). */
const WHEEL_RADIUS_M = 0.0352;
const WHEEL_BASE_M = 0.23;
const LEFT = 0;
const RIGHT = 1;

function stuckWheelChange(which: "left" | "right" | "both", fromS: number, ampere: number | undefined): Change {
  const stuck = which === "both" ? [LEFT, RIGHT] : [which === "left" ? LEFT : RIGHT];
  const speeds = [0, 0];
  const frozen = new Map<string, number>();
  const freeze = (draft: Draft, path: string): void => {
    const value = frozen.get(path) ?? draft.number(path);
    frozen.set(path, value);
    draft.set(path, value);
  };
  const plane = (): readonly [forward: number, turn: number] => {
    const [left = 0, right = 0] = speeds.map((speed) => speed * WHEEL_RADIUS_M);
    return [(left + right) / 2, (right - left) / WHEEL_BASE_M];
  };
  const pose = { x: Number.NaN, y: 0, yaw: 0, atS: 0 };
  return edits(
    ({ atS, type }) =>
      atS >= fromS && (type === JOINTS || type === ODOMETRY || type === IMU || /SensorState$/.test(type)),
    (draft, { type, atS }) => {
      const [forward, turn] = plane();
      if (type === JOINTS)
        for (const wheel of [LEFT, RIGHT]) {
          if (stuck.includes(wheel)) draft.set(`velocity.${wheel}`, 0);
          if (stuck.includes(wheel)) freeze(draft, `position.${wheel}`);
          speeds[wheel] = draft.number(`velocity.${wheel}`);
        }
      else if (type === IMU) draft.set("angular_velocity.z", turn + 0.01 * draft.number("angular_velocity.z"));
      else if (type === ODOMETRY) movePose(draft, pose, forward, turn, atS);
      else
        for (const wheel of stuck) {
          freeze(draft, wheel === LEFT ? "left_encoder" : "right_encoder");
          if (ampere !== undefined) draft.set(`current.${wheel}`, ampere);
        }
    },
  );
}

type Pose = { x: number; y: number; yaw: number; atS: number };

function movePose(draft: Draft, pose: Pose, forward: number, turn: number, atS: number): void {
  const at = "pose.pose";
  if (Number.isNaN(pose.x)) {
    const yaw = 2 * Math.atan2(draft.number(`${at}.orientation.z`), draft.number(`${at}.orientation.w`));
    Object.assign(pose, { x: draft.number(`${at}.position.x`), y: draft.number(`${at}.position.y`), yaw, atS });
  }
  const elapsedS = atS - pose.atS;
  pose.atS = atS;
  pose.yaw += turn * elapsedS;
  pose.x += forward * elapsedS * Math.cos(pose.yaw);
  pose.y += forward * elapsedS * Math.sin(pose.yaw);
  setVector(draft, `${at}.position`, [pose.x, pose.y, 0]);
  draft.set(`${at}.orientation.z`, Math.sin(pose.yaw / 2));
  draft.set(`${at}.orientation.w`, Math.cos(pose.yaw / 2));
  draft.set("twist.twist.linear.x", forward);
  draft.set("twist.twist.angular.z", turn);
}

/** The wheels say that the robot turns, and it does not. */
function wheelSlip(survey: Survey, random: Random): Fault | undefined {
  const [odometry, imu] = [ofType(survey, ODOMETRY), ofType(survey, IMU)];
  if (odometry === undefined || imu === undefined) return undefined;
  const forS = within(random, 4, 6);
  const atS = pick(random, drivingAt(odometry.samples, forS));
  if (atS === undefined) return undefined;
  const turn = signOf(random) * within(random, 0.5, 1.2);
  return {
    name: "wheel slip",
    text: `odometry turns ${turn.toFixed(2)} rad/s more than the robot, ${atS.toFixed(1)} s to ${(atS + forS).toFixed(1)} s`,
    truth: [
      {
        ...{ name: "wheel slip", kinds: ["wheel_slip"], alsoKinds: ["anomaly", "tracking_error"] },
        ...{ fromS: atS, toS: atS + forS, untilS: atS + forS + 1 },
      },
    ],
    open: () =>
      edits(
        (message) => message.topic === odometry.topic && message.atS >= atS && message.atS < atS + forS,
        (draft) => draft.set("twist.twist.angular.z", draft.number("twist.twist.angular.z") + turn),
      ),
  };
}

/** Each sensor that reported for ten seconds and fifty messages dies, one at a time. */
function deadTopic(survey: Survey, random: Random): Fault[] {
  return sensorsOf(survey).flatMap((sensor) => {
    const periodS = (sensor.lastS - sensor.firstS) / (sensor.count - 1);
    const deadlineS = Math.max(8, 30 * periodS);
    const learntS = sensor.firstS + Math.max(10, 50 * periodS) + 1;
    const atS = drawTime(survey, random, deadlineS, Math.max(LEARNT_S, learntS));
    if (atS === undefined) return [];
    return [
      {
        name: "dead topic",
        text: `${sensor.topic} ends at ${atS.toFixed(1)} s`,
        truth: [lasting("dead topic", atS, ["stale_topic"], deadlineS, ["rate_drop"])],
        open: () => (message: Spoilable) => (message.topic === sensor.topic && message.atS > atS ? "withheld" : "same"),
      },
    ];
  });
}

/** Not what is alone in its recording: if that ends, so does the recording. */
function sensorsOf(survey: Survey): SurveyedTopic[] {
  if (survey.topics.length === 1) return [];
  return survey.topics.filter(({ type, topic }) => SENSORS.includes(type) && !/command|desired/.test(topic));
}

/** One message in five is left of a sensor that sends at least ten a second. */
function rateDrop(survey: Survey, random: Random): Fault[] {
  return sensorsOf(survey).flatMap((sensor) => {
    const hz = (sensor.count - 1) / (sensor.lastS - sensor.firstS);
    const atS = drawTime(survey, random, 15);
    if (hz < 9 || atS === undefined) return [];
    const open = (): Change => {
      let count = 0;
      return (message) => {
        if (message.topic !== sensor.topic || message.atS < atS) return "same";
        count += 1;
        return count % 5 === 0 ? "same" : "withheld";
      };
    };
    const text = `${sensor.topic} falls from ${hz.toFixed(0)} to ${(hz / 5).toFixed(0)} Hz at ${atS.toFixed(1)} s`;
    return [{ name: "rate drop", text, truth: [lasting("rate drop", atS, ["rate_drop"], 15, ["stale_topic"])], open }];
  });
}

/** Gravity as the IMU sees it turns away within a second, the rate of turn and the orientation with it. */
function fallen(survey: Survey, random: Random): Fault | undefined {
  const imu = ofType(survey, IMU);
  const gravity = imu === undefined ? undefined : meanOf(imu, imu.firstS + 5);
  if (imu === undefined || gravity === undefined || Math.hypot(...gravity) < 1) return undefined;
  const atS = drawTime(survey, random, 5, imu.firstS + 8);
  if (atS === undefined) return undefined;
  const axis = acrossOf(gravity, within(random, 0, 2 * Math.PI));
  const [angle, forS] = [within(random, 1.3, 3), within(random, 0.3, 1.2)];
  const edit = (draft: Draft, { atS: nowS }: Spoilable): void => {
    const share = Math.min(1, (nowS - atS) / forS);
    const rate = share < 1 ? -angle / forS : 0;
    setVector(draft, "linear_acceleration", turned(vectorOf(draft, "linear_acceleration"), axis, share * angle));
    const [x, y, z] = turned(vectorOf(draft, "angular_velocity"), axis, share * angle);
    setVector(draft, "angular_velocity", [x + rate * axis[0], y + rate * axis[1], z + rate * axis[2]]);
    turnOrientation(draft, axis, -share * angle);
  };
  return {
    name: "fall",
    text: `${((angle * 180) / Math.PI).toFixed(0)}° within ${forS.toFixed(1)} s at ${atS.toFixed(1)} s`,
    truth: [lasting("fall", atS, ["fall"], 4, ["impact", "free_fall", "wheel_slip", "stall", "anomaly"])],
    open: () => edits((message) => message.topic === imu.topic && message.atS >= atS, edit),
  };
}

/** q ⊗ (a turn about an axis of the IMU's own). */
function turnOrientation(draft: Draft, axis: Vector, angle: number): void {
  const [x, y, z] = vectorOf(draft, "orientation");
  const w = draft.number("orientation.w");
  const s = Math.sin(angle / 2);
  const [bx, by, bz, bw] = [axis[0] * s, axis[1] * s, axis[2] * s, Math.cos(angle / 2)];
  setVector(draft, "orientation", [
    w * bx + x * bw + y * bz - z * by,
    w * by - x * bz + y * bw + z * bx,
    w * bz + x * by - y * bx + z * bw,
  ]);
  draft.set("orientation.w", w * bw - x * bx - y * by - z * bz);
}

/** The ground is gone for a moment, and comes back hard. */
function freeFall(survey: Survey, random: Random): Fault | undefined {
  const imu = ofType(survey, IMU);
  const atS = drawTime(survey, random, 5);
  if (imu === undefined || atS === undefined || Math.hypot(...meanOf(imu, imu.firstS + 5)) < 1) return undefined;
  const [forS, blow] = [within(random, 0.35, 0.6), within(random, 5, 12)];
  const landS = atS + forS;
  const scale = (nowS: number): number => (nowS < landS ? 0.03 : nowS < landS + 0.08 ? blow : 1);
  const also = ["fall", "anomaly"];
  return {
    name: "free fall",
    text: `${forS.toFixed(2)} s from ${atS.toFixed(1)} s, then ${blow.toFixed(0)} g`,
    truth: [
      { name: "free fall", kinds: ["free_fall"], alsoKinds: also, fromS: atS, toS: landS + 1 },
      { name: "landing", kinds: ["impact"], alsoKinds: also, fromS: landS, toS: landS + 1.5 },
    ],
    open: () =>
      edits(
        (message) => message.topic === imu.topic && message.atS >= atS && message.atS < landS + 0.08,
        (draft, { atS: nowS }) => {
          const [x, y, z] = vectorOf(draft, "linear_acceleration");
          const factor = scale(nowS);
          setVector(draft, "linear_acceleration", [factor * x, factor * y, factor * z]);
        },
      ),
  };
}

/** One to three samples of a blow. */
function accelerationSpike(survey: Survey, random: Random): Fault | undefined {
  const imu = ofType(survey, IMU);
  const atS = drawTime(survey, random, 3);
  if (imu === undefined || atS === undefined || Math.hypot(...meanOf(imu, imu.firstS + 5)) < 1) return undefined;
  const [count, axis] = [1 + Math.floor(random() * 3), pick(random, ["x", "y", "z"]) ?? "x"];
  const blow = signOf(random) * within(random, 60, 150);
  const open = (): Change => {
    let left = count;
    return edits(
      (message) => message.topic === imu.topic && message.atS >= atS && left > 0,
      (draft) => {
        left -= 1;
        draft.set(`linear_acceleration.${axis}`, draft.number(`linear_acceleration.${axis}`) + blow);
      },
    );
  };
  const truth = [{ name: "spike", kinds: ["impact", "anomaly"], fromS: atS, toS: atS + 2 }];
  return { name: "spike", text: `${count} × ${blow.toFixed(0)} m/s² on ${axis} at ${atS.toFixed(1)} s`, truth, open };
}

/** A joint's effort leaps to several times what it ever was, for less than a tenth of a second. */
function effortSpike(survey: Survey, random: Random): Fault | undefined {
  const joints = ofType(survey, JOINTS);
  const atS = drawTime(survey, random, 3);
  if (joints === undefined || atS === undefined || !survey.file.includes("effort")) return undefined;
  const joint = Math.floor(random() * 7);
  const [effort, forS] = [signOf(random) * within(random, 200, 400), within(random, 0.05, 0.09)];
  return {
    name: "spike",
    text: `effort of joint ${joint} is ${effort.toFixed(0)} N·m for ${(forS * 1000).toFixed(0)} ms at ${atS.toFixed(1)} s`,
    truth: [{ name: "spike", kinds: ["anomaly", "impact", "over_current"], fromS: atS, toS: atS + 2 }],
    open: () =>
      edits(
        (message) => message.topic === joints.topic && message.atS >= atS && message.atS < atS + forS,
        (draft) => draft.set(`effort.${joint}`, effort),
      ),
  };
}

type Reading = {
  readonly type: RegExp;
  readonly path: string;
  readonly kinds: readonly string[];
  /** What is added, or, of currents, what stands there. */
  readonly size: readonly [low: number, high: number];
  readonly messages: readonly [low: number, high: number];
  readonly isSet?: boolean;
};

const READINGS: readonly Reading[] = [
  {
    type: /\/Imu$/,
    path: "angular_velocity.z",
    kinds: ["anomaly", "impact", "wheel_slip"],
    size: [20, 40],
    messages: [1, 3],
  },
  {
    type: /\/Odometry$/,
    path: "twist.twist.linear.x",
    kinds: ["anomaly", "wheel_slip"],
    size: [8, 20],
    messages: [1, 3],
  },
  {
    ...{ type: /\/Odometry$/, path: "pose.pose.position.x", kinds: ["localisation_jump", "anomaly"] },
    ...{ size: [5, 50], messages: [1, 1] },
  },
  {
    ...{ type: /kobuki.*\/SensorState$/, path: "current.0", kinds: ["over_current", "anomaly"], isSet: true },
    ...{ size: [30, 60], messages: [25, 50] },
  },
];

/** One reading leaps for a few messages, and is as before. */
function readingSpikes(survey: Survey, random: Random): Fault[] {
  return READINGS.flatMap(({ type, path, kinds, size, messages, isSet = false }) => {
    const source = survey.topics.find((topic) => type.test(topic.type));
    const atS = drawTime(survey, random, 3);
    const count = Math.round(within(random, ...messages));
    const leap = (isSet ? 1 : signOf(random)) * Math.round(within(random, ...size));
    if (source === undefined || atS === undefined || source.count < 50) return [];
    const open = (): Change => {
      let left = count;
      return edits(
        (message) => message.topic === source.topic && message.atS >= atS && left > 0,
        (draft) => {
          left -= 1;
          draft.set(path, isSet ? leap : draft.number(path) + leap);
        },
      );
    };
    const text = `${source.topic} ${path} ${isSet ? "=" : leap > 0 ? "+" : "−"} ${Math.abs(leap)} for ${count} messages at ${atS.toFixed(1)} s`;
    return [{ name: "spike", text, truth: [{ name: "spike", kinds, fromS: atS, toS: atS + 3 }], open }];
  });
}

/** From one message to the next the robot is somewhere else, and stays there. */
function positionJump(survey: Survey, random: Random): Fault[] {
  const found: readonly (readonly [type: string, path: string])[] = [
    [ODOMETRY, "pose.pose.position"],
    [POSE, "pose.position"],
  ];
  return found.flatMap(([type, path]) => {
    const source = ofType(survey, type);
    const atS = drawTime(survey, random, 3);
    if (source === undefined || atS === undefined) return [];
    const [way, angle] = [within(random, 4, 20), within(random, 0, 2 * Math.PI)];
    const edit = (draft: Draft): void => {
      draft.set(`${path}.x`, draft.number(`${path}.x`) + way * Math.cos(angle));
      draft.set(`${path}.y`, draft.number(`${path}.y`) + way * Math.sin(angle));
    };
    return [
      {
        name: "localisation jump",
        text: `${source.topic} leaps ${way.toFixed(1)} m at ${atS.toFixed(1)} s`,
        truth: [
          { name: "localisation jump", kinds: ["localisation_jump"], alsoKinds: ["anomaly"], fromS: atS, toS: atS + 2 },
        ],
        open: () => edits((message) => message.topic === source.topic && message.atS >= atS, edit),
      },
    ];
  });
}

/** A satellite fix that is suddenly some hundred metres off, for good. */
function fixJump(survey: Survey, random: Random): Fault | undefined {
  const fix = ofType(survey, FIX);
  const atS = drawTime(survey, random, 5);
  if (fix === undefined || atS === undefined || fix.count < 50) return undefined;
  const way = signOf(random) * within(random, 100, 500);
  const kinds = ["localisation_jump"];
  return {
    name: "localisation jump",
    text: `${fix.topic} leaps ${way.toFixed(0)} m north at ${atS.toFixed(1)} s`,
    truth: [{ name: "localisation jump", kinds, alsoKinds: ["anomaly"], fromS: atS, toS: atS + 4 }],
    open: () =>
      edits(
        (message) => message.topic === fix.topic && message.atS >= atS,
        (draft) => draft.set("latitude", draft.number("latitude") + way / 111_000),
      ),
  };
}

/** Every stamp steps: the robot's clock was set. */
function clockStep(survey: Survey, random: Random): Fault | undefined {
  return stepOf(survey, random, survey.topics, "all topics");
}

/** One sensor's clock steps. */
function clockStepOfOne(survey: Survey, random: Random): Fault | undefined {
  const sensors = sensorsOf(survey).filter(({ count, firstS, lastS }) => count > 50 && count > 5 * (lastS - firstS));
  const sensor = pick(
    random,
    sensors.filter(({ stampS }) => stampS > 0),
  );
  return sensor === undefined ? undefined : stepOf(survey, random, [sensor], sensor.topic);
}

function stepOf(survey: Survey, random: Random, topics: readonly SurveyedTopic[], name: string): Fault | undefined {
  const stamped = topics.filter(({ stampS }) => stampS > 0).map(({ topic }) => topic);
  const firstS = Math.max(
    ...topics.filter(({ count, type }) => count > 50 && SENSORS.includes(type)).map((topic) => topic.firstS),
  );
  const atS = drawTime(survey, random, 2.5, survey.endS > 2 * LEARNT_S ? LEARNT_S : firstS + 12);
  if (stamped.length === 0 || atS === undefined) return undefined;
  const stepS = signOf(random) * Math.round(10 ** within(random, 0.5, 3.5));
  const edit = (draft: Draft): void => {
    for (const path of ["header.stamp.sec", "header.stamp.secs"])
      if (!Number.isNaN(draft.number(path))) draft.set(path, draft.number(path) + stepS);
  };
  return {
    name: "clock step",
    text: `stamps of ${name} ${stepS > 0 ? "+" : "−"}${Math.abs(stepS)} s at ${atS.toFixed(1)} s`,
    truth: [{ name: "clock step", kinds: ["time_jump"], fromS: atS, toS: atS + 3, untilS: atS + 10 }],
    open: () => edits((message) => stamped.includes(message.topic) && message.atS >= atS, edit),
  };
}

const NUMBERS: Readonly<Record<string, readonly string[]>> = {
  [IMU]: ["linear_acceleration.x", "linear_acceleration.y", "linear_acceleration.z", "angular_velocity.z"],
  [ODOMETRY]: ["twist.twist.linear.x", "twist.twist.angular.z", "pose.pose.position.x", "pose.pose.position.y"],
  [JOINTS]: [0, 1, 2, 3, 4, 5, 6].flatMap((joint) => [`position.${joint}`, `velocity.${joint}`, `effort.${joint}`]),
};

/** A sensor goes on sending, and what it sends are no numbers. */
function notNumbers(survey: Survey, random: Random): Fault[] {
  return survey.topics.flatMap(({ topic, type, count }) => {
    const paths = count < 50 ? undefined : NUMBERS[type];
    const atS = drawTime(survey, random, 6, survey.endS > 2 * LEARNT_S ? LEARNT_S : 6);
    if (paths === undefined || atS === undefined || /command/.test(topic)) return [];
    const edit = (draft: Draft): void => {
      for (const path of paths) draft.set(path, Number.NaN);
    };
    return [
      {
        name: "NaNs",
        text: `${topic} has no numbers from ${atS.toFixed(1)} s`,
        truth: [lasting("NaNs", atS, ["bad_numbers"], 5, ["anomaly"])],
        open: () => edits((message) => message.topic === topic && message.atS >= atS, edit),
      },
    ];
  });
}

/** A joint stands where it is while its command goes on. */
function stuckJoint(survey: Survey, random: Random): Fault | undefined {
  const joints = ofType(survey, JOINTS);
  const command = survey.topics.find(({ type, topic }) => type === JOINTS && /command/.test(topic));
  if (joints === undefined || command === undefined) return undefined;
  const usual = usualErrors(joints.samples, command.samples);
  const places = joints.samples
    .filter(({ atS }) => atS > 3 && atS < survey.endS - 3)
    .flatMap(({ atS, values }) => values.map((at, joint) => ({ atS, joint, at })))
    .filter(({ atS, joint, at }) => isLeftBehind(command.samples, joint, at, atS, usual[joint] ?? 0));
  const place = pick(random, places);
  if (place === undefined) return undefined;
  const { atS, joint, at } = place;
  const edit = (draft: Draft): void => {
    draft.set(`position.${joint}`, at);
    draft.set(`velocity.${joint}`, 0);
  };
  return {
    name: "stuck joint",
    text: `joint ${joint} stands from ${atS.toFixed(1)} s`,
    truth: [lasting("stuck joint", atS, ["tracking_error", "stall"], 3, ["anomaly"])],
    open: () => edits((message) => message.topic === joints.topic && message.atS >= atS, edit),
  };
}

/** How far each joint ever was from its last command. */
function usualErrors(states: readonly Sample[], commands: readonly Sample[]): number[] {
  const most: number[] = [];
  for (const { atS, values } of states) {
    const last = commands.findLast((command) => command.atS <= atS);
    for (const [joint, at] of values.entries())
      most[joint] = Math.max(most[joint] ?? 0, Math.abs((last?.values[joint] ?? at) - at));
  }
  return most;
}

/** Whether the command goes a third of a radian away within a second, twice as far as it ever was, and stays for one more. */
function isLeftBehind(samples: readonly Sample[], joint: number, at: number, fromS: number, usual: number): boolean {
  const later = samples.filter(({ atS }) => atS >= fromS + 1 && atS <= fromS + 2);
  const far = Math.max(0.33, 2 * usual);
  return later.length > 0 && later.every(({ values }) => Math.abs((values[joint] ?? at) - at) > far);
}
