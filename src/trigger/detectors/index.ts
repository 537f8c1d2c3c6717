/** Every detector that a rule can name. */
import type { DetectorKind } from "../detector.ts";
import { actionGoal } from "./action-goal.ts";
import { anomaly } from "./anomaly.ts";
import { battery } from "./battery.ts";
import { diagnosticsLevel } from "./diagnostics-level.ts";
import { effortSpike } from "./effort-spike.ts";
import { emergencyStop } from "./emergency-stop.ts";
import { fall } from "./fall.ts";
import { freeFall } from "./free-fall.ts";
import { impact } from "./impact.ts";
import { invalidNumbers } from "./invalid-numbers.ts";
import { jointLimit } from "./joint-limit.ts";
import { localisationJump } from "./localisation-jump.ts";
import { lostGrasp, missedGrasp, slip } from "./lost-grasp.ts";
import { overCurrent } from "./over-current.ts";
import { rateDrop } from "./rate-drop.ts";
import { staleTopic } from "./stale-topic.ts";
import { stall } from "./stall.ts";
import { stampJump } from "./stamp-jump.ts";
import { takeOver, teleoperation } from "./teleoperation.ts";
import { trackingError } from "./tracking-error.ts";
import { wheelSlip } from "./wheel-slip.ts";

export type { DetectorKind } from "../detector.ts";

const KINDS: readonly DetectorKind[] = [
  ...[fall, freeFall, impact, jointLimit, localisationJump, overCurrent, stall, trackingError, wheelSlip],
  ...[effortSpike, lostGrasp, missedGrasp, slip],
  ...[actionGoal, anomaly, battery, diagnosticsLevel, emergencyStop, invalidNumbers, rateDrop, staleTopic, stampJump],
  ...[takeOver, teleoperation],
];

export const detectorKinds: ReadonlyMap<string, DetectorKind> = new Map(KINDS.map((kind) => [kind.name, kind]));
